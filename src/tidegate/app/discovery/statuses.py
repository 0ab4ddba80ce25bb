"""Writes into the status of Istio's objects what they lose to others, and that they are left out."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from tidegate.api.kinds import KINDS
from tidegate.api.objects import Ref
from tidegate.app.discovery.hub import Hub
from tidegate.app.discovery.losses import Losses
from tidegate.controllers import conditions
from tidegate.store.model import Json, Store, StoreError
from tidegate.store.strategy import timestamp, utc_now

log = logging.getLogger(__name__)

WRITTEN = frozenset(kind.kind for kind in KINDS.values() if kind.strict)
"""Istio's own kinds; the status of Kubernetes' kinds belongs to others."""
_AT_ONCE = 32
"""Places that are looked at before others on the event loop have their turn."""
_NOTHING: tuple[dict[str, str], bool] = ({}, True)


class Pauses:
    """Seconds. ``first``: after the start, since proxies that lost the control plane come back one by one; ``quiet``:
    after a change, as more may follow it; ``failed``: before what the store refused is tried again."""

    def __init__(self, first: float = 10.0, quiet: float = 1.0, failed: float = 15.0) -> None:
        self.first, self.quiet, self.failed = first, quiet, failed


class Statuses:
    """``note`` and ``seen`` take in what happens; ``run`` works and writes. An object is written only while its status
    says something else than it is to say, so that a write brings no further one about."""

    def __init__(
        self, store: Store, hub: Hub, left_out: Callable[[Ref], str | None], pauses: Pauses | None = None
    ) -> None:
        """left_out: why an object could not even be read; None for one that could."""
        self._store, self._hub, self._left_out = store, hub, left_out
        self._losses, self._pauses = Losses(hub), pauses or Pauses()
        self._held: dict[Ref, tuple[dict[str, str], bool]] = {}
        """What the statuses in the store say, where they say something."""
        self._due: set[Ref] = set()
        self._wake = asyncio.Event()

    def seen(self, ref: Ref, obj: Json | None) -> None:
        """An object as the store has it now; None: it has gone. ``note`` comes after."""
        if ref.kind not in WRITTEN:
            return
        said = conditions.held(obj) if obj is not None else _NOTHING
        if said[0]:
            self._held[ref] = said
        else:
            self._held.pop(ref, None)
        self._due.add(ref)

    def note(self, told: Iterable[Ref] = ()) -> None:
        """Something happened at the hub; ``told``: objects of which the world says something else."""
        self._due |= self._losses.note()
        self._due.update(told)
        if self._due or not self._losses.idle:
            self._wake.set()

    async def run(self) -> None:
        """Keep statuses as they are to be, until cancelled."""
        await asyncio.sleep(self._pauses.first)
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._pauses.quiet)
            try:
                await self._settle()
            except Exception:  # an object that was not thought of must not end the control plane
                log.exception("statuses are not up to date")

    async def _settle(self) -> None:
        while not self._losses.idle:
            self._due |= self._losses.work(_AT_ONCE)
            await asyncio.sleep(0)
        due, self._due = self._due, set()
        for ref in sorted(r for r in due if r.kind in WRITTEN and not self._settled(r)):
            await self._write(ref)

    def _wanted(self, ref: Ref) -> dict[str, str]:
        unreadable = self._left_out(ref)
        told = (unreadable,) if unreadable else self._hub.world.problems_of(ref)
        invalid = tuple(text for text in told if unreadable or text.startswith("left out: "))
        return conditions.messages(invalid, (*(t for t in told if t not in invalid), *self._losses.of(ref)))

    def _settled(self, ref: Ref) -> bool:
        return self._held.get(ref, _NOTHING) == (self._wanted(ref), True)

    async def _write(self, ref: Ref) -> None:
        try:
            obj = await self._store.get(ref.kind, ref.namespace, ref.name)
            found = conditions.status(obj, self._wanted(ref), timestamp(utc_now()))
            if found is not None:
                await self._store.update({**obj, "status": found}, subresource="status")
        except StoreError as error:
            if error.code == 404:
                return
            if error.code == 409:
                self.note((ref,))  # it was written meanwhile: look at it again
                return
            log.warning("status of %s: %s; trying again in %.0f s", ref, error, self._pauses.failed)
            asyncio.get_running_loop().call_later(self._pauses.failed, self.note, (ref,))
