"""The discovery protocol of one stream without I/O: requests and published Views in, responses out.

What both variants (delta and state of the world) share is here; each says how it reads a request and how it writes a
response. The rules are those of the xDS protocol (envoyproxy.io, "xDS REST and gRPC protocol") and of what Envoy does:

- One response per type is on its way. What changes meanwhile is sent after the answer, as it is then.
- Clusters go before their endpoints, then listeners, then routes. Listeners and routes wait until changed clusters are
  acknowledged: Envoy acknowledges clusters when they are warm. A cluster that is slow to warm must not hold them for
  ever: see :attr:`Session.held_back`.
- Clusters (and endpoints) that went away are taken back last, when listeners and routes have been acknowledged.
- A changed EDS cluster gets its endpoints again, else it would stay warming.
- A refused response is taken apart until the refused resources are known. Those are not sent again in that version;
  the proxy keeps what it accepted last, and everything else of the response stands.
"""

import abc
import itertools
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

from tidegate.xds.acceptance import ProxyMemory, Refusal, culprits
from tidegate.xds.source import Delta, ListingView, Resource, View
from tidegate.xds.status import Quarantined, SessionStatus, SyncState, TypeStatus
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, rank
from tidegate.xds.watch import Flight, Plan, Remembered, Watch
from tidegate.xds.wire import eds_service_name

MAX_TYPES = 64
MAX_NAMES = 200_000
"""Bounds of what one stream may subscribe to by name."""


class ProtocolError(Exception):
    """The client went beyond a bound; its stream must end."""


@dataclass(frozen=True, slots=True)
class Send:
    """A response to be written as it is."""

    type_url: str
    nonce: str
    data: bytes
    resources: int
    removed: int


class Observer(Protocol):
    """Is told what a session notices."""

    def refused(self, type_url: str, refusals: list[Refusal], error: str) -> None:
        """The client refused a response. ``refusals``: the culprits, as far as they are known by now."""
        ...

    def expired_nonce(self, type_url: str) -> None:
        """A request answered a response that was not the last one; that answer was ignored."""
        ...


class Silent:
    """An Observer that does nothing."""

    def refused(self, type_url: str, refusals: list[Refusal], error: str) -> None:
        return

    def expired_nonce(self, type_url: str) -> None:
        return


