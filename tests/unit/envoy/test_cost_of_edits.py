"""What an edit costs in builder calls and evaluated hosts, whatever the number of services beside it."""

from collections import Counter
from typing import Any

import pytest

from tidegate.api import decode
from tidegate.app.discovery.hub import Hub
from tidegate.app.discovery.proxies import Node
from tidegate.envoy import outbound
from tidegate.envoy.cache import Builders
from tidegate.envoy.inputs import CatchAll
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Resource
from tidegate.snapshot.world import Event, Verb

SMALL, LARGE = 5, 60
EDITED = 2

Cost = tuple[Counter[str], list[str], dict[str, frozenset[str]]]
"""Builder calls by name, hosts that were evaluated, names that were told."""


def put(number: int, *, host: str = "", weight: int = 1) -> Event:
    spec: dict[str, Any] = {
        "hosts": [host or f"s{number}.example"],
        "addresses": [f"10.1.{number}.1"],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [
            {"number": 80, "name": "http", "protocol": "HTTP"},
            {"number": 9000, "name": "tcp", "protocol": "TCP"},
        ],
        "endpoints": [{"address": f"10.2.{number}.1", "weight": weight}],
    }
    meta = {"name": f"s{number}", "namespace": "shop", "uid": f"u{number}", "creationTimestamp": "2026-01-01T00:00:00Z"}
    raw = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": meta, "spec": spec}
    found = decode.stored(raw)
    return Event(Verb.PUT, found.ref, found)


def cost(monkeypatch: pytest.MonkeyPatch, size: int, edit: Event) -> Cost:
    """Apply one edit to a mesh of ``size`` services that one proxy is shown."""
    hub = Hub()
    hub.apply([put(n) for n in range(size)])
    shown = hub.attach(Node(name="c.shop", namespace="shop", pod="", service_account="default", address="10.9.9.9"))
    before, evaluated = Counter(hub.builders.built), list[str]()
    contribute = outbound.contribute

    def counted(around: Any, host: str, wanted: Any) -> Any:
        evaluated.append(host)
        return contribute(around, host, wanted)

    monkeypatch.setattr(outbound, "contribute", counted)
    old = shown.mailbox.view
    hub.apply([edit])
    monkeypatch.setattr(outbound, "contribute", contribute)
    new = shown.mailbox.view
    urls = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
    told = {
        u: frozenset(n for n in {*old.names(u), *new.names(u)} if _body(old, u, n) != _body(new, u, n)) for u in urls
    }
    return Counter(hub.builders.built) - before, sorted(evaluated), told


def _body(view: Any, url: str, name: str) -> bytes | None:
    found = view.get(url, name)
    return found.body if found is not None and name in view.names(url) else None


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_endpoint_touches_neither_routes_nor_listeners(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    built, evaluated, told = cost(monkeypatch, size, put(EDITED, weight=7))
    assert built == {"tidegate.envoy.endpoints.build": 2}
    assert evaluated == [f"s{EDITED}.example"]
    assert told[ENDPOINT] == {f"outbound|80||s{EDITED}.example", f"outbound|9000||s{EDITED}.example"}
    assert not (told[CLUSTER] or told[LISTENER] or told[ROUTE])


def test_a_host_of_a_large_route_table_builds_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    edit = put(EDITED, host="renamed.example")
    small, large = (cost(monkeypatch, size, edit) for size in (SMALL, LARGE))
    assert small == large
    built, evaluated, told = large
    assert built["tidegate.envoy.routes.virtual_host"] == 1
    assert evaluated == ["renamed.example", f"s{EDITED}.example"]
    assert told[ROUTE] == {"80"}


def resource(name: str) -> Resource:
    return Resource(name, CLUSTER, b"", "")


def test_unused_results_are_let_go() -> None:
    builders = Builders()
    kept = [builders.run("b", lambda g: resource(g.cluster), CatchAll(allow=True, cluster=str(n))) for n in range(10)]
    for n in range(5000):
        builders.run("b", lambda g: resource(g.cluster), CatchAll(allow=False, cluster=str(n)))
    assert builders.remembered() < 2500
    before = builders.built["b"]
    again = [builders.run("b", lambda g: resource(g.cluster), CatchAll(allow=True, cluster=str(n))) for n in range(10)]
    assert [a is b for a, b in zip(kept, again, strict=True)] == [True] * 10
    assert builders.built["b"] == before
