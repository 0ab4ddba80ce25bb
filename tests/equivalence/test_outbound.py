"""A view that was advanced change by change equals one built from the last world, and does less to get there."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.api import decode
from tidegate.api.objects import Ref
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import slices
from tidegate.envoy.outbound import TYPES, Outbound
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Event, Verb

KIND = ProxyKind(namespace="one", dns_domain="one.svc.cluster.local", labels=(("app", "client"),))
HOSTS = ["a.example", "b.example", "c.b.example", "*.example"]
NAMESPACES = ["one", "two", "istio-system"]
names = st.sampled_from(["x", "y", "z"])
spaces = st.sampled_from(NAMESPACES)
hosts = st.sampled_from(HOSTS)
ports = st.lists(
    st.sampled_from(
        [
            {"number": 80, "name": "http", "protocol": "HTTP"},
            {"number": 443, "name": "tls", "protocol": "TLS"},
            {"number": 7000, "name": "tcp", "protocol": "TCP"},
            {"number": 80, "name": "auto", "protocol": ""},
        ]
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda p: p["number"],
)
stamps = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])


def entry(host: str, ports: list[Any], address: str, export: list[str], address_of_endpoint: str) -> dict[str, Any]:
    return {
        "hosts": [host],
        "ports": ports,
        "addresses": [address] if address else [],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "endpoints": [{"address": address_of_endpoint, "labels": {"version": "v1"}}],
        "exportTo": export,
    }


entries = st.builds(
    entry,
    hosts,
    ports,
    st.sampled_from(["", "10.9.0.1", "10.9.0.2"]),
    st.sampled_from([[], ["."], ["*"], ["one"]]),
    st.sampled_from(["10.8.0.1", "10.8.0.2"]),
)


def virtual_service(named: list[str], target: str, port: int, timeout: str, labels: dict[str, str]) -> dict[str, Any]:
    destination: dict[str, Any] = {"host": target}
    if port:
        destination["port"] = {"number": port}
    http: dict[str, Any] = {"route": [{"destination": destination}], "timeout": timeout}
    if labels:
        http["match"] = [{"sourceLabels": labels}]
    return {"hosts": named, "http": [http]}


rules = st.builds(
    virtual_service,
    st.lists(st.sampled_from([*HOSTS, "new.test"]), min_size=1, max_size=2, unique=True),
    st.sampled_from(["a.example", "b.example", "nowhere.example"]),
    st.sampled_from([0, 80, 7000]),
    st.sampled_from(["1s", "2s"]),
    st.sampled_from([{}, {"app": "client"}, {"app": "other"}]),
)
policies = st.builds(
    lambda host, limit, subset: {
        "host": host,
        "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": limit}}},
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}] if subset else [],
    },
    hosts,
    st.integers(1, 2),
    st.booleans(),
)
sidecars = st.builds(
    lambda own_port, egress, mode: {
        "egress": [*own_port, {"hosts": egress}],
        **({"outboundTrafficPolicy": {"mode": mode}} if mode else {}),
    },
    st.sampled_from(
        [
            [],
            [],
            [{"hosts": ["*/*"], "port": {"number": 80, "name": "p", "protocol": "HTTP"}}],
            [{"hosts": ["two/*"], "port": {"number": 7000, "name": "p", "protocol": ""}}],
            [
                {
                    "hosts": ["./*"],
                    "port": {"number": 3128, "name": "p", "protocol": "HTTP_PROXY"},
                    "captureMode": "NONE",
                }
            ],
        ]
    ),
    st.sampled_from([["*/*"], ["./*"], ["two/*", "./b.example"], ["*/a.example"]]),
    st.sampled_from(["", "REGISTRY_ONLY", "ALLOW_ANY"]),
)
specs = st.one_of(
    st.tuples(st.just("ServiceEntry"), entries),
    st.tuples(st.just("VirtualService"), rules),
    st.tuples(st.just("DestinationRule"), policies),
    st.tuples(st.just("Sidecar"), sidecars),
)


@st.composite
def changes(draw: st.DrawFn) -> Event:
    kind, spec = draw(specs)
    ref = Ref(kind, draw(spaces), draw(names))
    if draw(st.integers(0, 4)) == 0:
        return Event(Verb.DELETE, ref)
    raw = {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": str(ref),
            "creationTimestamp": draw(stamps),
        },
        "spec": spec,
    }
    return Event(Verb.PUT, ref, decode.stored(raw))


meshes = st.sampled_from(
    [
        "",
        "outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
        "rootNamespace: two",
        "defaultServiceExportTo: ['.']",
        "defaultVirtualServiceExportTo: ['.']",
        "defaultDestinationRuleExportTo: ['.']",
        "proxyHttpPort: 15007",
        "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}",
    ]
)


def mesh_change(text: str) -> Event:
    metadata = {"name": "istio", "namespace": "istio-system", "uid": "mesh"}
    raw = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": text}}
    found = decode.stored(raw)
    return Event(Verb.PUT, found.ref, found)


def bodies(view: Outbound) -> dict[str, dict[str, bytes]]:
    return {url: {name: r.body for name, r in view.resources[url].items()} for url in TYPES}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(changes(), changes(), changes(), st.builds(mesh_change, meshes)), min_size=1, max_size=14))
def test_advancing_equals_building_anew(events: list[Event]) -> None:
    world = Snapshot.empty("cluster.local")
    cut = slices(world.mesh, world.domain)
    view = Outbound(KIND, world, cut, Builders())
    for event in events:
        before = bodies(view)
        world, changed = world.apply([event])
        cut = slices(world.mesh, world.domain)
        told = view.advance(world, changed, cut)
        after = bodies(view)
        for url in TYPES:
            differing = {n for n in before[url].keys() | after[url].keys() if before[url].get(n) != after[url].get(n)}
            assert differing <= told[url], f"{event.ref}: {differing - told[url]} changed untold"
        assert after == bodies(Outbound(KIND, world, cut, Builders()))


def test_an_edit_among_many_builds_only_what_it_touches() -> None:
    def put(number: int, address: str) -> Event:
        port = [{"number": 80, "name": "http", "protocol": "HTTP"}]
        raw = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": f"s{number}", "namespace": "one", "uid": str(number)},
            "spec": entry(f"s{number}.example", port, f"10.1.{number // 250}.{number % 250 + 1}", [], address),
        }
        found = decode.stored(raw)
        return Event(Verb.PUT, found.ref, found)

    world, _ = Snapshot.empty("cluster.local").apply([put(n, "10.8.0.1") for n in range(300)])
    cut, builders = slices(world.mesh, world.domain), Builders()
    view = Outbound(KIND, world, cut, builders)
    built = sum(builders.built.values())
    assert built >= 900  # a cluster, an assignment and a virtual host for each
    world, changed = world.apply([put(150, "10.8.0.9")])
    told = view.advance(world, changed, cut)
    assert sum(builders.built.values()) - built <= 2
    assert {url: set(n) for url, n in told.items() if n} == {
        TYPES[1]: {"outbound|80||s150.example"},
    }
