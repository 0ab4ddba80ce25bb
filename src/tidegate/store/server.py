"""The embedded Kubernetes-style API server, as an ASGI application over :class:`tidegate.store.sqlite.Storage`.

Left out, and answered as such: RBAC beyond the administrator, aggregation, exec, logs.
"""

import asyncio
import base64
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tidegate.api.kinds import KINDS
from tidegate.store import auth, bodies, discovery, openapi, paths, scale, selectors, status, strategy
from tidegate.store.model import Json, StoreError
from tidegate.store.openapi import Documents, Schemas
from tidegate.store.paths import ListOptions
from tidegate.store.rendering import Renderer, negotiate
from tidegate.store.sqlite import Key, Storage, Transaction, encode
from tidegate.store.watch import Watch
from tidegate.store.writes import (
    SELF,
    Admission,
    Advice,
    Deletion,
    Hook,
    Options,
    Patch,
    Preconditions,
    Target,
    Writes,
    Written,
)

log = logging.getLogger(__name__)

START_NAMESPACES = ("default", "kube-system", "istio-system")
_PUBLIC = frozenset({"/version", "/healthz", "/livez", "/readyz"})
_SELF_REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_OWN_REVIEWS: dict[str, Callable[[auth.User, Any], Json]] = {
    _SELF_REVIEW: lambda user, _: auth.self_review(user),
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": auth.access_review,
}
"""What every user may ask about itself."""
_TOKEN_REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_COLLECT_SECONDS = 1.0
_WATCH_SECONDS = (1800.0, 3600.0)
_WARNINGS_SHOWN = 64
_WARNING_LENGTH = 256

Handler = Callable[[Request, Target], Awaitable[Response]]


