"""Applying changes one by one, or in batches, gives the world that building from scratch gives; at the cost of the
change, and reporting just what differs."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.api.decode import stored
from tidegate.api.objects import Ref
from tidegate.snapshot.record import State
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.tables import _MAPS, _VALUES
from tidegate.snapshot.world import Changed, Event, Verb

Json = dict[str, Any]

ISTIO = "networking.istio.io/v1"
TIMES = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
SERVICE_HOST = "s1.a.svc.cluster.local"
HOSTS = ("h1.ex", "h2.ex", "*.ex", SERVICE_HOST)
BALLAST = 60
ALL = Ref("Namespace", "", "z")
"""Where the ballast is."""

pick = st.sampled_from
namespaces = pick(("a",) * 7 + ("b",))
labels = pick(({"app": "x"}, {"app": "y"}, {"app": "x", "version": "v1"}, {}))
addresses = pick(("10.0.0.1", "10.0.0.2", "10.0.0.3"))


@st.composite
def metadata(draw: Any, *names: str, **more: Any) -> Json:
    meta = {"name": draw(pick(names)), "namespace": draw(namespaces), "creationTimestamp": draw(pick(TIMES))}
    return {**meta, **{key: draw(value) for key, value in more.items()}}


def kind(api: str, name: str, meta: Any, **body: Any) -> Any:
    return st.fixed_dictionaries({"apiVersion": st.just(api), "kind": st.just(name), "metadata": meta, **body})


def cluster_scoped(name: str, **meta: Any) -> Any:
    return st.fixed_dictionaries({"name": st.just(name), **meta})


services = kind(
    "v1",
    "Service",
    metadata("s1", "s2"),
    spec=st.fixed_dictionaries(
        {
            "clusterIP": pick(("10.96.0.1", "None", "")),
            "selector": labels,
            "ports": pick(
                (
                    [{"name": "http", "port": 80, "targetPort": 8080}],
                    [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "tcp-db", "port": 5432}],
                )
            ),
        }
    ),
)
targets = st.fixed_dictionaries({"kind": st.just("Pod"), "name": pick(("p1", "p2"))})
slice_endpoint = st.fixed_dictionaries(
    {
        "addresses": st.tuples(addresses),
        "conditions": pick(({"ready": True}, {"ready": False}, {})),
        "targetRef": targets | targets | st.none(),
    }
)
slices = kind(
    "discovery.k8s.io/v1",
    "EndpointSlice",
    metadata("s1-a", "s1-b", labels=pick([{"kubernetes.io/service-name": name} for name in ("s1", "s1", "s1", "s2")])),
    addressType=st.just("IPv4"),
    ports=pick([[{"name": name, "port": 8080}] for name in ("http", "http", "tcp-db")]),
    endpoints=st.lists(slice_endpoint, min_size=1, max_size=2),
)
legacy = kind(
    "v1",
    "Endpoints",
    metadata("s1", "s2"),
    subsets=pick(([], [{"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "http", "port": 8081}]}])),
)
pods = kind(
    "v1",
    "Pod",
    metadata("p1", "p2", labels=labels),
    spec=pick(({"nodeName": "n1"}, {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 9000}]}]})),
    status=st.fixed_dictionaries(
        {
            "phase": pick(("Running", "Running", "Running", "Succeeded")),
            "podIP": addresses,
            "conditions": pick(([], [{"type": "Ready", "status": "True"}])),
        }
    ),
)
nodes = kind("v1", "Node", cluster_scoped("n1", labels=pick(({}, {"topology.kubernetes.io/region": "north"}))))
spaces = kind(
    "v1",
    "Namespace",
    cluster_scoped(
        "a",
        labels=pick(({}, {"team": "one"})),
        annotations=pick(({}, {"networking.istio.io/traffic-distribution": "PreferClose"})),
    ),
)
inline = st.lists(st.fixed_dictionaries({"address": addresses}), min_size=1, max_size=2)
entry_spec = st.one_of(
    *(
        st.fixed_dictionaries(
            {
                "hosts": st.lists(pick(HOSTS), min_size=1, max_size=2, unique=True),
                "ports": pick(
                    (
                        [{"number": 80, "name": "http", "protocol": "HTTP"}],
                        [{"number": 81, "name": "tcp", "protocol": "TCP"}],
                    )
                ),
                "resolution": st.just(resolution),
                **more,
            }
        )
        for resolution, more in (
            ("STATIC", {"endpoints": inline}),
            ("STATIC", {"workloadSelector": pick(({"labels": {"app": "x"}}, {"labels": {"version": "v1"}}))}),
            ("NONE", {"exportTo": pick(([], ["."]))}),
            ("DNS", {}),
        )
    )
)
entries = kind(ISTIO, "ServiceEntry", metadata("e1", "e2"), spec=entry_spec)
workload_entries = kind(
    ISTIO,
    "WorkloadEntry",
    metadata("w1", "w2", labels=labels),
    spec=st.fixed_dictionaries({"address": addresses, "labels": labels, "ports": pick(({}, {"http": 8088}))}),
)
destination = pick(({"host": "s1"}, {"host": "h1.ex"}, {"host": SERVICE_HOST, "subset": "v1"}))
http = st.one_of(
    st.fixed_dictionaries({"route": st.tuples(st.fixed_dictionaries({"destination": destination}))}),
    st.fixed_dictionaries({"delegate": pick(({"name": "d1"}, {"name": "d1", "namespace": "b"}))}),
)
roots = kind(
    ISTIO,
    "VirtualService",
    metadata("v1", "v2"),
    spec=st.fixed_dictionaries(
        {
            "hosts": st.lists(pick(("s1", "h1.ex", "*.ex")), min_size=1, max_size=2, unique=True),
            "http": st.lists(http, min_size=1, max_size=2),
        }
    ),
)
delegates = kind(
    ISTIO,
    "VirtualService",
    metadata("d1"),
    spec=st.fixed_dictionaries(
        {
            "http": st.tuples(
                st.fixed_dictionaries({"route": st.tuples(st.fixed_dictionaries({"destination": destination}))})
            ),
            "exportTo": pick(([], ["."])),
        }
    ),
)
rules = kind(
    ISTIO,
    "DestinationRule",
    metadata("r1", "r2", "r3"),
    spec=st.fixed_dictionaries(
        {
            "host": pick(("s1", SERVICE_HOST, "h1.ex", "*.ex")),
            "subsets": pick(([], [{"name": "v1", "labels": {"version": "v1"}}])),
            "exportTo": pick(([], ["."], ["*"])),
        },
        optional={"workloadSelector": st.just({"matchLabels": {"app": "x"}})},
    ),
)
sidecars = kind(ISTIO, "Sidecar", metadata("c1"), spec=pick(({}, {"egress": [{"hosts": ["./*"]}]})))
meshes = kind(
    "v1",
    "ConfigMap",
    st.just({"name": "istio", "namespace": "istio-system"}),
    data=pick(
        (
            {"mesh": "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"},
            {"mesh": "defaultVirtualServiceExportTo: ['.']\ndefaultDestinationRuleExportTo: ['.']"},
            {},
        )
    ),
)
NETWORK = "topology.istio.io/network"
network_services = kind(
    "v1",
    "Service",
    metadata("s1", "s2", labels=pick(({}, {NETWORK: "n1"}, {NETWORK: "n2", "networking.istio.io/gatewayPort": "80"}))),
    spec=st.fixed_dictionaries(
        {
            "type": pick(("LoadBalancer", "ClusterIP")),
            "ports": pick(([{"name": "http", "port": 80}], [{"name": "tls", "port": 15443}])),
            "externalIPs": pick(([], ["198.51.100.1"])),
        }
    ),
    status=pick(({}, {"loadBalancer": {"ingress": [{"ip": "198.51.100.2"}, {"hostname": "lb.ex"}]}})),
)
node_gateways = kind(
    "v1",
    "Service",
    metadata(
        "s3",
        labels=st.just({NETWORK: "n1"}),
        annotations=pick(({}, {"traffic.istio.io/nodeSelector": '{"edge": "yes"}'})),
    ),
    spec=st.just({"type": "NodePort", "ports": [{"name": "tls", "port": 15443, "nodePort": 31443}]}),
)
edge_nodes = kind(
    "v1",
    "Node",
    cluster_scoped("n1", labels=pick(({}, {"edge": "yes"}))),
    status=pick(({}, {"addresses": [{"type": "ExternalIP", "address": "203.0.113.9"}]})),
)
system = kind("v1", "Namespace", cluster_scoped("istio-system", labels=pick(({}, {NETWORK: "n1"}))))
mesh_networks = kind(
    "v1",
    "ConfigMap",
    st.just({"name": "istio", "namespace": "istio-system"}),
    data=pick(
        (
            {},
            {"meshNetworks": "networks: {n3: {endpoints: [{fromCidr: 10.0.0.0/31}], gateways: [{port: 1}]}}"},
            {
                "meshNetworks": "networks: {n4: {endpoints: [{fromRegistry: Kubernetes}], gateways: [{port: 15443, "
                f"registryServiceName: {SERVICE_HOST}"
                "}]}}"
            },
            {"meshNetworks": "networks: {n5: {gateways: [{address: 192.0.2.7, port: 15443}]}}"},
        )
    ),
)
SELECTED = "discoverySelectors: [{matchLabels: {team: one}}]"
OTHERWISE = (
    "discoverySelectors: [{matchLabels: {team: one}}, {matchExpressions: [{key: team, operator: DoesNotExist}]}]"
)
CAPPED = (
    "serviceEntryVisibility: {applyToSidecars: true, policies: "
    "[{visibility: NAMESPACE, matchingRules: [{namespaceSelector: {matchLabels: {team: one}}}]}]}"
)
MORE_CAPPED = CAPPED + "\ndefaultServiceExportTo: ['.']\n" + SELECTED
selecting = kind(
    "v1",
    "ConfigMap",
    st.just({"name": "istio", "namespace": "istio-system"}),
    data=pick(
        ({"mesh": SELECTED}, {"mesh": SELECTED}, {"mesh": OTHERWISE}, {"mesh": CAPPED}, {"mesh": MORE_CAPPED}, {})
    ),
)
spaces_of_discovery = kind(
    "v1",
    "Namespace",
    st.fixed_dictionaries({"name": pick(("a", "a", "b", "z")), "labels": pick(({}, {"team": "one"}, {"team": "two"}))}),
)
ingresses = kind(
    "networking.k8s.io/v1",
    "Ingress",
    metadata("i1"),
    spec=pick(
        (
            {"ingressClassName": "istio", "defaultBackend": {"service": {"name": "s1", "port": {"number": 80}}}},
            {
                "ingressClassName": "istio",
                "rules": [
                    {
                        "host": "h1.ex",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "Prefix",
                                    "backend": {"service": {"name": "s1", "port": {"name": "http"}}},
                                }
                            ]
                        },
                    }
                ],
            },
        )
    ),
)
refused = kind(ISTIO, "VirtualService", metadata("v1"), spec=st.just({"hosts": ["h1.ex"], "http": [{}]}))
policies = kind(
    "security.istio.io/v1",
    "AuthorizationPolicy",
    metadata("p1"),
    spec=pick(
        ({}, {"rules": [{"from": [{"source": {"namespaces": ["a"]}}]}, {"to": [{"operation": {"ports": ["x"]}}]}]})
    ),
)
THEMES = {
    "discovery": st.one_of(
        *(selecting, selecting, spaces_of_discovery, spaces_of_discovery),
        *(services, slices, pods, entries, workload_entries, roots, refused, rules, sidecars, ingresses, policies),
    ),
    "networks": st.one_of(
        network_services, node_gateways, edge_nodes, system, mesh_networks, pods, workload_entries, entries, slices
    ),
    "kubernetes": st.one_of(services, slices, slices, legacy, pods, pods, nodes, spaces),
    "entries": st.one_of(entries, entries, workload_entries, pods, nodes, services, spaces),
    "routing": st.one_of(roots, roots, delegates, meshes),
    "rules": st.one_of(rules, rules, meshes),
    "all": st.one_of(
        services,
        slices,
        legacy,
        pods,
        nodes,
        spaces,
        entries,
        workload_entries,
        roots,
        delegates,
        rules,
        sidecars,
        meshes,
    ),
}
"""Kinds that depend on each other, so that short sequences meet the dependencies."""


def sequences(theme: str) -> Any:
    return st.lists(st.tuples(THEMES[theme], pick((True, True, True, False))), min_size=12, max_size=30)


def event(raw: Json, keep: bool) -> Event:
    obj = stored(raw)
    return Event(Verb.PUT, obj.ref, obj) if keep else Event(Verb.DELETE, obj.ref)


def ballast() -> Snapshot:
    """Objects that none of the changes concerns."""
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    found = []
    for n in range(BALLAST):
        spec = {"hosts": [f"z{n}.zz"], "ports": ports, "resolution": "STATIC", "endpoints": [{"address": "10.9.9.9"}]}
        meta = {"name": f"z{n}", "namespace": "z"}
        found.append(event({"apiVersion": ISTIO, "kind": "ServiceEntry", "metadata": meta, "spec": spec}, True))
    return Snapshot.empty().apply(found)[0]


FULL = ballast()


def plain(value: Any) -> Any:
    """Persistent maps and host indexes as dicts, to be compared and shown."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return plain(dict(value.items())) if hasattr(value, "covering") else value


