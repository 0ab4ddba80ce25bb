"""``tidegate explain`` of a live mesh: what it says of a connection is what happens to it."""

import json
from collections.abc import Iterator

import pytest

from tests.lab.labs import NEEDS, OUTSIDE_WEB, VIP, Json, Lab, running_lab, until

pytestmark = NEEDS

REGISTRY_ONLY = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
ABORT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: abort, namespace: shop}
spec:
  hosts: [web.shop.svc.cluster.local]
  http:
  - match: [{uri: {prefix: /broken}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: web.shop.svc.cluster.local}}]
  - route: [{destination: {host: web.shop.svc.cluster.local}}]
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab() as made:
        yield made


def explained(lab: Lab, to: str, *arguments: str) -> Json:
    places = ("--run-dir", str(lab.folders.run), "--state-dir", str(lab.folders.state))
    asked = ("--from", "client.front", "--to", to, *arguments)
    found: Json = json.loads(lab.must("explain", *places, *asked, "-o", "json"))
    return found


@pytest.mark.parametrize("source", [(), ("--running",)], ids=["store", "running"])
def test_a_request_to_a_service_reaches_its_pods(lab: Lab, source: tuple[str, ...]) -> None:
    assert lab.probe("client.front").get(f"http://{VIP}:8000/")["status"] == 200
    found = explained(lab, f"{VIP}:8000", *source)
    servers = {f"{m.address}:8000" for m in lab.state.plan.members if m.key in ("v1.shop", "v2.shop")}
    assert found["outcome"] == "reaches"
    assert set(found["ends"][0]["endpoints"]) <= servers
    assert {"name", "packet_rules", "listener", "cluster"} <= {step["stage"] for step in found["steps"]}


@pytest.mark.parametrize("source", [(), ("--running",)], ids=["store", "running"])
def test_what_is_refused_is_said_to_be(lab: Lab, source: tuple[str, ...]) -> None:
    with lab.mesh(REGISTRY_ONLY):
        probe = lab.probe("client.front")
        until(lambda: probe.get(f"http://{OUTSIDE_WEB}:8000/").get("status"), lambda status: status == 502)
        refused = explained(lab, f"{OUTSIDE_WEB}:8000", *source)
        closed = explained(lab, "203.0.113.7:7000", "--protocol", "tcp", *source)
        assert probe.tcp("203.0.113.7", 7000, "hello")["received"] == ""
    assert (refused["outcome"], refused["httpStatus"]) == ("direct_response", 502)
    assert (closed["outcome"], closed["decidingObject"]) == ("blackhole", "MeshConfig/outboundTrafficPolicy")
    allowed = explained(lab, f"{OUTSIDE_WEB}:8000")
    assert allowed["outcome"] == "passthrough"


def test_the_rule_that_answers_is_named_and_its_path_alone(lab: Lab) -> None:
    host = {"Host": "web.shop"}
    with lab.applied(ABORT):
        probe = lab.probe("client.front")
        until(lambda: probe.get(f"http://{VIP}:8000/broken", **host).get("status"), lambda status: status == 555)
        broken = explained(lab, "web.shop:8000", "--path", "/broken")
        whole = explained(lab, "web.shop:8000", "--path", "/")
    assert (broken["outcome"], broken["httpStatus"]) == ("direct_response", 555)
    assert broken["decidingObject"] == "VirtualService/shop/abort"
    assert whole["outcome"] == "reaches"


def test_the_proxys_own_user_is_not_intercepted(lab: Lab) -> None:
    assert explained(lab, f"{OUTSIDE_WEB}:8000", "--from-user", "1337")["outcome"] == "not_intercepted"
