"""Reading JSON against a struct's shape: the protobuf JSON mapping, with every error of the object at once.

msgspec reads what is already in canonical form, and stops at its first error. The walker is for what people write:
it accepts all that the protobuf JSON mapping (and, for durations, Istio's YAML) accepts, writes the canonical form,
and tells exact paths. https://protobuf.dev/programming-guides/json/
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tidegate.api.shapes import (
    AnyShape,
    BoolShape,
    DurationShape,
    EnumShape,
    FloatShape,
    IntOrTextShape,
    IntShape,
    Limits,
    ListShape,
    MapShape,
    Member,
    MessageShape,
    Shape,
    TextShape,
    json_name,
    shape_of,
)
from tidegate.kit.durations import Duration
from tidegate.kit.errors import FieldError

__all__ = ["walk"]

_INVALID = object()
_INTEGER = re.compile(r"[-+]?\d{1,20}")
_SHOWN = 120
_REMEMBERED = 64


def walk(
    body: type[Any], value: Any, path: str, *, proto: bool = True, limits: bool = True
) -> tuple[dict[str, Any], list[FieldError], list[str]]:
    """Read ``value`` as the struct ``body`` standing at ``path`` ("" for the top level).

    Returns the canonical JSON (what was invalid or unknown left out), the errors, and the paths of unknown fields.
    ``proto=False`` reads as Kubernetes does: no snake_case names, no numbers or enums in other forms.
    ``limits=False`` looks at types alone.
    """
    walker = _Walker(proto, limits)
    normal = walker.message(shape_of(body), {} if value is None else value, path)
    return ({} if normal is _INVALID else normal), walker.errors, walker.unknown


def shown(value: Any) -> Any:
    """``value`` as an error may carry it: bounded, and None for objects and lists, which the path tells already."""
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return value if isinstance(value, bool | int | float) and len(str(value)) <= _SHOWN else None


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _kind_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return "null" if value is None else "another type"


def _is_unicode(text: str) -> bool:
    """False for lone surrogates, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Walker:
    def __init__(self, proto: bool, limits: bool) -> None:
        self.proto, self.limits = proto, limits
        self.errors: list[FieldError] = []
        self.unknown: list[str] = []

    def refuse(self, path: str, expected: str, value: Any = None, reason: str = "FieldValueInvalid") -> Any:
        scalar = shown(value)
        found = f", not {_kind_of(value)}" if scalar is None and reason == "FieldValueInvalid" else ""
        self.errors.append(FieldError(path, expected + found, scalar, reason))
        return _INVALID

    def read(self, shape: Shape, value: Any, path: str) -> Any:
        return _READERS[type(shape)](self, shape, value, path)

    def message(self, shape: MessageShape, value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self.refuse(path, "must be an object", value)
        out: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for key, item in value.items():
            member = shape.members.get(key) or self.respelled(shape, key)
            if member is None:
                self.unknown.append(join(path, str(key)))
            elif member.name in seen:
                both = f'given twice, as "{seen[member.name]}" and "{key}"; keep one'
                self.refuse(join(path, member.name), both, reason="FieldValueDuplicate")
            elif item is not None:
                seen[member.name] = key
                self.member(member, item, join(path, member.name), out)
        if self.limits:
            self.completeness(shape, seen, path)
        return out

    def respelled(self, shape: MessageShape, key: Any) -> Member | None:
        if not self.proto or not isinstance(key, str) or "_" not in key:
            return None
        name = shape.spellings.get(key, "")
        if name == "":
            name = json_name(key)
            name = name if name in shape.members else None
            if len(shape.spellings) < _REMEMBERED:
                shape.spellings[key] = name
        return shape.members[name] if name else None

    def member(self, member: Member, value: Any, path: str, out: dict[str, Any]) -> None:
        normal = self.read(member.shape, value, path)
        if normal is _INVALID:
            return
        if member.limited and self.limits:
            for expected in broken_limits(member.limits, normal):
                self.errors.append(FieldError(path, expected, shown(normal)))
        out[member.name] = normal

    def completeness(self, shape: MessageShape, seen: Mapping[str, str], path: str) -> None:
        for name in shape.required:
            if name not in seen:
                self.refuse(join(path, name), "required", reason="FieldValueRequired")
        for names in shape.oneofs.values():
            given = [name for name in names if name in seen]
            if len(given) > 1:
                self.refuse(path, f"only one of {', '.join(given)} may be set", reason="FieldValueDuplicate")

    def items(self, shape: ListShape, value: Any, path: str) -> Any:
        if not isinstance(value, list | tuple):
            return self.refuse(path, "must be a list", value)
        out = []
        for index, item in enumerate(value):
            normal = self.read(shape.item, item, f"{path}[{index}]")
            if normal is not _INVALID:
                out.append(normal)
        return out

    def entries(self, shape: MapShape, value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            return self.refuse(path, "must be an object", value)
        out = {}
        for key, item in value.items():
            if type(key) is int:  # YAML has such keys, and Kubernetes reads them as the text that JSON would have
                key = str(key)
            if not isinstance(key, str) or not (key.isascii() or _is_unicode(key)):
                self.refuse(path, "keys must be text", shown(key) if not isinstance(key, str) else None)
                continue
            normal = self.read(shape.value, item, f"{path}[{key[:_SHOWN]}]")
            if normal is not _INVALID:
                out[key] = normal
        return out

    def text(self, shape: TextShape, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            return self.refuse(path, "must be text", value)
        if not value.isascii() and not _is_unicode(value):
            return self.refuse(path, "must be valid Unicode")
        if not shape.base64:
            return value
        try:
            plain = value.translate(_URL_SAFE).rstrip("=")
            return base64.b64encode(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)).decode()
        except (binascii.Error, ValueError):
            return self.refuse(path, "must be base64", value)

    def boolean(self, shape: BoolShape, value: Any, path: str) -> Any:
        return value if isinstance(value, bool) else self.refuse(path, "must be true or false", value)

    def whole(self, shape: IntShape, value: Any, path: str) -> Any:
        number = value if type(value) is int else self.other_int(value)
        if number is None:
            return self.refuse(path, "must be a whole number", value)
        if not shape.low <= number <= shape.high:
            return self.refuse(path, f"must be a whole number from {shape.low} to {shape.high}", value)
        return number

    def other_int(self, value: Any) -> int | None:
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**64:
            return int(value)
        if self.proto and isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value)
        return None

    def number(self, shape: FloatShape, value: Any, path: str) -> Any:
        number: float | int | None = None
        try:
            if isinstance(value, int | float) and not isinstance(value, bool):
                number = value
            elif self.proto and isinstance(value, str) and len(value) < 32 and value == value.strip():
                number = float(value)
            if number is not None and math.isfinite(number):
                return number
        except (ValueError, OverflowError):
            pass
        return self.refuse(path, "must be a finite number", value)

    def choice(self, shape: EnumShape, value: Any, path: str) -> Any:
        if isinstance(value, str) and value in shape.names:
            return value
        if self.proto and type(value) is int and (name := shape.name_of(value)) is not None:
            return name
        reason = "FieldValueNotSupported" if isinstance(value, str | int) else "FieldValueInvalid"
        return self.refuse(path, f"must be one of {', '.join(shape.names)}", value, reason)

    def duration(self, shape: DurationShape, value: Any, path: str) -> Any:
        try:
            if isinstance(value, str) and len(value) < 64:
                return str(Duration.parse(value))
        except ValueError:
            pass
        return self.refuse(path, 'must be a duration such as "1.5s", "200ms" or "1h30m"', value)

    def int_or_text(self, shape: IntOrTextShape, value: Any, path: str) -> Any:
        if type(value) is int or isinstance(value, str):
            return value
        return self.refuse(path, "must be a whole number or text", value)

    def anything(self, shape: AnyShape, value: Any, path: str) -> Any:
        return value


_URL_SAFE = str.maketrans("-_", "+/")

_READERS: dict[type[Any], Callable[[_Walker, Any, Any, str], Any]] = {
    MessageShape: _Walker.message,
    ListShape: _Walker.items,
    MapShape: _Walker.entries,
    TextShape: _Walker.text,
    BoolShape: _Walker.boolean,
    IntShape: _Walker.whole,
    FloatShape: _Walker.number,
    EnumShape: _Walker.choice,
    DurationShape: _Walker.duration,
    IntOrTextShape: _Walker.int_or_text,
    AnyShape: _Walker.anything,
}


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def broken_limits(limits: Limits, value: Any) -> list[str]:
    """What a well-typed value breaks of its field's limits, in words."""
    if isinstance(value, str):
        return _broken_text(limits, value)
    if isinstance(value, list):
        return _broken_list(limits, value)
    if isinstance(value, dict):
        most, least = limits.max_properties, limits.min_properties
        if least is not None and len(value) < least:
            return [f"must have at least {least} entries"]
        return [f"must have at most {most} entries"] if most is not None and len(value) > most else []
    return _broken_number(limits, value) if not isinstance(value, bool) else []


def _broken_text(limits: Limits, value: str) -> list[str]:
    out = []
    if limits.max_length is not None and len(value) > limits.max_length:
        out.append(f"must be at most {limits.max_length} characters long")
    if limits.min_length is not None and len(value) < limits.min_length:
        out.append(f"must be at least {limits.min_length} characters long")
    if limits.pattern is not None and not _pattern(limits.pattern).search(value):
        out.append(f"must match {limits.pattern}")
    return out


def _broken_list(limits: Limits, value: list[Any]) -> list[str]:
    out = []
    if limits.max_items is not None and len(value) > limits.max_items:
        out.append(f"must have at most {limits.max_items} items")
    if limits.min_items is not None and len(value) < limits.min_items:
        out.append(f"must have at least {limits.min_items} items")
    for item in value:
        if isinstance(item, str):
            each = Limits(max_length=limits.item_max_length, min_length=limits.item_min_length)
            out += [f"item {shown(item)!r} {text}" for text in _broken_text(each, item)]
    return out


def _broken_number(limits: Limits, value: float) -> list[str]:
    if limits.minimum is not None and value < limits.minimum:
        return [f"must be at least {limits.minimum}"]
    if limits.maximum is not None and value > limits.maximum:
        return [f"must be at most {limits.maximum}"]
    return []