def view(world: Snapshot) -> dict[str, Any]:
    tables = {name: plain(getattr(world, name)) for name in (*_MAPS, *_VALUES) if name not in ("notes", "noted")}
    lookups = {
        "problems": dict(world.problems()),
        "problems of": {ref: world.problems_of(ref) for ref in world.problems()},
        "routes for": {host: world.virtual_services_for(host) for host in HOSTS},
        "rules for": {(ns, host): world.destination_rules_for(ns, host) for ns in ("a", "b") for host in HOSTS},
        "targets": {ref: world.targets(workload) for ref, workload in world.workloads.items()},
    }
    return tables | lookups


def differing(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> frozenset[Any]:
    return frozenset(key for key in {*before, *after} if before.get(key) != after.get(key))


def _policies(world: State) -> dict[Ref, Any]:
    return {obj.ref: obj for spaces in world.policies_of.values() for found in spaces.values() for obj in found}


def difference(before: Snapshot, after: Snapshot) -> Changed:
    ends = [{key: value for key, value in w.endpoints.items() if value} for w in (before, after)]
    return Changed(
        services=differing(before.services, after.services),
        endpoints=differing(*ends),
        virtual_services=differing(before.virtual_services, after.virtual_services),
        destination_rules=differing(before.destination_rules, after.destination_rules),
        sidecars=differing(before.sidecars, after.sidecars),
        policies=differing(_policies(before), _policies(after)),
        workloads=differing(before.workloads, after.workloads),
        namespaces=differing(before.namespaces, after.namespaces),
        mesh=before.mesh != after.mesh,
        networks=(before.networks, before.mesh_networks) != (after.networks, after.mesh_networks),
        told=differing(before.problems(), after.problems()),
    )


def reach(world: Snapshot) -> tuple[object, ...]:
    """What concerns all objects when it changes."""
    return (
        world.placing,
        world.discovery_selectors,
        world.service_entry_visibility,
        world.mesh.default_service_export_to,
    )


def batches(events: list[Event], cuts: set[int]) -> list[list[Event]]:
    edges = sorted({0, len(events), *(c for c in cuts if c < len(events))})
    return [events[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("theme", THEMES)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changes_one_by_one_or_in_batches_equal_building_from_scratch(theme: str, data: st.DataObject) -> None:
    events = [event(raw, keep) for raw, keep in data.draw(sequences(theme))]
    final: dict[Ref, Event] = {e.ref: e for e in events}
    scratch, _ = FULL.apply([e for e in final.values() if e.verb is Verb.PUT])

    single = FULL
    for e in events:
        after, changed = single.apply([e])
        assert changed == difference(single, after)
        assert after.version == single.version + bool(changed)
        if e.ref != ALL and reach(after) == reach(single):
            assert int(after.derived) < BALLAST // 2, "a change concerns a few values, never all of them"
        single = after
    grouped = FULL
    for batch in batches(events, data.draw(st.sets(st.integers(1, 29)))):
        after, changed = grouped.apply(batch)
        assert changed == difference(grouped, after)
        grouped = after

    expected = view(scratch)
    assert view(single) == expected
    assert view(grouped) == expected


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(raws=st.lists(THEMES["all"], min_size=1, max_size=24))
def test_deleting_everything_leaves_the_world_as_it_was(raws: list[Json]) -> None:
    before = view(FULL)
    events = [event(raw, True) for raw in raws]
    filled, _ = FULL.apply(events)
    emptied, _ = filled.apply([Event(Verb.DELETE, ref) for ref in {e.ref for e in events}])
    assert view(emptied) == before
    assert view(FULL) == before, "a world never changes"
