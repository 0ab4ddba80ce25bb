"""Reading request bodies: bounded in size and time, JSON or YAML, never more than data."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
import yaml
from starlette.requests import ClientDisconnect, Request

from tidegate.kit.boundedyaml import DEEPEST, BoundedLoader
from tidegate.store import patches, protobuf, status
from tidegate.store.model import StoreError

MAX_BODY = 3 * 1024 * 1024
"""Bytes, Kubernetes' own limit."""
_DISCARD = 8 * MAX_BODY
_SECONDS = 60.0
_MOST_TOLD = 50
_JSON_TYPES = frozenset({"", "application/json", "*/*"})


class _PlainLoader(BoundedLoader):
    """YAML as Kubernetes reads it: dates stay text."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


async def read(request: Request) -> bytes:
    """The whole body; 413 beyond the limit, 408 when it does not arrive."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= MAX_BODY:
                    chunks.append(chunk)
                elif size > _DISCARD:
                    break
    except TimeoutError:
        raise StoreError(408, "Timeout", f"the request's body did not arrive within {_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise status.error(400, "the client went away while sending") from None
    if size > MAX_BODY:
        raise status.error(413, f"the request's body is larger than {MAX_BODY} bytes")
    return b"".join(chunks)


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class Body(msgspec.Struct, frozen=True):
    """A decoded body, and the paths of members that it gives more than once (the last of each counts)."""

    content: Any
    duplicates: tuple[str, ...] = ()


async def decoded(request: Request) -> Any:
    """The body of a review, token request or delete; None when empty."""
    return (await written(request)).content


async def written(request: Request) -> Body:
    """The body of a create or update; its content is None when empty."""
    media, data = media_type(request), await read(request)
    if not data:
        return Body(None)
    if media in _JSON_TYPES:
        return Body(parse_json(data), duplicates(data))
    if media == "application/yaml":
        return Body(parse_yaml(data), duplicates(data))
    if media == protobuf.MEDIA_TYPE:
        return Body(protobuf.decode(data))
    raise status.error(415, f"a body of type {media!r} cannot be read: send application/json or application/yaml")


async def patch(request: Request) -> Body:
    """The body of a patch."""
    media, data = media_type(request), await read(request)
    return Body(parse_yaml(data) if media == patches.APPLY else parse_json(data), duplicates(data))


class _Repeating(dict[str, Any]):
    """An object that was written with some member twice."""

    repeated: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    told = _Repeating(made)
    told.repeated = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return told


def duplicates(data: bytes) -> tuple[str, ...]:
    """Paths of the members that a valid body gives more than once, in JSON or YAML; the first of them in any case."""
    try:
        if data.lstrip()[:1] in (b"{", b"["):
            return tuple(islice(_repeated(json.loads(data, object_pairs_hook=_pairs), ""), _MOST_TOLD))
        return tuple(islice(_repeated_nodes(yaml.compose(data, Loader=_PlainLoader), ""), _MOST_TOLD))
    except (ValueError, RecursionError, yaml.YAMLError):
        return ()  # who reads the body tells what is wrong with it


def _repeated(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, _Repeating):
        yield from (f"{at}.{name}" if at else name for name in value.repeated)
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _repeated(item, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, f"{at}[{index}]")


def _repeated_nodes(node: Any, at: str) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, item in node.value:
            path = f"{at}.{key.value}" if at else str(key.value)
            if path in seen:
                yield path
            seen.add(path)
            yield from _repeated_nodes(item, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_nodes(item, f"{at}[{index}]")


def parse_json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise status.error(400, f"the body is not valid JSON: {error}") from error


def _refuse_aliases(data: bytes) -> None:
    """Read events only, and none beyond the deepest level: the parser's time grows with the square of the depth."""
    depth = 0
    for event in yaml.parse(data, Loader=_PlainLoader):
        if isinstance(event, yaml.AliasEvent):
            raise status.error(400, "the body uses YAML aliases; write the values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise status.error(400, f"the body is nested too deep: values must lie at most {DEEPEST} levels deep")


def parse_yaml(data: bytes) -> Any:
    """YAML 1.1 without tags, dates and aliases (an alias can make a small body a huge object)."""
    if data.lstrip()[:1] == b"{":
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError):
            pass  # a YAML flow mapping
    try:
        _refuse_aliases(data)
        return yaml.load(data, Loader=_PlainLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise status.error(400, f"the body is not valid YAML: {error}") from error
