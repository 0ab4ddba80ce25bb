"""The API server's clock jumps: order is that of versions, and tokens hold by the clock that the server has now."""

import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.api.decode import admit
from tidegate.api.schema import openapi_schemas
from tidegate.store import pki, strategy
from tidegate.store.auth import Authenticator
from tidegate.store.server import ApiServer
from tidegate.store.sqlite import Storage

Json = dict[str, Any]
DAY = datetime.timedelta(days=1)


class Server:
    """An API server whose clock is ours, asked without a network."""

    def __init__(self, folder: Path) -> None:
        self.now = strategy.utc_now()
        self.storage = Storage(folder / "store.db")
        self._keys = pki.load(folder / "pki", self.now)
        tokens = Authenticator(self._keys.admin_token, self._keys.signing_key, self.storage.read, self._time)
        self.server = ApiServer(self.storage, tokens, admission=admit, schemas=openapi_schemas, clock=self._time)

    def _time(self) -> datetime.datetime:
        return self.now

    async def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        headers = [(b"authorization", b"Bearer " + self._keys.admin_token.encode())]
        headers.append((b"content-type", b"application/json"))
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
        sent: list[Json] = []

        async def receive() -> Json:
            return {"type": "http.request", "body": json.dumps(body).encode() if body else b"", "more_body": False}

        async def send(message: Json) -> None:
            sent.append(message)

        await self.server.app(scope, receive, send)  # type: ignore[arg-type]
        found: Json = json.loads(b"".join(each.get("body", b"") for each in sent[1:]))
        assert sent[0]["status"] < 300, found
        return found

    async def put(self, name: str, value: str) -> Json:
        """A ConfigMap, made or changed."""
        raw = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
        collection = "/api/v1/namespaces/default/configmaps"
        known = [each["metadata"]["name"] for each in (await self.ask("GET", collection))["items"]]
        if name in known:
            return await self.ask("PUT", f"{collection}/{name}", raw)
        return await self.ask("POST", collection, raw)

    async def reviewed(self, token: str) -> bool:
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1"}
        spec = {"token": token, "audiences": ["istio-ca"]}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        return bool((await self.ask("POST", path, {**review, "spec": spec}))["status"].get("authenticated"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    found = Server(tmp_path)
    await found.server.prepare()
    yield found
    found.server.stop()
    await found.storage.close()


async def test_versions_go_on_whatever_the_clock_does(server: Server) -> None:
    versions, made = [], []
    for jump in (0 * DAY, DAY, -400 * DAY, 4000 * DAY, DAY):
        server.now += jump
        for name in (f"new{len(made)}", "old"):
            meta = (await server.put(name, str(server.now)))["metadata"]
            versions.append(int(meta["resourceVersion"]))
        made.append((await server.ask("GET", "/api/v1/namespaces/default/configmaps/old"))["metadata"])
    assert versions == sorted(set(versions))
    assert len({(each["uid"], each["creationTimestamp"]) for each in made}) == 1


async def test_a_token_holds_by_the_servers_clock(server: Server) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    await server.ask("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
    path = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    spec = {"audiences": ["istio-ca"], "expirationSeconds": 3600}
    token = (await server.ask("POST", path, {**request, "spec": spec}))["status"]["token"]
    start = server.now
    for jump, holds in ((0 * DAY, True), (-DAY, True), (DAY, False), (-400 * DAY, True), (DAY / 48, True)):
        server.now = start + jump
        assert await server.reviewed(token) is holds, jump
