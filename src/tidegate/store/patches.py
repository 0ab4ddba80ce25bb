"""Patches: JSON merge patch (RFC 7396), JSON patch (RFC 6902) and Kubernetes' strategic merge patch.

All are pure: they never change what they are given.
"""

import copy
from collections.abc import Mapping
from typing import Any

from tidegate.api import schema
from tidegate.store import status
from tidegate.store.model import Json

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

MAX_OPERATIONS = 10_000
"""Operations in one JSON patch, as in Kubernetes."""

_META_KEYS = {"ownerReferences": "uid"}
MERGE_KEYS: dict[str, Mapping[str, str]] = {
    kind: {**_META_KEYS, **{path.rpartition(".")[2]: key for path, key in lists.items()}}
    for kind, lists in schema.MERGE_KEYS.items()
}
"""Lists merged by a key, per kind: the patchMergeKey tags of the core types (k8s.io/api)."""

_PRIMITIVE_LISTS = frozenset({"finalizers", "podCIDRs"})


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def json_patch(target: Json, operations: Any) -> Json:
    """RFC 6902; a failing operation is a 422 StoreError that names it."""
    if not isinstance(operations, list):
        raise status.error(400, "a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise status.error(413, f"a JSON patch has at most {MAX_OPERATIONS} operations, this one {len(operations)}")
    result: Any = copy.deepcopy(target)
    for index, operation in enumerate(operations):
        try:
            result = _operate(result, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            text = f"operation {index} of the JSON patch cannot be done: {operation!r:.200}: {error}"
            raise status.error(422, text) from error
    if not isinstance(result, dict):
        raise status.error(422, "the JSON patch does not leave an object")
    return result


def _operate(document: Any, operation: Json) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    match kind:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)
        case "replace":
            _at(document, path)
            return _add(_remove(document, path), path, copy.deepcopy(operation["value"]))
        case "move":
            source = _pointer(operation["from"])
            value = _at(document, source)
            return _add(_remove(document, source), path, value)
        case "copy":
            return _add(document, path, copy.deepcopy(_at(document, _pointer(operation["from"]))))
        case "test":
            if not _same(_at(document, path), operation["value"]):
                raise ValueError("the tested value differs")
            return document
    raise ValueError(f"unknown op {kind!r}")


def _same(one: Any, other: Any) -> bool:
    """JSON equality: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _pointer(text: str) -> list[str]:
    """RFC 6901."""
    if text == "":
        return []
    if not text.startswith("/"):
        raise ValueError(f"path {text!r} does not begin with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(part: str, length: int) -> int:
    if not (part.isascii() and part.isdigit()) or (len(part) > 1 and part[0] == "0"):
        raise ValueError(f"{part!r} is not an index of a list")
    if int(part) >= length:
        raise IndexError(f"index {part} is beyond the list of {length}")
    return int(part)


def _child(node: Any, part: str) -> Any:
    if isinstance(node, list):
        return node[_index(part, len(node))]
    if isinstance(node, dict) and part in node:
        return node[part]
    raise KeyError(f"no member {part!r}")


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = _child(document, part)
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise TypeError("the parent is neither an object nor a list")
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    parent, last = _at(document, path[:-1]), path[-1]
    _child(parent, last)
    del parent[_index(last, len(parent)) if isinstance(parent, list) else last]
    return document


def strategic(target: Json, patch: Any, kind: str) -> Json:
    """Kubernetes' strategic merge patch, for the kinds of :data:`MERGE_KEYS` and, list by list replaced, others.

    Directives: ``$patch`` (replace, delete, merge), ``$retainKeys``, ``$setElementOrder/<list>`` and
    ``$deleteFromPrimitiveList/<list>`` (sig-api-machinery, "Strategic Merge Patch").
    """
    if not isinstance(patch, dict):
        raise status.error(400, "a strategic merge patch is an object")
    merged = _strategic_map(target, patch, MERGE_KEYS.get(kind, _META_KEYS))
    return merged if merged is not None else {}


def _strategic_map(target: Any, patch: Json, keys: Mapping[str, str]) -> Json | None:
    directive = patch.get("$patch")
    if directive == "delete":
        return None
    plain = {k: v for k, v in patch.items() if not k.startswith("$")}
    if directive == "replace":
        return copy.deepcopy(plain)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in plain.items():
        merged = _strategic_value(result.get(name), value, name, keys, patch)
        if merged is None:
            result.pop(name, None)
        else:
            result[name] = merged
    _drop_from_primitive_lists(result, patch)
    _reorder_untouched(result, patch, plain, keys)
    if isinstance(retained := patch.get("$retainKeys"), list):
        result = {k: v for k, v in result.items() if k in retained}
    return result


def _strategic_value(current: Any, value: Any, name: str, keys: Mapping[str, str], patch: Json) -> Any:
    if isinstance(value, dict):
        return _strategic_map(current, value, keys)
    if not isinstance(value, list):
        return value
    order = patch.get(f"$setElementOrder/{name}")
    if name in _PRIMITIVE_LISTS:
        merged = list(dict.fromkeys([*(current or []), *value]))
        return _ordered(merged, order, None)
    key = keys.get(name)
    if key is None or not all(isinstance(item, dict) for item in value):
        return copy.deepcopy(value)
    return _ordered(_strategic_list(current or [], value, key, keys), order, key)


def _strategic_list(current: list[Json], patch: list[Json], key: str, keys: Mapping[str, str]) -> list[Json]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if "$patch" not in item]
    result = list(current)
    for item in patch:
        if key not in item:
            raise status.error(400, f"an element of the strategic merge patch lacks its merge key {key!r}: {item!r}")
        at = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        merged = _strategic_map(result[at] if at is not None else None, item, keys)
        if at is None:
            result += [merged] if merged is not None else []
        elif merged is None:
            del result[at]
        else:
            result[at] = merged
    return result


def _drop_from_primitive_lists(result: Json, patch: Json) -> None:
    for directive, value in patch.items():
        prefix, _, name = directive.partition("/")
        if prefix == "$deleteFromPrimitiveList" and isinstance(result.get(name), list):
            result[name] = [item for item in result[name] if item not in value]


def _reorder_untouched(result: Json, patch: Json, plain: Json, keys: Mapping[str, str]) -> None:
    """$setElementOrder may stand alone: only the order changes."""
    for directive, order in patch.items():
        prefix, _, name = directive.partition("/")
        if prefix == "$setElementOrder" and name not in plain and isinstance(result.get(name), list):
            result[name] = _ordered(result[name], order, keys.get(name))


def _ordered(items: list[Any], order: Any, key: str | None) -> list[Any]:
    """Elements named by ``order`` in that order; each other stays behind the one that it followed."""
    if not isinstance(order, list):
        return items
    wanted = [o.get(key) if key and isinstance(o, dict) else o for o in order]
    ranks = {repr(value): rank for rank, value in enumerate(wanted)}
    last = -1
    ranked = []
    for item in items:
        last = ranks.get(repr(item.get(key) if key else item), last)
        ranked.append((last, item))
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]
