"""The client of a Kubernetes API: the embedded server's and a cluster's alike."""

import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tidegate.api.kinds import KINDS, Kind
from tidegate.store import kubeconfig
from tidegate.store.model import Expired, Json, Listing, StoreError, TokenIdentity, WatchEvent, WatchType

CALL_SECONDS = 30.0
WATCH_SECONDS = 290
"""How long a watch is asked to last; it ends regularly then."""

_WATCH_MARGIN = 20.0
_LIST_CHUNK = 500
_MAX_LINE = 4 * 1024 * 1024
"""Bytes of one watch event: an object of up to 3 MiB and its frame."""
_MAX_ANSWER = 256 * 1024 * 1024
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"


class Answer(msgspec.Struct, frozen=True):
    """A raw answer of the server."""

    code: int
    headers: Mapping[str, str]
    body: bytes
    warnings: tuple[str, ...] = ()
    """Values of the Warning headers."""

    def json(self) -> Json:
        try:
            decoded = msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise StoreError(self.code, "", f"the API server's answer is not JSON: {self.body[:200]!r}") from error
        if not isinstance(decoded, dict):
            raise StoreError(self.code, "", f"the API server's answer is not an object: {self.body[:200]!r}")
        return decoded


class KubeStore:
    """A :class:`tidegate.store.model.Store` over HTTP. Close it, or use it as an async context manager."""

    def __init__(self, access: kubeconfig.Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path | str, context: str | None = None) -> "KubeStore":
        return cls(kubeconfig.load(Path(path), context))

    async def __aenter__(self) -> "KubeStore":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Accept": "application/json", "User-Agent": "tidegate"}
            connector = aiohttp.TCPConnector(limit=0, ssl=self._access.tls if self._access.tls else True)
            self._session = aiohttp.ClientSession(
                connector=connector, headers=headers, auto_decompress=True, read_bufsize=_MAX_LINE
            )
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call with a timeout; ``body`` is bytes as they are, or anything else as JSON. StoreError with code 0 when
        the server is not reached; codes of refusal are the caller's to look at."""
        encoded = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        data = io.BytesIO(encoded) if encoded is not None else None
        kind = {"Content-Type": "application/json"} if data is not None else {}
        sent = {**self._access.authorization(), **kind, **(headers or {})}
        try:
            async with self._open().request(
                method,
                self._access.server + path,
                data=data,
                params=query,
                headers=sent,
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
                server_hostname=self._access.server_name,
            ) as response:
                content = await _bounded(response)
                return Answer(response.status, response.headers, content, tuple(response.headers.getall("Warning", ())))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreached(error) from error

    def _unreached(self, error: BaseException) -> StoreError:
        what = str(error) or type(error).__name__
        return StoreError(0, "Unreachable", f"the API server at {self._access.server} did not answer: {what}")

    async def _call(self, method: str, path: str, body: Any = None, **more: Any) -> Json:
        answer = await self.request(method, path, body, **more)
        if answer.code >= 400:
            raise refusal(answer.code, answer.body)
        return answer.json()

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        return await self._call("GET", path_of(_kind(kind), namespace, name))

    async def list(self, kind: str, namespace: str = "", *, label_selector: str = "") -> Listing:
        """In chunks of one consistent version; from the start again should that version expire on the way."""
        for attempt in range(3):
            try:
                return await self._chunks(_kind(kind), namespace, label_selector, 0 if attempt == 2 else _LIST_CHUNK)
            except Expired:
                if attempt == 2:
                    raise
        raise AssertionError

    async def _chunks(self, kind: Kind, namespace: str, label_selector: str, limit: int) -> Listing:
        query = {"labelSelector": label_selector} if label_selector else {}
        if limit:
            query["limit"] = str(limit)
        items: list[Json] = []
        while True:
            page = await self._call("GET", path_of(kind, namespace), query=query)
            items += (_typed(item, kind) for item in page.get("items") or ())
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return Listing(tuple(items), str(meta.get("resourceVersion", "")))
            query["continue"] = meta["continue"]

    async def watch(self, kind: str, resource_version: str, namespace: str = "") -> AsyncIterator[WatchEvent]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + _WATCH_MARGIN, sock_connect=CALL_SECONDS)
        try:
            async with self._open().get(
                self._access.server + path_of(_kind(kind), namespace),
                params=query,
                headers=self._access.authorization(),
                timeout=timeout,
                server_hostname=self._access.server_name,
            ) as response:
                if response.status != 200:
                    raise refusal(response.status, await _bounded(response))
                async for line in _lines(response.content):
                    yield watch_event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreached(error) from error

    async def create(self, obj: Json, *, dry_run: bool = False) -> Json:
        kind = _kind(str(obj.get("kind")))
        path = path_of(kind, _namespace(obj), version=_version(obj))
        return await self._call("POST", path, obj, query={"dryRun": "All"} if dry_run else None)

    async def update(self, obj: Json, *, subresource: str = "") -> Json:
        kind = _kind(str(obj.get("kind")))
        path = path_of(kind, _namespace(obj), obj["metadata"]["name"], subresource, version=_version(obj))
        return await self._call("PUT", path, obj)

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Any, *, content_type: str, subresource: str = ""
    ) -> Json:
        query = {"fieldManager": "tidegate"}
        if content_type == "application/apply-patch+yaml":
            query["force"] = "true"
        path = path_of(_kind(kind), namespace, name, subresource)
        return await self._call("PATCH", path, patch, query=query, headers={"Content-Type": content_type})

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str = "") -> None:
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._call("DELETE", path_of(_kind(kind), namespace, name), options)

    async def create_token(
        self,
        namespace: str,
        service_account: str,
        *,
        audiences: tuple[str, ...],
        seconds: int = 3600,
        pod: Json | None = None,
    ) -> str:
        spec: Json = {"audiences": list(audiences), "expirationSeconds": seconds}
        if pod is not None:
            meta = pod["metadata"]
            bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
            spec["boundObjectRef"] = bound
        request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        path = path_of(_kind("ServiceAccount"), namespace, service_account, "token")
        answer = await self._call("POST", path, request)
        return str(answer["status"]["token"])

    async def review_token(self, token: str, *, audiences: tuple[str, ...]) -> TokenIdentity | None:
        spec = {"token": token, "audiences": list(audiences)}
        request = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        answer = await self._call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", request)
        status = answer.get("status") or {}
        if not status.get("authenticated"):
            return None
        if audiences and not set(status.get("audiences") or ()) & set(audiences):
            return None  # a server that does not know of audiences has checked none
        return _identity(status.get("user") or {})