class Session(abc.ABC):
    """One stream. Not thread-safe, does no I/O, reads no clock."""

    def __init__(self, view: View, memory: ProxyMemory | None = None, observer: Observer | None = None) -> None:
        self._view = view
        self._memory = memory if memory is not None else ProxyMemory()
        self._observer = observer if observer is not None else Silent()
        self._watches: dict[str, Watch] = {}
        self._numbers = itertools.count(1)
        self._prefix = secrets.token_hex(4)
        self._impatient = False
        self._expected: set[str] = set()
        self._listings: dict[str, frozenset[str]] = {}

    @property
    def view(self) -> View:
        return self._view

    @property
    def held_back(self) -> bool:
        """Something waits for what the client may never do: listeners or routes for the acknowledgement of clusters,
        or clusters that are gone for a returning client to ask for its listeners. When this lasts, call
        :meth:`on_timeout`."""
        waiting = (
            watch.flight is None and (watch.owed or watch.dirty or watch.trials) and self._must_wait(watch, {})
            for watch in self._watches.values()
        )
        clusters = self._watches.get(CLUSTER)
        returning = bool(self._expected and clusters is not None and clusters.dirty)
        return returning or (not self._impatient and any(waiting))

    def on_publish(self, view: View, delta: Delta | None) -> list[Send]:
        """Take over a View. delta: names that differ from the one before, None when that is not known."""
        self._view = view
        self._listings.clear()
        for watch in self._watches.values():
            if delta is None:
                watch.mark(self._reach(watch))
            elif changed := delta.get(watch.type_url):
                watch.mark(sorted(changed if watch.wildcard else changed & watch.names))
        sends = self._pump()
        for watch in self._watches.values():
            self._forget_error(watch)
        return sends

    def _forget_error(self, watch: Watch) -> None:
        """What was refused may be wanted no more, with nothing to send that could be acknowledged."""
        if watch.last_error and not (watch.flight or watch.trials or any(self._quarantined(watch))):
            watch.last_error = ""

    def on_timeout(self) -> list[Send]:
        """Hold listeners and routes back no longer; until the next acknowledgement of clusters."""
        self._impatient = True
        self._expected.clear()
        return self._pump()

    def status(self) -> SessionStatus:
        watches = sorted(self._watches.values(), key=lambda watch: (rank(watch.type_url), watch.type_url))
        return SessionStatus(tuple(self._type_status(watch) for watch in watches))

    # what the variants say

    @abc.abstractmethod
    def _respond(self, watch: Watch, plan: Plan, nonce: str) -> Send:
        """Write a response."""

    @abc.abstractmethod
    def _tells_removals(self, watch: Watch) -> bool:
        """Whether the variant has a way to say that a resource of the type is gone."""

    # answers

    def _answered(self, watch: Watch, error: str | None) -> None:
        """The client acknowledged (error None) or refused what is on its way."""
        flight, watch.flight = watch.flight, None
        if flight is None:
            return
        if watch.type_url == CLUSTER:
            self._impatient = False
        if error is None:
            self._accept(watch, flight)
        else:
            self._refuse(watch, flight, error)

    def _accept(self, watch: Watch, flight: Flight) -> None:
        watch.acked = flight.nonce
        for name, resource in flight.resources.items():
            if watch.subscribed(name):
                watch.held[name] = resource
            watch.doubtful.pop(name, None)
            self._memory.accepted(watch.type_url, resource)
        for name in flight.gone:
            watch.held.pop(name, None)
            watch.doubtful.pop(name, None)
            self._memory.gone(watch.type_url, name)
        if watch.type_url == CLUSTER:
            self._memory.warming.clear()
        elif watch.type_url == ENDPOINT:
            self._memory.warming.difference_update(flight.resources)
        if not watch.trials and not any(self._quarantined(watch)):
            watch.last_error = ""

    def _refuse(self, watch: Watch, flight: Flight, error: str) -> None:
        watch.rejects += 1
        watch.last_error = error
        names = list(flight.resources)
        guilty = names if len(names) == 1 else culprits(error, names)
        refusals = [self._quarantine(watch, flight.resources[name], error) for name in guilty]
        self._observer.refused(watch.type_url, refusals, error)
        rest = [name for name in names if name not in guilty and watch.subscribed(name)]
        for name in rest:
            watch.doubt(name, flight.resources[name].version)
        for name in flight.gone if names else ():
            watch.doubt(name, "")
            watch.mark([name])
        if guilty:
            parts = [rest]
        else:
            half = (len(rest) + 1) // 2
            parts = [rest[:half], rest[half:]]
        watch.trials.extendleft(reversed([part for part in parts if part]))

    def _quarantine(self, watch: Watch, resource: Resource, error: str) -> Refusal:
        held = watch.held.get(resource.name)
        known = None if isinstance(held, Remembered) else held
        refusal = Refusal(resource, error, known)
        self._memory.refuse(watch.type_url, refusal)
        watch.not_taken(resource.name, resource.version)
        return refusal

    # what to send

    def _pump(self) -> list[Send]:
        """Every response that may be sent now, in push order."""
        sends: list[Send] = []
        plans: dict[str, Plan] = {}
        for watch in sorted(self._watches.values(), key=lambda watch: rank(watch.type_url)):
            if watch.flight is None and not self._must_wait(watch, plans):
                send = self._next_response(watch, plans)
                if send is not None:
                    sends.append(send)
        return sends

    def _next_response(self, watch: Watch, plans: dict[str, Plan]) -> Send | None:
        plan = self._planned(watch, plans)
        if watch.type_url in (CLUSTER, ENDPOINT) and plan.gone:
            plan = self._without_early_removals(watch, plan, plans)
        if not plan and not watch.owed:
            return None
        nonce = f"{self._prefix}:{next(self._numbers)}"
        send = self._respond(watch, plan, nonce)
        if watch.trials:
            watch.trials.popleft()
        for name in itertools.chain(plan.resources, plan.gone):
            watch.settle(name)
        plans[watch.type_url] = Plan()
        watch.owed = False
        watch.nonce = nonce
        watch.flight = Flight(nonce, plan.resources, tuple(plan.gone))
        if watch.type_url == CLUSTER:
            self._resend_endpoints(plan, plans)
        return send

    def _planned(self, watch: Watch, plans: dict[str, Plan]) -> Plan:
        """What is to be told of the type: a part under trial first, else all that is dirty."""
        if watch.type_url not in plans:
            plan = Plan()
            while watch.trials and not plan:
                plan = self._plan(watch, watch.trials[0])
                watch.mark(plan.gone)  # no culprit, and to be told when that is due
                plan.gone.clear()
                if not plan:
                    watch.trials.popleft()
            plans[watch.type_url] = plan or self._plan(watch, list(watch.dirty))
        return plans[watch.type_url]

    def _plan(self, watch: Watch, names: Iterable[str]) -> Plan:
        plan = Plan()
        for name in names:
            resource, keep = self._target(watch, name)
            if resource is None and not keep and (watch.knows(name) or name in watch.forced):
                if self._tells_removals(watch):
                    plan.gone.append(name)
                else:
                    watch.forget(name)
            elif resource is not None and self._is_news(watch, resource):
                plan.resources[name] = resource
            else:
                watch.settle(name)
                if resource is None and not keep:
                    self._memory.gone(watch.type_url, name)
        return plan

    def _is_news(self, watch: Watch, resource: Resource) -> bool:
        held = watch.held.get(resource.name)
        if held is None or resource.name in watch.doubtful or resource.name in watch.forced:
            return not isinstance(resource, Remembered)
        return held.version != resource.version

    def _target(self, watch: Watch, name: str) -> tuple[Resource | None, bool]:
        """What the client should hold; (None, True): leave alone whatever it holds."""
        resource = self._view.get(watch.type_url, name) if self._wanted(watch, name) else None
        if resource is None:
            return None, False
        refusal = self._memory.refused(watch.type_url, resource)
        if refusal is None:
            return resource, False
        stays = refusal.fallback or watch.held.get(name)
        return stays, stays is None and name not in watch.forced and name not in watch.doubtful

    def _wanted(self, watch: Watch, name: str) -> bool:
        return name in watch.names or (watch.wildcard and self._lists(watch.type_url, name))

    def _lists(self, type_url: str, name: str) -> bool:
        if _can_list(type(self._view)):
            return cast(ListingView, self._view).lists(type_url, name)
        if type_url not in self._listings:
            self._listings[type_url] = frozenset(self._view.names(type_url))
        return name in self._listings[type_url]

    def _reach(self, watch: Watch) -> list[str]:
        """All names that the client asks for, holds or is about to hold, in push order."""
        listed = self._view.names(watch.type_url) if watch.wildcard else ()
        flying = watch.flight.resources if watch.flight is not None else ()
        return list(dict.fromkeys((*listed, *sorted(watch.names), *watch.held, *sorted(watch.doubtful), *flying)))

    # make before break

    def _must_wait(self, watch: Watch, plans: dict[str, Plan]) -> bool:
        """Listeners and routes wait for clusters; routes also for listeners that wait to be sent."""
        if watch.type_url not in (LISTENER, ROUTE) or self._impatient:
            return False
        if self._is_busy(CLUSTER, plans):
            return True
        listeners = self._watches.get(LISTENER)
        return watch.type_url == ROUTE and listeners is not None and bool(listeners.flight and listeners.dirty)

    def _is_busy(self, type_url: str, plans: dict[str, Plan], *, removals: bool = False) -> bool:
        """Whether something of the type is on its way or waits to be; what only waits to be taken back counts on
        demand, for clusters wait for the very types that ask this."""
        watch = self._watches.get(type_url)
        if watch is None:
            return False
        if watch.flight is not None:
            return True
        plan = self._planned(watch, plans)  # drops trials that have become pointless
        return bool(watch.trials or plan.resources) or (removals and bool(plan.gone))

    def _without_early_removals(self, watch: Watch, plan: Plan, plans: dict[str, Plan]) -> Plan:
        early = (
            bool(self._expected)
            or self._is_busy(LISTENER, plans, removals=True)
            or self._is_busy(ROUTE, plans, removals=True)
            or (watch.type_url == ENDPOINT and self._is_busy(CLUSTER, plans, removals=True))
        )
        gone = [name for name in plan.gone if name in watch.forced or not (early or self._is_in_use(name))]
        return Plan(plan.resources, gone)

    def _is_in_use(self, cluster: str) -> bool:
        """Whether a listener or route that the proxy keeps, because it refused the newer one, names the cluster."""
        users = [watch for watch in self._watches.values() if watch.type_url in (LISTENER, ROUTE)]
        kept = (
            watch.held[name]
            for watch in users
            for name in self._memory.refusals.get(watch.type_url, {})
            if name in watch.held and self._is_refused(watch.type_url, name)
        )
        return any(isinstance(held, Remembered) or cluster.encode() in held.body for held in kept)

    def _is_refused(self, type_url: str, name: str) -> bool:
        current = self._view.get(type_url, name)
        return current is not None and self._memory.refused(type_url, current) is not None

    def _resend_endpoints(self, plan: Plan, plans: dict[str, Plan]) -> None:
        """Envoy keeps a changed EDS cluster warming until it gets endpoints once more, equal or not."""
        services = [eds_service_name(resource.body) for resource in plan.resources.values()]
        names = [name for name in services if name is not None]
        self._memory.warming.update(names)
        watch = self._watches.get(ENDPOINT)
        if watch is not None:
            watch.mark([name for name in names if watch.subscribed(name)], forced=True)
            plans.pop(ENDPOINT, None)

    # subscriptions

    def _new_watch(self, type_url: str) -> Watch:
        if len(self._watches) >= MAX_TYPES:
            raise ProtocolError(f"more than {MAX_TYPES} resource types on one stream")
        self._expected.discard(type_url)
        watch = self._watches[type_url] = Watch(type_url)
        return watch

    def _add_names(self, watch: Watch, names: Iterable[str]) -> None:
        watch.names.update(names)
        if len(watch.names) > MAX_NAMES:
            raise ProtocolError(f"more than {MAX_NAMES} names of {watch.type_url} on one stream")

    # telling

    def _type_status(self, watch: Watch) -> TypeStatus:
        quarantined = tuple(self._quarantined(watch))
        return TypeStatus(
            type_url=watch.type_url,
            state=_state(watch, bool(quarantined)),
            sent_nonce=watch.nonce,
            acked_nonce=watch.acked,
            wildcard=watch.wildcard,
            names=tuple(sorted(watch.names)),
            held=len(watch.held),
            rejects=watch.rejects,
            last_error=watch.last_error,
            quarantined=quarantined,
        )

    def _quarantined(self, watch: Watch) -> Iterable[Quarantined]:
        for name, refusal in sorted(self._memory.refusals.get(watch.type_url, {}).items()):
            if self._wanted(watch, name) and self._is_refused(watch.type_url, name):
                held = watch.held.get(name)
                accepted = held.version if held is not None else ""
                yield Quarantined(name, refusal.resource.version, refusal.error, accepted)


@lru_cache(maxsize=64)
def _can_list(view: type[View]) -> bool:
    """Whether a class of Views is of ListingViews. Asked for each changed name of each session: isinstance() of a
    protocol would cost more than all else that is done for the name."""
    return hasattr(view, "lists")


def _state(watch: Watch, quarantined: bool) -> SyncState:
    if not watch.nonce and not watch.held:
        return SyncState.NOT_SENT
    if quarantined or watch.last_error:
        return SyncState.ERROR
    if watch.flight is not None or watch.trials or watch.dirty:
        return SyncState.STALE
    return SyncState.SYNCED
