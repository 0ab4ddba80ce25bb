"""Joining messages as protobuf does, with Istio's two exceptions: durations are replaced whole, and what stands in an
Any is joined as the message that it is.

https://protobuf.dev/reference/go/faq/#merge
"""

from typing import Any

from tidegate.kit import envoy_messages

DURATION = "google.protobuf.Duration"


class MergeError(ValueError):
    """Two messages that cannot be joined."""


def merge(target: Any, source: Any, *, replace_lists: bool = False) -> None:
    """Join ``source`` into ``target``, of the same type: what is set in it replaces scalars, is joined into messages
    and appended to lists (or replaces those). What is not set, zero values among it, changes nothing."""
    for field, value in source.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _merge_map(getattr(target, field.name), value, field)
        elif field.is_repeated:
            _merge_list(target, field.name, value, replace_lists)
        elif field.message_type is None:
            setattr(target, field.name, value)
        elif field.message_type.full_name in (DURATION, "google.protobuf.Any"):
            getattr(target, field.name).CopyFrom(value)
        else:
            getattr(target, field.name).SetInParent()
            merge(getattr(target, field.name), value, replace_lists=replace_lists)


def _merge_map(target: Any, source: Any, field: Any) -> None:
    messages = field.message_type.fields_by_name["value"].message_type is not None
    for key in source:
        if messages:
            target[key].CopyFrom(source[key])
        else:
            target[key] = source[key]


def _merge_list(target: Any, name: str, source: Any, replace: bool) -> None:
    if replace:
        target.ClearField(name)
    getattr(target, name).extend(source)


def merge_any(target: Any, source: Any, *, replace_lists: bool = False) -> None:
    """Join what two Any hold. Raises MergeError where they are of different types, or of one that Envoy has not."""
    if target.type_url != source.type_url:
        raise MergeError(f"the value is a {source.type_url}, what it is merged into a {target.type_url}")
    cls = envoy_messages.type_of_url(target.type_url)
    if cls is None:
        raise MergeError(f"{target.type_url} is no type of Envoy's API")
    joined, added = cls.FromString(target.value), cls.FromString(source.value)
    merge(joined, added, replace_lists=replace_lists)
    target.value = joined.SerializeToString(deterministic=True)


def merge_extension(target: Any, source: Any, *, replace_lists: bool = False) -> None:
    """Join two messages that carry a ``typed_config``: filters and transport sockets. The name of the target stays."""
    if source.HasField("typed_config"):
        merge_any(target.typed_config, source.typed_config, replace_lists=replace_lists)


def merge_with_socket(target: Any, source: Any, *, replace_lists: bool = False) -> None:
    """Join clusters or filter chains. Transport sockets of one name are joined, by their messages; a cluster that has
    several to choose from has the one of that name joined; else the value's stands instead."""
    rest = source
    if source.HasField("transport_socket") and (socket := _socket_like(target, source.transport_socket)) is not None:
        merge_extension(socket, source.transport_socket, replace_lists=replace_lists)
        rest = type(source)()
        rest.CopyFrom(source)
        rest.ClearField("transport_socket")
    merge(target, rest, replace_lists=replace_lists)


def _socket_like(target: Any, wanted: Any) -> Any:
    if target.HasField("transport_socket"):
        return target.transport_socket if target.transport_socket.name == wanted.name else None
    choices = getattr(target, "transport_socket_matches", ())
    return next((each.transport_socket for each in choices if each.transport_socket.name == wanted.name), None)
