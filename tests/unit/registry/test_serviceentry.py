"""ServiceEntries: services, merging, endpoints."""

from typing import Any

import pytest

from tidegate.api.decode import stored
from tidegate.api.objects import Object, Ref
from tidegate.registry import serviceentry
from tidegate.registry.model import Endpoint, ServiceKey, Workload

KEY = ServiceKey("shop", "a.example")


def entry(name: str = "e", status: Any = None, labels: Any = None, **spec: Any) -> Object[Any]:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}]
    meta = {"name": name, "namespace": "shop", "labels": labels or {}}
    raw = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "status": status or {}}
    return stored({**raw, "spec": {"hosts": ["a.example"], "ports": ports, "resolution": "STATIC", **spec}})


def endpoints(*entries: Object[Any], workloads: tuple[Workload, ...] = (), key: ServiceKey = KEY) -> list[Endpoint]:
    chosen = {serviceentry.selector_of(e): workloads for e in entries}
    return list(serviceentry.endpoints(serviceentry.merge(key, entries, {}), chosen, "Kubernetes"))


def test_addresses_of_one_host_stay_together_and_a_block_of_one_is_an_address() -> None:
    made = serviceentry.merge(KEY, [entry(addresses=["10.1.0.0/16", "10.2.0.1/32", "nonsense"])], {})
    assert made.service.addresses == ("10.1.0.0/16", "10.2.0.1")
    assert "'nonsense' is left out" in made.notes[0][1]


@pytest.mark.parametrize(
    ("spec", "labels", "expected"),
    [
        ({}, {}, ("240.240.0.1", "2001:2::1")),
        ({"addresses": ["10.0.0.1"]}, {}, ()),
        ({"resolution": "NONE"}, {}, ()),
        ({}, {"networking.istio.io/enable-autoallocate-ip": "false"}, ()),
    ],
)
def test_allocated_addresses_count_while_they_apply(spec: Any, labels: Any, expected: tuple[str, ...]) -> None:
    values = (("240.240.0.1", "a.example"), ("240.240.0.2", "b.example"), ("2001:2::1", "a.example"))
    status = {"addresses": [{"value": value, "host": host} for value, host in values]}
    assert serviceentry.merge(KEY, [entry(status=status, labels=labels, **spec)], {}).service.auto_addresses == expected


def test_the_port_of_an_endpoint_is_its_own_then_the_target_then_the_services() -> None:
    found = endpoints(
        entry(
            ports=[{"number": 80, "name": "http", "targetPort": 8080}, {"number": 81, "name": "tcp"}],
            endpoints=[{"address": "1.1.1.1", "ports": {"http": 9000}}, {"address": "unix:///run/s"}],
        )
    )
    assert [(e.address, e.port) for e in found] == [
        ("1.1.1.1", 9000),
        ("1.1.1.1", 81),
        ("unix:///run/s", 0),
        ("unix:///run/s", 0),
    ]
    assert [e.workload_name for e in found] == ["e-0", "e-0", "e-1", "e-1"]
    assert found[2].source_path == "spec.endpoints[1]"


def test_a_host_that_dns_resolves_is_its_own_endpoint_but_for_a_wildcard() -> None:
    [found] = endpoints(entry(resolution="DNS"))
    assert (found.address, found.port, found.workload_name) == ("a.example", 8080, "e")
    assert endpoints(entry(hosts=["*.example"], resolution="DNS"), key=ServiceKey("shop", "*.example")) == []
    assert endpoints(entry(resolution="NONE")) == []


def test_host_names_are_endpoints_only_where_dns_resolves() -> None:
    by_name = [{"address": "b.example"}, {"address": "1.1.1.1"}]
    assert [e.address for e in endpoints(entry(endpoints=by_name))] == ["1.1.1.1"]
    assert [e.address for e in endpoints(entry(resolution="DNS", endpoints=by_name))] == ["b.example", "1.1.1.1"]
    assert [e.address for e in endpoints(entry(resolution="DNS_ROUND_ROBIN", endpoints=by_name))] == ["b.example"]


