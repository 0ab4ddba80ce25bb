"""For every field of a kind, pairs of bodies that differ in that field alone."""

import copy
from collections.abc import Iterator
from typing import Any

from tidegate.api.shapes import (
    AnyShape,
    BoolShape,
    DurationShape,
    EnumShape,
    FloatShape,
    IntShape,
    ListShape,
    MapShape,
    MessageShape,
    Shape,
    TextShape,
)


def leaves(shape: Shape, path: str) -> Iterator[tuple[str, Shape]]:
    """Every field below a message as a path with [] and {}, down to what holds no further message."""
    match shape:
        case MessageShape(members=members) if members:
            for member in members.values():
                yield from leaves(member.shape, f"{path}.{member.name}")
        case ListShape(item=item):
            yield from leaves(item, f"{path}[]")
        case MapShape(value=value):
            yield from leaves(value, f"{path}{{}}")
        case _:
            yield path, shape


def values(shape: Shape) -> tuple[Any, ...]:
    """Two values or more of a leaf; None is "not set"."""
    match shape:
        case BoolShape():
            return (None, False, True)
        case DurationShape():
            return ("3s", "4s")
        case EnumShape(names=names):
            return names
        case FloatShape():
            return (10.0, 20.0)
        case IntShape():
            return (3, 4)
        case TextShape(base64=True):
            return ("YWJj", "ZGVm")
        case TextShape():
            return ("alpha", "beta")
        case MessageShape() | AnyShape():
            return (None, {})
        case _:
            raise AssertionError(f"no values for {shape}")


def steps(path: str) -> list[str]:
    """``spec.http[].match`` -> ["spec", "http", "[]", "match"]."""
    return path.replace("[]", ".[]").replace("{}", ".{}").split(".")


def concrete(path: str, key: str) -> str:
    """The path as errors and warnings spell it, for the place where :func:`put` writes."""
    return path.replace("[]", "[0]").replace("{}", f"[{key}]")


def put(shape: MessageShape, body: dict[str, Any], path: str, value: Any, key: str, root: str) -> dict[str, Any]:
    """A copy of ``body``, which stands at ``root``, with the field at ``path`` set: in the first item of each list,
    under ``key`` in each map. None takes it away. Siblings in one oneof give way."""
    out = copy.deepcopy(body)
    _put(shape, out, steps(path.removeprefix(f"{root}.")), value, key)
    return out


def _put(shape: Shape, at: Any, rest: list[str], value: Any, key: str) -> None:
    step, last = rest[0], len(rest) == 1
    inner = _inner(shape, at, step)
    slot: Any = 0 if step == "[]" else key if step == "{}" else step
    if last:
        _store(at, slot, value)
        return
    if step == "[]" and not at:
        at.append(_empty(inner))
    elif step != "[]" and slot not in at:
        at[slot] = _empty(inner)
    _put(inner, at[slot], rest[1:], value, key)


def _inner(shape: Shape, at: Any, step: str) -> Shape:
    match shape:
        case ListShape(item=item):
            return item
        case MapShape(value=value):
            return value
        case MessageShape(members=members, oneofs=oneofs):
            for names in oneofs.values():
                if step in names:
                    for other in names:
                        if other != step:
                            at.pop(other, None)
            return members[step].shape
        case _:
            raise AssertionError(f"{step} below {shape}")


def _empty(shape: Shape) -> Any:
    return [] if isinstance(shape, ListShape) else {}


def _store(at: Any, slot: Any, value: Any) -> None:
    if isinstance(at, list):
        at[:1] = [] if value is None else [value]
    elif value is None:
        at.pop(slot, None)
    else:
        at[slot] = value