class ApiServer:
    """The application is :attr:`app`. ``admission`` checks objects at the door, ``hooks`` change them inside the
    transaction that stores them, ``advice`` adds warnings, ``schemas`` gives the OpenAPI components."""

    def __init__(
        self,
        storage: Storage,
        authenticator: auth.Authenticator,
        *,
        admission: Admission,
        schemas: Schemas,
        hooks: Sequence[Hook] = (),
        clock: strategy.Clock = strategy.utc_now,
        advice: Advice | None = None,
    ) -> None:
        self._storage, self._auth, self._clock = storage, authenticator, clock
        self._writes = Writes(admission, hooks, clock, advice)
        self._documents = Documents(schemas)
        self._stopping = asyncio.Event()
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)])

    async def prepare(self) -> None:
        """Make the namespaces that are there from the start."""
        for name in START_NAMESPACES:
            if self._storage.read(Key("Namespace", "", name)) is None:
                target = Target(KINDS["Namespace"], "v1", "", name)
                await self._storage.write(partial(self._make_namespace, target=target))

    def _make_namespace(self, tx: Transaction, target: Target) -> None:
        self._writes.create(tx, msgspec.structs.replace(target, name=""), _named(target), Options(client=SELF))

    async def collect(self) -> None:
        """Delete Events past their time and objects whose owners are gone, until cancelled."""
        while True:
            await asyncio.sleep(_COLLECT_SECONDS)
            try:
                if self._writes.has_garbage:
                    await self._storage.write(self._writes.collect)
            except StoreError as failure:
                log.warning("collecting old objects: %s; trying again in %.0f s", failure, _COLLECT_SECONDS)

    def stop(self) -> None:
        """End all watches."""
        self._stopping.set()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._routed(request)
        except StoreError as failure:
            return _refusal(failure)
        except RecursionError:
            return _refusal(status.error(400, "the object is nested too deeply"))
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            return _refusal(status.error(500, "the request failed inside the server; its log tells why"))

    async def _routed(self, request: Request) -> Response:
        path = request.url.path.rstrip("/") or "/"
        if path not in _PUBLIC:
            user = self._auth.authenticate(request.headers.get("authorization", ""))
            if user is None:
                raise status.error(401, "no valid bearer token was sent")
            if path in _OWN_REVIEWS:
                answer = _OWN_REVIEWS[path]
                return await self._review(request, lambda body: answer(user, body))
            if not user.is_admin:
                text = f"{user.username} may not {request.method} {path}: tokens of ServiceAccounts may only review"
                raise status.error(403, f"{text} themselves here ({_SELF_REVIEW})")
        if path == _TOKEN_REVIEW:
            return await self._review(request, lambda body: auth.token_review(self._auth, body))
        document = self._document(request, path)
        if document is not None:
            return document
        return await self._resource(request, paths.parse(request.url.path))

    async def _review(self, request: Request, answer: Callable[[Any], Json]) -> Response:
        if request.method != "POST":
            raise _not_allowed(request)
        return _json(answer(await bodies.decoded(request)), code=201)

    def _document(self, request: Request, path: str) -> Response | None:
        """Health, version, discovery and OpenAPI."""
        if path in ("/healthz", "/livez", "/readyz"):
            return Response("ok", media_type="text/plain")
        found = self._discovered(request, path)
        if found is not None and request.method not in ("GET", "HEAD"):
            raise _not_allowed(request)
        return found

    def _discovered(self, request: Request, path: str) -> Response | None:
        parts = path.strip("/").split("/")
        versions = discovery.group_versions()
        match parts:
            case ["version"]:
                return _json(discovery.version_info())
            case ["openapi", "v2"]:
                return _openapi_v2(request)
            case ["openapi", "v3"]:
                return _json(self._documents.index())
            case ["openapi", "v3", *name]:
                return self._openapi("/".join(name))
            case ["api"] | ["apis"]:
                return _discovery_root(request, core=parts == ["api"])
            case ["api", "v1"]:
                return _json(discovery.resources("", "v1"))
            case ["apis", group] if group in versions:
                return _json(discovery.group_document(group))
            case ["apis", group, version] if version in versions.get(group, []):
                return _json(discovery.resources(group, version))
        return None

    def _openapi(self, name: str) -> Response | None:
        body = self._documents.document(name)
        if body is None:
            return None
        return Response(body, media_type="application/json", headers={"cache-control": "private, max-age=3600"})

    async def _resource(self, request: Request, target: Target) -> Response:
        handlers: dict[str, Handler]
        if target.subresource == "token":
            handlers = {"POST": self._token}
        elif target.subresource == "scale":
            handlers = {"GET": self._scale, "PUT": self._put_scale, "PATCH": self._patch_scale}
        elif target.name:
            handlers = {"GET": self._get, "PUT": self._put, "PATCH": self._patch}
            if not target.subresource:
                handlers["DELETE"] = self._delete
        else:
            handlers = {"GET": self._list}
            if target.namespace or not target.kind.namespaced:
                handlers |= {"POST": self._create, "DELETE": self._delete_all}
        handler = handlers.get(request.method)
        if handler is None:
            raise _not_allowed(request)
        return await handler(request, target)

    def _renderer(self, request: Request, target: Target) -> Renderer:
        form = negotiate(request.headers.get("accept", ""))
        include = request.query_params.get("includeObject", "") or "Metadata"
        if include not in ("None", "Metadata", "Object"):
            raise status.error(400, f"includeObject is None, Metadata or Object, got {include!r:.100}")
        return Renderer(target, form, self._clock, include)

    async def _get(self, request: Request, target: Target) -> Response:
        renderer = self._renderer(request, target)
        options = paths.list_options(request.query_params)
        if options.watch:
            narrowed = msgspec.structs.replace(options, field_selector=f"metadata.name={target.name}")
            collection = msgspec.structs.replace(target, name="")
            return self._watch(msgspec.structs.replace(renderer, target=collection), narrowed)
        body = self._storage.read(target.key)
        if body is None:
            raise status.not_found(target.kind, target.name)
        return Response(renderer.stored(body), media_type=renderer.content_type)

    async def _list(self, request: Request, target: Target) -> Response:
        renderer = self._renderer(request, target)
        options = paths.list_options(request.query_params)
        if options.watch:
            return self._watch(renderer, options)
        keep = selectors.predicate(target.kind.kind, options.label_selector, options.field_selector)
        at, after = self._position(options)
        page = await self._storage.page(
            target.kind.kind,
            target.namespace,
            at=at,
            after=after,
            limit=options.limit,
            keep=None if keep is None else lambda body: keep(msgspec.json.decode(body)),
        )
        meta: Json = {"resourceVersion": str(page.version)}
        if page.after is not None:
            meta["continue"] = _continue_token(page.version, page.after)
        if page.remaining:
            meta["remainingItemCount"] = page.remaining
        return Response(renderer.listing(page.bodies, meta), media_type=renderer.content_type)

    def _position(self, options: ListOptions) -> tuple[int | None, tuple[str, str]]:
        """The version to list at (None for now) and the object to begin after."""
        if options.resume:
            if options.resource_version not in ("", "0"):
                raise status.error(400, "resourceVersion is not used together with continue")
            return _read_continue(options.resume)
        if options.resource_version in ("", "0"):
            return None, ("", "")
        version = paths.version_number(options.resource_version)
        if version > self._storage.version:
            raise status.version_too_large(version, self._storage.version)
        return (version if options.resource_version_match == "Exact" else None), ("", "")

    def _watch(self, renderer: Renderer, options: ListOptions) -> Response:
        if renderer.form == "yaml":
            raise status.error(406, "watches are answered in application/json")
        keep = selectors.predicate(renderer.target.kind.kind, options.label_selector, options.field_selector)
        start: int | None = None
        if options.resource_version not in ("", "0"):
            start = paths.version_number(options.resource_version)
            if start > self._storage.version:
                raise status.version_too_large(start, self._storage.version)
        initial_end = options.initial_events
        if initial_end:
            start = None
        watch = Watch(
            self._storage,
            renderer,
            keep,
            start=start,
            bookmarks=options.bookmarks,
            seconds=options.timeout_seconds or random.uniform(*_WATCH_SECONDS),  # noqa: S311
        )
        lines = watch.lines(self._stopping, initial_end=initial_end and options.bookmarks)
        return StreamingResponse(lines, media_type="application/json")

    async def _create(self, request: Request, target: Target) -> Response:
        renderer, options = self._renderer(request, target), _write_options(request)
        body = await _body(bodies.written(request), options)
        written = await self._write(lambda tx: self._writes.create(tx, target, body.content, options), options)
        return _written(renderer, written, body)

    async def _put(self, request: Request, target: Target) -> Response:
        renderer, options = self._renderer(request, target), _write_options(request)
        body = await _body(bodies.written(request), options)
        written = await self._write(lambda tx: self._writes.update(tx, target, body.content, options), options)
        return _written(renderer, written, body)

    async def _patch(self, request: Request, target: Target) -> Response:
        renderer, options = self._renderer(request, target), _write_options(request)
        body = await _body(bodies.patch(request), options)
        patch = Patch(bodies.media_type(request), body.content)
        written = await self._write(lambda tx: self._writes.patch(tx, target, patch, options), options)
        return _written(renderer, written, body)

    async def _scale(self, request: Request, target: Target) -> Response:
        renderer, body = self._renderer(request, target), self._storage.read(target.key)
        if body is None:
            raise status.not_found(target.kind, target.name)
        shown = scale.shown(msgspec.json.decode(body))
        return Response(renderer.plain(shown), media_type=renderer.content_type)

    async def _put_scale(self, request: Request, target: Target) -> Response:
        options = _write_options(request)
        body = await _body(bodies.written(request), options)
        return await self._written_scale(request, target, body.content, options)

    async def _patch_scale(self, request: Request, target: Target) -> Response:
        options = _write_options(request)
        body = await _body(bodies.patch(request), options)
        return await self._written_scale(request, target, Patch(bodies.media_type(request), body.content), options)

    async def _written_scale(self, request: Request, target: Target, wanted: object, options: Options) -> Response:
        renderer = self._renderer(request, target)
        written = await self._write(lambda tx: self._writes.scale(tx, target, wanted, options), options)
        return Response(renderer.plain(written.object), media_type=renderer.content_type)

    async def _write(self, work: Callable[[Transaction], Written], options: Options) -> Written:
        return await self._storage.write(work, discard=options.dry_run)

    async def _delete(self, request: Request, target: Target) -> Response:
        renderer = self._renderer(request, target)
        wanted = await _delete_options(request)
        last = await self._storage.write(lambda tx: self._writes.delete(tx, target, wanted), discard=wanted.dry_run)
        if target.kind.kind in ("Namespace", "Pod") or "deletionTimestamp" in last["metadata"]:
            return Response(renderer.object(last), media_type=renderer.content_type)
        done = status.success(target.kind, target.name, last["metadata"]["uid"])
        return Response(renderer.plain(done), media_type=renderer.content_type)

    async def _delete_all(self, request: Request, target: Target) -> Response:
        if target.kind.kind == "Namespace":
            raise _not_allowed(request)
        renderer, options = self._renderer(request, target), paths.list_options(request.query_params)
        keep = selectors.predicate(target.kind.kind, options.label_selector, options.field_selector)
        wanted = await _delete_options(request)

        def work(tx: Transaction) -> list[bytes]:
            removed = []
            for key in tx.keys(target.namespace, target.kind.kind):
                obj = tx.get(key)
                if obj is not None and (keep is None or keep(obj)):
                    one = msgspec.structs.replace(target, name=key.name)
                    removed.append(encode(self._writes.delete(tx, one, wanted)))
            return removed

        removed = await self._storage.write(work, discard=wanted.dry_run)
        meta = {"resourceVersion": str(self._storage.version)}
        return Response(renderer.listing(removed, meta), media_type=renderer.content_type)

    async def _token(self, request: Request, target: Target) -> Response:
        raw = await bodies.decoded(request)
        return _json(self._auth.issue(target.namespace, target.name, raw or {}), code=201)


