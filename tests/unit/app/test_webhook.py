"""The injection webhook over HTTPS."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tidegate.app.clusterfacts import ClusterFacts
from tidegate.app.injection import Following, Sources
from tidegate.app.webhook import MAX_BODY, Certificate, Followed, Listening, application, place_of, serve
from tidegate.inject import review
from tidegate.inject.settings import settings
from tidegate.kit.errors import TidegateError
from tidegate.store.informer import Change
from tidegate.store.model import WatchType

POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}


class Fixed:
    """Settings that stay."""

    settings = settings()

    def refresh(self) -> None:
        """There is nothing to follow."""


def asked(pod: Any = POD) -> dict[str, Any]:
    request = {"uid": "u1", "kind": {"kind": "Pod"}, "namespace": "shop", "object": pod}
    return {"apiVersion": review.API, "kind": "AdmissionReview", "request": request}


def post(path: str, body: bytes, facts: ClusterFacts | None = None) -> tuple[int, str]:
    return answered("POST", path, body, facts)


def answered(method: str, path: str, body: bytes, facts: ClusterFacts | None = None) -> tuple[int, str]:
    """Status and body of an answer, by the protocol that servers speak with applications."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], "root_path": ""}
    asyncio.run(application(Fixed(), facts)(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:]).decode()


def reviewed(path: str = "/inject") -> dict[str, Any]:
    status, body = post(path, json.dumps(asked()).encode())
    assert status == 200, body
    response: dict[str, Any] = json.loads(body)["response"]
    return response


def test_a_pod_gets_its_sidecar() -> None:
    response = reviewed()
    assert response["allowed"]
    assert response["patch"]


def test_a_webhook_that_knows_its_cluster_goes_by_it() -> None:
    facts = ClusterFacts()
    meta = {"name": "db", "namespace": "shop"}
    facts.take(Change(WatchType.ADDED, "Service", {"metadata": meta, "spec": {"clusterIP": "10.96.0.9"}}))
    old = {"metadata": {"name": "old"}, "status": {"nodeInfo": {"kubeletVersion": "v1.30.0"}}}
    facts.take(Change(WatchType.ADDED, "Node", old))
    annotations = {"traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.96.0.0/16"}
    pod = {"metadata": {"name": "web", "annotations": annotations}, "spec": POD["spec"]}
    status, body = post("/inject", json.dumps(asked(pod)).encode(), facts)
    response = json.loads(body)["response"]
    assert status == 200
    assert any("db.shop" in each for each in response["warnings"])
    patch = json.loads(base64.b64decode(response["patch"]))
    (containers,) = [each["value"] for each in patch if each["path"] == "/spec/containers"]
    assert [each["name"] for each in containers] == ["app", "istio-proxy"]


def test_a_webhook_that_knows_proxy_configs_goes_by_them() -> None:
    facts = ClusterFacts()
    config = {"metadata": {"name": "few", "namespace": "shop"}, "spec": {"concurrency": 3}}
    facts.take(Change(WatchType.ADDED, "ProxyConfig", config))
    _, body = post("/inject", json.dumps(asked()).encode(), facts)
    assert '{\\"concurrency\\":3}' in base64.b64decode(json.loads(body)["response"]["patch"]).decode()


def test_it_is_ready_when_the_cluster_was_read() -> None:
    facts = ClusterFacts()
    assert answered("GET", "/ready", b"", facts)[0] == 503
    facts.synced = True
    assert answered("GET", "/ready", b"", facts)[0] == 503
    facts.configs_known = True
    assert answered("GET", "/ready", b"", facts)[0] == 200


def test_a_pod_that_has_its_sidecar_is_left_as_it_is_with_the_reason() -> None:
    once = review.answer(asked(), settings())
    again = review.answer(asked(once.pod), settings())
    assert again.reason == 'Pod "shop/web" has its sidecar already; nothing was changed'
    assert "patch" not in again.review["response"]


def test_the_path_names_cluster_and_network() -> None:
    place = place_of("cluster/east/net/one")
    assert (place.cluster, place.network) == ("east", "one")
    assert reviewed("/inject/cluster/east/net/one")["allowed"]


def test_the_path_names_further_variables_of_the_proxy() -> None:
    place = place_of("cluster/east/istio_meta_network/one/zone/a--slash--b/")
    assert (place.cluster, place.network, place.variables) == ("east", "one", {"ZONE": "a/b"})


@pytest.mark.parametrize("path", ["/inject/cluster", "/inject/cluster/east/net", "/inject/a%20b/c", "/inject/1/2"])
def test_a_path_that_says_nothing_is_refused(path: str) -> None:
    status, said = post(path, json.dumps(asked()).encode())
    assert status == 400
    assert "expected /inject/cluster/NAME" in said


