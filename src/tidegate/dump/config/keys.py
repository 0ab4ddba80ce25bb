"""Field names in one spelling: Envoy's admin port writes snake_case, protobuf's JSON lowerCamelCase.

Unlike ``tidegate.dump.read.camel`` this knows which fields are maps, whose keys are a user's own, and bounds depth.
"""

from functools import lru_cache
from typing import Any

_DATA = frozenset({"filterMetadata", "labels", "fixedValue", "staticLayer", "value"})
"""Fields that hold free-form data where they hold an object: nothing below is a field name."""
_MAPS = frozenset(
    {
        "typedPerFilterConfig",
        "typedExtensionProtocolOptions",
        "policies",
        "providers",
        "requirementMap",
        "map",
        "namedEndpoints",
        "typedFilterMetadata",
    }
)
"""Maps: the keys stay, the values are messages."""
_VALUE_IS_MESSAGE = frozenset(
    {"metadata", "sourcedMetadata", "filterState", "filterEnabledMetadata", "dynamicMetadata"}
)
"""Messages whose ``value`` is a matcher, not data."""
MAX_DEPTH = 200
"""protobuf itself refuses messages nested deeper than 100."""


class TooDeepError(ValueError):
    """The value nests deeper than any Envoy message."""


@lru_cache(maxsize=4096)
def camel_name(name: str) -> str:
    if "_" not in name or "." in name or name.startswith("@") or not name.islower():
        return name
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


@lru_cache(maxsize=4096)
def snake_name(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def field(raw: dict[str, Any], name: str) -> Any:
    """A field by its lowerCamelCase name, whichever way it is spelled; None where it is absent."""
    found = raw.get(name)
    return raw.get(snake_name(name)) if found is None else found


def camel(value: Any, parent: str = "", depth: int = 0) -> Any:
    """A copy with field names in lowerCamelCase and nulls left out; ``parent`` is the field that the value is of.

    Raises TooDeepError for what nests deeper than MAX_DEPTH.
    """
    if depth > MAX_DEPTH:
        raise TooDeepError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [camel(item, parent, depth + 1) for item in value]
    return _camel_object(value, parent, depth) if isinstance(value, dict) else value


def _camel_object(value: dict[str, Any], parent: str, depth: int) -> dict[str, Any]:
    typed_struct = str(value.get("@type", "")).endswith(".TypedStruct")
    keys_stay = parent in _MAPS
    out = {}
    for key, item in value.items():
        if item is None:
            continue
        name = key if keys_stay else camel_name(key)
        out[name] = item if _is_data(name, parent, typed_struct) else camel(item, name, depth + 1)
    return out


def _is_data(name: str, parent: str, typed_struct: bool) -> bool:
    if name == "value":
        return typed_struct or parent not in _VALUE_IS_MESSAGE
    return (name in _DATA and parent not in _MAPS) or (name == "match" and parent == "transportSocketMatches")
