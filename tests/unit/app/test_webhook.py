"""The injection webhook over HTTPS."""

import asyncio
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
from tidegate.app.webhook import MAX_BODY, Certificate, Listening, application, place_of, serve
from tidegate.inject import review
from tidegate.inject.settings import settings
from tidegate.kit.errors import TidegateError

POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}


def asked(pod: Any = POD) -> dict[str, Any]:
    request = {"uid": "u1", "kind": {"kind": "Pod"}, "namespace": "shop", "object": pod}
    return {"apiVersion": review.API, "kind": "AdmissionReview", "request": request}


def post(path: str, body: bytes) -> tuple[int, str]:
    """Status and body of an answer, by the protocol that servers speak with applications."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "root_path": ""}
    asyncio.run(application(settings())(scope, receive, send))
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


def test_the_path_names_cluster_and_network() -> None:
    place = place_of("cluster/east/net/one")
    assert (place.cluster, place.network) == ("east", "one")
    assert reviewed("/inject/cluster/east/net/one")["allowed"]
    assert post("/inject/moon/east", json.dumps(asked()).encode())[0] == 400


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


def test_a_bad_certificate_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    listening = written(tmp_path, Authority(), "localhost")
    held = Certificate(listening)
    assert held.refresh() == ""
    listening.certificate.write_text("no certificate")
    assert "cannot be used" in held.refresh()
    written(tmp_path, Authority(), "localhost")
    assert held.refresh() == ""


def test_without_a_certificate_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="cannot be used"):
        Certificate(Listening(host="127.0.0.1", port=0, certificate=tmp_path / "x", key=tmp_path / "y"))


@contextlib.asynccontextmanager
async def serving(listening: Listening) -> AsyncIterator[int]:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings(), listening, port.set_result))
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
