"""Packet rules in real network namespaces: applied, verified, rolled back, removed, and counted."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest
from click.testing import CliRunner

from tests.lab.two_pods import P, Pair, Q, ask, serving, tables, two_pods
from tests.unit.cli.test_capture import NINE
from tidegate.capture import CaptureError, apply, install, observe, uninstall
from tidegate.capture.backend import Backend
from tidegate.capture.kernel import Kernel
from tidegate.cli.main import cli
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.compare import canonical, difference
from tidegate.rules.model import RuleSet, Table
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.text import parse_rule, parse_save

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("iptables-save") is None, reason="iptables is not installed"),
]

V = "10.96.0.10"
SIDECAR = CaptureOptions(
    inbound_ports=ALL, local_exclude_ports=("15090", "15021", "15020"), service_cidr=ALL, inbound_interception_mode=""
)
FOREIGN = """*mangle
-A PREROUTING -d 192.0.2.1/32 -j MARK --set-xmark 0x7/0xffffffff
COMMIT
*nat
:MINE - [0:0]
-A PREROUTING -p tcp -m tcp --dport 4444 -j MINE
-A OUTPUT -d 192.0.2.1/32 -j MINE
-A MINE -j RETURN
COMMIT
*raw
-A OUTPUT -d 192.0.2.1/32 -j NOTRACK
COMMIT
"""


@dataclass(frozen=True)
class Probe:
    """One connection, the rule of ISTIO_OUTPUT that decides it, and the port it arrives at."""

    uid: int
    gid: int
    host: str
    source: str
    decided_by: str
    arrives_at: str


TABLE = {
    "1 Envoy to the application": Probe(1337, 1337, P, "127.0.0.6", "-o lo -s 127.0.0.6/32 -j RETURN", "9080"),
    "2 Envoy to its own Pod's address": Probe(
        1337,
        1337,
        P,
        "",
        "-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT",
        "15006",
    ),
    "3 application to its own Pod": Probe(1000, 1000, P, "", "-o lo -m owner ! --uid-owner 1337 -j RETURN", "9080"),
    "3 application to localhost": Probe(
        1000, 1000, "127.0.0.1", "", "-o lo -m owner ! --uid-owner 1337 -j RETURN", "9080"
    ),
    "4 Envoy to another Pod": Probe(1337, 1337, Q, "", "-m owner --uid-owner 1337 -j RETURN", "9080"),
    "7 another user of Envoy's group": Probe(1000, 1337, Q, "", "-m owner --gid-owner 1337 -j RETURN", "9080"),
    "9 application to another Pod": Probe(1000, 1000, Q, "", "-j ISTIO_REDIRECT", "15001"),
    "9 application to a Service": Probe(1000, 1000, V, "", "-j ISTIO_REDIRECT", "15001"),
}


@pytest.fixture(scope="module")
def pods() -> Iterator[Pair]:
    with two_pods("tgcap") as pair, serving(pair):
        yield pair


@pytest.fixture
def kernel(pods: Pair) -> Iterator[Kernel]:
    """The Pod's tables, with rules of somebody else in them; flushed afterwards."""
    found = Kernel(netns=pods.pod)
    found.write("ipv4", FOREIGN)
    yield found
    for table in ("filter", "mangle", "nat", "raw"):
        found.replace("ipv4", f"*{table}\nCOMMIT\n")
        found.replace("ipv6", f"*{table}\nCOMMIT\n")


