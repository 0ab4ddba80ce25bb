"""``tidegate connections`` on a lab: two legs, one leg, and none by way of the sidecar, told apart by the kernel."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.labs import _SPEC as DEFAULT_SPEC
from tests.lab.labs import NEEDS, OUTSIDE_ECHO, OUTSIDE_WEB, VIP, Lab, running_lab, until

pytestmark = NEEDS

ECHO = f"{OUTSIDE_ECHO}:9000"
REGISTRY_ONLY = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}


SPEC = f"{DEFAULT_SPEC}  sidecar: {{{{interceptionMode: TPROXY}}}}\n".replace(
    "  labels: {{app: client}}\n",
    "  labels: {{app: client}}\n  sidecar: {{excludeOutboundPorts: '15090'}}\n",
)
"""The second server is captured by TPROXY; the client's connections to one port are not captured."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(SPEC) as made:
        yield made


def rows(lab: Lab, *arguments: str):
    places = ("--run-dir", str(lab.folders.run), "--state-dir", str(lab.folders.state))
    return json.loads(lab.must("connections", *places, *arguments, "-o", "json"))


@contextmanager
def held(lab: Lab, workload: str, where: str, *, uid: int | None = None):
    """A connection that a process in the workload's namespace holds open."""
    host, _, port = where.rpartition(":")
    program = (
        "import encodings.idna, os, socket, sys\n"
        "uid = int(sys.argv[3])\n"
        "if uid: os.setgid(uid); os.setuid(uid)\n"
        "peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    netns = f"/run/netns/tg-{lab.name}-{workload}"
    command = ["nsenter", f"--net={netns}", "--", sys.executable, "-c", program, host, port, str(uid or 0)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_connection_that_the_mesh_lets_pass_has_two_legs(lab):
    with held(lab, "client.front", ECHO) as process:
        found = until(lambda: rows(lab, "client.front", "--verdict", "through", "--port", "9000"))
    assert [(r["legs"], r["destination"], r["upstream"]) for r in found] == [(2, ECHO, [ECHO])]
    assert found[0]["owner"].endswith(f"/{process.pid}")


def test_a_request_to_a_service_is_followed_to_its_endpoint(lab):
    assert lab.probe("client.front").get(f"http://{VIP}:8000/")["status"] == 200
    found = until(lambda: rows(lab, "client.front", "--verdict", "through", "--port", "8000"))
    servers = {m.address for m in lab.state.plan.members if m.key in ("v1.shop", "v2.shop")}
    assert found[0]["destination"] == f"{VIP}:8000"
    assert {place.rpartition(":")[0] for row in found for place in row["upstream"]} <= servers
    served = [r for key in ("v1.shop", "v2.shop") for r in rows(lab, key, "--verdict", "through", "--port", "8000")]
    assert {r["direction"] for r in served} == {"inbound"}
    assert all(r["legs"] == 2 for r in served)


def test_a_refused_connection_has_one_leg(lab):
    with lab.mesh(REGISTRY_ONLY):
        probe = lab.probe("client.front")
        until(lambda: probe.get(f"http://{OUTSIDE_WEB}:8000/").get("status"), lambda status: status == 502)
        seen = probe.tcp("203.0.113.7", 7000, "hello")
        assert (seen["connected"], seen["received"]) == (True, "")
        assert seen["ended"] in ("closed", "ConnectionResetError")  # a reset where Envoy had not read the bytes yet
        found = rows(lab, "client.front", "--port", "7000")
    assert [(r["verdict"], r["legs"], r["upstream"]) for r in found] == [("blocked", 1, [])]


def test_a_process_with_the_proxys_user_id_goes_around(lab):
    with held(lab, "client.front", ECHO, uid=1337):
        found = until(
            lambda: [r for r in rows(lab, "client.front", "--port", "9000") if r["verdict"] in ("bypassed", "pooled")]
        )
    assert {r["verdict"] for r in found} == {"bypassed"}
    assert found[0]["owner"].startswith("python")


SHADOW = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shadow, namespace: front}}
spec:
  hosts: [shadow.example]
  resolution: STATIC
  ports: [{{number: 7100, name: tcp, protocol: TCP, targetPort: 9000}}]
  endpoints: [{{address: {OUTSIDE_ECHO}}}]
