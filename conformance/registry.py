"""ServiceEntry and WorkloadEntry objects as services, endpoints and workloads of the registry."""

from collections.abc import Iterator
from pathlib import Path

from conformance import difference
from conformance.suite import Json, Outcome, cases, judged
from tidegate.api.decode import stored
from tidegate.registry import serviceentry
from tidegate.registry.kubernetes import workload_endpoint
from tidegate.registry.model import UNSPECIFIED, Endpoint, Labels, Resolution, Service, ServiceKey, Workload
from tidegate.registry.workloads import entry_workload

_RESOLUTIONS = {
    Resolution.PASSTHROUGH: "Passthrough",
    Resolution.CLIENT_SIDE: "ClientSide",
    Resolution.DNS: "DNS",
    Resolution.DNS_ROUND_ROBIN: "DNSRoundRobin",
    Resolution.DYNAMIC_DNS: "DynamicDNS",
}
_DISTRIBUTIONS = {"": "any", "PreferClose": "prefer_same_zone", "PreferSameZone": "prefer_same_zone"}
_CANONICAL = "service.istio.io/canonical"
_NETWORK = "topology.istio.io/network"


def judge(folder: Path) -> Iterator[Outcome]:
    for name, one in (("services.json", _services), ("instances.json", _instances), ("workload.json", _workload)):
        yield from judged(cases(folder / name), lambda c: str(c["name"]), one)


def compact(value: Json) -> Json:
    """Without what the cases leave out: empty texts, lists and nulls."""
    return {k: v for k, v in value.items() if v not in ("", None, [], {})}


def _merged(case: Json, host: str) -> serviceentry.Merged:
    entry = stored(case["service_entry"])
    key = ServiceKey(entry.ref.namespace, host)
    return serviceentry.merge(key, [entry], case.get("namespace_annotations") or {})


def _services(case: Json) -> str:
    made = []
    for host in stored(case["service_entry"]).spec.hosts:
        service = _merged(case, host).service
        made += [_described(service, a) for a in service.addresses or (UNSPECIFIED,)]
    expected = [dict(s) for s in case["services"]]
    if case["canonical_service_for_mesh_external"]:
        expected = [_without_canonical_labels(s) for s in expected]
    return difference.of(expected, made)


def _without_canonical_labels(service: Json) -> Json:
    """An option of istiod, off by default, that this registry does not have."""
    labels = {k: v for k, v in service.get("labels", {}).items() if not k.startswith(_CANONICAL)}
    return compact({**service, "labels": labels})


def _described(service: Service, address: str) -> Json:
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


def _instances(case: Json) -> str:
    selected: dict[Labels, list[Workload]] = {}
    found = serviceentry.endpoints(_merged(case, case["service"]), selected, case["cluster"])
    return difference.of([compact(i["endpoint"]) for i in case["instances"]], [_endpoint(e) for e in found])


def _endpoint(endpoint: Endpoint) -> Json:
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
        namespace = endpoint.workload_namespace
        found["service_account"] = f"spiffe://cluster.local/ns/{namespace}/sa/{endpoint.service_account}"
    return compact(found)


def _workload(case: Json) -> str:
    raw = case["workload_entry"]
    raw["metadata"].setdefault("name", "")
    workload = entry_workload(stored(raw))
    if workload is None:
        return "the WorkloadEntry makes no workload"
    endpoint = workload_endpoint(workload, workload.addresses[0], 0, "", case["cluster"])
    given = case["workload"]["endpoint"]
    wanted = compact({k: v for k, v in given.items() if k not in ("cluster", "network")})
    if case["network"]:  # what the control plane found out by the address, which no label tells here
        wanted["labels"].pop(_NETWORK)
    expected = {"endpoint": wanted, "ports": case["workload"].get("ports", {}), "network": given.get("network", "")}
    made = {"endpoint": _endpoint(endpoint), "ports": dict(workload.ports), "network": endpoint.network}
    return difference.of(expected, made)
