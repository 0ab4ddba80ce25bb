"""A control plane of one proxy: the discovery server with a view that the test replaces."""

import asyncio
import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.equivalence.live.secrets import Secrets
from tidegate.app.offline.compile import Compiled, route_names
from tidegate.envoy.resource import SECRET
from tidegate.xds.fixed import FixedView, Item
from tidegate.xds.mailbox import Mailbox
from tidegate.xds.server import DiscoveryServer, Identity
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

PATIENCE = 20.0


class Shown(FixedView):
    """A view that can tell all that it has."""

    def __init__(self, version: str, listed: dict[str, list[Item]], hidden: dict[str, list[Item]]) -> None:
        super().__init__(version, listed, hidden)
        self._all = {**listed, **hidden}

    def items(self, type_url: str) -> list[Item]:
        return self._all.get(type_url, [])


def view_of(compiled: Compiled, dump: dict[str, Any]) -> Shown:
    """What the proxy would be sent, each version made from the content: worlds share nothing else."""
    asked = compiled.resources(ROUTE, iter(sorted(route_names(dump))))
    endpoints = _items(compiled.resources(ENDPOINT).values())
    listed = {kind: _items(compiled.resources(kind).values()) for kind in (CLUSTER, LISTENER)}
    hidden = {ENDPOINT: endpoints, ROUTE: _items(asked.values()), SECRET: _items(compiled.resources(SECRET).values())}
    everything = "".join(each.version for group in (*listed.values(), *hidden.values()) for each in group)
    return Shown(hashlib.sha256(everything.encode()).hexdigest()[:16], listed, hidden)


def _items(found: Iterable[Any]) -> list[Item]:
    return [Item(each.name, each.body, hashlib.sha256(each.body).hexdigest()[:16]) for each in found]


class Control:
    """The server on a Unix socket, on a loop in a thread of its own; the workload's secrets on another one."""

    def __init__(self, socket: Path, secrets: Secrets, secrets_socket: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._view, self._boxes = FixedView("0", {}), list[Mailbox]()
        self._run(self._start(socket))
        self._secrets = self._run(secrets.start(secrets_socket))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _start(self, socket: Path) -> None:
        self._server = DiscoveryServer(self._authenticate, self._attach)
        await self._server.start(socket)

    async def _authenticate(self, metadata: Any) -> Identity:
        return Identity("shop", "default")

    async def _attach(self, identity: Any, node: Any) -> Mailbox:
        self._boxes.append(Mailbox(self._view))
        return self._boxes[-1]

    def show(self, view: FixedView) -> None:
        self._run(self._show(view))

    async def _show(self, view: FixedView) -> None:
        self._view = view
        for box in self._boxes:
            box.publish(view, None)

    def refusals(self) -> list[str]:
        """Resources that the proxy keeps refusing."""
        return self._run(self._refusals())

    async def _refusals(self) -> list[str]:
        found = []
        for connection in self._server.connections():
            for kind in (CLUSTER, LISTENER, ROUTE, ENDPOINT):
                state = connection.session.status().of(kind)
                found += [str(each) for each in state.quarantined] if state else []
        return found

    def stop(self) -> None:
        self._run(self._server.stop(0.2))
        self._run(self._secrets.stop(0.2))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
