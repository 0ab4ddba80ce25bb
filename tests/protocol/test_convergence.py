"""A model client that keeps what it accepted always comes to hold what the View shows."""

from dataclasses import dataclass, field

from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.xds.acceptance import ProxyMemory
from tidegate.xds.delta import DeltaSession
from tidegate.xds.fixed import FixedView, Item, difference
from tidegate.xds.session import Send
from tidegate.xds.sotw import SotwSession
from tidegate.xds.types import CLUSTER, ENDPOINT, FULL_STATE, LISTENER, ORDER, ROUTE
from tidegate.xds.wire import DeltaRequest, SotwRequest

WILDCARDS, NAMED = (CLUSTER, LISTENER), (ENDPOINT, ROUTE)
TYPES = (*WILDCARDS, *NAMED)
NAMES = ("a", "b", "c", "d")
Contents = dict[str, dict[str, str]]

contents = st.fixed_dictionaries(
    {url: st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["1", "2", "3", "bad4", "bad5"])) for url in TYPES}
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), contents),
        st.tuples(st.just("answer"), st.sampled_from(TYPES)),
        st.tuples(st.just("reconnect"), st.none()),
        st.tuples(st.just("timeout"), st.none()),
    ),
    max_size=25,
)


def is_bad(version: str) -> bool:
    return version.startswith("bad")


def view_of(resources: Contents, count: int) -> FixedView:
    """Bodies of listeners and routes do not hold the (lower-case) name of a cluster: they use none."""

    def item(url: str, name: str, version: str) -> Item:
        shown = name if url in (CLUSTER, ENDPOINT) else name.upper()
        return Item(name, f"{shown} {version}".encode(), version)

    return FixedView(str(count), {url: [item(url, *each) for each in kind.items()] for url, kind in resources.items()})


@dataclass
class Client:
    """Refuses versions that begin with "bad"; applies the rest of such a response when it is ``partial``, and tells
    the names when it is ``telling``."""

    partial: bool
    telling: bool
    held: dict[str, dict[str, str]] = field(default_factory=lambda: {url: {} for url in TYPES})
    certain: dict[str, dict[str, str]] = field(default_factory=lambda: {url: {} for url in TYPES})
    """What the server must know to be held."""
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    """The version last refused, as the only culprit or told by name."""
    waiting: dict[str, bytes] = field(default_factory=dict)

    def take(self, sends: list[Send]) -> None:
        for send in sends:
            assert send.type_url not in self.waiting, "a second response of the type is on its way"
            self.waiting[send.type_url] = send.data

    def apply(self, url: str, resources: dict[str, str], removed: list[str]) -> str | None:
        """Take a response over; the error text if it is refused."""
        bad = sorted(name for name, version in resources.items() if is_bad(version))
        if not bad:
            self.certain[url].update(resources)
        else:
            for name in (*resources, *removed):
                self.certain[url].pop(name, None)
            if self.telling or len(resources) == 1:
                self.refused.update({(url, name): resources[name] for name in bad})
        if not bad or self.partial:
            self.held[url].update({name: version for name, version in resources.items() if name not in bad})
            for name in removed:
                self.held[url].pop(name, None)
        if not bad:
            for name in removed:
                self.certain[url].pop(name, None)
            return None
        return "; ".join(f"{name}: refused" for name in bad) if self.telling else "refused"


class DeltaModel:
    def __init__(self, view: FixedView, client: Client, memory: ProxyMemory) -> None:
        self.client, self.session = client, DeltaSession(view, memory)
        client.waiting.clear()
        for url in TYPES:
            names = () if url in WILDCARDS else NAMES
            client.take(self.session.on_request(DeltaRequest(url, None, names, (), dict(client.held[url]))))
            client.certain[url] = dict(client.held[url])

    def answer(self, url: str) -> None:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(self.client.waiting.pop(url))
        resources = {each.name: each.version for each in response.resources}
        for name, version in resources.items():
            assert self.client.certain[url].get(name) != version, "sent again what is held"
            assert self.client.refused.get((url, name)) != version, "sent again what was refused"
        error = self.client.apply(url, resources, list(response.removed_resources))
        request = DeltaRequest(url, nonce=response.nonce, error=error)
        self.client.take(self.session.on_request(request))


class SotwModel:
    def __init__(self, view: FixedView, client: Client, memory: ProxyMemory) -> None:
        self.client, self.session = client, SotwSession(view, memory)
        client.waiting.clear()
        for url in TYPES:
            client.take(self.session.on_request(SotwRequest(url, None, self._names(url))))

    @staticmethod
    def _names(url: str) -> tuple[str, ...]:
        return () if url in WILDCARDS else NAMES

    def answer(self, url: str) -> None:
        response = discovery_pb2.DiscoveryResponse.FromString(self.client.waiting.pop(url))
        resources = dict(each.value.decode().lower().split() for each in response.resources)
        removed = [name for name in self.client.held[url] if name not in resources] if url in FULL_STATE else []
        error = self.client.apply(url, resources, removed)
        request = SotwRequest(url, None, self._names(url), response.nonce, error)
        self.client.take(self.session.on_request(request))


def settle(model: DeltaModel | SotwModel) -> None:
    for _ in range(200):
        if model.client.waiting:
            model.answer(next(iter(model.client.waiting)))
        elif model.session.held_back:
            model.client.take(model.session.on_timeout())
        else:
            return
    raise AssertionError("the conversation does not end")


def run(kind: type, script: list, final: Contents, client: Client) -> None:
    memory, count = ProxyMemory(), 0
    view = view_of({url: {} for url in TYPES}, count)
    model = kind(view, client, memory)
    for step, given_contents in [*script, ("publish", final)]:
        if step == "publish":
            count += 1
            new = view_of(given_contents, count)
            delta = difference(view, new, ORDER) if count % 3 else None
            view = new
            client.take(model.session.on_publish(view, delta))
        elif step == "reconnect":
            model = kind(view, client, memory)
        elif step == "timeout" and model.session.held_back:
            client.take(model.session.on_timeout())
        elif step == "answer" and given_contents in client.waiting:
            model.answer(given_contents)
    settle(model)


def check(client: Client, final: Contents, urls: tuple[str, ...]) -> None:
    kept = any(is_bad(final[url][name]) for url in (LISTENER, ROUTE) for name in client.held[url] if name in final[url])
    for url in urls:
        for name, version in final[url].items():
            if not is_bad(version):
                assert client.held[url].get(name) == version
        # What a listener or route may use, that stays because the newer one is bad, stays too.
        assert set(client.held[url]) <= set(final[url]) or (kept and url in (CLUSTER, ENDPOINT))
        assert not any(is_bad(version) for version in client.held[url].values())


@settings(max_examples=150, deadline=None)
@given(script=steps, final=contents, partial=st.booleans(), telling=st.booleans())
def test_delta_converges(script, final, partial, telling):
    client = Client(partial, telling)
    run(DeltaModel, script, final, client)
    check(client, final, TYPES)


@settings(max_examples=150, deadline=None)
@given(script=steps, final=contents, partial=st.booleans(), telling=st.booleans())
def test_state_of_the_world_converges(script, final, partial, telling):
    client = Client(partial, telling)
    run(SotwModel, script, final, client)
    check(client, final, WILDCARDS)
    for url in NAMED:
        good = {name: version for name, version in final[url].items() if not is_bad(version)}
        assert good.items() <= client.held[url].items()
