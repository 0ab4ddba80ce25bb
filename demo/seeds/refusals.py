"""S004-5: how REGISTRY_ONLY refuses, by protocol."""

import sys
from pathlib import Path

from report import Recorder
from seeds.probes import connections, curl, expect, traced, until_status
from stage import Ran, Stage

CLIENT = "client.entry"
NAME, PLACE = "one.ext.example", "10.122.24.150"
ECHO, ECHO_PLACE = "echo.ext.example", "10.122.24.142"
HTTP = f"http://{NAME}/"
CLOSED = (52, 55, 56)
"""curl's codes for an empty reply, a failed write and a failed read: which of them depends on timing."""
TLS_REFUSED = 35
SHAPE = ("-o", "/dev/null", "-w", "%{http_code} %{http_version}")
UNARY = str(Path(__file__).with_name("unary.py"))
_QUERY = (
    "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10); "
    "name = b''.join(bytes([len(p)]) + p.encode() for p in 'httpbin.org'.split('.')) + b'\\0'; "
    "s.sendto(bytes([7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + name + bytes([0, 1, 0, 1]), ('10.122.24.53', 53)); "
    "print('.'.join(map(str, s.recv(512)[-4:])))"
)


def matrix(stage: Stage, record: Recorder) -> None:
    with stage.outbound_policy("REGISTRY_ONLY"):
        until_status(stage, CLIENT, HTTP, "502")
        for check in (_http, _http2, _tls, _grpc, _bytes, udp):
            check(stage, record)
    until_status(stage, CLIENT, HTTP, "200")


def _http(stage: Stage, record: Recorder) -> None:
    ran, lines = traced(stage, CLIENT, HTTP)
    passed = ran.out == "502" and "direct_response" in lines[0] and lines[0].endswith("block_all")
    expect(record, ran, "HTTP/1.1 where there is an HTTP listener: 502 of block_all", passed, evidence=lines)
    ran = curl(stage, CLIENT, "-D", "-", HTTP, HTTP, "-w", "%{num_connects} ")
    passed = "content-length: 0" in ran.out and ran.out.rstrip().endswith("0")
    expect(record, ran, "empty body, and the connection stays open for the next", passed)
    _closed(stage, record, curl(stage, CLIENT, f"http://{ECHO}:9000/"), "HTTP/1.1 where there is none")


def _http2(stage: Stage, record: Recorder) -> None:
    ran = curl(stage, CLIENT, "--http2-prior-knowledge", *SHAPE, HTTP)
    expect(record, ran, "HTTP/2 by prior knowledge: 502 over HTTP/2, the stream ends normally", ran.out == "502 2")
    ran = curl(stage, CLIENT, "--http2-prior-knowledge", f"http://{ECHO}:9000/")
    _closed(stage, record, ran, "HTTP/2 where there is no listener")
    ran = curl(stage, CLIENT, "--http2", *SHAPE, HTTP)
    expect(record, ran, "Upgrade: h2c: 502 over HTTP/1.1", ran.out == "502 1.1")


def _closed(stage: Stage, record: Recorder, ran: Ran, what: str) -> None:
    lines = stage.logged(CLIENT, "BlackHoleCluster", f"{ECHO_PLACE}:9000")[-1:]
    passed = ran.code in CLOSED and not ran.out and " UH " in lines[0]
    expect(record, ran, f"{what}: accepted, then closed", passed, f"curl exit {ran.code}", evidence=lines)


def _tls(stage: Stage, record: Recorder) -> None:
    ran = curl(stage, CLIENT, "-k", "-v", "https://www.site-a.example/")
    passed = ran.code == TLS_REFUSED and "alert" not in ran.err.lower()
    expect(record, ran, f"TLS: curl exit {TLS_REFUSED}, no TLS alert", passed, f"curl exit {ran.code}")


def _grpc(stage: Stage, record: Recorder) -> None:
    for place, what in ((f"{PLACE}:80", "an HTTP listener"), (f"{ECHO_PLACE}:9000", "no listener")):
        ran = stage.inside(CLIENT, sys.executable, UNARY, place, NAME)
        expect(record, ran, f"gRPC, {what}: UNAVAILABLE", ran.out.strip() == "UNAVAILABLE")


def _bytes(stage: Stage, record: Recorder) -> None:
    ran = stage.run(CLIENT, "nc", "-v", "-w", "5", ECHO, "9000", stdin="hello\n")
    passed = "succeeded" in ran.err and not ran.out
    expect(record, ran, "bytes: connect succeeds, then closed without a byte", passed, f"{len(ran.out)} bytes back")
    ran, lines = connections(stage, CLIENT, PLACE, 80)
    passed = not ran.out and "BlackHoleCluster" in lines[0]
    expect(record, ran, "`keys *` on an HTTP listener: closed without a byte", passed, evidence=lines)


def udp(stage: Stage, record: Recorder, workload: str = CLIENT) -> None:
    ran = stage.run(workload, "/usr/bin/python3", "-c", _QUERY)
    shown = Ran(f"{workload}$ a DNS query by UDP to 10.122.24.53", ran.code, ran.out, ran.err)
    expect(record, shown, "UDP passes: the answer of the name server outside", ran.out.strip() == "10.122.24.141")
