"""Many simulated sidecars in one process: delta clients with a channel each, and the subscriptions of an Envoy.

Run as ``python -m bench.swarm TARGET FILE``; each line of FILE is a node id and a bearer token. All connect at once.
Commands come on standard input and answers go to standard output, one JSON object a line; see :class:`Swarm`.
"""

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tidegate.xds.client import DeltaClient, Subscriber, first_node

SECONDS = 120.0
"""Limit of every wait."""
PAUSE = 0.02
"""Seconds between two looks at the clients; also how exactly times are told."""
Answer = dict[str, Any]


def digest(found: Subscriber) -> str:
    """Tells what a client holds: equal digests, equal resources."""
    total = hashlib.sha256()
    for url, table in sorted(found.tables.items()):
        for name, body in sorted(table.bodies.items()):
            total.update(f"{url}\0{name}\0{table.versions[name]}\0{len(body)}\0".encode() + body)
    return total.hexdigest()


class Sharing(Subscriber):
    """Clients of one process hold one copy of equal bodies: it is the server whose memory is of interest."""

    _bodies: dict[bytes, bytes] = {}

    def on_response(self, data: bytes) -> list[Any]:
        answers = super().on_response(data)
        for table in self.tables.values():
            for name, body in table.bodies.items():
                table.bodies[name] = self._bodies.setdefault(body, body)
        return answers


class Clients:
    """The clients of this process and the commands that are answered about them."""

    def __init__(self, target: str, who: Iterable[tuple[str, str]]) -> None:
        self._clients = {node: DeltaClient(target, Sharing(first_node(node)), token) for node, token in who}
        self._started = time.monotonic()

    async def connect(self) -> None:
        self._started = time.monotonic()
        for client in self._clients.values():
            await client.__aenter__()

    async def disconnect(self) -> None:
        await asyncio.gather(*(client.__aexit__(None, None, None) for client in self._clients.values()))

    async def answer(self, command: Answer) -> Answer:
        """``{"namespace": …, "digest": …}``: wait until all clients of the namespace hold exactly that.
        ``{"received": true}``: resources received so far, by node id."""
        chosen = {n: c for n, c in self._clients.items() if n.endswith(f".{command['namespace']}")}
        if "received" in command:
            return {n: sum(t.received for t in c.subscriber.tables.values()) for n, c in chosen.items()}
        behind = set(chosen)
        ended: dict[str, str] = {}
        while behind and not ended and time.monotonic() - self._started < SECONDS:
            behind -= _same(chosen, behind, command["digest"])
            ended = {n: str(c.ended.details()) for n, c in chosen.items() if c.ended is not None}
            await asyncio.sleep(PAUSE if behind else 0)
        return {"clients": len(chosen), "behind": len(behind), "ended": ended, "at": time.monotonic()}


def _same(clients: dict[str, DeltaClient], names: set[str], wanted: str) -> set[str]:
    """Those of ``names`` that hold what is wanted; equal tables are digested once."""
    found: set[str] = set()
    known: list[tuple[Any, bool]] = []
    for name in names:
        tables = {url: (t.bodies, t.versions) for url, t in clients[name].subscriber.tables.items()}
        verdict = next((v for seen, v in known if seen == tables), None)
        if verdict is None:
            verdict = digest(clients[name].subscriber) == wanted
            known.append((tables, verdict))
        if verdict:
            found.add(name)
    return found


async def serve(target: str, file: Path) -> None:
    clients = Clients(target, [tuple(line.split()) for line in file.read_text().splitlines()])  # type: ignore[misc]
    await clients.connect()
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await clients.answer(json.loads(line))), flush=True)
    finally:
        await clients.disconnect()


class Swarm:
    """The other side: starts the process, and asks it."""

    def __init__(self, target: str, file: Path, who: Iterable[tuple[str, str]]) -> None:
        file.touch(0o600)
        file.write_text("".join(f"{node} {token}\n" for node, token in who))
        self._command = [sys.executable, "-m", "bench.swarm", target, str(file)]

    async def __aenter__(self) -> Self:
        root = Path(__file__).resolve().parent.parent
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, limit=1 << 20
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def ask(self, **command: Any) -> Answer:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 2 * SECONDS)
        found: Answer = json.loads(line)
        return found

    async def current(self, namespace: str, wanted: str) -> float:
        """Wait until all clients of a namespace hold what digests so; time.monotonic() of then. RuntimeError if some
        do not in time, or were sent away."""
        found = await self.ask(namespace=namespace, digest=wanted)
        if found["behind"] or found["ended"]:
            raise RuntimeError(f"{found['behind']} of {found['clients']} clients are behind; {found['ended']}"[:2000])
        return float(found["at"])


Held = Callable[[Subscriber], bool]

if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
