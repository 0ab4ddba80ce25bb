"""Reading one message leniently: what does not fit its type is left out and named, the rest stands."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

import msgspec

from tidegate.dump.config.keys import TooDeepError, camel, camel_name, field


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """Base of messages. Every field has a default: whatever can be read is read."""

    RAW: ClassVar[frozenset[str]] = frozenset()
    """Fields kept as they came, to be read when they are needed."""
    RETIRED: ClassVar[frozenset[str]] = frozenset()
    """Fields of other Envoy versions that would change what the message means: named where they stand."""
    WHOLE: ClassVar[frozenset[str]] = frozenset()
    """Fields whose messages have every field of Envoy's: another one in them is named."""


class Unknown(msgspec.Struct, frozen=True):
    """A part of the configuration that could not be judged."""

    where: str
    """Resource and path: ``Listener a filterChains[2].filters[0]``."""
    why: str


P = TypeVar("P", bound=Part)
_PLACE = re.compile(r" - at `\$?(?P<path>[^`]*)`$")
_TOKEN = re.compile(r"\.(\w+|@type)|\[(\d+|\.\.\.)\]")
_MOST_REPAIRS = 16


def read(kind: type[P], raw: Any, where: str, unknown: list[Unknown]) -> P:
    """A message of ``kind``; what of it cannot be read is left out and told in ``unknown`` under ``where``."""
    if not isinstance(raw, dict):
        unknown.append(Unknown(where, f"an object is expected, not {type(raw).__name__}"))
        return kind()
    try:
        picked = _pick(kind, raw)
    except TooDeepError as error:
        unknown.append(Unknown(where, str(error)))
        return kind()
    if kind.RETIRED or kind.WHOLE:
        unknown += (Unknown(where, why) for why in _strange(kind, raw, picked))
    for _ in range(_MOST_REPAIRS):
        try:
            return msgspec.convert(picked, kind, strict=False)
        except msgspec.ValidationError as error:
            unknown.append(Unknown(where, str(error)))
            if not _drop(picked, str(error)):
                break
    return kind()


def _pick(kind: type[Part], raw: dict[str, Any]) -> dict[str, Any]:
    """The fields that ``kind`` has; only they are copied, so a large message costs what is read of it."""
    wanted, picked = kind.__struct_encode_fields__, {}
    for key, found in raw.items():
        name = camel_name(key) if isinstance(key, str) else ""
        if found is not None and name in wanted:
            picked[name] = found if name in kind.RAW else camel(found, name)
    return picked


def _strange(kind: type[Part], raw: dict[str, Any], picked: dict[str, Any]) -> Iterator[str]:
    """What of a message means something that is not known here."""
    for key in raw:
        if isinstance(key, str) and camel_name(key) in kind.RETIRED:
            yield f"the field {key} is of another Envoy version and is not read"
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)} if kind.WHOLE else {}
    for name in kind.WHOLE:
        inner = picked.get(name)
        for key in inner if isinstance(inner, dict) else ():
            if key not in types[name].__struct_encode_fields__:
                yield f"the field {name}.{key} is not known here and is not looked at"


def _drop(picked: dict[str, Any], message: str) -> bool:
    """Take out the innermost thing that the error speaks of; False where it cannot be found."""
    place = _PLACE.search(message)
    if place is None:
        return False
    keys = [name or index for name, index in _TOKEN.findall(place["path"])]
    return bool(keys) and _cut(picked, keys)


def _cut(inside: Any, keys: list[str]) -> bool:
    key, rest = keys[0], keys[1:]
    if key == "...":  # a value of a map, whose key the error does not say
        return isinstance(inside, dict) and _cut_map(inside, rest)
    if isinstance(inside, list) and key.isdigit() and int(key) < len(inside):
        return _cut(inside[int(key)], rest) if rest else inside.pop(int(key)) is not inside
    if isinstance(inside, dict) and key in inside:
        return _cut(inside[key], rest) if rest else inside.pop(key) is not inside
    return False


def _cut_map(inside: dict[str, Any], rest: list[str]) -> bool:
    if not rest:
        inside.clear()
        return True
    cut = [_cut(each, rest) for each in inside.values()]  # all of them: the error does not say which
    return any(cut)


def type_of(raw: Any) -> str:
    """The message type that an Any holds, a TypedStruct's inner one included; "" where none is told."""
    if not isinstance(raw, dict):
        return ""
    url = str(raw.get("@type", ""))
    if url.endswith(".TypedStruct"):
        url = str(field(raw, "typeUrl") or "")
    return url.rpartition("/")[2]


def body_of(raw: Any) -> Any:
    """The message that an Any holds: of a TypedStruct what is in it."""
    if isinstance(raw, dict) and str(raw.get("@type", "")).endswith(".TypedStruct"):
        return raw.get("value") or {}
    return raw


class Extension(Part, frozen=True):
    """TypedExtensionConfig and the many messages of its shape."""

    RAW: ClassVar[frozenset[str]] = frozenset({"typedConfig"})
    name: str = ""
    typed_config: dict[str, Any] = {}

    @property
    def type(self) -> str:
        return type_of(self.typed_config)


class Percent(Part, frozen=True):
    value: float = 0


class FractionalPercent(Part, frozen=True):
    numerator: int = 0
    denominator: str = "HUNDRED"

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        whole = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}.get(self.denominator, 100)
        return min(max(self.numerator / whole, 0.0), 1.0)


class RuntimeFraction(Part, frozen=True):
    """RuntimeFractionalPercent: the runtime key may override at run time, the default is what is known here."""

    default_value: FractionalPercent = FractionalPercent(100)


class DataSource(Part, frozen=True):
    inline_string: str = ""


class Range(Part, frozen=True):
    """A half-open range of numbers: ``start`` belongs to it, ``end`` does not."""

    start: int = 0
    end: int = 0

    def __contains__(self, number: int) -> bool:
        return self.start <= number < self.end


class HeaderValue(Part, frozen=True):
    key: str = ""
    value: str = ""


class HeaderOption(Part, frozen=True):
    header: HeaderValue = HeaderValue()
