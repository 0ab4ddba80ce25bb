"""Editing the elements of a repeated field, remembering where each of them was and which patches touched it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tidegate.api.envoyfilter import Operation
from tidegate.envoy.patches.patch import Patch

Matches = Callable[[Any], bool]


class Element:
    """One message of the field: where it stood before (None: it is new), and what was done to it."""

    __slots__ = ("by", "inner", "message", "was")

    def __init__(self, message: Any, was: int | None, by: Iterable[Patch] = ()) -> None:
        self.message, self.was, self.by = message, was, list(by)
        self.inner: dict[str, Elements] = {}
        """Edits of fields within it, by the field's path."""


class Elements:
    """The messages of one repeated field. Messages may be changed in place; ``store`` writes what moved."""

    def __init__(self, messages: Iterable[Any]) -> None:
        self.all = [Element(message, index) for index, message in enumerate(messages)]
        self.moved = False
        self.removed_by: list[Patch] = []

    def __iter__(self) -> Iterator[Element]:
        return iter(self.all)

    def insert(self, at: int, patch: Patch) -> None:
        self.all.insert(at, Element(patch.copy(), None, [patch]))
        self.moved = True

    def remove(self, element: Element, patch: Patch) -> None:
        self.all.remove(element)
        self.moved = True
        self.removed_by.append(patch)

    def place(self, patch: Patch, matches: Matches | None) -> bool:
        """Carry out a patch that adds, inserts, replaces or removes; returns whether there was something to do it to.

        ``matches`` None: the patch names no element. Then INSERT_AFTER adds at the end and INSERT_BEFORE at the
        beginning, and nothing is replaced or removed.
        """
        match patch.operation:
            case Operation.ADD:
                self.insert(len(self.all), patch)
            case Operation.INSERT_FIRST:
                self.insert(0, patch)
            case Operation.INSERT_BEFORE | Operation.INSERT_AFTER:
                return self._insert_beside(patch, matches)
            case Operation.REPLACE | Operation.REMOVE:
                return matches is not None and self._change(patch, matches)
            case _:
                return False
        return True

    def _insert_beside(self, patch: Patch, matches: Matches | None) -> bool:
        after = patch.operation is Operation.INSERT_AFTER
        if matches is None:
            self.insert(len(self.all) if after else 0, patch)
            return True
        at = next((index for index, each in enumerate(self.all) if matches(each.message)), None)
        if at is None:
            return False
        self.insert(at + after, patch)
        return True

    def _change(self, patch: Patch, matches: Matches) -> bool:
        found = [each for each in self.all if matches(each.message)]
        for each in found:
            if patch.operation is Operation.REMOVE:
                self.remove(each, patch)
            else:
                each.message, each.by, self.moved = patch.copy(), [*each.by, patch], True
        return bool(found)

    def store(self, container: Any, name: str) -> None:
        """Write the elements back into field ``name`` of the message they are from."""
        if not self.moved:
            return
        kept = []
        for each in self.all:
            copy = type(each.message)()
            copy.CopyFrom(each.message)
            kept.append(copy)
        container.ClearField(name)
        getattr(container, name).extend(kept)

    def patches(self) -> Iterator[Patch]:
        """Every patch that did something here or within."""
        yield from self.removed_by
        for each in self.all:
            yield from each.by
            for inner in each.inner.values():
                yield from inner.patches()

    def touched(self, path: str) -> Iterator[tuple[str, Patch]]:
        """(path of an element, patch that changed or made it); the field stands at ``path``."""
        for index, each in enumerate(self.all):
            here = f"{path}[{index}]"
            yield from ((here, patch) for patch in each.by)
            for name, inner in each.inner.items():
                yield from inner.touched(f"{here}.{name}")
                yield from ((here, patch) for patch in inner.removed_by)

    def moves(self, path: str, now: str = "") -> Iterator[tuple[str, str]]:
        """(path before, path now) of every element that is still there and of what is within."""
        now = now or path
        for index, each in enumerate(self.all):
            if each.was is not None:
                before, after = f"{path}[{each.was}]", f"{now}[{index}]"
                yield before, after
                for name, inner in each.inner.items():
                    yield from inner.moves(f"{before}.{name}", f"{after}.{name}")
