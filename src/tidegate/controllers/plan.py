"""What a controller wants done."""

from typing import Literal

import msgspec

from tidegate.store.model import Json


class Action(msgspec.Struct, frozen=True):
    """One write, and why, in words for a log."""

    verb: Literal["create", "update", "status", "delete"]
    object: Json
    reason: str
    guarded: bool = False
    """Only while the object is as it was seen; a status is otherwise written whatever became of the rest."""

    def __str__(self) -> str:
        meta = self.object["metadata"]
        name = meta.get("name") or f"{meta['generateName']}…"
        return f"{self.verb} {self.object['kind']} {meta.get('namespace', '')}/{name}: {self.reason}"