@pytest.mark.parametrize("body", [b"", b"{", b"null", b'{"kind": "Pod"}'])
def test_what_is_no_review_is_refused(body: bytes) -> None:
    status, said = post("/inject", body)
    assert status == 400
    assert "expected" in said


def test_a_body_without_bound_is_not_read() -> None:
    assert post("/inject", b" " * (MAX_BODY + 1))[0] == 413


def test_what_nobody_foresaw_denies_the_pod_and_the_webhook_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_given: object) -> object:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patched:
        patched.setattr(review, "inject", fails)
        response = reviewed()
    assert not response["allowed"]
    assert "internal error" in response["status"]["message"]
    assert reviewed()["allowed"]


def written(folder: Path, authority: Authority, name: str) -> Listening:
    pair = authority.issue(name)
    for file, data in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        part = folder / f"{file}.part"
        part.write_bytes(data)
        part.replace(folder / file)
    return Listening(host="127.0.0.1", port=0, certificate=folder / "tls.crt", key=folder / "tls.key")


def test_a_bad_certificate_leaves_the_old_one_in_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listening = written(tmp_path, Authority(), "localhost")
    held = Certificate(listening)
    assert not held.refresh()
    listening.certificate.write_text("no certificate")
    assert not held.refresh()
    assert "cannot be used" in caplog.text
    written(tmp_path, Authority(), "localhost")
    assert held.refresh()


def test_without_a_certificate_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="cannot be used"):
        Certificate(Listening(host="127.0.0.1", port=0, certificate=tmp_path / "x", key=tmp_path / "y"))


@contextlib.asynccontextmanager
async def serving(listening: Listening, followed: Followed | None = None) -> AsyncIterator[int]:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(followed or Fixed(), listening, port.set_result))
    try:
        yield await asyncio.wait_for(port, 10)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 10)


async def certificate_of(port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found
    finally:
        writer.transport.abort()


async def ask(port: int) -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    body = json.dumps(asked()).encode()
    head = f"POST /inject HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.transport.abort()
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def test_it_serves_over_https_and_takes_a_new_certificate_up(tmp_path: Path) -> None:
    async def run() -> tuple[dict[str, Any], bool]:
        listening = written(tmp_path, Authority(), "localhost")
        async with serving(listening) as port:
            answer, first = await ask(port), await certificate_of(port)
            written(tmp_path, Authority(), "localhost")
            for _ in range(100):
                if await certificate_of(port) != first:
                    return answer, True
                await asyncio.sleep(0.1)
        return answer, False

    answer, renewed = asyncio.run(run())
    assert answer["response"]["allowed"]
    assert renewed


# Settings that follow their files


def replaced(file: Path, text: str) -> Path:
    """As a mounted ConfigMap changes: at once, by a rename."""
    part = file.with_suffix(".part")
    part.write_text(text)
    return part.replace(file)


def test_settings_follow_their_files(tmp_path: Path) -> None:
    mesh = replaced(tmp_path / "mesh", "trustDomain: one.example\n")
    values = replaced(tmp_path / "values", "global: {proxy: {logLevel: info}}\n")
    held = Following(Sources(mesh=mesh, values=(values,)))
    assert not held.refresh()
    replaced(mesh, "trustDomain: other.example\n")
    assert held.refresh()
    assert held.settings.mesh["trustDomain"] == "other.example"
    replaced(values, "global: {proxy: {logLevel: debug}}\n")
    assert held.refresh()
    assert held.settings.value("global.proxy.logLevel") == "debug"


@pytest.mark.parametrize("text", ["{", "trustDomain: [1]\n", None])
def test_files_that_cannot_be_used_leave_the_settings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    mesh = replaced(tmp_path / "mesh", "trustDomain: one.example\n")
    held = Following(Sources(mesh=mesh))
    if text is None:
        mesh.unlink()
    else:
        replaced(mesh, text)
    assert not held.refresh()
    assert held.settings.mesh["trustDomain"] == "one.example"
    assert str(mesh) in caplog.text
    assert not held.refresh()
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1
    replaced(mesh, "trustDomain: third.example\n")
    assert held.refresh()


def test_the_webhook_goes_by_the_settings_as_they_are_now(tmp_path: Path) -> None:
    values = replaced(tmp_path / "values", "global: {proxy: {autoInject: enabled}}\n")

    async def run() -> list[bool]:
        listening = written(tmp_path, Authority(), "localhost")
        async with serving(listening, Following(Sources(values=(values,)))) as port:
            injected = ["patch" in (await ask(port))["response"]]
            replaced(values, "global: {proxy: {autoInject: disabled}}\n")
            for _ in range(100):
                if "patch" not in (await ask(port))["response"]:
                    return [*injected, False]
                await asyncio.sleep(0.1)
        return injected

    assert asyncio.run(run()) == [True, False]
