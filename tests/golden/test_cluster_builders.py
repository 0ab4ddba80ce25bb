"""The cluster, endpoint and inbound builders against recorded output, their inputs made straight from the scenario.

Nothing but the builders stands between input and output here: services and rules are read from the scenario's
documents by a few lines that know only what these scenarios use.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from conformance.recorded.accepted import unaccepted
from conformance.recorded.compare import compare_resources
from tests.unit.envoy import given
from tidegate.api.networking import LoadBalancerSettingsSimple
from tidegate.api.objects import Ref
from tidegate.envoy import clusters, endpoints, inbound, special
from tidegate.envoy.inputs import ClusterInput, EndpointsInput
from tidegate.envoy.policy import effective
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, Resource
from tidegate.kit.naming import parse_cluster
from tidegate.registry.model import Endpoint, Port, Service, ServiceKey, ServiceTarget
from tidegate.registry.protocols import from_name
from tidegate.scope.proxy import ProxyKind

SCENARIOS = ("dr-load-balancers", "dr-consistent-hash", "dr-pool-and-outlier", "dr-subsets-and-ports", "dr-locality-lb")


@dataclass
class Documents:
    """The objects of one scenario by kind."""

    kinds: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, folder: Path) -> "Documents":
        kinds: dict[str, list[dict[str, Any]]] = {}
        for raw in yaml.load_all((folder / "config.yaml").read_text(), Loader=yaml.CSafeLoader):
            kinds.setdefault(raw["kind"], []).append(raw)
        return cls(kinds)

    def services(self) -> dict[str, Service]:
        found = {}
        for raw in self.kinds["Service"]:
            name, namespace = raw["metadata"]["name"], raw["metadata"]["namespace"]
            host = f"{name}.{namespace}.svc.cluster.local"
            ports = tuple(
                Port(p["port"], p["name"], from_name(p["name"]), p["targetPort"]) for p in raw["spec"]["ports"]
            )
            found[host] = given.service(host, *ports, name=name, key=ServiceKey(namespace, host))
        return found

    def rule(self, service: Service) -> Any:
        for raw in self.kinds.get("DestinationRule", ()):
            if raw["spec"]["host"] in (service.name, service.host):
                spec = raw["spec"]
                made = given.rule(spec.get("trafficPolicy"), spec.get("subsets", ()))
                made.ref = Ref("DestinationRule", "shop", raw["metadata"]["name"])
                return made
        return None

    def endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        pods = {p["metadata"]["name"]: p for p in self.kinds["Pod"]}
        places = {
            n["metadata"]["name"]: "/".join(v for k, v in sorted(n["metadata"].get("labels", {}).items()))
            for n in self.kinds.get("Node", ())
        }
        found = []
        for part in self.kinds["EndpointSlice"]:
            if part["metadata"]["labels"]["kubernetes.io/service-name"] != service.name:
                continue
            for member in part["endpoints"]:
                pod = member["targetRef"]["name"]
                base = given.endpoint(
                    member["addresses"][0],
                    labels=pods[pod]["metadata"]["labels"],
                    locality=places.get(member["nodeName"], ""),
                    workload_name=pod,
                    workload_namespace="shop",
                    service_account=pods[pod]["spec"]["serviceAccountName"],
                    source=Ref("Pod", "shop", pod),
                )
                found += [msgspec.structs.replace(base, port=p["port"], port_name=p["name"]) for p in part["ports"]]
        return tuple(found)


def passes_through(rule: Any, port: int, subset: str) -> bool:
    """Callers go where they were going: here to workloads that do not all take mutual TLS."""
    balancer = effective(rule, port, subset).load_balancer
    return balancer is not None and balancer.simple is LoadBalancerSettingsSimple.PASSTHROUGH


def recorded(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "expected" / f"{name}.json").read_text())
    return found


CLIENT = given.proxy(mtls=True, locality="eu-west/eu-west-1a", labels=(("app", "checkout"), ("rack", "r1")))


def inputs(documents: Documents, name: str, kind: ProxyKind) -> tuple[ClusterInput, EndpointsInput] | None:
    """What the builders get for an outbound cluster; None for hosts of ServiceEntries."""
    parsed = parse_cluster(name)
    service = documents.services().get(parsed.host) if parsed else None
    if parsed is None or service is None or parsed.direction != "outbound":
        return None
    port = service.port(parsed.port)
    assert port is not None
    members = documents.endpoints(service)
    accounts = {f"spiffe://cluster.local/ns/shop/sa/{e.service_account}" for e in members}
    common: dict[str, Any] = {
        "service": service,
        "port": port,
        "subset": parsed.subset,
        "rule": documents.rule(service),
        "defaults": given.defaults(),
        "proxy": kind,
    }
    return (
        ClusterInput(
            peers=tuple(sorted(accounts)), plain=passes_through(common["rule"], port.number, parsed.subset), **common
        ),
        EndpointsInput(endpoints=members, **common),
    )


@pytest.mark.conformance
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_clusters_and_endpoints(scenario: str, shared: Path) -> None:
    folder = shared / "xds-goldens" / scenario
    documents, expected = Documents.read(folder), recorded(folder, "checkout")
    wanted, made = [], []
    for raw in expected["cds"]:
        if (item := inputs(documents, raw["name"], CLIENT)) is not None:
            wanted.append(raw)
            made.append(clusters.build(item[0]))
    placed = [item[1] for raw in expected["eds"] if (item := inputs(documents, raw["clusterName"], CLIENT))]
    assert wanted
    assert unaccepted(compare_resources(wanted, by_name(made), CLUSTER)) == []
    assert unaccepted(compare_resources(expected["eds"], by_name([endpoints.build(i) for i in placed]), ENDPOINT)) == []


def by_name(made: list[Resource | None]) -> dict[str, bytes]:
    return {each.name: each.body for each in made if each is not None}


@pytest.mark.conformance
def test_inbound_ports(shared: Path) -> None:
    folder = shared / "xds-goldens" / "inbound-ports"
    services, expected = Documents.read(folder).services(), recorded(folder, "orders-0")
    order = [text.partition(":")[0] for text in expected["resolved"]["serviceTargets"]]
    targets = [
        ServiceTarget(service=services[host], port=port, endpoint_port=port.target_port)
        for host in dict.fromkeys(order)
        for port in services[host].ports
    ]
    item = given.inbound(*targets, proxy=given.proxy(mtls=True))
    listener = inbound.virtual_inbound(item)
    wanted = [raw for raw in expected["cds"] if not raw["name"].startswith("outbound")]
    made = [*inbound.inbound_clusters(item), special.inbound_passthrough(given.defaults(), item.proxy)]
    made += [special.black_hole(given.defaults()), special.passthrough(given.defaults(), item.proxy)]
    assert unaccepted(compare_resources(wanted, by_name([*made]), CLUSTER)) == []
    captured = [raw for raw in expected["lds"] if raw["name"] == "virtualInbound"]
    assert unaccepted(compare_resources(captured, by_name([listener]), LISTENER)) == []
