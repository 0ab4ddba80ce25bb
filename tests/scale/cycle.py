"""A control plane's core with one connected client, through two equal cycles: ServiceEntries added, some edited one by
one, all removed.

Run as ``python -m tests.scale.cycle COUNT EDITS``; prints what is held and what edits cost as JSON.
"""

import gc
import json
import sys
from collections.abc import Iterable, Sized
from typing import Any

import msgspec

from bench.core import entry, put, resident
from tidegate.app.discovery.heap import spare
from tidegate.app.discovery.hub import Hub
from tidegate.app.discovery.losses import Losses
from tidegate.app.discovery.proxies import Node
from tidegate.snapshot.world import Event, Verb
from tidegate.xds.client import Subscriber, first_node
from tidegate.xds.delta import DeltaSession
from tidegate.xds.wire import parse_delta

BATCH = 1000
KEPT = 10
"""Entries that are there before, and after all else is removed."""
NODE = Node(name="client.bench", namespace="bench", pod="client", service_account="default", address="10.1.1.1")


class Core:
    """A hub, and a client at the other end of a session, without a network."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.losses = Losses(self.hub)
        self.hub.apply([put(entry(n)) for n in range(KEPT)])
        self.shown = self.hub.attach(NODE)
        self.session = DeltaSession(self.shown.mailbox.view)
        self.client = Subscriber(first_node("sidecar~10.1.1.1~client.bench~x"))
        self._answer(self.client.begin())
        self._follow()

    def _follow(self) -> None:
        self.losses.note()
        while not self.losses.idle:
            self.losses.work(BATCH)

    def _answer(self, requests: Iterable[Any]) -> None:
        pending = list(requests)
        while pending:
            sends = self.session.on_request(parse_delta(pending.pop(0).SerializeToString()))
            pending += [more for send in sends for more in self.client.on_response(send.data)]

    def apply(self, events: list[Event]) -> None:
        self.hub.apply(events)
        self._follow()
        update, self.shown.mailbox._waiting = self.shown.mailbox._waiting, None
        if update is not None:
            sends = self.session.on_publish(update.view, update.delta)
            self._answer([more for send in sends for more in self.client.on_response(send.data)])

    def held(self) -> dict[str, int]:
        """Sizes of everything that is kept, by where."""
        gc.collect()
        found: dict[str, int] = {"builders": self.hub.builders.remembered()}
        found |= sizes("hub", attributes(self.hub))
        found |= sizes("losses", attributes(self.losses))
        found |= sizes("world", attributes(self.hub.world))
        for outbound in self.hub._kinds.values():
            found |= sizes("outbound", attributes(outbound))
        for watch in self.session._watches.values():
            found |= sizes(f"session {watch.type_url.rpartition('.')[2]}", attributes(watch))
        for url, table in self.client.tables.items():
            found[f"client {url.rpartition('.')[2]}"] = len(table.bodies)
        return found


def attributes(of: Any) -> dict[str, Any]:
    names = (
        vars(of)
        if hasattr(of, "__dict__")
        else [n for base in type(of).__mro__ for n in getattr(base, "__slots__", ())]
    )
    return {name: getattr(of, name, None) for name in names}


def sizes(where: str, things: dict[str, Any]) -> dict[str, int]:
    """Of containers; of containers of containers, what all hold together."""
    found = {}
    for name, value in things.items():
        if isinstance(value, msgspec.Struct):
            fields = {field: getattr(value, field) for field in value.__struct_fields__}
            found |= sizes(f"{where}.{name}", {n: v for n, v in fields.items() if not isinstance(v, msgspec.Struct)})
        elif isinstance(value, Sized) and not isinstance(value, str | bytes):
            inner = value.values() if hasattr(value, "values") else ()
            found[f"{where}.{name}"] = len(value)
            found[f"{where}.{name}[]"] = sum(
                len(v) for v in inner if isinstance(v, Sized) and not isinstance(v, str | bytes)
            )
    return found


def cost(core: Core, number: int, weight: int) -> dict[str, int]:
    """What one edit makes: builder calls by name, and what comes to the client."""
    built = core.hub.builders.built.copy()
    received = {url: table.received for url, table in core.client.tables.items()}
    core.apply([put(entry(number, weight=weight))])
    calls = dict(core.hub.builders.built - built)
    return calls | {url: table.received - received[url] for url, table in core.client.tables.items()}


def cycle(core: Core, count: int, edits: int, weight: int) -> dict[str, Any]:
    start = core.held()
    first = cost(core, 0, weight)
    for low in range(KEPT, count, BATCH):
        core.apply([put(entry(n)) for n in range(low, min(low + BATCH, count))])
    full = core.held()
    costs = [cost(core, n, weight + 1) for n in range(KEPT, count, max(1, (count - KEPT) // edits))]
    last = cost(core, 0, weight + 2)
    for low in range(KEPT, count, BATCH):
        refs = [put(entry(n)).ref for n in range(low, min(low + BATCH, count))]
        core.apply([Event(Verb.DELETE, ref) for ref in refs])
    end = core.held()
    return {
        "start": start,
        "full": full,
        "end": end,
        "first": first,
        "last": last,
        "edits": len(costs),
        "costs": [dict(each) for each in {tuple(sorted(c.items())) for c in costs}],
        "rss": resident(),
    }


def main(count: int, edits: int) -> None:
    spare()
    core = Core()
    before = resident()
    cycles = [cycle(core, count, edits, weight) for weight in (10, 20)]
    print(json.dumps({"before": before, "cycles": cycles}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