VARIANTS = {
    "redirect": SIDECAR,
    "tproxy": msgspec.structs.replace(SIDECAR, inbound_interception_mode="TPROXY"),
    "dns": msgspec.structs.replace(SIDECAR, redirect_dns=True),
    "everything": CaptureOptions(
        inbound_ports=("80", "81"),
        inbound_interception_mode="TPROXY",
        service_cidr=("10.1.2.3/8", "127.0.0.0/8", "2001:db8::/32"),
        service_exclude_cidr=("192.0.2.0/24", "192.0.2.9"),
        outbound_ports=("5432",),
        local_outbound_ports_exclude=("22",),
        exclude_interfaces=("eth7",),
        kube_virt_interfaces=("vif0",),
        outbound_owner_groups=("daemon", "77"),
        redirect_dns=True,
        capture_all_dns=True,
        drop_invalid=True,
        proxy_uid=("1337", "1338"),
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_applied_verified_idempotent_and_removed_without_trace(kernel: Kernel, name: str) -> None:
    options, surroundings = VARIANTS[name], Surroundings(ipv6=True, dns_servers_v4=("10.0.0.53",))
    before = tables(kernel)
    assert install(options, surroundings, kernel).changed
    written = tables(kernel)
    again = install(options, surroundings, kernel)
    assert not again.changed and again.found == ()
    assert tables(kernel) == written
    assert uninstall(options, surroundings, kernel).changed
    assert tables(kernel) == before
    assert not uninstall(options, surroundings, kernel).changed


def test_other_options_replace_what_was_there(kernel: Kernel) -> None:
    install(VARIANTS["dns"], Surroundings(dns_servers_v4=("10.0.0.53",)), kernel)
    narrow = CaptureOptions(service_cidr=("10.0.0.0/8",))
    outcome = install(narrow, Surroundings(), kernel)
    assert any("ISTIO_OUTPUT_DNS" in line for line in outcome.found)
    assert difference(rule_set(narrow, Surroundings()), kernel.read("ipv4")) == []


def test_a_rule_that_somebody_deleted_is_put_back(kernel: Kernel) -> None:
    install(SIDECAR, Surroundings(), kernel)
    kernel.write("ipv4", "*nat\n-D ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN\nCOMMIT\n")
    outcome = install(SIDECAR, Surroundings(), kernel)
    assert outcome.found == ('ipv4 nat ISTIO_OUTPUT: missing rule "-d 127.0.0.1/32 -j RETURN"',)
    assert not install(SIDECAR, Surroundings(), kernel).changed


def broken(rule: str) -> RuleSet:
    """Good rules in nat, and a last table that will not do."""
    good = tuple(map(parse_rule, ("-A PREROUTING -p tcp -j ISTIO_INBOUND", "-A ISTIO_INBOUND -j RETURN")))
    bad = tuple(map(parse_rule, ("-A OUTPUT -j ISTIO_OUTPUT", rule)))
    return RuleSet("ipv4", (Table("nat", ("ISTIO_INBOUND",), good), Table("raw", ("ISTIO_OUTPUT",), bad)))


def test_a_later_table_that_fails_puts_the_earlier_one_back(kernel: Kernel) -> None:
    before = tables(kernel)
    with pytest.raises(CaptureError, match=r"-A ISTIO_OUTPUT -j NOWHERE.*every table was put back") as caught:
        apply((broken("-A ISTIO_OUTPUT -j NOWHERE"),), kernel)
    assert tables(kernel) == before, str(caught.value)


def test_what_the_kernel_understood_otherwise_is_put_back(kernel: Kernel) -> None:
    """The kernel keeps a number where the rule names a service: not what was asked for, as far as can be told."""
    before = tables(kernel)
    with pytest.raises(CaptureError, match=r"does not hold the rules that were written.*--dport http "):
        apply((broken("-A ISTIO_OUTPUT -p tcp --dport http -j RETURN"),), kernel)
    assert tables(kernel) == before


def test_an_owner_group_that_does_not_exist(kernel: Kernel) -> None:
    before = tables(kernel)
    options = msgspec.structs.replace(SIDECAR, outbound_owner_groups_exclude=("no-such-group",))
    with pytest.raises(CaptureError, match="no-such-group does not exist"):
        install(options, Surroundings(), kernel)
    assert tables(kernel) == before


def test_surroundings_are_seen(kernel: Kernel) -> None:
    assert not observe(kernel).ipv6
    with pytest.raises(CaptureError, match="does not exist"):
        observe(Kernel(netns="tgcap-none"))


def counted(kernel: Kernel, table: str, chain: str) -> dict[object, int]:
    """Packets by rule."""
    contents = parse_save(kernel.save("ipv4")).table(table).contents()
    return {canonical(rule): rule.counters[0] for rule in contents[chain] if rule.counters}


def moved(before: dict[object, int], after: dict[object, int]) -> set[object]:
    return {rule for rule in after if after[rule] != before[rule]}


@pytest.mark.claim("C000-1", "C001-2")
@pytest.mark.parametrize("name", TABLE)
def test_outbound_truth_table(pods: Pair, kernel: Kernel, name: str) -> None:
    install(SIDECAR, Surroundings(), kernel)
    probe = TABLE[name]
    before = counted(kernel, "nat", "ISTIO_OUTPUT")
    assert ask(pods.pod, probe.host, source=probe.source, owner=(probe.uid, probe.gid)) == probe.arrives_at
    after = counted(kernel, "nat", "ISTIO_OUTPUT")
    assert moved(before, after) == {canonical(parse_rule(f"-A ISTIO_OUTPUT {probe.decided_by}"))}


@pytest.mark.claim("C001-1")
@pytest.mark.parametrize(
    ("port", "decided_by", "arrives_at"),
    [
        (9080, "-p tcp -j ISTIO_IN_REDIRECT", "15006"),
        (15020, "-p tcp --dport 15020 -j RETURN", "15020"),
    ],
)
def test_inbound_truth_table(pods: Pair, kernel: Kernel, port: int, decided_by: str, arrives_at: str) -> None:
    install(SIDECAR, Surroundings(), kernel)
    before = counted(kernel, "nat", "ISTIO_INBOUND")
    assert ask(pods.other, P, port) == arrives_at
    after = counted(kernel, "nat", "ISTIO_INBOUND")
    assert moved(before, after) == {canonical(parse_rule(f"-A ISTIO_INBOUND {decided_by}"))}


def test_localhost_rule_counts_when_a_captured_range_holds_loopback(pods: Pair, kernel: Kernel) -> None:
    """Rule 8: with loopback captured the early return of the application's own calls is gone."""
    install(msgspec.structs.replace(SIDECAR, service_cidr=("127.0.0.0/8",)), Surroundings(), kernel)
    before = counted(kernel, "nat", "ISTIO_OUTPUT")
    assert ask(pods.pod, "127.0.0.1", owner=(1000, 1000)) == "9080"
    after = counted(kernel, "nat", "ISTIO_OUTPUT")
    assert moved(before, after) == {canonical(parse_rule("-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN"))}


def test_command_line(kernel: Kernel) -> None:
    command = [
        sys.executable,
        "-m",
        "tidegate",
        "iptables",
        "--network-namespace",
        str(kernel.netns),
        "-b",
        "*",
        "-i",
        "*",
    ]
    before = tables(kernel)
    shown = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True).stdout
    assert "-A ISTIO_OUTPUT -j ISTIO_REDIRECT\nCOMMIT\n" in shown
    assert tables(kernel) == before, "a dry run changes nothing"
    for said in ("rules applied and verified", "nothing was changed"):
        assert said in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    environment = {**os.environ, "ISTIO_INBOUND_PORTS": "nothing"}
    refused = subprocess.run([*command[:-4]], capture_output=True, text=True, check=False, env=environment)
    assert refused.returncode == 1
    assert "--istio-inbound-ports: expected a port from 1 to 65535 (got 'nothing')" in refused.stderr
    subprocess.run([*command, "--cleanup-only"], capture_output=True, check=True)
    assert tables(kernel) == before


def told(kernel: Kernel, command: str, *arguments: str) -> str:
    """What `tidegate capture` prints of the Pod."""
    where = ("--network-namespace", str(kernel.netns))
    result = CliRunner().invoke(cli, ["capture", command, *where, *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_show_lists_the_nine_rules_with_what_they_serve_and_their_counters(
    pods: Pair, kernel: Kernel, backend: Backend
) -> None:
    install(SIDECAR, Surroundings(), kernel, backend)
    for _ in range(3):
        ask(pods.pod, Q, owner=(1000, 1000))
    rows = json.loads(told(kernel, "show", "--chain", "ISTIO_OUTPUT", "-o", "json"))
    assert tuple(row["serves"] for row in rows) == NINE
    assert [row["packets"] for row in rows] == [0] * 8 + [3]
    assert rows[8]["bytes"] == 180, "three first packets of 60 bytes"
    table = told(kernel, "show", "--chain", "ISTIO_OUTPUT", "--counted").splitlines()
    assert table[0].split() == ["FAMILY", "TABLE", "CHAIN", "#", "PACKETS", "BYTES", "RULE", "SERVES"]
    assert len(table) == 2 and table[1].endswith("everything else goes to Envoy")
    everything = told(kernel, "show")
    assert "192.0.2.1/32" in everything, "rules of others are told too"
    uninstall(SIDECAR, Surroundings(), kernel)


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_trace_names_the_rule_that_really_decides(pods: Pair, kernel: Kernel, backend: Backend) -> None:
    """Of each row of the truth table; the kernel's counters agree in the test of the table itself."""
    install(SIDECAR, Surroundings(), kernel, backend)
    for name, probe in TABLE.items():
        sender = ("--from-user", str(probe.uid), "--from-group", str(probe.gid))
        source = ("--from", probe.source) if probe.source else ()
        said = json.loads(told(kernel, "trace", *sender, *source, "--to", f"{probe.host}:9080", "-o", "json"))
        assert said["deciding"]["number"] == int(name[0]), name
        assert said["deciding"]["serves"] == NINE[int(name[0]) - 1]
        captured = probe.arrives_at != "9080"
        assert (said["verdict"], said["toPort"]) == (("redirect", int(probe.arrives_at)) if captured else ("accept", 0))
    uninstall(SIDECAR, Surroundings(), kernel)


def test_trace_tells_the_way_of_what_comes_in(pods: Pair, kernel: Kernel) -> None:
    install(VARIANTS["tproxy"], Surroundings(), kernel)
    text = told(kernel, "trace", "--inbound", "--from", Q, "--to", f"{P}:9080")
    assert text.startswith("tproxy: the packet goes to port 15006, Envoy's inbound listener with its addresses kept\n")
    assert "because of mangle ISTIO_INBOUND rule " in text
    assert "decides" in text
    probe = told(kernel, "trace", "--inbound", "--from", Q, "--to", f"{P}:15021")
    assert "port 15021 is left alone: Envoy's health" in probe
    uninstall(VARIANTS["tproxy"], Surroundings(), kernel)
