"""Injection: reviews a second and p99 of a webhook over HTTPS, and the time of kube-inject for many deployments.

Webhook and clients are two processes on one machine. The figures are given beside a run of the same clients against
``/ready``, which does nothing: the ratio is the cost of the injection itself.
"""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.certificates import Authority

DEPLOYMENTS = 1000
REVIEWS = 2000
CLIENTS = 8
POD = {
    "metadata": {"generateName": "web-", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "app", "image": "app"}]},
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": POD["spec"]}},
}


@contextlib.contextmanager
def webhook(folder: Path) -> Iterator[int]:
    """A webhook that serves; its port."""
    pair = Authority().issue("localhost")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    command = [sys.executable, "-m", "tidegate", "webhook", "--host", "127.0.0.1", "--port", "0"]
    command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as started:
        assert started.stdout
        try:
            yield int(started.stdout.readline().rpartition(":")[2].partition("/")[0])
        finally:
            started.terminate()


async def client(port: int, request: bytes, times: int) -> list[float]:
    """Seconds of each of some requests over one connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = []
    for _ in range(times):
        start = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
        found.append(time.perf_counter() - start)
    writer.transport.abort()
    return found


async def figures(port: int, request: bytes) -> dict[str, float]:
    """Requests a second, and latencies in milliseconds."""
    await client(port, request, 20)
    start = time.perf_counter()
    parts = await asyncio.gather(*(client(port, request, REVIEWS // CLIENTS) for _ in range(CLIENTS)))
    seconds, times = time.perf_counter() - start, sorted(each for part in parts for each in part)
    at = {name: times[int(len(times) * share)] * 1000 for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))}
    return {"per_second": round(len(times) / seconds, 1), **{name: round(value, 2) for name, value in at.items()}}


def review() -> bytes:
    request = {"uid": "u", "kind": {"kind": "Pod"}, "namespace": "shop", "object": POD}
    body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()
    return f"POST /inject HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def kube_inject(folder: Path) -> float:
    """Seconds for all deployments, the start of the process included."""
    file = folder / "deployments.yaml"
    file.write_text("---\n".join(json.dumps(DEPLOYMENT) + "\n" for _ in range(DEPLOYMENTS)))
    start = time.perf_counter()
    command = [sys.executable, "-m", "tidegate", "kube-inject", "-f", str(file), "-o", str(folder / "out.yaml")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """One JSON line for each figure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with webhook(folder) as port:
            nothing = asyncio.run(figures(port, b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n"))
            reviews = asyncio.run(figures(port, review()))
        print(json.dumps({"what": "webhook, /ready", **nothing}))
        ratio = round(nothing["per_second"] / reviews["per_second"], 2)
        print(json.dumps({"what": "webhook, reviews", **reviews, "times_ready": ratio}), flush=True)
        print(json.dumps({"what": f"kube-inject, {DEPLOYMENTS} deployments", "seconds": round(kube_inject(folder), 2)}))


if __name__ == "__main__":
    main()
