"""Manifests as files hold them: many documents, Lists, folders, standard input; each value with its file and line."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tidegate.api.yamltext import YamlError, read_node
from tidegate.kit.errors import TidegateError

SUFFIXES = (".yaml", ".yml", ".json")
LARGEST = 256 * 1024 * 1024
"""Bytes of one file that are read."""
MOST_VALUES = 100_000
"""Of a short document: only aliases make more of it. A long one may have one a character."""

_MARKER = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_STEP = re.compile(r"([^.\[\]]+)|\[([^\]]*)\]")


class Place(msgspec.Struct, frozen=True, order=True):
    """Where something is written; ``line`` counts from 1, and is 0 for what was not read from text."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Document:
    """One object as it was written, and where each of its fields stands."""

    __slots__ = ("_first", "_node", "file", "raw")

    def __init__(self, raw: Any, file: str, node: yaml.Node | None = None, first: int = 0) -> None:
        """node: where it stands in the file; None for what was not read from text."""
        self.raw, self.file, self._node, self._first = raw, file, node, first

    def place(self, path: str = "") -> Place:
        """Of a field path such as ``spec.http[0].timeout``; of what holds it where the field itself is not written.

        Paths go on into the YAML text of a ConfigMap's value: ``data.mesh.accessLogFile``.
        """
        if self._node is None:
            return Place(self.file, 0)
        return Place(self.file, self._first + _line(self._node, list(_steps(path))) + 1)

    def holding(self, raw: Any) -> "Document":
        """The same place, with the object as a server would hold it."""
        return Document(raw, self.file, self._node, self._first)

    def items(self) -> Iterator["Document"]:
        """The members of a List, else the document itself."""
        members = self.raw.get("items") if isinstance(self.raw, dict) else None
        if not isinstance(members, list) or not str(self.raw.get("kind")).endswith("List"):
            yield self
            return
        node = _child(self._node, "items")
        for index, member in enumerate(members):
            inner = node.value[index] if isinstance(node, yaml.SequenceNode) else self._node
            yield from Document(member, self.file, inner, self._first).items()


class Broken(msgspec.Struct, frozen=True):
    """A document that is no YAML."""

    place: Place
    message: str


class Manifests(msgspec.Struct, frozen=True):
    """All documents, in the order in which they were read, and those that could not be."""

    documents: tuple[Document, ...]
    broken: tuple[Broken, ...] = ()


def load(paths: Iterable[str]) -> Manifests:
    """Read files, folders (their .yaml, .yml and .json files, deep, by name) and ``-`` for standard input.

    Raises TidegateError for a path that is not there or cannot be read, and a folder without manifests.
    """
    parts = [_parsed(data, name) for path in paths for name, data in _contents(path)]
    return Manifests(tuple(d for p in parts for d in p.documents), tuple(b for p in parts for b in p.broken))


def _parsed(data: bytes, name: str) -> Manifests:
    """What of a file is no text does not hide the other files."""
    if len(data) > LARGEST:
        raise TidegateError(f"{name}: must be at most {LARGEST} bytes")
    try:
        return parse(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Manifests((), (Broken(Place(name, line), f"is no YAML: must be UTF-8 text: byte {error.start} is not"),))


def parse(text: str, file: str) -> Manifests:
    """The documents of one text; one that is no YAML does not hide the others."""
    documents: list[Document] = []
    broken: list[Broken] = []
    for piece, first in _pieces(text):
        try:
            found = read_node(piece, max(MOST_VALUES, len(piece)))
        except YamlError as error:
            broken += (Broken(_broken_place(file, first, e.path), _said(e)) for e in error.errors)
            continue
        if found is not None:
            documents += Document(found[0], file, found[1], first).items()
    return Manifests(tuple(documents), tuple(broken))


def _contents(path: str) -> Iterator[tuple[str, bytes]]:
    if path == "-":
        yield "<stdin>", sys.stdin.buffer.read(LARGEST + 1)
        return
    root = Path(path)
    files = _files(root) if root.is_dir() else [root]
    if not files:
        raise TidegateError(f"{path}: no file ends in {', '.join(SUFFIXES)}; give a folder or file with manifests")
    for file in files:
        try:
            with file.open("rb") as opened:
                yield str(file), opened.read(LARGEST + 1)
        except OSError as error:
            raise TidegateError(f"{file}: cannot be read: {error.strerror}; give a file, a folder or -") from error


def _files(root: Path) -> list[Path]:
    return sorted(f for f in root.rglob("*") if f.suffix in SUFFIXES and f.is_file())


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """The text of each document, and the number of lines before it."""
    starts = [0, *(m.end() for m in _MARKER.finditer(text))]
    ends = [*(m.start() for m in _MARKER.finditer(text)), len(text)]
    line = 0
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        piece = text[start:end]
        if not all(row.startswith(("%", "#")) or not row.strip() for row in piece.splitlines()):
            yield piece, line
        line += text.count("\n", start, starts[index + 1] if index + 1 < len(starts) else end)


def _broken_place(file: str, first: int, path: str) -> Place:
    numbers = re.findall(r"\d+", path)
    return Place(file, first + (int(numbers[0]) if numbers else 1))


def _said(error: Any) -> str:
    return f"is no YAML: {error.message}" + ("" if error.value is None else f" (got {error.value!r})")


def _steps(path: str) -> Iterator[str]:
    for name, bracketed in _STEP.findall(path):
        yield name or bracketed.strip("\"'")


def _line(node: yaml.Node, steps: list[str]) -> int:
    """Zero-based line of the deepest part of the path that is written."""
    line: int = node.start_mark.line
    while steps:
        found = _longest(node, steps)
        if found is None:
            return line + 1 + _within(node, steps) if _is_block(node) else line
        line, node, steps = found
    return line


def _longest(node: yaml.Node, steps: list[str]) -> tuple[int, yaml.Node, list[str]] | None:
    """The next node; keys may have dots of their own, which a path does not tell from its own."""
    if isinstance(node, yaml.SequenceNode):
        index = int(steps[0]) if steps[0].isdigit() else -1
        if not 0 <= index < len(node.value):
            return None
        return node.value[index].start_mark.line, node.value[index], steps[1:]
    if isinstance(node, yaml.MappingNode):
        for count in range(1, len(steps) + 1):
            name = ".".join(steps[:count])
            for key, value in node.value:
                if key.value == name:
                    return key.start_mark.line, value, steps[count:]
    return None


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style == "|"


def _within(node: yaml.Node, steps: list[str]) -> int:
    """Line within a block of text that is YAML itself."""
    try:
        inner = read_node(node.value)
    except YamlError:
        return 0
    return _line(inner[1], steps) if inner else 0
