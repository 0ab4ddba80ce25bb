"""Beside each connection, the packet rule that sent it where it went."""

from typing import Any

import msgspec

from tidegate.capture.connections import Connection, Verdict
from tidegate.capture.deciding import explained
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.text import parse_save
from tidegate.rules.walk import Packet


def told(verdict: Verdict, destination: str, *, inbound: bool = False, mode: Any = "", **more: Any) -> Connection:
    connection = Connection(
        direction="inbound" if inbound else "outbound",
        protocol=more.pop("protocol", "tcp"),
        state="ESTABLISHED",
        source="10.0.0.9:5000" if inbound else "10.64.0.7:5000",
        destination=destination,
        owner="",
        legs=1,
        upstream=(),
        verdict=verdict,
        **more,
    )
    options = CaptureOptions(
        inbound_ports=ALL,
        service_cidr=ALL,
        local_exclude_ports=("22",),
        service_exclude_cidr=("192.0.2.0/24",),
        inbound_interception_mode=mode,
    )

    def route(packet: Packet) -> Packet:
        return msgspec.structs.replace(packet, out_interface="eth0")

    (found,) = explained([connection], {"ipv4": rule_set(options, Surroundings())}, route)
    return found


def test_what_is_captured_and_what_goes_around_name_their_rules() -> None:
    through = told(Verdict.THROUGH, "203.0.113.9:80", user=1000, group=1000)
    assert (through.rule, through.because) == ("nat ISTIO_OUTPUT rule 10", "everything else goes to Envoy")
    around = told(Verdict.BYPASSED, "192.0.2.1:80", user=1000, group=1000)
    assert (around.rule, around.because) == ("nat ISTIO_OUTPUT rule 9", "destinations in 192.0.2.0/24 are excluded")
    as_proxy = told(Verdict.BYPASSED, "203.0.113.9:80", user=1337, group=1337)
    assert as_proxy.because == "the proxy's own connections (user 1337) leave as they are"
    assert told(Verdict.BYPASSED, "10.64.0.7:22", inbound=True).because == "port 22 is left alone"
    assert told(Verdict.UNCAPTURED, "10.0.0.53:53", protocol="udp").because == "no rule takes UDP to this port"


def test_a_connection_that_is_older_than_the_rules_is_said_to_be() -> None:
    found = told(Verdict.BYPASSED, "203.0.113.9:80", user=1000, group=1000)
    assert found.rule == ""
    assert found.because.startswith("it is older than the rules: now a packet like it goes to port 15001")
    assert "older" in told(Verdict.THROUGH, "192.0.2.1:80", user=1000, group=1000).because


def test_a_process_that_has_gone_may_have_been_the_proxy() -> None:
    found = told(Verdict.BYPASSED, "203.0.113.9:80")
    assert found.rule == "nat ISTIO_OUTPUT rule 4"
    assert found.because.startswith("its process has gone; if it was the proxy's: the proxy's own")


def test_tproxy_needs_no_rewriting_to_be_the_way_through_envoy() -> None:
    found = told(Verdict.BYPASSED, "10.64.0.7:8080", inbound=True, mode="TPROXY")
    assert found.verdict is Verdict.THROUGH
    assert found.because == "everything else that comes in goes to Envoy, its addresses kept"


def test_a_workload_without_a_sidecar_is_left_as_it_is() -> None:
    assert told(Verdict.DIRECT, "203.0.113.9:80").because == ""


def test_a_rule_that_is_not_known_is_named_beside_the_answer() -> None:
    lines = ("-A OUTPUT -m set --match-set skipped dst -j RETURN", "-A OUTPUT -p tcp -j REDIRECT --to-ports 15001")
    saved = "\n".join(("*nat", *lines, "COMMIT", ""))
    asked = told(Verdict.THROUGH, "203.0.113.9:80", user=1000, group=1000)
    (found,) = explained([asked], {"ipv4": parse_save(saved)}, lambda packet: packet)
    assert found.because.endswith(
        "unless nat OUTPUT rule 1 decides otherwise: --match-set skipped dst is not known here"
    )
