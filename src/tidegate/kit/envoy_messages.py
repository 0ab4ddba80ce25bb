"""Envoy's protobuf messages from their JSON form, of any type that Envoy's API has, with the path of what is wrong.

The types' modules are imported when a type is first named: all of them together take seconds.
https://protobuf.dev/programming-guides/json/
"""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory

from tidegate.kit.durations import Duration

_ROOTS = ("envoy.", "udpa.", "xds.", "google.protobuf.", "google.rpc.", "google.api.", "google.type.")
_TYPE = "@type"
_ANYTHING = ("google.protobuf.Value", "google.protobuf.ListValue")
"""Messages whose JSON may be a list."""
_ANY, _DURATION = "google.protobuf.Any", "google.protobuf.Duration"
_DEPTH = 64
_SHOWN = 200


class MessageError(ValueError):
    """JSON that is no message of its type: ``path`` within the JSON, and the reason in words."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path, self.reason = path, reason


def message_type(full_name: str) -> type[Any] | None:
    """The class of a message by its full name, ``envoy.config.cluster.v3.Cluster``; None when there is none."""
    package, _, _ = full_name.rpartition(".")
    while f"{package}.".startswith(_ROOTS):
        _import_package(package)
        found = _in_pool(full_name)
        if found is not None:
            return found
        package = package.rpartition(".")[0]
    return _in_pool(full_name)


def type_of_url(type_url: str) -> type[Any] | None:
    """The class that an Any's type URL names; None when Envoy's API has no such type."""
    return message_type(type_url.rpartition("/")[2])


def is_retired(type_url: str) -> bool:
    """Whether a type is of a version of the API that Envoy itself no longer has, as v2.

    https://www.envoyproxy.io/docs/envoy/latest/api/api_supported_versions
    """
    cls = type_of_url(type_url)
    if cls is None:
        return False
    annotations = importlib.import_module("udpa.annotations.status_pb2")
    options = cls.DESCRIPTOR.file.GetOptions()
    status = options.Extensions[annotations.file_status].package_version_status
    return bool(status == annotations.PackageVersionStatus.FROZEN)


def _in_pool(full_name: str) -> type[Any] | None:
    try:
        found = descriptor_pool.Default().FindMessageTypeByName(full_name)
    except KeyError:
        return None
    return message_factory.GetMessageClass(found)


@lru_cache(maxsize=4096)
def _import_package(package: str) -> None:
    """Register every message of a protobuf package; nothing happens for one that is not there."""
    if not all(part.isidentifier() for part in package.split(".")):
        return
    try:
        module = importlib.import_module(package)
    except ImportError:
        return
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if found.name.endswith("_pb2") and not found.ispkg:
            importlib.import_module(f"{package}.{found.name}")


def decode(full_name: str, value: dict[str, Any]) -> Any:
    """The message of type ``full_name`` that ``value`` is the JSON form of; unknown fields are skipped.

    Raises MessageError with the path of what cannot be read.
    """
    cls = message_type(full_name)
    if cls is None:
        raise MessageError("", f"{full_name} is no type of Envoy's API")
    value = _normal(cls.DESCRIPTOR, value, "")
    try:
        return json_format.ParseDict(value, cls(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _located(cls, value, "", error) from error


def unknown_fields(full_name: str, value: dict[str, Any]) -> list[str]:
    """Paths in ``value``, which decodes, of fields that the type does not have."""
    cls = message_type(full_name)
    return list(_unknown(cls.DESCRIPTOR, value, "")) if cls is not None else []


def _normal(descriptor: Any, value: Any, path: str, depth: int = 0) -> Any:
    """The value with durations as protobuf writes them (Istio reads Go's ``500ms`` too), the types of every Any within
    imported; refuses names of types that there are not."""
    if depth > _DEPTH:
        raise MessageError(path, f"is nested more than {_DEPTH} levels deep")
    if descriptor.full_name == _DURATION and isinstance(value, str):
        return _duration(value, path)
    if not isinstance(value, dict) or descriptor.full_name.startswith("google.protobuf.") != (
        descriptor.full_name == _ANY
    ):
        return value
    if descriptor.full_name == _ANY:
        return _normal_any(value, path, depth)
    return {key: _normal_member(descriptor, key, item, _join(path, str(key)), depth) for key, item in value.items()}


def _normal_member(descriptor: Any, key: str, item: Any, path: str, depth: int) -> Any:
    field = _field(descriptor, key)
    if field is None or field.message_type is None:
        return item
    inner = field.message_type
    if inner.GetOptions().map_entry:
        held = inner.fields_by_name["value"].message_type
        if held is None or not isinstance(item, dict):
            return item
        return {k: _normal(held, each, _join(path, str(k)), depth + 1) for k, each in item.items()}
    if inner.full_name in _ANYTHING and not field.is_repeated:
        return item
    if item is not None and field.is_repeated != isinstance(item, list):
        raise MessageError(path, f"must be {'a list' if field.is_repeated else 'an object'}")
    if isinstance(item, list):
        return [_normal(inner, each, f"{path}[{index}]", depth + 1) for index, each in enumerate(item)]
    return _normal(inner, item, path, depth + 1)


def _normal_any(value: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
    url = value.get(_TYPE)
    cls = type_of_url(url) if isinstance(url, str) else None
    if cls is None:
        expected = "must name the message's type" if url is None else f"{str(url)[:_SHOWN]!r} is no type of Envoy's API"
        raise MessageError(_join(path, _TYPE), expected)
    found: dict[str, Any] = _normal(cls.DESCRIPTOR, {k: v for k, v in value.items() if k != _TYPE}, path, depth + 1)
    return {_TYPE: url, **found}


def _duration(value: str, path: str) -> str:
    try:
        return str(Duration.parse(value))
    except ValueError as error:
        raise MessageError(path, f"must be a duration such as 1.5s (got {value[:_SHOWN]!r})") from error


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# Where in the JSON an error stands


def _located(cls: type[Any], value: Any, path: str, error: Exception) -> MessageError:
    """The innermost place of which the parser complains."""
    if isinstance(value, dict):
        for key, item in value.items():
            if (inner := _complaint(cls, {key: item})) is None:
                continue
            below, at = _below(cls, key, value), _join(path, key)
            for sub, place in _items(item, at):
                if below is not None and isinstance(sub, dict) and _complaint(below, sub) is not None:
                    return _located(below, sub, place, inner)
            return MessageError(at, _words(inner))
    return MessageError(path, _words(error))


def _complaint(cls: type[Any], value: dict[str, Any]) -> Exception | None:
    try:
        json_format.ParseDict({k: v for k, v in value.items() if k != _TYPE}, cls(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return error
    return None


def _items(item: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(item, list):
        yield from ((each, f"{path}[{index}]") for index, each in enumerate(item))
    else:
        yield item, path


def _below(cls: type[Any], key: str, value: dict[str, Any]) -> type[Any] | None:
    """The type of the messages under ``key``; of an Any the one that it names."""
    field = _field(cls.DESCRIPTOR, key)
    if field is None or field.message_type is None or field.message_type.GetOptions().map_entry:
        return None
    inner = value[key]
    if field.message_type.full_name == _ANY and isinstance(inner, dict):
        return type_of_url(str(inner.get(_TYPE, "")))
    return message_factory.GetMessageClass(field.message_type)


def _words(error: Exception) -> str:
    return str(error).rpartition("field: ")[2].partition(" at ")[0].strip(" .")[:_SHOWN]


def _field(descriptor: Any, key: str) -> Any:
    found = descriptor.fields_by_name.get(key)
    return found or next((f for f in descriptor.fields if f.json_name == key), None)


def _unknown(descriptor: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict) or descriptor.full_name.startswith("google.protobuf."):
        return
    for key, item in value.items():
        field = None if key == _TYPE else _field(descriptor, key)
        if field is None:
            if key != _TYPE:
                yield _join(path, key)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for sub, place in _items(item, _join(path, key)):
                yield from _unknown(_named(field.message_type, sub), sub, place)


def _named(descriptor: Any, value: Any) -> Any:
    """The descriptor of what an Any holds; any other message's own."""
    if descriptor.full_name == _ANY and isinstance(value, dict):
        found = type_of_url(str(value.get(_TYPE, "")))
        return found.DESCRIPTOR if found is not None else descriptor
    return descriptor
