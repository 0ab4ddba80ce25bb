"""Services, endpoints and workloads against the shared cases, and against what istiod told proxies."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.api.decode import stored
from tidegate.api.kinds import KINDS
from tidegate.api.objects import Ref
from tidegate.kit.naming import parse_cluster
from tidegate.registry import serviceentry
from tidegate.registry.kubernetes import workload_endpoint
from tidegate.registry.model import Endpoint, Labels, Resolution, Service, ServiceKey, Workload, labels_of
from tidegate.registry.workloads import entry_workload
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Event, Verb

pytestmark = pytest.mark.conformance

Json = dict[str, Any]

FLOOR = {"services.json": 28, "instances.json": 9, "workload.json": 8}
"""Cases that pass. It only rises."""

GOLDEN_TARGETS, GOLDEN_CLUSTERS = 101, 320
"""Proxies and EDS clusters of the generated configurations that agree. They only rise."""

_RESOLUTIONS = {
    Resolution.PASSTHROUGH: "Passthrough",
    Resolution.CLIENT_SIDE: "ClientSide",
    Resolution.DNS: "DNS",
    Resolution.DNS_ROUND_ROBIN: "DNSRoundRobin",
    Resolution.DYNAMIC_DNS: "DynamicDNS",
}
_DISTRIBUTIONS = {"": "any", "PreferClose": "prefer_same_zone", "PreferSameZone": "prefer_same_zone"}
_UNSPECIFIED = "0.0.0.0"


def cases(shared: Path, name: str) -> list[Json]:
    folder = shared / "conformance" / "serviceregistry"
    if not folder.is_dir():
        pytest.skip("the shared cases have no serviceregistry folder")
    found: list[Json] = json.loads((folder / name).read_text())
    assert len(found) >= FLOOR[name]
    return found


def compact(value: Json) -> Json:
    """Without what the cases leave out: empty texts, lists and nulls."""
    return {k: v for k, v in value.items() if v not in ("", None, [], {})}


def merged(case: Json, host: str) -> serviceentry.Merged:
    entry = stored(case["service_entry"])
    key = ServiceKey(entry.ref.namespace, host)
    return serviceentry.merge(key, [entry], case.get("namespace_annotations") or {})


def described(service: Service, address: str) -> Json:
    """One host at one of its addresses, in the cases' words."""
    autos = service.auto_addresses
    return compact(
        {
            "hostname": service.host,
            "name": service.host,
            "namespace": service.namespace,
            "default_address": address,
            "auto_ipv4": next((a for a in autos if ":" not in a), ""),
            "auto_ipv6": next((a for a in autos if ":" in a), ""),
            "mesh_external": service.external,
            "registry": service.registry.value,
            "resolution": _RESOLUTIONS[service.resolution],
            "ports": [{"name": p.name, "port": p.number, "protocol": p.protocol.value} for p in service.ports],
            "labels": dict(service.labels),
            "label_selectors": dict(service.selector),
            "service_accounts": list(service.subject_alt_names),
            "export_to": sorted(service.export_to or ()),
            "traffic_distribution": _DISTRIBUTIONS.get(service.traffic_distribution, "prefer_same_node"),
        }
    )


def test_services_of_a_service_entry(shared: Path) -> None:
    for case in cases(shared, "services.json"):
        entry = stored(case["service_entry"])
        made = []
        for host in entry.spec.hosts:
            service = merged(case, host).service
            made += [described(service, a) for a in service.addresses or (_UNSPECIFIED,)]
        expected = [dict(s) for s in case["services"]]
        if case["canonical_service_for_mesh_external"]:
            expected = [without_canonical_labels(s) for s in expected]
        assert made == expected, case["name"]


def without_canonical_labels(service: Json) -> Json:
    """An option of istiod, off by default, that this registry does not have."""
    labels = {k: v for k, v in service.get("labels", {}).items() if not k.startswith("service.istio.io/canonical")}
    return compact({**service, "labels": labels})


def endpoint_json(endpoint: Endpoint) -> Json:
    found = {
        "addresses": [endpoint.address.removeprefix("unix://")],
        "labels": dict(endpoint.labels),
        "locality": endpoint.locality,
        "namespace": endpoint.workload_namespace,
        "port": endpoint.port,
        "port_name": endpoint.port_name,
        "tls_mode": endpoint.tls_mode,
        "weight": endpoint.weight,
        "workload": endpoint.workload_name,
    }
    if endpoint.service_account:
        found["service_account"] = (
            f"spiffe://cluster.local/ns/{endpoint.workload_namespace}/sa/{endpoint.service_account}"
        )
    return compact(found)


def test_endpoints_of_a_service_entry(shared: Path) -> None:
    for case in cases(shared, "instances.json"):
        made = merged(case, case["service"])
        selected: dict[Labels, list[Workload]] = {}
        found = serviceentry.endpoints(made, selected, case["cluster"])
        expected = [compact(i["endpoint"]) for i in case["instances"]]
        assert [endpoint_json(e) for e in found] == expected, case["name"]