def _write_options(request: Request) -> Options:
    return paths.write_options(request.query_params, request.headers.get("user-agent", ""))


def _named(target: Target) -> Json:
    return {"apiVersion": target.api_version, "kind": target.kind.kind, "metadata": {"name": target.name}}


def _json(body: Json, code: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=code, media_type="application/json")


def _openapi_v2(request: Request) -> Response:
    """Of no kinds: kubectl asks for it before it tells that it does not know a kind, and nothing else does here."""
    if "protobuf" in request.headers.get("accept", ""):
        return Response(b"", media_type=openapi.V2_PROTOBUF)
    return _json({"swagger": "2.0", "info": {"title": "tidegate: see /openapi/v3", "version": "v1"}, "paths": {}})


def _discovery_root(request: Request, *, core: bool) -> Response:
    for wanted in request.headers.get("accept", "").split(","):
        parts = {part.strip() for part in wanted.split(";")}
        if {"as=APIGroupDiscoveryList", "v=v2"} <= parts and "application/json" in parts:
            body = msgspec.json.encode(discovery.aggregated(core=core))
            return Response(body, headers={"content-type": discovery.AGGREGATED, "vary": "Accept"})
    return _json(discovery.core_versions() if core else discovery.groups())


def _refusal(failure: StoreError) -> Response:
    code = failure.code or 500
    headers = {"www-authenticate": "Bearer"} if code == 401 else {}
    body = msgspec.json.encode(status.as_json(failure))
    return Response(body, status_code=code, media_type="application/json", headers=headers)