"""


def test_s000_3_e_a_port_without_addresses_takes_what_goes_elsewhere(lab):
    with lab.applied(SHADOW):
        probe = lab.probe("client.front")
        until(lambda: probe.tcp("203.0.113.9", 7100, "hello")["received"] == "hello")
        found = rows(lab, "client.front", "--verdict", "through", "--port", "7100")
    assert {(r["destination"], *r["upstream"]) for r in found} == {("203.0.113.9:7100", ECHO)}


def test_the_table_names_the_labs_members_and_says_what_to_do(lab):
    with held(lab, "client.front", ECHO, uid=1337):
        places = ("--run-dir", str(lab.folders.run), "--state-dir", str(lab.folders.state))
        done = lab.run("connections", *places, "client.front", "--port", "9000")
    assert f"{ECHO} (echo)" in done.stdout
    assert "bypassed: no leg by way of the sidecar" in done.stderr


def address(lab: Lab, workload: str) -> str:
    return next(member.address for member in lab.state.plan.members if member.key == workload)


def told(lab: Lab, *arguments: str) -> list[tuple[str, str, str]]:
    """Verdict, rule and why, as the table has them."""
    places = ("--run-dir", str(lab.folders.run), "--state-dir", str(lab.folders.state))
    head, *lines = lab.must("connections", *places, *arguments).splitlines() or ["VERDICT RULE WHY"]
    starts = [head.index(column) for column in ("VERDICT", "RULE", "WHY")]
    return [tuple(line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)) for line in lines]


def forget(lab: Lab, workload: str, destination: str) -> None:
    """Let the kernel drop what it knows of connections to there, as it does two minutes after their end.

    A last segment that comes later makes it known again.
    """
    netns = f"/run/netns/tg-{lab.name}-{workload}"
    command = ["nsenter", f"--net={netns}", "--", "conntrack", "-D", "--orig-dst", destination]
    subprocess.run(command, check=False, capture_output=True)


def kept_without_callers(lab: Lab) -> list[tuple[str, str, str]]:
    for place in (VIP, OUTSIDE_WEB):  # on the same port; what was refused there may have been HTTP for the service
        forget(lab, "client.front", place)
    return told(lab, "client.front", "--port", "8000", "--verdict", "pooled")


def test_rule_and_why_of_what_is_captured_and_of_what_goes_around(lab):
    """By a captured process, by one with the proxy's user, to an excluded port, and by the proxy itself."""
    own = ("nat ISTIO_OUTPUT rule 6", "the proxy's own connections (user 1337) leave as they are")
    excluded = ("nat ISTIO_OUTPUT rule 1", "tcp to port 15090 is excluded")
    with held(lab, "client.front", ECHO), held(lab, "client.front", f"{address(lab, 'v1.shop')}:15090"):
        everything_else = ("nat ISTIO_OUTPUT rule 11", "everything else goes to Envoy")
        until(lambda: ("through", *everything_else) in told(lab, "client.front", "--port", "9000"))
        until(lambda: told(lab, "client.front", "--port", "15090") == [("bypassed", *excluded)])
    with held(lab, "client.front", ECHO, uid=1337):
        until(lambda: ("bypassed", *own) in told(lab, "client.front", "--port", "9000"))
    assert lab.probe("client.front").get(f"http://{VIP}:8000/")["status"] == 200
    pooled = until(lambda: kept_without_callers(lab))
    assert set(pooled) == {("pooled", *own)}


def test_rule_and_why_of_what_comes_in_by_tproxy(lab):
    """The server sees its client's address, and is told to have been reached by way of the sidecar all the same."""
    client, server = address(lab, "client.front"), address(lab, "v2.shop")
    answer = lab.probe("client.front").get(f"http://{server}:8000/")
    assert answer["status"] == 200
    found = until(lambda: rows(lab, "v2.shop", "--verdict", "through", "--port", "8000"))
    assert {row["source"].rpartition(":")[0] for row in found} == {client}
    assert {row["rule"] for row in found} == {"mangle ISTIO_INBOUND rule 8"}
    assert {row["because"] for row in found} == {"everything else that comes in goes to Envoy, its addresses kept"}
