"""What a destination stands for, and what keeps it away."""

import pytest

from tests.worlds import entry, kind, pod, service, sidecar, world
from tidegate.answer.absence import LeftOut, absences
from tidegate.answer.intent import Intent, declares, intent
from tidegate.api.objects import Object, Ref
from tidegate.snapshot.state import Snapshot

FRONT = service("web/front", (80, "http"), address="10.96.4.50")
PEERS = service("find/search", (8983, "api"))
PARTNER = entry("shop/partner", "api.example.com", (443, "TLS"), addresses=["192.0.2.10"])
WIDE = entry("shop/wide", "*.example.com", (443, "TLS"), resolution="NONE")


def meant(to: str, *objects: Object[object], ip: str = "", port: int = 80, namespace: str = "shop") -> Intent:
    return intent(world(*objects), kind(namespace), to, ip, port)


@pytest.mark.parametrize(
    ("to", "namespace", "host"),
    [
        ("front", "web", "front.web.svc.cluster.local"),
        ("front.web", "shop", "front.web.svc.cluster.local"),
        ("Front.Web.svc", "shop", "front.web.svc.cluster.local"),
        ("front.web.svc.cluster.local.", "shop", "front.web.svc.cluster.local"),
        ("10.96.4.50", "shop", "front.web.svc.cluster.local"),
        ("search-1.search.find", "shop", "search.find.svc.cluster.local"),
        ("api.example.com", "shop", "api.example.com"),
        ("192.0.2.10", "shop", "api.example.com"),
        ("deep.other.example.com", "shop", "*.example.com"),
    ],
)
def test_names_in_every_form_and_addresses_stand_for_services(to: str, namespace: str, host: str) -> None:
    found = meant(to, FRONT, PEERS, PARTNER, WIDE, namespace=namespace)
    assert found.hosts == {host}
    assert found.preferred is not None


@pytest.mark.parametrize("to", ["front", "nowhere.example.org", "198.51.100.7"])
def test_what_nobody_declares_stands_for_nothing(to: str) -> None:
    assert meant(to, FRONT, PEERS, PARTNER).services == ()


def test_an_address_of_several_prefers_the_one_with_the_port_and_the_exact_one() -> None:
    block = entry("shop/block", "block.example.com", (443, "TLS"), addresses=["192.0.2.0/24"])
    assert meant("192.0.2.10", block, PARTNER, port=443).hosts == {"api.example.com"}
    assert meant("192.0.2.77", block, PARTNER, port=443).hosts == {"block.example.com"}


def why(
    to: str, *objects: Object[object], ip: str = "", port: int = 80, left_out: tuple[LeftOut, ...] = ()
) -> list[str]:
    made: Snapshot = world(*objects)
    found = absences(made, kind("shop"), intent(made, kind("shop"), to, ip, port), left_out)
    return [f"{each.ref} {each.field}" for each in found]


def test_a_sidecar_that_does_not_import_the_host_is_the_reason() -> None:
    narrow = sidecar("shop/default", ["./*", "istio-system/*"])
    assert why("front.web", FRONT, narrow) == ["Sidecar/shop/default spec.egress"]
    assert why("front.web", FRONT, sidecar("shop/default", ["*/front.web.svc.cluster.local"])) == []


def test_an_entry_that_is_not_exported_is_the_reason() -> None:
    private = entry("client-one/partner", "partner.example.com", exportTo=["."])
    assert why("partner.example.com", private) == ["ServiceEntry/client-one/partner spec.exportTo"]


def test_the_own_definition_without_the_port_is_the_reason_and_the_other_one_is_named() -> None:
    mine = entry("shop/p200", "dummy.example.internal", (200, "HTTP"))
    theirs = entry("test1/p100", "dummy.example.internal", (100, "HTTP"))
    made = world(mine, theirs)
    (found,) = absences(made, kind("shop"), intent(made, kind("shop"), "dummy.example.internal", "", 100))
    assert found.ref == Ref("ServiceEntry", "shop", "p200")
    assert "ServiceEntry/test1/p100 has it" in found.words


def test_a_moved_address_is_told_and_is_not_the_only_reason() -> None:
    made = world(PARTNER)
    (found,) = absences(made, kind("shop"), intent(made, kind("shop"), "api.example.com", "192.0.2.99", 443))
    assert not found.strong
    assert "192.0.2.10" in found.words
    assert "192.0.2.99" in found.words


def test_a_refused_object_that_meant_the_host_comes_first() -> None:
    ref = Ref("ServiceEntry", "shop", "hooks")
    refused = LeftOut(ref, ("*.hooks.example.com",), "spec.resolution: …")
    assert why("team.hooks.example.com", left_out=(refused,)) == [f"{ref} spec"]
    assert why("team.other.example.com", left_out=(refused,)) == []


def test_host_headers_stand_for_a_service_in_its_short_forms_too() -> None:
    services = world(FRONT, PEERS, WIDE, pod("find/search-1", "10.8.0.9")).services
    front, search, wide = (
        next(s for s in services.values() if s.host.startswith(start)) for start in ("front", "search", "*")
    )
    assert declares(front, "front.web", "cluster.local")
    assert not declares(front, "front.shop", "cluster.local")
    assert declares(search, "search-1.search.find", "cluster.local")
    assert declares(wide, "x.example.com", "cluster.local")