def test_selected_workloads_that_are_ready_pods_after_entries_of_the_same_place() -> None:
    def workload(kind: str, name: str, address: str, ready: bool = True) -> Workload:
        return Workload(Ref(kind, "shop", name), (address,), (("app", "x"),), ready=ready)

    found = endpoints(
        entry(workloadSelector={"labels": {"app": "x"}}),
        workloads=(
            workload("Pod", "p1", "10.0.0.1"),
            workload("Pod", "p2", "10.0.0.2"),
            workload("Pod", "p3", "10.0.0.3", ready=False),
            workload("WorkloadEntry", "w1", "10.0.0.1"),
            workload("WorkloadEntry", "w2", "vm.example"),
        ),
    )
    assert [(str(e.source), e.port) for e in found] == [("WorkloadEntry/shop/w1", 8080), ("Pod/shop/p2", 8080)]


def test_entries_of_one_host_that_differ_share_endpoints_not_ports() -> None:
    other_port = [{"number": 81, "name": "more"}, {"number": 80, "name": "http"}]
    old, new = (
        entry("old", endpoints=[{"address": "1.1.1.1"}]),
        {"ports": other_port, "endpoints": [{"address": "2.2.2.2"}]},
    )
    same = serviceentry.merge(KEY, [old, entry("new", **new)], {})
    assert [p.number for p in same.service.ports] == [80, 81]
    exported = serviceentry.merge(KEY, [old, entry("new", exportTo=["."], **new)], {})
    assert [p.number for p in exported.service.ports] == [80]
    assert "exportTo differ" in exported.notes[0][1]
    assert [e.address for e in endpoints(old, entry("new", exportTo=["."], **new))] == ["1.1.1.1", "2.2.2.2"]
    other = serviceentry.merge(KEY, [old, entry("new", resolution="DNS")], {})
    assert [e.ref.name for e in other.entries] == ["old"]
    assert "another resolution" in other.notes[0][1]


def test_ports_of_one_name_in_several_entries_keep_their_own_endpoints_where_dns_resolves() -> None:
    """Two entries of one host may both call a port ``http``, one 80 and one 8080."""
    other = entry("f", resolution="DNS", ports=[{"number": 8080, "name": "http", "protocol": "HTTP"}])
    found = endpoints(entry(resolution="DNS"), other)
    assert [(e.port_name, e.service_port, e.port) for e in found] == [("http", 80, 8080), ("http", 8080, 8080)]
    assert {e.service_port for e in endpoints(entry(endpoints=[{"address": "10.0.0.1"}]))} == {0}


def test_ports_of_entries_that_share_a_host_are_served_at_their_own_addresses() -> None:
    given = []
    for number in (1, 2):
        status = {"addresses": [{"value": f"240.240.0.{number}", "host": "a.example"}]}
        ports = [{"number": number, "name": f"p{number}", "protocol": "TCP"}]
        given.append(entry(f"e{number}", status=status, ports=ports))
    made = serviceentry.merge(KEY, given, {}).service
    assert [p.number for p in made.ports] == [1, 2] and made.auto_addresses == ("240.240.0.1", "240.240.0.2")
    assert [[p.auto_addresses for p in made.parts_of(number)] for number in (1, 2)] == [
        [("240.240.0.1",)],
        [("240.240.0.2",)],
    ]


def test_entries_with_equal_addresses_serve_all_ports_there() -> None:
    alike = [entry(f"e{n}", addresses=["10.0.0.1"], ports=[{"number": n, "name": f"p{n}"}]) for n in (1, 2)]
    made = serviceentry.merge(KEY, alike, {}).service
    assert made.addresses == ("10.0.0.1",) and made.parts == () and [p.number for p in made.ports] == [1, 2]
