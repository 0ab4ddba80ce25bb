"""What a field of an API object may be: the base struct, scalar types and the per-field description."""

from typing import Annotated, Any

import msgspec

from tidegate.kit.durations import Duration

__all__ = ["NUMBERS", "Duration", "Int32", "Int64", "Message", "UInt32", "UInt64", "decode_hook", "doc", "encode_hook"]


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """An immutable protobuf-like message; JSON names are lowerCamelCase."""


Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, msgspec.Meta(ge=0)]
"""Protobuf integers. msgspec reads bounds up to 64 signed bits; the walker checks the upper end of uint64."""


def doc(meaning: str, **limits: Any) -> msgspec.Meta:
    """Describe a field: its meaning, and limits that the CRD schema and the walker enforce.

    Limits: ``required``, ``deprecated``, ``oneof`` (group whose members exclude each other), ``max_length``,
    ``min_length``, ``max_items``, ``min_items``, ``max_properties``, ``min_properties``, ``item_max_length``,
    ``item_min_length``, ``pattern``, ``minimum``, ``maximum``; ``base64`` marks protobuf bytes. They are kept
    beside the type (``Meta.extra``), not enforced by msgspec, so that a stored object that breaks one is still
    readable and is reported rather than lost.
    """
    return msgspec.Meta(description=meaning, extra=limits or None)


NUMBERS = "__numbers__"
"""Attribute of an enum whose values protobuf does not count from 0 without gaps: their numbers, in order."""


def decode_hook(kind: type, value: Any) -> Any:
    """msgspec ``dec_hook``: durations from text."""
    if kind is Duration:
        if not isinstance(value, str):
            raise ValueError('a duration such as "1.5s"')
        return Duration.parse(value)
    raise NotImplementedError(f"no decoder for {kind}")


def encode_hook(value: Any) -> Any:
    """msgspec ``enc_hook``: durations to text."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(f"no encoder for {type(value)}")
