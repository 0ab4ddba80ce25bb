"""The state-of-the-world variant: StreamAggregatedResources."""

from collections.abc import Iterator

from tidegate.xds.session import Send, Session
from tidegate.xds.source import Resource
from tidegate.xds.types import FULL_STATE, SHORT
from tidegate.xds.watch import WILDCARD, Plan, Watch
from tidegate.xds.wire import SotwRequest, sotw_response


class SotwSession(Session):
    def on_request(self, request: SotwRequest) -> list[Send]:
        """Raises ProtocolError."""
        watch = self._watches.get(request.type_url)
        if watch is None:
            self._begin(self._new_watch(request.type_url), request)
        elif not request.nonce:
            watch.reset()
            self._begin(watch, request)
        elif request.nonce != watch.nonce:
            self._observer.expired_nonce(watch.type_url)
        else:
            self._answered(watch, request.error)
            self._replace_names(watch, request.names)
        return self._pump()

    def _begin(self, watch: Watch, request: SotwRequest) -> None:
        watch.wildcard = WILDCARD in request.names or (not request.names and watch.type_url in FULL_STATE)
        watch.names = set()
        self._add_names(watch, (name for name in request.names if name != WILDCARD))
        watch.mark(self._reach(watch), forced=True)
        watch.owed = watch.wildcard or bool(watch.names) or watch.type_url not in SHORT

    def _replace_names(self, watch: Watch, names: tuple[str, ...]) -> None:
        """Only what is new is answered. Without names a wildcard that began without stays one."""
        if watch.wildcard and not names and not watch.names:
            return
        asked = {name for name in names if name != WILDCARD}
        added, dropped = asked - watch.names, watch.names - asked
        wildcard, watch.wildcard = watch.wildcard, WILDCARD in names
        watch.names = set()
        self._add_names(watch, asked)
        watch.mark(sorted(added), forced=True)
        if watch.wildcard and not wildcard:
            watch.mark(self._reach(watch))
            watch.owed = True
        for name in dropped if not wildcard else [*dropped, *watch.held]:
            if not self._wanted(watch, name):
                watch.forget(name)

    def _tells_removals(self, watch: Watch) -> bool:
        return watch.type_url in FULL_STATE

    def _respond(self, watch: Watch, plan: Plan, nonce: str) -> Send:
        whole = watch.type_url in FULL_STATE
        resources = list(self._full_state(watch, plan) if whole else plan.resources.values())
        data = sotw_response(watch.type_url, nonce, self._view.version, resources)
        return Send(watch.type_url, nonce, data, len(plan.resources), len(plan.gone))

    def _full_state(self, watch: Watch, plan: Plan) -> Iterator[Resource]:
        """All that the client shall hold after this response: what is new, and what it has accepted."""
        gone = set(plan.gone)
        for name in dict.fromkeys((*self._reach(watch), *plan.resources)):
            resource = plan.resources.get(name) or watch.held.get(name)
            if resource is not None and name not in gone:
                yield resource
