"""OpenAPI v3 documents, one per group version, as kubectl reads them for explain and before apply.

kubectl sends ``fieldValidation`` only to a server whose document says that patch takes it.
"""

import hashlib
from collections.abc import Callable, Iterable

import msgspec

from tidegate.api.kinds import Kind
from tidegate.store import discovery, patches
from tidegate.store.model import Json
from tidegate.store.paths import subresources

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

Schemas = Callable[[Iterable[Kind]], dict[str, Json]]
"""components.schemas of some kinds, by name."""

_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


class Documents:
    """The documents, made once; a document's hash stands in its address, so that clients may cache it."""

    def __init__(self, schemas: Schemas) -> None:
        self._bodies: dict[str, bytes] = {}
        for group, versions in discovery.group_versions().items():
            for version in versions:
                name = f"apis/{group}/{version}" if group else f"api/{version}"
                self._bodies[name] = msgspec.json.encode(_document(group, version, name, schemas))

    def index(self) -> Json:
        return {
            "paths": {
                name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={hashlib.sha512(body).hexdigest().upper()}"}
                for name, body in self._bodies.items()
            }
        }

    def document(self, name: str) -> bytes | None:
        return self._bodies.get(name)


def _document(group: str, version: str, name: str, schemas: Schemas) -> Json:
    kinds = discovery.kinds_of(group, version)
    made = schemas(kinds) if kinds else {}
    found = {title: schema for title, schema in made.items() if _shown(schema, version)}
    paths: Json = {}
    for kind in kinds:
        paths |= _paths(kind, group, version, f"/{name}", _schema_of(found, kind))
    return {
        "openapi": "3.0.0",
        "info": {"title": "tidegate", "version": version},
        "paths": paths,
        "components": {"schemas": found},
    }


def _shown(schema: Json, version: str) -> bool:
    """Whether a schema belongs in a version's document: it is of that version, or of no kind."""
    marks = schema.get("x-kubernetes-group-version-kind", [])
    return not marks or any(mark.get("version") == version for mark in marks)


def _schema_of(schemas: dict[str, Json], kind: Kind) -> Json:
    for title, schema in schemas.items():
        if any(m.get("kind") == kind.kind for m in schema.get("x-kubernetes-group-version-kind", [])):
            return {"$ref": f"#/components/schemas/{title}"}
    return {"type": "object"}


def _paths(kind: Kind, group: str, version: str, root: str, schema: Json) -> Json:
    base = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    mark = {"group": group, "version": version, "kind": kind.kind}
    paths: Json = {
        base: {
            "parameters": _path_parameters(base),
            "get": _operation("list", mark, schema, ()),
            "post": _operation("post", mark, schema, _WRITE_PARAMETERS, body=True),
        },
        f"{base}/{{name}}": _item(f"{base}/{{name}}", mark, schema),
    }
    if kind.namespaced:
        paths[f"{root}/{kind.plural}"] = {"get": _operation("list", mark, schema, ())}
    for subresource in subresources(kind):
        if subresource == "status":
            paths[f"{base}/{{name}}/status"] = _item(f"{base}/{{name}}/status", mark, schema)
    return paths


def _item(path: str, mark: Json, schema: Json) -> Json:
    # Strategic merge is served but not announced: kubectl then takes the merge keys from the types it has built in.
    types = (patches.JSON_PATCH, patches.MERGE, patches.APPLY)
    patch = _operation("patch", mark, schema, (*_WRITE_PARAMETERS, "force"))
    patch["requestBody"] = {"required": True, "content": {t: {"schema": {"type": "object"}} for t in types}}
    return {
        "parameters": _path_parameters(path),
        "get": _operation("get", mark, schema, ()),
        "put": _operation("put", mark, schema, _WRITE_PARAMETERS, body=True),
        "patch": patch,
        "delete": _operation("delete", mark, schema, ("dryRun",)),
    }


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("namespace", "name")
        if f"{{{name}}}" in path
    ]


def _operation(action: str, mark: Json, schema: Json, parameters: tuple[str, ...], *, body: bool = False) -> Json:
    made: Json = {
        "operationId": f"{action}{mark['version'].capitalize()}{mark['kind']}",
        "parameters": [_query(name) for name in parameters],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": mark,
    }
    if body:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return made


def _query(name: str) -> Json:
    kind = "boolean" if name == "force" else "string"
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