def path_of(kind: Kind, namespace: str = "", name: str = "", subresource: str = "", *, version: str = "") -> str:
    """The request path of an object, a collection or a subresource."""
    version = version or kind.versions[0]
    parts = ["/apis", kind.group, version] if kind.group else ["/api", version]
    if kind.namespaced and namespace:
        parts += ["namespaces", _segment(namespace)]
    return "/".join([*parts, kind.plural, *filter(None, (_segment(name), subresource))])


def _segment(text: str) -> str:
    """A name in a path: nothing in it may lead elsewhere."""
    if "/" in text or "?" in text or "#" in text or "%" in text or text in (".", ".."):
        raise StoreError(400, "BadRequest", f"{text!r} is not a name of an object")
    return text


def _kind(name: str) -> Kind:
    if name not in KINDS:
        raise StoreError(404, "NotFound", f"kind {name!r} is not served; expected one of {', '.join(sorted(KINDS))}")
    return KINDS[name]


def _namespace(obj: Json) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "")


def _version(obj: Json) -> str:
    return str(obj.get("apiVersion") or "").rpartition("/")[2]


def _typed(item: Json, kind: Kind) -> Json:
    """Items of core lists come without apiVersion and kind."""
    return (
        item if "kind" in item and "apiVersion" in item else {"apiVersion": kind.api_version, "kind": kind.kind, **item}
    )


def refusal(code: int, body: bytes) -> StoreError:
    """The server's Status as an exception."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict) or found.get("kind") != "Status":
        return StoreError(code, "", f"the API server answered {code}: {body[:300].decode(errors='replace')}")
    return _from_status(found, code)


def _from_status(found: Json, code: int) -> StoreError:
    code = int(found.get("code") or code)
    kind = Expired if code == 410 else StoreError
    return kind(code, str(found.get("reason") or ""), str(found.get("message") or ""), found.get("details"))


def watch_event(line: bytes) -> WatchEvent:
    """Decode one line of a watch; raises the error that an ERROR event carries."""
    try:
        found = msgspec.json.decode(line)
        kind, obj = found["type"], found["object"]
        if kind == "ERROR":
            raise _from_status(obj, 500)
        return WatchEvent(WatchType(kind), obj)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(0, "Unreachable", f"the watch sent what is no event: {line[:200]!r}") from error


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines; one longer than the limit ends the watch with an error."""
    buffer = bytearray()
    searched = 0
    async for chunk in content.iter_any():
        buffer += chunk
        while (end := buffer.find(b"\n", searched)) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            searched = 0
            if line.strip():
                yield line
        searched = len(buffer)
        if searched > _MAX_LINE:
            raise StoreError(0, "Unreachable", f"the watch sent an event of more than {_MAX_LINE} bytes")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > _MAX_ANSWER:
            raise StoreError(0, "Unreachable", f"the API server's answer is larger than {_MAX_ANSWER} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _identity(user: Json) -> TokenIdentity:
    username, extra = str(user.get("username", "")), user.get("extra") or {}
    namespace = account = ""
    if username.startswith("system:serviceaccount:"):
        namespace, _, account = username.removeprefix("system:serviceaccount:").partition(":")
    return TokenIdentity(
        username=username,
        groups=tuple(user.get("groups") or ()),
        namespace=namespace,
        service_account=account,
        pod=str((extra.get(_POD_NAME) or [""])[0]),
        pod_uid=str((extra.get(_POD_UID) or [""])[0]),
    )
