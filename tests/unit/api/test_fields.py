"""Every field of Istio's API is read, in both spellings, and written back as it was."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.api import mesh
from tidegate.api.fields import decode_hook, encode_hook
from tidegate.api.kinds import KINDS
from tidegate.api.shapes import ListShape, MapShape, MessageShape, Shape, shape_of
from tidegate.api.walk import walk

BODIES: dict[str, type[Any]] = {
    **{name: kind.body for name, kind in KINDS.items() if kind.strict},
    "MeshConfig": mesh.MeshConfig,
    "ProxyConfig": mesh.ProxyConfig,
}
SCALARS: dict[str, Any] = {
    "string": "x",
    "bytes": "AAE=",
    "duration": "1.500s",
    "bool": True,
    "boolvalue?": True,
    "double": 1.5,
    "doublevalue?": 1.5,
    "struct": {"any": [1, None, {"deep": True}]},
}


@cache
def sheet(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def sample(described: dict[str, Any]) -> Any:
    """A value of the described type that is not its default."""
    kind = described["type"]
    if kind.startswith("[]"):
        return [sample({**described, "type": kind[2:]})]
    if kind.startswith("map<"):
        return {"a-key": sample({**described, "type": kind.removeprefix("map<string,").removesuffix(">")})}
    if kind == "enum":
        return described["enum"][-1]
    if kind.startswith(("int", "uint")):
        return max(7, int(described.get("minimum") or 0))
    return SCALARS.get(kind, {})


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: "_" + found[0].lower(), name)


def built(path: str, value: Any, spell: Any) -> Any:
    """The smallest object that has ``value`` at ``path``."""
    for step in reversed(path.split(".")):
        name, wrappers = re.fullmatch(r"([^\[{]+)((?:\[\]|\{\})*)", step).groups()
        for wrapper in reversed(re.findall(r"\[\]|\{\}", wrappers)):
            value = [value] if wrapper == "[]" else {"a-key": value}
        value = {spell(name): value}
    return value


@pytest.mark.parametrize("name", BODIES)
def test_every_field_decodes_and_comes_back(shared: Path, name: str) -> None:
    whole = sheet(shared / "reference/api/fields.json")
    fields = {**whole["crds"], **whole["config"]}[name]["fields"]
    body = BODIES[name]
    wrong = []
    for path, described in fields.items():
        value = sample(described)
        plain, other = built(path, value, str), built(path, value, snake)
        normal, errors, unknown = walk(body, plain, "", limits=False)
        again, other_errors, other_unknown = walk(body, other, "", limits=False)
        typed = msgspec.convert(normal, body, dec_hook=decode_hook)
        written = json.loads(msgspec.json.encode(typed, enc_hook=encode_hook))
        if errors or unknown or other_errors or other_unknown or normal != plain or again != plain or written != plain:
            wrong.append((path, errors, unknown, other_unknown, normal, again, written))
    assert len(fields) > 5
    assert wrong == []


@pytest.mark.parametrize("name", BODIES)
def test_no_field_is_read_that_the_api_does_not_have(shared: Path, name: str) -> None:
    whole = sheet(shared / "reference/api/fields.json")
    listed = {bare(path) for path in {**whole["crds"], **whole["config"]}[name]["fields"]}
    read = {path for path in paths(shape_of(BODIES[name]), "") if not path.startswith("defaultConfig.")}
    assert read - listed == set()


def bare(path: str) -> str:
    return re.sub(r"\[\]|\{\}", "", path)


def paths(shape: Shape, prefix: str) -> Iterator[str]:
    if isinstance(shape, ListShape):
        yield from paths(shape.item, prefix)
    elif isinstance(shape, MapShape):
        yield from paths(shape.value, prefix)
    elif isinstance(shape, MessageShape):
        for member in shape.members.values():
            path = f"{prefix}.{member.name}" if prefix else member.name
            yield path
            yield from paths(member.shape, path)
