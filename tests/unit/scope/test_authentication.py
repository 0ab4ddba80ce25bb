"""Mutual TLS of workloads: which PeerAuthentication counts."""

from typing import Any

import msgspec

from tests.unit.envoy import given
from tests.worlds import made, world
from tidegate.api.objects import Ref
from tidegate.api.security import MutualTLSMode as Mode
from tidegate.registry.model import labels_of
from tidegate.scope.authentication import PeerModes, namespace_mode, peer_modes, reached_plainly, refuses_by_default

PAY = labels_of({"app": "pay"})


def peer(where: str, mode: str = "", *, day: int = 1, app: str = "", **ports: str) -> Any:
    spec: dict[str, Any] = {"mtls": {"mode": mode}} if mode else {}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    if ports:
        spec["portLevelMtls"] = {port.removeprefix("p"): {"mode": each} for port, each in ports.items()}
    return made("PeerAuthentication", where, day=day, **spec)


def modes(*objects: Any, namespace: str = "shop") -> PeerModes:
    return peer_modes(world(*objects), namespace, PAY)


def test_permissive_where_nobody_says() -> None:
    assert modes() == PeerModes(Mode.PERMISSIVE)
    assert modes(peer("shop/a", "UNSET")).mode is Mode.PERMISSIVE


def test_the_narrower_level_counts() -> None:
    wide, own, chosen = peer("istio-system/m", "STRICT"), peer("shop/n", "DISABLE"), peer("shop/w", "STRICT", app="pay")
    assert modes(wide).mode is Mode.STRICT
    assert modes(wide, own).mode is Mode.DISABLE
    assert modes(wide, own, chosen) == PeerModes(Mode.STRICT, (), Ref("PeerAuthentication", "shop", "w"))
    assert modes(wide, own, peer("shop/w", "STRICT", app="other")).mode is Mode.DISABLE


def test_an_unset_level_leaves_it_to_the_wider_one() -> None:
    wide = peer("istio-system/m", "STRICT")
    found = modes(wide, peer("shop/n", "UNSET"), peer("shop/w", app="pay"))
    assert (found.mode, found.source) == (Mode.STRICT, wide.ref)


def test_of_one_level_the_oldest_counts() -> None:
    assert modes(peer("shop/new", "STRICT", day=3), peer("shop/old", "DISABLE", day=2)).mode is Mode.DISABLE
    both = [peer("shop/new", "STRICT", day=3, app="pay"), peer("shop/old", "DISABLE", day=2, app="pay")]
    assert modes(*both).mode is Mode.DISABLE


def test_selectors_of_the_root_namespace_choose_nobody() -> None:
    assert modes(peer("istio-system/w", "STRICT", app="pay")).mode is Mode.PERMISSIVE
    assert modes(peer("istio-system/w", "STRICT", app="pay"), namespace="istio-system").mode is Mode.PERMISSIVE


def test_ports_have_modes_of_their_own() -> None:
    found = modes(peer("shop/n", "STRICT"), peer("shop/w", app="pay", p9000="UNSET", p8080="DISABLE"))
    assert found.ports == ((8080, Mode.DISABLE), (9000, Mode.STRICT))
    assert (found.of(8080), found.of(9000), found.of(1)) == (Mode.DISABLE, Mode.STRICT, Mode.STRICT)


def test_who_demands_mutual_tls() -> None:
    wide, chosen = peer("shop/n", "STRICT"), peer("shop/w", "PERMISSIVE", app="pay", p8080="STRICT")
    assert modes(wide).strict == (wide.ref,)
    assert modes(wide, chosen).strict == (chosen.ref,)
    assert modes(peer("shop/n", "DISABLE")).strict == ()


def test_a_namespace_may_switch_it_off() -> None:
    found = world(peer("shop/n", "DISABLE"), peer("shop/w", "STRICT", app="pay"))
    assert namespace_mode(found, "shop").mode is Mode.DISABLE
    assert refuses_by_default(found, "shop")
    assert not refuses_by_default(found, "else")


def test_endpoints_are_reached_as_their_workload_demands() -> None:
    found = world(peer("shop/w", app="pay", p8080="DISABLE"))
    here = {"labels": {"app": "pay"}, "workload_namespace": "shop", "tls_mode": "istio"}
    meshed = (given.endpoint("10.0.0.1", 8080, **here), given.endpoint("10.0.0.1", 9000, **here))
    other = given.endpoint("10.0.0.2", 8080, **{**here, "labels": {"app": "other"}})
    plain = given.endpoint("10.0.0.3", 8080, **{**here, "tls_mode": "disabled"})
    expected = (msgspec.structs.replace(meshed[0], tls_mode="disabled"), meshed[1], other, plain)
    assert reached_plainly(found, (*meshed, other, plain)) == expected
    assert reached_plainly(world(), (*meshed, other, plain)) == (*meshed, other, plain)