def _not_allowed(request: Request) -> StoreError:
    return status.error(405, f"{request.method} is not allowed on {request.url.path!r:.300}")


async def _body(reading: Awaitable[bodies.Body], options: Options) -> bodies.Body:
    """The body, as field validation lets it pass."""
    body = await reading
    if body.duplicates and options.field_validation == "Strict":
        found = ", ".join(f'duplicate field "{path}"' for path in body.duplicates)
        raise status.error(400, f"strict decoding error: {found}")
    return body if options.field_validation == "Warn" else msgspec.structs.replace(body, duplicates=())


def _written(renderer: Renderer, written: Written, body: bodies.Body) -> Response:
    code = 201 if written.created else 200
    response = Response(renderer.object(written.object), status_code=code, media_type=renderer.content_type)
    repeated = tuple(f'duplicate field "{path}"' for path in body.duplicates)
    for text in (*repeated, *written.warnings)[:_WARNINGS_SHOWN]:
        response.headers.append("warning", f'299 - "{_quoted(text)}"')
    return response


def _quoted(text: str) -> str:
    """A warn-text of RFC 7234, section 5.5: printable ASCII, quotes escaped."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    if len(plain) > _WARNING_LENGTH:
        plain = plain[: _WARNING_LENGTH - 3] + "..."
    return plain.replace("\\", "\\\\").replace('"', '\\"')


async def _delete_options(request: Request) -> Deletion:
    """metav1.DeleteOptions from body and query."""
    query, dry_run = request.query_params, _write_options(request).dry_run
    raw = await bodies.decoded(request)
    if raw is not None and not isinstance(raw, dict):
        raise status.error(400, "expected DeleteOptions")
    given = raw or {}
    policy = given.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    if policy not in ("Orphan", "Background", "Foreground"):
        raise status.error(400, f"propagationPolicy is Orphan, Background or Foreground, got {policy!r:.100}")
    orphan = policy == "Orphan" or given.get("orphanDependents") is True or query.get("orphanDependents") == "true"
    try:
        preconditions = msgspec.convert(given.get("preconditions") or {}, Preconditions)
    except msgspec.ValidationError as error:
        raise status.error(400, f"preconditions of DeleteOptions: {error}") from error
    return Deletion(preconditions, dry_run or given.get("dryRun") == ["All"], orphan)


def _continue_token(version: int, after: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([version, *after])).decode()


def _read_continue(token: str) -> tuple[int, tuple[str, str]]:
    try:
        version, namespace, name = msgspec.json.decode(
            base64.urlsafe_b64decode(token.encode()), type=tuple[int, str, str]
        )
    except (ValueError, msgspec.MsgspecError) as error:
        raise status.error(400, "continue is not a token that this server gave") from error
    return version, (namespace, name)