def test_workload_entries_as_endpoints(shared: Path) -> None:
    for case in cases(shared, "workload.json"):
        raw = case["workload_entry"]
        raw["metadata"].setdefault("name", "")
        workload = entry_workload(stored(raw))
        assert workload is not None
        endpoint = workload_endpoint(workload, workload.addresses[0], 0, "", case["cluster"])
        expected = case["workload"]
        made = endpoint_json(endpoint)
        wanted = compact({k: v for k, v in expected["endpoint"].items() if k not in ("cluster", "network")})
        if case["network"]:
            wanted["labels"].pop("topology.istio.io/network")
        assert made == wanted, case["name"]
        assert dict(workload.ports) == expected.get("ports", {}), case["name"]
        assert endpoint.network == expected["endpoint"].get("network", ""), case["name"]


def golden_world(folder: Path) -> Snapshot:
    documents = [d for d in yaml.safe_load_all((folder / "config.yaml").read_text()) if d and d["kind"] in KINDS]
    mesh = folder / "mesh.yaml"
    if mesh.exists():
        meta = {"name": "istio", "namespace": "istio-system"}
        body = {"mesh": mesh.read_text()}
        documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": body})
    events = []
    for document in documents:
        if document["kind"] not in ("Namespace", "Node"):
            document["metadata"].setdefault("namespace", "default")
        obj = stored(document)
        events.append(Event(Verb.PUT, obj.ref, obj))
    return Snapshot.empty().apply(events)[0]


def golden_proxies(shared: Path) -> list[tuple[str, Snapshot, Json, Json]]:
    found = []
    for folder in sorted((shared / "xds-goldens").glob("*/config.yaml")):
        world = golden_world(folder.parent)
        for proxy in json.loads((folder.parent / "proxies.json").read_text()):
            expected = json.loads((folder.parent / "expected" / f"{proxy['name']}.json").read_text())
            found.append((folder.parent.name, world, proxy, expected))
    if not found:
        pytest.skip("the shared folder has no generated configurations")
    return found


def test_the_services_that_istiod_says_a_proxy_serves(shared: Path) -> None:
    passed = 0
    for scenario, world, proxy, expected in golden_proxies(shared):
        address = (proxy.get("ips") or [proxy["ip"]])[0]
        refs = world.by_address.get(address, ())
        alone = Ref("Pod", proxy.get("namespace", "default"), proxy["name"])
        workload = world.workloads[refs[0]] if refs else Workload(alone, (address,), labels_of(proxy.get("labels", {})))
        made = {f"{t.service.host}:{t.port.number}->{t.endpoint_port}" for t in world.targets(workload)}
        assert made == set(expected["resolved"]["serviceTargets"]), (scenario, proxy["name"])
        passed += 1
    assert passed >= GOLDEN_TARGETS


SHAPED_ELSEWHERE = {"dual-stack", "dr-locality-lb"}
"""Scenarios whose endpoints the load assignment's builder groups or drops."""


def test_the_endpoints_that_istiod_sends(shared: Path) -> None:
    passed = 0
    for scenario, world, proxy, expected in golden_proxies(shared):
        for assignment in expected["eds"] if scenario not in SHAPED_ELSEWHERE else ():
            cluster = parse_cluster(assignment["clusterName"])
            if cluster is None or cluster.subset or not assignment["clusterName"].startswith("outbound|"):
                continue
            keys = world.by_host[cluster.host.lower()]
            own = [k for k in keys if k.namespace == proxy.get("namespace", "default")] or keys
            service = world.services[own[0]]
            port = service.port(cluster.port)
            assert port is not None, (scenario, cluster)
            made = {told(e) for e in world.endpoints[service.key] if e.port_name == port.name}
            assert made == expected_endpoints(assignment), (scenario, proxy["name"], cluster)
            passed += 1
    assert passed >= GOLDEN_CLUSTERS


def told(endpoint: Endpoint) -> tuple[Any, ...]:
    mtls = endpoint.tls_mode == "istio"
    place = (endpoint.address.removeprefix("unix://"), endpoint.port)
    return (*place, endpoint.weight or 1, endpoint.locality, endpoint.workload_name, mtls)


def expected_endpoints(assignment: Json) -> set[tuple[Any, ...]]:
    found = set()
    for group in assignment.get("endpoints", ()):
        locality = "/".join(group.get("locality", {}).values())
        for item in group.get("lbEndpoints", ()):
            address = item["endpoint"]["address"]
            socket = address.get("socketAddress") or {"address": address.get("pipe", {}).get("path"), "portValue": 0}
            metadata = item.get("metadata", {}).get("filterMetadata", {})
            workload = metadata.get("istio", {}).get("workload", "").split(";")[0]
            mtls = metadata.get("envoy.transport_socket_match", {}).get("tlsMode") == "istio"
            weight = item.get("loadBalancingWeight", 1)
            found.add((socket["address"], socket["portValue"], weight, locality, workload, mtls))
    return found


CHECKED = {"ServiceEntry", "WorkloadEntry", "Sidecar", "VirtualService", "DestinationRule"}


def test_refused_objects_are_left_out_and_named(shared: Path) -> None:
    for scenario, world, _, expected in golden_proxies(shared):
        refused = {Ref(r["kind"], r["namespace"], r["name"]) for r in expected["rejected"] if r["kind"] in CHECKED}
        left_out = {ref for ref, texts in world.problems().items() if any(t.startswith("left out:") for t in texts)}
        assert left_out == refused, scenario
