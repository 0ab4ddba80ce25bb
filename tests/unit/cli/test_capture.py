"""``tidegate capture``: rules in words and a packet's way, from listings; the kernel's part is the packet tests'."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tidegate.cli.capture import capture
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.text import to_restore

NINE = (
    "Envoy hands an inbound connection to the application from 127.0.0.6: it passes, or it would come round again",
    "the proxy (user 1337) calls its own workload by a service address: handled as inbound",
    "the application talks to itself, by localhost or its own address: no proxy between",
    "the proxy's own connections (user 1337) leave as they are",
    "the proxy (group 1337) calls its own workload by a service address: handled as inbound",
    "the application talks to itself, by localhost or its own address: no proxy between",
    "the proxy's own connections (group 1337) leave as they are",
    "localhost is left alone",
    "everything else goes to Envoy",
)


@pytest.fixture
def listing(tmp_path: Path) -> str:
    options = CaptureOptions(inbound_ports=ALL, service_cidr=ALL, local_exclude_ports=("15020",))
    file = tmp_path / "rules"
    file.write_text(to_restore(rule_set(options, Surroundings())))
    return str(file)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(capture, arguments)


def test_the_nine_outbound_rules_are_told_in_words(listing: str) -> None:
    for chain in ("ISTIO_OUTPUT", "istio-output"):
        found = json.loads(run("show", "--save-file", listing, "--chain", chain, "-o", "json").output)
        assert tuple(each["serves"] for each in found) == NINE
    lines = run("show", "--save-file", listing).output.splitlines()
    assert lines[0].split()[:4] == ["FAMILY", "TABLE", "CHAIN", "#"]
    assert any(line.endswith("port 15020 is left alone: the agent's health and metrics") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "outcome", "reason"),
    [
        (["--from-user", "1000", "--to", "203.0.113.9:80"], "redirect", "nat ISTIO_OUTPUT rule 9: everything else"),
        (["--from-user", "1337", "--to", "203.0.113.9:80"], "accept", "nat ISTIO_OUTPUT rule 4: the proxy's own"),
        (["--inbound", "--to", "10.0.0.7:15020"], "accept", "nat ISTIO_INBOUND rule 2: port 15020"),
        (["--inbound", "--to", "10.0.0.7:80"], "redirect", "nat ISTIO_INBOUND rule 3: everything else"),
        (["--to", "203.0.113.9:53", "--protocol", "udp"], "accept", "no rule takes UDP"),
    ],
)
def test_the_deciding_rule_is_named(listing: str, arguments: list[str], outcome: str, reason: str) -> None:
    found = json.loads(run("trace", "--save-file", listing, *arguments, "-o", "json").output)
    assert found["verdict"] == outcome
    assert found["reason"].startswith(reason)
    assert reason in run("trace", "--save-file", listing, *arguments, "-v").output


def test_an_answer_that_rests_on_what_is_not_known_says_so(tmp_path: Path) -> None:
    file = tmp_path / "rules"
    file.write_text("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -m set --match-set skipped dst -j RETURN\nCOMMIT\n")
    shown = run("trace", "--save-file", str(file), "--to", "10.0.0.1:80")
    assert "by no proxy, unless what is not known here decides otherwise" in shown.stdout
    assert "not known, taken as not met: nat OUTPUT rule 1: --match-set skipped dst" in shown.stderr


def test_a_listing_that_leaves_rules_out_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "rules"
    file.write_text(
        "table ip nat {\n chain OUTPUT {\n type nat hook output priority dstnat; policy accept;\n"
        " counter packets 0 bytes 0 xt target REDIRECT\n }\n}\n"
    )
    for command in (["show"], ["trace", "--to", "10.0.0.1:80"]):
        assert "warning: ip nat: written by iptables-nft" in run(*command, "--save-file", str(file)).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "web:80"], "rules know no names"),
        (["--to", "10.0.0.1"], "expected IP:PORT"),
        (["--to", "10.0.0.1:80", "--inbound", "--from-user", "5"], "has no user here"),
        (["--to", "10.0.0.1:80", "--network-namespace", "x"], "exclude one another"),
    ],
)
def test_questions_that_cannot_be(listing: str, arguments: list[str], words: str) -> None:
    done = run("trace", "--save-file", listing, *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
