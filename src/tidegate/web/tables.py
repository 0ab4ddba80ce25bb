"""A proxy's configuration as linked tables: each row has a place, and each name that it leads to is a link."""

from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlencode

import msgspec

from tidegate.dump.links import Row

MAX_ROWS = 500
"""Rows of a table that are shown; a search shows others."""


class Link(msgspec.Struct, frozen=True):
    text: str
    href: str = ""
    """"" where what is named is not there."""
    note: str = ""


class Line(msgspec.Struct, frozen=True):
    """A row as it is shown: ``id`` is its anchor, "" for all but the first of a resource."""

    id: str
    cells: tuple[str, ...]
    links: tuple[Link, ...] = ()
    text: str = ""


class Table(msgspec.Struct, frozen=True):
    id: str
    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    total: int
    """Rows that match the search, shown or not."""


class Part(msgspec.Struct, frozen=True):
    """What one table is made from. ``kind`` leads the anchors of its rows."""

    kind: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    label: str = ""
    """Text of its links; "" for the names that they lead to."""


def anchor(kind: str, name: str) -> str:
    """An id that is also its own fragment: names of any characters, percent-encoded."""
    return f"{kind}-{quote(name, safe='')}"


def linked(parts: Iterable[Part], search: str) -> list[Table]:
    """Tables whose rows contain ``search`` in some cell or target."""
    listed = list(parts)
    kept = {part.kind: _found(part.rows, search.lower()) for part in listed}
    shown = {kind: rows[:MAX_ROWS] for kind, rows in kept.items()}
    places = _Places(
        {part.kind: {row.name for row in part.rows} for part in listed},
        {kind: {row.name for row in rows} for kind, rows in shown.items()},
    )
    return [
        Table(part.kind, part.title, part.columns, tuple(_lines(part, shown[part.kind], places)), len(kept[part.kind]))
        for part in listed
    ]


def _found(rows: Iterable[Row], search: str) -> list[Row]:
    """Those that match; what has just that name comes first, so that a link to it finds it among many."""
    return sorted((row for row in rows if _matches(row, search)), key=lambda row: row.name.lower() != search)


def _matches(row: Row, search: str) -> bool:
    words = (*row.cells, *(target.name for target in row.targets))
    return not search or any(search in word.lower() for word in words)


def _lines(part: Part, rows: Iterable[Row], places: "_Places") -> Iterable[Line]:
    seen: set[str] = set()
    for row in rows:
        place = "" if row.name in seen else anchor(part.kind, row.name)
        seen.add(row.name)
        found = tuple(Link(part.label or t.name, places.href(t.kind, t.name), t.share) for t in row.targets)
        yield Line(place, row.cells, found, row.otherwise)


class _Places:
    """Where a resource is: on this page, on the page that a search for it shows, or nowhere."""

    def __init__(self, known: dict[str, set[str]], shown: dict[str, set[str]]) -> None:
        self._known, self._shown = known, shown

    def href(self, kind: str, name: str) -> str:
        if name in self._shown.get(kind, ()):
            return f"#{anchor(kind, name)}"
        if name not in self._known.get(kind, ()):
            return ""
        return f"?{urlencode({'q': name})}#{anchor(kind, name)}"
