"""After any events each proxy is shown what a fresh hub would show it, and was told of every difference."""

from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.worlds import entry, made, mesh, pod, policy, put, routing, service, sidecar
from tidegate.api.objects import Object, Ref
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.app.discovery.proxies import Node
from tidegate.envoy.outbound import TYPES
from tidegate.snapshot.world import Event, Verb
from tidegate.xds.mailbox import merge

HOSTS = ["a.example", "b.example", "*.example", "web.one.svc.cluster.local"]
MESHED = {"security.istio.io/tlsMode": "istio"}
LABELS: list[dict[str, str]] = [{"app": "web"}, {"app": "cart"}, {}]
SELECTORS: list[dict[str, Any]] = [{}, {"matchLabels": {"app": "web"}}]
spaces = st.sampled_from(["one", "two", "istio-system"])
places = st.builds("{}/{}".format, spaces, st.sampled_from(["x", "y"]))
hosts = st.sampled_from(HOSTS)
exports = st.sampled_from([[], ["."], ["one"]])
addresses = st.sampled_from(["10.1.0.1", "10.1.0.2", "10.1.0.3"])
days = st.integers(1, 3)

entries = st.builds(
    lambda where, host, port, address, export, day: entry(
        where, host, port, day=day, endpoints=[{"address": address}], exportTo=export
    ),
    places,
    hosts,
    st.sampled_from([(80, "HTTP"), (443, "TLS"), (7000, "TCP"), (80, "")]),
    addresses,
    exports,
    days,
)
services = st.builds(
    lambda space, name, port, app, policy: service(
        f"{space}/web", (port, name), address="10.96.0.9", selector={"app": app}, internalTrafficPolicy=policy
    ),
    spaces,
    st.sampled_from(["http", "tcp", "x"]),
    st.sampled_from([80, 8080]),
    st.sampled_from(["web", "cart"]),
    st.sampled_from(["Cluster", "Local"]),
)
aliases = st.builds(
    lambda space, target: service(f"{space}/alias", type="ExternalName", externalName=target), spaces, hosts
)
pods = st.builds(
    lambda name, labels, address, node: pod(
        name,
        address,
        {**labels, **MESHED},
        nodeName=node,
        containers=[{"name": "app", "ports": [{"containerPort": 80}]}],
    ),
    st.sampled_from(["one/p1", "one/p2", "two/p3"]),
    st.sampled_from(LABELS),
    addresses,
    st.sampled_from(["n1", "n2"]),
)
rules = st.builds(
    lambda where, host, to, labels, export: routing(
        where,
        [host],
        to,
        exportTo=export,
        http=[
            *([{"match": [{"sourceLabels": labels}], "route": [{"destination": {"host": to}}]}] if labels else []),
            {"route": [{"destination": {"host": host}}]},
        ],
    ),
    places,
    hosts,
    st.sampled_from(["a.example", "b.example", "nowhere.example"]),
    st.sampled_from(LABELS),
    exports,
)
policies = st.builds(
    lambda where, host, limit, selector: policy(
        where, host, connections=limit, **({"workloadSelector": selector} if selector else {})
    ),
    places,
    hosts,
    st.integers(1, 2),
    st.sampled_from(SELECTORS),
)
sidecars = st.builds(
    lambda where, egress, labels, ingress: sidecar(
        where,
        egress,
        **({"workloadSelector": {"labels": labels}} if labels else {}),
        **({"ingress": [{"port": {"number": 9000, "name": "http", "protocol": "HTTP"}}]} if ingress else {}),
    ),
    places,
    st.sampled_from([["*/*"], ["./*"], ["two/*", "./b.example"], ["~/*"]]),
    st.sampled_from(LABELS),
    st.booleans(),
)
meshes = st.sampled_from(
    [
        mesh(text)
        for text in (
            "",
            "outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
            "defaultServiceExportTo: ['.']",
            "defaultDestinationRuleExportTo: ['.']",
            "rootNamespace: two",
            "extensionProviders: [{name: asked, envoyExtAuthzHttp: {service: a.example, port: 80}}]",
            "{trustDomain: td, trustDomainAliases: [old]}",
            "{",
        )
    ]
)
authorizations = st.builds(
    lambda where, selector, action: made(
        "AuthorizationPolicy",
        where,
        action=action,
        rules=[{"from": [{"source": {"principals": ["td/ns/one/sa/x"]} if action == "DENY" else _ADDRESSED}]}],
        **({"selector": selector} if selector else {}),
        **({"provider": {"name": "asked"}} if action == "CUSTOM" else {}),
    ),
    places,
    st.sampled_from(SELECTORS),
    st.sampled_from(["ALLOW", "DENY", "CUSTOM"]),
)
_ADDRESSED = {"ipBlocks": ["10.1.0.1"]}
authentications = st.builds(
    lambda where, host: made("RequestAuthentication", where, jwtRules=[{"jwksUri": f"http://{host}/keys"}]),
    places,
    st.sampled_from(["a.example", "b.example", "nowhere.example"]),
)
peers = st.builds(
    lambda where, selector, mode: made(
        "PeerAuthentication", where, mtls={"mode": mode}, **({"selector": selector} if selector else {})
    ),
    places,
    st.sampled_from(SELECTORS),
    st.sampled_from(["STRICT", "DISABLE", "UNSET"]),
)
security = st.one_of(authorizations, authentications, peers)
objects: Any = st.one_of(entries, services, aliases, pods, rules, policies, sidecars, meshes, security)


