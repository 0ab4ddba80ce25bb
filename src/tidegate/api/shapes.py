"""The structs' description, compiled once: what decoding, validation of limits and the schemas all read."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from msgspec import inspect

from tidegate.api.fields import NUMBERS
from tidegate.kit.durations import Duration


@dataclass(frozen=True, slots=True)
class AnyShape:
    """google.protobuf.Value: any JSON."""


@dataclass(frozen=True, slots=True)
class BoolShape:
    pass


@dataclass(frozen=True, slots=True)
class TextShape:
    base64: bool = False


@dataclass(frozen=True, slots=True)
class FloatShape:
    pass


@dataclass(frozen=True, slots=True)
class IntShape:
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class IntOrTextShape:
    """Kubernetes' IntOrString."""


@dataclass(frozen=True, slots=True)
class DurationShape:
    pass


@dataclass(frozen=True, slots=True)
class EnumShape:
    names: tuple[str, ...]
    numbers: tuple[int, ...] = ()
    """Of the names, in their order; none: they count from 0."""

    def name_of(self, number: int) -> str | None:
        """The value that protobuf gives this number."""
        return dict(zip(self.numbers or range(len(self.names)), self.names, strict=True)).get(number)


@dataclass(frozen=True, slots=True)
class ListShape:
    item: "Shape"


@dataclass(frozen=True, slots=True)
class MapShape:
    value: "Shape"


@dataclass(frozen=True, slots=True)
class Limits:
    """What ``doc(...)`` says beside the type; None means no such limit."""

    required: bool = False
    deprecated: bool = False
    oneof: str | None = None
    max_length: int | None = None
    min_length: int | None = None
    max_items: int | None = None
    min_items: int | None = None
    max_properties: int | None = None
    min_properties: int | None = None
    item_max_length: int | None = None
    item_min_length: int | None = None
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a message. ``name`` is its JSON name, ``attribute`` the struct's."""

    name: str
    attribute: str
    shape: "Shape"
    meaning: str
    limits: Limits
    limited: bool
    """Any limit that the walker has to look at."""


@dataclass(frozen=True, slots=True)
class MessageShape:
    cls: type[Any]
    members: Mapping[str, Member]
    required: tuple[str, ...]
    oneofs: Mapping[str, tuple[str, ...]]
    """Group to its members' JSON names, in order."""
    spellings: dict[str, str | None] = field(default_factory=dict, compare=False)
    """Keys seen so far that are not JSON names, to the JSON name they stand for (None: unknown). Bounded."""


Shape: TypeAlias = (
    AnyShape
    | BoolShape
    | TextShape
    | FloatShape
    | IntShape
    | IntOrTextShape
    | DurationShape
    | EnumShape
    | ListShape
    | MapShape
    | MessageShape
)

_NOT_WALKED = frozenset({"required", "deprecated", "oneof", "base64"})


_COMPILED: dict[type[Any], MessageShape] = {}


def shape_of(cls: type[Any]) -> MessageShape:
    """The compiled description of a Message struct."""
    shape = _COMPILED.get(cls)
    if shape is None:
        shape = _COMPILED[cls] = _compile(cls)
    return shape


def _compile(cls: type[Any]) -> MessageShape:
    info = inspect.type_info(cls)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{cls} is not a Message")
    members = {f.encode_name: _member(f) for f in info.fields}
    groups: dict[str, list[str]] = {}
    for member in members.values():
        if member.limits.oneof:
            groups.setdefault(member.limits.oneof, []).append(member.name)
    return MessageShape(
        cls=cls,
        members=members,
        required=tuple(m.name for m in members.values() if m.limits.required),
        oneofs={group: tuple(names) for group, names in groups.items()},
    )


def _member(described: inspect.Field) -> Member:
    bare, meaning, extra = _unwrap(described.type)
    limits = {k: v for k, v in extra.items() if k != "base64"}
    return Member(
        name=described.encode_name,
        attribute=described.name,
        shape=TextShape(base64=True) if extra.get("base64") else _shape(bare),
        meaning=meaning,
        limits=Limits(**limits),
        limited=not extra.keys() <= _NOT_WALKED,
    )


def _unwrap(kind: inspect.Type) -> tuple[inspect.Type, str, dict[str, Any]]:
    """The type without its description and without ``| None``."""
    meaning, extra = "", {}
    if isinstance(kind, inspect.Metadata):
        meaning = (kind.extra_json_schema or {}).get("description", "")
        extra = dict(kind.extra or {})
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        rest = tuple(t for t in kind.types if not isinstance(t, inspect.NoneType))
        kind = rest[0] if len(rest) == 1 else inspect.UnionType(rest)
    return (kind.type if isinstance(kind, inspect.Metadata) else kind), meaning, extra


def _shape(kind: inspect.Type) -> Shape:
    match kind:
        case inspect.StructType(cls=cls):
            return shape_of(cls)
        case inspect.VarTupleType(item_type=item):
            return ListShape(_shape(_unwrap(item)[0]))
        case inspect.DictType(value_type=value):
            return MapShape(_shape(_unwrap(value)[0]))
        case inspect.EnumType(cls=cls) if issubclass(cls, enum.StrEnum):
            return EnumShape(tuple(member.value for member in cls), getattr(cls, NUMBERS, ()))
        case inspect.CustomType(cls=cls) if cls is Duration:
            return DurationShape()
        case _:
            return _scalar(kind)


def _scalar(kind: inspect.Type) -> Shape:
    match kind:
        case inspect.IntType():
            high = 2**64 - 1 if kind.le is None else kind.le
            return IntShape(-(2**63) if kind.ge is None else kind.ge, high)
        case inspect.StrType():
            return TextShape()
        case inspect.BoolType():
            return BoolShape()
        case inspect.FloatType():
            return FloatShape()
        case inspect.AnyType():
            return AnyShape()
        case inspect.UnionType(types=types) if {type(t) for t in types} == {inspect.IntType, inspect.StrType}:
            return IntOrTextShape()
        case _:
            raise TypeError(f"no shape for {kind}")


def json_name(spelling: str) -> str:
    """protobuf's JSON name of a field name: underscores go, the letter after one is a capital."""
    head, *tail = spelling.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)
