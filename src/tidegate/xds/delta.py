"""The incremental variant: DeltaAggregatedResources."""

from tidegate.xds.session import Send, Session
from tidegate.xds.types import CLUSTER, ENDPOINT, FULL_STATE, LISTENER, ROUTE, SHORT
from tidegate.xds.watch import WILDCARD, Plan, Remembered, Watch
from tidegate.xds.wire import DeltaRequest, delta_response


class DeltaSession(Session):
    def on_request(self, request: DeltaRequest) -> list[Send]:
        """Raises ProtocolError."""
        watch = self._watches.get(request.type_url)
        if watch is None:
            watch = self._new_watch(request.type_url)
            self._begin(watch, request)
        else:
            self._acknowledge(watch, request)
            self._subscribe(watch, request.subscribe)
        self._unsubscribe(watch, request.unsubscribe)
        return self._pump()

    def _begin(self, watch: Watch, request: DeltaRequest) -> None:
        """The first request of a type: what the client holds from an earlier stream is not sent again."""
        for name, version in request.initial_versions.items():
            current = self._view.get(watch.type_url, name)
            known = current is not None and current.version == version
            watch.held[name] = current if known and current is not None else Remembered(name, version)
        if request.initial_versions and watch.type_url == CLUSTER:
            # A returning client's routes may still use clusters that are gone: they are changed first.
            self._expected.update({LISTENER, ROUTE} - self._watches.keys())
        if not request.subscribe and watch.type_url in FULL_STATE:
            watch.wildcard = True
        self._subscribe(watch, request.subscribe)
        watch.forced.difference_update(request.initial_versions)
        if watch.type_url == ENDPOINT:
            watch.mark(sorted(self._memory.warming & watch.names), forced=True)
        for name in [name for name in watch.held if not watch.subscribed(name)]:
            watch.forget(name)
        watch.mark(self._reach(watch))
        watch.owed = watch.wildcard or watch.type_url not in SHORT

    def _acknowledge(self, watch: Watch, request: DeltaRequest) -> None:
        """A request with a nonce answers that response; one without changes subscriptions only."""
        if not request.nonce:
            return
        if watch.flight is not None and watch.flight.nonce == request.nonce:
            self._answered(watch, request.error)
        else:
            self._observer.expired_nonce(watch.type_url)

    def _subscribe(self, watch: Watch, names: tuple[str, ...]) -> None:
        """What is asked for by name is sent even if the client should hold it: it may have forgotten it."""
        if WILDCARD in names and not watch.wildcard:
            watch.wildcard = watch.owed = True
            watch.mark(self._reach(watch))
        asked = [name for name in names if name != WILDCARD]
        self._add_names(watch, asked)
        watch.mark(asked, forced=True)

    def _unsubscribe(self, watch: Watch, names: tuple[str, ...]) -> None:
        for name in names:
            if name == WILDCARD:
                watch.wildcard = False
            elif name in watch.names:
                watch.names.discard(name)
                if watch.wildcard:
                    # The wildcard may still include it: the client is told either way.
                    watch.mark([name], forced=True)
                else:
                    watch.forget(name)
        if WILDCARD in names:
            for name in [name for name in (*watch.held, *watch.doubtful, *watch.dirty) if name not in watch.names]:
                watch.forget(name)

    def _tells_removals(self, watch: Watch) -> bool:
        return True

    def _respond(self, watch: Watch, plan: Plan, nonce: str) -> Send:
        data = delta_response(watch.type_url, nonce, self._view.version, plan.resources.values(), plan.gone)
        return Send(watch.type_url, nonce, data, len(plan.resources), len(plan.gone))