@st.composite
def events(draw: st.DrawFn) -> Event:
    found: Object[Any] = draw(objects)
    if draw(st.integers(0, 3)) == 0:
        return Event(Verb.DELETE, found.ref)
    return put(found)


PROXIES = [
    Node(
        name=f"{name}.{space}",
        namespace=space,
        pod=name,
        service_account="default",
        address=address,
        certificates=name == "p2",
    )
    for name, space, address in (("p1", "one", "10.1.0.1"), ("p2", "one", "10.1.0.2"), ("p3", "two", "10.1.0.3"))
]
Bodies = dict[str, dict[str, bytes]]


def bodies(shown: Shown) -> Bodies:
    view = shown.mailbox.view
    found: Bodies = {}
    for url in TYPES:
        resources = {name: view.get(url, name) for name in view.names(url)}
        assert None not in resources.values(), "what is listed can be got"
        found[url] = {name: r.body for name, r in resources.items() if r is not None}
    return found


def differing(before: Bodies, after: Bodies) -> dict[str, set[str]]:
    return {
        url: {n for n in before[url].keys() | after[url].keys() if before[url].get(n) != after[url].get(n)}
        for url in TYPES
    }


class Watched:
    """One attached proxy and the updates that it has taken."""

    def __init__(self, hub: Hub, node: Node) -> None:
        self.node, self.shown = node, hub.attach(node)
        self.before = bodies(self.shown)
        self.told: Mapping[str, frozenset[str]] | None = {}

    def take(self) -> None:
        waiting, self.shown.mailbox._waiting = self.shown.mailbox._waiting, None
        if waiting is not None:
            self.told = merge(self.told, waiting.delta)

    def judge(self, fresh: Hub) -> None:
        after = bodies(self.shown)
        assert after == bodies(fresh.attach(self.node)), self.node.name
        if self.told is not None:
            for url, names in differing(self.before, after).items():
                assert names <= self.told.get(url, frozenset()), f"{self.node.name}: {names} changed untold"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(events(), min_size=1, max_size=3), min_size=1, max_size=8), st.booleans())
def test_proxies_are_shown_what_a_fresh_hub_would_show(steps: list[list[Event]], patient: bool) -> None:
    """patient: the updates of all steps are taken at the end, merged, as by a session that was busy."""
    hub, seen = Hub(), dict[Ref, Event]()
    watched = [Watched(hub, node) for node in PROXIES]
    for step in steps:
        hub.apply(step)
        latest = {event.ref: event for event in step}
        seen.update((ref, event) for ref, event in latest.items() if _readable(event))
        if not patient:
            for each in watched:
                each.take()
    fresh = Hub()
    fresh.apply([event for event in seen.values() if event.object is not None])
    for each in watched:
        each.take()
        each.judge(fresh)
    for each in watched:
        hub.detach(each.shown)
    assert [dict(d) for d in (hub._kinds, hub._shown, hub._of_pod)] == [{}, {}, {}]


def _readable(event: Event) -> bool:
    """A mesh configuration that cannot be read leaves the one before it."""
    return event.ref.kind != "ConfigMap" or event.object is None or event.object.spec.data["mesh"] != "{"


def test_a_change_costs_the_proxies_that_it_concerns() -> None:
    """Of a hundred namespaces with a proxy each, a private entry of one is evaluated for all and sent to one."""
    hub = Hub()
    hub.apply([put(pod(f"ns{n}/p", f"10.2.0.{n}")) for n in range(100)])
    shown = [
        hub.attach(Node(name=f"p.ns{n}", namespace=f"ns{n}", pod="p", service_account="default", address=f"10.2.0.{n}"))
        for n in range(100)
    ]
    before = sum(hub.builders.built.values())
    hub.apply([put(entry("ns7/e", "a.example", exportTo=["."]))])
    assert [each.node.name for each in shown if each.mailbox._waiting is not None] == ["p.ns7"]
    assert sum(hub.builders.built.values()) - before <= 5
