"""After any events a gateway is shown what a fresh hub would show it, and was told of every difference."""

import base64
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.equivalence.test_hub import Bodies, bodies, differing, entries, meshes, policies, services
from tests.worlds import made, pod, put
from tidegate.api import decode
from tidegate.api.objects import Object, Ref
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.app.discovery.proxies import Node
from tidegate.envoy.resource import SECRET
from tidegate.snapshot.world import Event, Verb
from tidegate.xds.mailbox import merge

NAMES = ["kubernetes://cert", "kubernetes://cert-cacert", "kubernetes://other"]
spaces = st.sampled_from(["one", "two"])
days = st.integers(1, 3)
hosts = st.sampled_from(["a.example", "*.example", "*"])


def _server(number: int, protocol: str, host: str, **tls: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"port": {"number": number, "name": f"p-{number}", "protocol": protocol}, "hosts": [host]}
    return found | ({"tls": tls} if tls else {})


servers = st.one_of(
    st.builds(lambda host: _server(80, "HTTP", host), hosts),
    st.builds(lambda host: _server(80, "HTTP", host, httpsRedirect=True), hosts),
    st.builds(lambda host: _server(80, "TCP", host), hosts),
    st.builds(
        lambda host, name: _server(443, "HTTPS", host, mode="SIMPLE", credentialName=name),
        hosts,
        st.sampled_from(["cert", "other"]),
    ),
    st.builds(lambda host: _server(443, "HTTPS", host, mode="MUTUAL", credentialName="cert"), hosts),
    st.builds(lambda host: _server(443, "TLS", host, mode="PASSTHROUGH"), hosts),
    st.builds(lambda: _server(15443, "TLS", "*.local", mode="AUTO_PASSTHROUGH")),
)
gateways = st.builds(
    lambda space, name, day, selector, server: made(
        "Gateway", f"{space}/{name}", day=day, selector=selector, servers=[server]
    ),
    spaces,
    st.sampled_from(["front", "back"]),
    days,
    st.sampled_from([{"app": "gw"}, {"app": "other"}]),
    servers,
)
routes = st.builds(
    lambda space, host, gateway, to, day, export: made(
        "VirtualService",
        f"{space}/v",
        day=day,
        hosts=[host],
        gateways=[gateway],
        exportTo=export,
        http=[{"match": [{"uri": {"prefix": "/x"}}], "route": [{"destination": {"host": to}}]}],
        tcp=[{"route": [{"destination": {"host": to}}]}],
    ),
    spaces,
    hosts,
    st.sampled_from(["front", "one/front", "two/back", "mesh"]),
    st.sampled_from(["a.example", "web.one.svc.cluster.local"]),
    days,
    st.sampled_from([[], ["."]]),
)


def _secret(name: str, value: bytes) -> Object[Any]:
    data = {key: base64.b64encode(value).decode() for key in ("tls.crt", "tls.key", "ca.crt")}
    meta = {"name": name, "namespace": "one", "uid": f"Secret/{name}"}
    return decode.stored({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


secrets = st.builds(_secret, st.sampled_from(["cert", "other"]), st.sampled_from([b"first", b"second"]))
pods = st.builds(
    lambda app: pod("one/gw", "10.1.0.9", {"app": app}, containers=[{"name": "istio-proxy"}]),
    st.sampled_from(["gw", "other", "none"]),
)
objects: Any = st.one_of(gateways, gateways, routes, secrets, pods, entries, services, policies, meshes)


@st.composite
def events(draw: st.DrawFn) -> Event:
    found: Object[Any] = draw(objects)
    return Event(Verb.DELETE, found.ref) if draw(st.integers(0, 3)) == 0 else put(found)


GATEWAY = Node(name="gw.one", namespace="one", pod="gw", service_account="default", address="10.1.0.9", router=True)


def shown_to(shown: Shown) -> Bodies:
    """As for sidecars, with the secrets that are asked for by name."""
    view = shown.mailbox.view
    found = {name: each.body for name in NAMES if (each := view.get(SECRET, name)) is not None}
    return bodies(shown) | {SECRET: found}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(events(), min_size=1, max_size=3), min_size=1, max_size=8))
def test_a_gateway_is_shown_what_a_fresh_hub_would_show(steps: list[list[Event]]) -> None:
    hub, seen = Hub(), dict[Ref, Event]()
    shown = hub.attach(GATEWAY)
    before = shown_to(shown)
    for step in steps:
        hub.apply(step)
        readable = [e for e in step if e.ref.kind != "ConfigMap" or not _broken(e)]
        seen.update({e.ref: e for e in readable})
        waiting, shown.mailbox._waiting = shown.mailbox._waiting, None
        after = shown_to(shown)
        told = merge({}, waiting.delta) if waiting is not None else {}
        if told is not None:
            for url in after:
                changed = {n for n in before[url].keys() | after[url].keys() if before[url].get(n) != after[url].get(n)}
                assert changed <= told.get(url, frozenset()), f"{changed} changed untold"
        before = after
    fresh = Hub()
    fresh.apply([event for event in seen.values() if event.object is not None])
    assert before == shown_to(fresh.attach(GATEWAY))


def _broken(event: Event) -> bool:
    return event.object is not None and event.object.spec.data["mesh"] == "{"


def test_a_change_that_does_not_concern_it_rebuilds_nothing_of_a_gateway() -> None:
    hub = Hub()
    front = made("Gateway", "one/front", selector={"app": "gw"}, servers=[_server(80, "HTTP", "*")])
    rules = [
        made(
            "VirtualService",
            f"one/v{n}",
            hosts=[f"h{n}.example"],
            gateways=["front"],
            http=[{"route": [{"destination": {"host": f"h{n}.example"}}]}],
        )
        for n in range(50)
    ]
    hub.apply([put(each) for each in (pod("one/gw", "10.1.0.9", {"app": "gw"}), front, *rules)])
    shown = hub.attach(GATEWAY)
    host = "tidegate.envoy.gateway.routes.virtual_host"
    before = hub.builders.built[host]
    moved = made(
        "VirtualService",
        "one/v7",
        hosts=["h7.example"],
        gateways=["front"],
        http=[{"timeout": "2s", "route": [{"destination": {"host": "h7.example"}}]}],
    )
    hub.apply([put(moved)])
    assert hub.builders.built[host] - before == 1
    assert shown.mailbox._waiting is not None
    assert differing(bodies(shown), bodies(hub.attach(GATEWAY))) == {url: set() for url in bodies(shown)}
