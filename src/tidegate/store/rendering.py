"""Content negotiation and the bytes of answers: plain objects and lists, Tables, metadata alone, YAML."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec
import yaml

from tidegate.api.kinds import Kind
from tidegate.store import events, status, tables
from tidegate.store.model import Json
from tidegate.store.writes import Target

Form = Literal["json", "yaml", "table", "partial"]

_CONTENT_TYPES = {"yaml": "application/yaml"}


def negotiate(accept: str) -> Form:
    """The first form of an Accept header that is offered; 406 when none is (protobuf and CBOR are not)."""
    if not accept.strip():
        return "json"
    for wanted in accept.split(","):
        media, *parameters = (part.strip() for part in wanted.split(";"))
        options = dict(p.partition("=")[::2] for p in parameters)
        if media == "application/yaml":
            return "yaml"
        if media in ("application/json", "application/*", "*/*") and (form := _form(options)):
            return form
    raise status.error(406, f"only application/json and application/yaml are offered; accepted were {accept!r:.300}")


def _form(options: dict[str, str]) -> Form | None:
    kind, version = options.get("as"), options.get("v", "v1")
    if kind is None:
        return "json"
    if version != "v1" or options.get("g", "meta.k8s.io") != "meta.k8s.io":
        return None
    if kind == "Table":
        return "table"
    return "partial" if kind in ("PartialObjectMetadata", "PartialObjectMetadataList") else None


class Renderer(msgspec.Struct, frozen=True):
    """Renders stored objects of one kind for one request."""

    target: Target
    form: Form
    now: Callable[[], datetime]
    include: str = "Metadata"
    """The request's includeObject, for Tables."""

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES.get(self.form, "application/json")

    def stored(self, body: bytes) -> bytes:
        """One object, from its stored bytes."""
        if self.form == "json":
            return self._shown(body)
        return self.object(msgspec.json.decode(body))

    def object(self, obj: Json) -> bytes:
        obj = self._converted(obj)
        match self.form:
            case "table":
                meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
                return self._table([obj], meta)
            case "partial":
                return msgspec.json.encode(tables.partial(obj))
        return self.plain(obj)

    def plain(self, obj: Json) -> bytes:
        """An answer that has only one form, such as a Status."""
        if self.form == "yaml":
            return yaml.dump(obj, Dumper=yaml.CSafeDumper, sort_keys=False).encode()
        return msgspec.json.encode(obj)

    def listing(self, bodies: list[bytes], meta: Json) -> bytes:
        kind, api_version = self.target.kind, self.target.api_version
        if self.form == "json":
            head = msgspec.json.encode({"kind": f"{kind.kind}List", "apiVersion": api_version, "metadata": meta})
            items = b",".join(self._shown(body) for body in bodies)
            return head[:-1] + b',"items":[' + items + b"]}"
        objects = [self._converted(msgspec.json.decode(body)) for body in bodies]
        if self.form == "table":
            return self._table(objects, meta)
        shape: Json = {"kind": f"{kind.kind}List", "apiVersion": api_version, "metadata": meta, "items": objects}
        if self.form == "partial":
            items_only = [tables.partial(obj) for obj in objects]
            shape |= {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": items_only}
        return self.plain(shape)

    def event(self, kind: str, body: bytes, *, first: bool = False) -> bytes:
        """One line of a watch. ``first``: the Table's columns are told."""
        if self.form == "table":
            shown = self._table([self._converted(msgspec.json.decode(body))], {}, first)
        else:
            shown = self.stored(body)
        return b'{"type":"' + kind.encode() + b'","object":' + shown + b"}\n"

    def bookmark(self, version: int, *, initial_end: bool = False) -> bytes:
        meta: Json = {"resourceVersion": str(version), "creationTimestamp": None}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj: Json = {"kind": self.target.kind.kind, "apiVersion": self.target.api_version, "metadata": meta}
        if self.form == "table":
            obj = tables.table(self.target.kind, (), self.now(), metadata=meta, headers=False)
        elif self.form == "partial":
            obj = tables.partial(obj)
        return b'{"type":"BOOKMARK","object":' + msgspec.json.encode(obj) + b"}\n"

    def _shown(self, body: bytes) -> bytes:
        if self.target.group is not None:
            return msgspec.json.encode(self._converted(msgspec.json.decode(body)))
        return in_version(body, self.target.kind, self.target.api_version)

    def _converted(self, obj: Json) -> Json:
        return events.in_group({**obj, "apiVersion": self.target.api_version}, self.target.group)

    def _table(self, objects: list[Json], meta: Json, headers: bool = True) -> bytes:
        objects = [events.stored(obj, self.target.group) for obj in objects]  # the columns read the stored names
        made = tables.table(self.target.kind, objects, self.now(), include=self.include, metadata=meta, headers=headers)
        return msgspec.json.encode(made)


def in_version(body: bytes, kind: Kind, api_version: str) -> bytes:
    """A stored object as another served version shows it: the versions of a kind differ in name only."""
    if api_version == kind.api_version:
        return body
    stored = b'{"apiVersion":"' + kind.api_version.encode() + b'"'
    return b'{"apiVersion":"' + api_version.encode() + b'"' + body.removeprefix(stored)
