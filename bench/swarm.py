"""Many simulated sidecars in one process: delta clients with a channel each, and the subscriptions of an Envoy.

Run as ``python -m bench.swarm TARGET FILE``; each line of FILE is a node id and a bearer token. All connect at once.
Questions come on standard input and answers go to standard output, one JSON object a line; :class:`Swarm` asks them.
"""

import asyncio
import contextlib
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from tidegate.app import files
from tidegate.xds.client import DeltaClient, Subscriber, first_node
from tidegate.xds.node import parse_node_id
from tidegate.xds.types import ROUTE

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120.0
"""Limit of every wait."""
PAUSE = 0.02
"""Seconds between two looks at the clients; also how exactly times are told."""
RETRY = 0.2, 1.0
"""Seconds until a client comes again, drawn anew each time."""
LIFETIME = 3600.0
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
        table = self.tables[answers[0].type_url]
        table.bodies = {name: self._bodies.setdefault(body, body) for name, body in table.bodies.items()}
        return answers


class Sidecar:
    """One client that comes again, with what it holds, whenever it is told UNAVAILABLE, as an agent does."""

    def __init__(self, target: str, node: str, token: str) -> None:
        self.subscriber = Sharing(first_node(node))
        self._target, self._token = target, token
        self.streams = 0
        self.refused = ""
        """Why it was sent away for good."""

    async def run(self) -> None:
        while not self.refused:
            self.streams += 1
            async with DeltaClient(self._target, self.subscriber, self._token) as client:
                await client.until(lambda _: False, timeout=LIFETIME)
                if client.ended is not None and client.ended.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.refused = f"{client.ended.code().name}: {client.ended.details()}"
            await asyncio.sleep(random.uniform(*RETRY))


class Sidecars:
    """The clients of this process and what is asked about them."""

    def __init__(self, target: str, who: Iterable[tuple[str, str]]) -> None:
        self._started = time.monotonic()
        self._all = {node: Sidecar(target, node, token) for node, token in who}

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(each.run()) for each in self._all.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def answer(self, namespace: str, wanted: str) -> Answer:
        """Wait until all of a namespace hold exactly what digests as ``wanted``; empty: tell how they stand now."""
        chosen = {node: each for node, each in self._all.items() if parse_node_id(node).namespace == namespace}
        behind, refused, deadline = set(chosen) if wanted else set(), set[str](), time.monotonic() + SECONDS
        while behind and not refused and time.monotonic() < deadline:
            behind -= _holding(chosen, behind, wanted)
            refused = {each.refused for each in chosen.values() if each.refused}
            await asyncio.sleep(PAUSE if behind else 0)
        return {
            "started": self._started,
            "at": time.monotonic(),
            "clients": len(chosen),
            "behind": len(behind),
            "refused": sorted(refused),
            "streams": sum(each.streams for each in chosen.values()),
            "received": sum(t.received for each in chosen.values() for t in each.subscriber.tables.values()),
        }


def _holding(clients: dict[str, Sidecar], nodes: set[str], wanted: str) -> set[str]:
    """Those of ``nodes`` that hold what is wanted; equal tables are digested once."""
    known: list[tuple[Any, bool]] = []
    found: set[str] = set()
    for node in nodes:
        subscriber = clients[node].subscriber
        if len(subscriber.tables[ROUTE].bodies) == 0:
            continue  # routes come last: not worth a digest
        tables = {url: dict(table.bodies) for url, table in subscriber.tables.items()}
        verdict = next((v for seen, v in known if seen == tables), None)
        if verdict is None:
            verdict = digest(subscriber) == wanted
            known.append((tables, verdict))
        if verdict:
            found.add(node)
    return found


async def serve(target: str, lines: Iterable[str]) -> None:
    who = [line.partition(" ") for line in lines]
    clients = Sidecars(target, [(node, token) for node, _, token in who])
    async with clients.connected():
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await clients.answer(**json.loads(line))), flush=True)


class Swarm:
    """The other side: starts the process, and asks it."""

    def __init__(self, target: str, file: Path, who: Iterable[tuple[str, str]]) -> None:
        file.touch(0o600)
        file.write_text("".join(f"{node} {token}\n" for node, token in who))
        self._command = [sys.executable, "-m", "bench.swarm", target, str(file)]

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, limit=1 << 20
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

    async def ask(self, namespace: str, wanted: str = "") -> Answer:
        """As :meth:`Sidecars.answer`."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"namespace": namespace, "wanted": wanted}).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 2 * SECONDS)
        found: Answer = json.loads(line)
        return found

    async def current(self, namespace: str, wanted: str) -> Answer:
        """Wait until all of a namespace hold what digests so. RuntimeError: some do not in time, or were sent away."""
        found = await self.ask(namespace, wanted)
        if found["behind"] or found["refused"]:
            raise RuntimeError(f"{found['behind']} of {found['clients']} clients are behind; {found['refused']}"[:2000])
        return found


if __name__ == "__main__":
    files.allow_many()
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]).read_text().splitlines()))
