"""Conversations: what a client says, what the server is told, and what the client then hears."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2

from tidegate.xds import types
from tidegate.xds.acceptance import ProxyMemory
from tidegate.xds.delta import DeltaSession
from tidegate.xds.fixed import FixedView, Item, difference
from tidegate.xds.session import Send
from tidegate.xds.sotw import SotwSession
from tidegate.xds.source import View
from tidegate.xds.wire import DeltaRequest, SotwRequest

URLS = {short: url for url, short in types.SHORT.items()}


def item(type_name: str, name: str, version: str) -> Item:
    """A resource whose bytes tell its version. Clusters named ``eds-…`` get their endpoints by EDS."""
    if type_name == "cds" and name.startswith("eds-"):
        cluster = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS, alt_stat_name=version)
        return Item(name, cluster.SerializeToString(deterministic=True), version)
    return Item(name, f"{name}={version}".encode(), version)


class World:
    """Views by their contents: ``world(cds={"a": "1"})``; names that begin with a dot are answered by name only."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, **resources: dict[str, str]) -> FixedView:
        self._count += 1
        items = {
            URLS[kind]: [item(kind, name, version) for name, version in names.items()]
            for kind, names in resources.items()
        }
        listed = {url: [i for i in each if not i.name.startswith(".")] for url, each in items.items()}
        hidden = {url: [i for i in each if i.name.startswith(".")] for url, each in items.items()}
        return FixedView(f"world-{self._count}", listed, hidden)


class _Talk:
    session: Any

    def __init__(self) -> None:
        self._heard: deque[Send] = deque()
        self._nonces: dict[str, str] = {}

    def _take(self, sends: Iterable[Send]) -> None:
        self._heard.extend(sends)

    def publishes(self, view: View, *, known: bool = True) -> None:
        urls = types.ORDER
        self._take(self.session.on_publish(view, difference(self.session.view, view, urls) if known else None))

    def times_out(self) -> None:
        assert self.session.held_back, "nothing is held back"
        self._take(self.session.on_timeout())

    def hears_nothing(self) -> None:
        assert not self._heard, [types.short(send.type_url) for send in self._heard]

    def _next(self, kind: str) -> bytes:
        assert self._heard, f"expected {kind}, heard nothing"
        send = self._heard.popleft()
        assert types.short(send.type_url) == kind
        self._nonces[kind] = send.nonce
        return send.data

    def state(self, kind: str) -> str:
        status = self.session.status().of(URLS[kind])
        assert status is not None
        return str(status.state)

    def quarantined(self, kind: str) -> dict[str, str]:
        status = self.session.status().of(URLS[kind])
        assert status is not None
        return {each.name: each.version for each in status.quarantined}


class DeltaTalk(_Talk):
    def __init__(self, view: View, memory: ProxyMemory | None = None) -> None:
        super().__init__()
        self.session = DeltaSession(view, memory)

    def says(
        self,
        kind: str,
        *names: str,
        drop: tuple[str, ...] = (),
        holds: dict[str, str] | None = None,
        nonce: str = "",
        error: str | None = None,
    ) -> None:
        url = URLS.get(kind, kind)
        self._take(self.session.on_request(DeltaRequest(url, None, names, drop, holds or {}, nonce, error)))

    def acks(self, kind: str, *names: str) -> None:
        self.says(kind, *names, nonce=self._nonces[kind])

    def nacks(self, kind: str, error: str) -> None:
        self.says(kind, nonce=self._nonces[kind], error=error)

    def hears(self, kind: str, resources: dict[str, str] | None = None, gone: tuple[str, ...] = ()) -> None:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(self._next(kind))
        assert {each.name: each.version for each in response.resources} == (resources or {})
        assert list(response.removed_resources) == list(gone)
        assert {each.resource.type_url for each in response.resources} <= {response.type_url}


class SotwTalk(_Talk):
    def __init__(self, view: View, memory: ProxyMemory | None = None) -> None:
        super().__init__()
        self.session = SotwSession(view, memory)

    def says(self, kind: str, *names: str, nonce: str = "", error: str | None = None) -> None:
        self._take(self.session.on_request(SotwRequest(URLS.get(kind, kind), None, names, nonce, error)))

    def acks(self, kind: str, *names: str) -> None:
        self.says(kind, *names, nonce=self._nonces[kind])

    def nacks(self, kind: str, error: str, *names: str) -> None:
        self.says(kind, *names, nonce=self._nonces[kind], error=error)

    def hears(self, kind: str, resources: dict[str, str]) -> None:
        """Names and versions of all resources of the response."""
        response = discovery_pb2.DiscoveryResponse.FromString(self._next(kind))
        expected = [item(kind, name, version).body for name, version in resources.items()]
        assert [each.value for each in response.resources] == expected


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def delta() -> Callable[..., DeltaTalk]:
    return DeltaTalk


@pytest.fixture
def sotw() -> Callable[..., SotwTalk]:
    return SotwTalk
