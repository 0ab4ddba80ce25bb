"""Both backends in real network namespaces: one outcome, nothing half-applied, nothing that escapes meanwhile."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from conformance.capture import options_of, surroundings_of
from tests.lab.two_pods import P, Pair, flooded, serving, tables, two_pods
from tidegate.capture import CaptureError, apply, install, uninstall
from tidegate.capture import kernel as kernel_module
from tidegate.capture.backend import Backend, choose, holds_mesh_rules
from tidegate.capture.install import planned_removal, verified
from tidegate.capture.kernel import Binary, Kernel
from tidegate.capture.native import _become, read_native
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.native import NativeRule, NativeTable, native_tables
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.text import parse_rule

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
    pytest.mark.skipif(shutil.which("iptables-save") is None, reason="iptables is not installed"),
]

BOTH = Surroundings(ipv6=True, dns_servers_v4=("10.0.0.53",), dns_servers_v6=("fd00::53",))
REDIRECT = CaptureOptions(inbound_ports=ALL, local_exclude_ports=("15020",), service_cidr=ALL)
TPROXY = msgspec.structs.replace(REDIRECT, inbound_interception_mode="TPROXY")
EVERYTHING = CaptureOptions(
    inbound_ports=("80", "81"),
    inbound_interception_mode="TPROXY",
    service_cidr=("10.1.2.3/8", "127.0.0.0/8", "2001:db8::/32"),
    service_exclude_cidr=("192.0.2.0/24", "192.0.2.9", "2001:db8:1::/48"),
    outbound_ports=("5432",),
    local_outbound_ports_exclude=("22",),
    exclude_interfaces=("eth7", "wg+", "tcp", "a;b$c"),
    kube_virt_interfaces=("vif0", "vif1"),
    outbound_owner_groups=("daemon", "77"),
    redirect_dns=True,
    drop_invalid=True,
    proxy_uid=("0", "1337"),
)
VARIANTS = {
    "redirect": REDIRECT,
    "tproxy": TPROXY,
    "dns": msgspec.structs.replace(REDIRECT, redirect_dns=True),
    "all dns": msgspec.structs.replace(REDIRECT, redirect_dns=True, capture_all_dns=True),
    "everything": EVERYTHING,
}
BACKENDS: tuple[Backend, ...] = ("iptables", "nftables")
FOREIGN = """add table inet mine
add chain inet mine output { type nat hook output priority -90 ; }
add rule inet mine output tcp dport 4444 counter return
add table inet istio-proxylike
"""


@pytest.fixture(scope="module")
def pods() -> Iterator[Pair]:
    with two_pods("n1-") as pair:
        yield pair


@pytest.fixture
def kernel(pods: Pair) -> Iterator[Kernel]:
    """The Pod's tables, with a table of somebody else's; emptied afterwards."""
    found = Kernel(netns=pods.pod)
    found.nft("-f", "-", text=FOREIGN)
    yield found
    uninstall(TPROXY, kernel=found)
    found.nft("flush", "ruleset")


def held(kernel: Kernel) -> str:
    """Everything in nf_tables, with handles: written again it would have others."""
    return kernel.nft("-a", "-s", "list", "ruleset")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", VARIANTS)
def test_applied_verified_applied_again_and_removed(kernel: Kernel, name: str, backend: Backend) -> None:
    options = VARIANTS[name]
    mine = kernel.nft("-a", "list", "table", "inet", "mine")
    assert verified(options, BOTH, kernel, backend) != []
    assert install(options, BOTH, kernel, backend).changed
    assert verified(options, BOTH, kernel, backend) == []
    written = held(kernel)
    assert not install(options, BOTH, kernel, backend).changed
    assert held(kernel) == written
    assert install(options, BOTH, kernel, backend, force=True).changed
    assert verified(options, BOTH, kernel, backend) == []
    assert uninstall(options, BOTH, kernel).changed
    assert not uninstall(options, BOTH, kernel).changed
    assert read_native(kernel) == () and not holds_mesh_rules(kernel)
    assert kernel.nft("-a", "list", "table", "inet", "mine") == mine
    assert "istio-proxylike" in held(kernel)


def test_what_somebody_changed_is_told_and_mended(kernel: Kernel) -> None:
    install(REDIRECT, BOTH, kernel, "nftables")
    kernel.nft("flush", "chain", "inet", "istio-proxy-nat", "istio-redirect")
    kernel.nft("insert", "rule", "inet", "istio-proxy-nat", "istio-output", "tcp", "dport", "25", "accept")
    kernel.nft("add", "chain", "inet", "istio-proxy-nat", "istio-extra")
    told = (
        'inet istio-proxy-nat istio-redirect: missing rule "meta l4proto tcp counter redirect to :15001"',
        'inet istio-proxy-nat istio-output: unexpected rule "tcp dport 25 counter accept"',
        "inet istio-proxy-nat istio-extra: an unexpected chain with 0 rules",
    )
    assert tuple(verified(REDIRECT, BOTH, kernel, "nftables")) == told
    assert install(REDIRECT, BOTH, kernel, "nftables").found == told
    assert verified(REDIRECT, BOTH, kernel, "nftables") == []


def test_other_options_replace_chains_and_tables_that_are_not_wanted(kernel: Kernel) -> None:
    install(EVERYTHING, BOTH, kernel, "nftables")
    install(CaptureOptions(service_cidr=("10.0.0.0/8",)), Surroundings(), kernel, "nftables")
    (table,) = read_native(kernel)
    assert {chain.name for chain in table.chains} == {
        "output",
        "istio-inbound",
        "istio-redirect",
        "istio-in-redirect",
        "istio-output",
    }


def test_a_refused_transaction_changes_nothing(kernel: Kernel) -> None:
    install(REDIRECT, BOTH, kernel, "nftables")
    before = held(kernel)
    (nat,) = native_tables(CaptureOptions(), Surroundings())
    bad = msgspec.structs.replace(nat, rules=(*nat.rules, NativeRule("istio-output", (), ("jump nowhere",))))
    with pytest.raises(CaptureError, match=r"add rule .* jump nowhere.*nothing was changed"):
        _become((NativeTable("istio-proxy-mangle"), bad), kernel)
    assert held(kernel) == before


def test_what_the_kernel_understood_otherwise_is_put_back(kernel: Kernel) -> None:
    install(REDIRECT, BOTH, kernel, "nftables")
    before = kernel.nft("-s", "list", "ruleset")
    (nat,) = native_tables(CaptureOptions(), Surroundings())
    odd = msgspec.structs.replace(nat, rules=(*nat.rules, NativeRule("istio-output", ("tcp dport http",), ("return",))))
    with pytest.raises(CaptureError, match=r"tcp dport http.*put back"):
        _become((odd,), kernel)
    assert sorted(kernel.nft("-s", "list", "ruleset").splitlines()) == sorted(before.splitlines())


class Lacking(NamedTuple):
    """A kernel without something: what is refused in place of a part of the rules, and what is told."""

    binary: Binary
    backend: Backend
    options: CaptureOptions
    refused: str
    """As sed has it. This kernel lacks LED and queue, and no iptables has a match "nosuch"."""
    instead: str
    """For what, where the answer names it."""
    told: str


RESTORE = ("iptables-restore", "iptables-legacy-restore", "ip6tables-restore", "ip6tables-legacy-restore")
NO_TPROXY = "s/-j TPROXY.*/-j LED --led-trigger-id x/"
INSTEAD_OF_TPROXY = "the TPROXY target: .*use interception mode REDIRECT"
LACKING = {
    "TPROXY, iptables-nft": Lacking("", "iptables", TPROXY, NO_TPROXY, "TPROXY", INSTEAD_OF_TPROXY),
    "TPROXY, iptables-legacy": Lacking("legacy", "iptables", TPROXY, NO_TPROXY, "TPROXY", INSTEAD_OF_TPROXY),
    "TPROXY, nft": Lacking("", "nftables", TPROXY, "s/tproxy ip.*/queue/", "", INSTEAD_OF_TPROXY),
    "owner": Lacking(
        "", "iptables", REDIRECT, "s/-m owner.*-j/-m nosuch -j/", "owner", "the owner match: .*use --native-nftables"
    ),
    "zones": Lacking(
        "legacy",
        "iptables",
        VARIANTS["all dns"],
        "s/-j CT .*/-j LED --led-trigger-id x/",
        "CT",
        "conntrack zones .*use rules without DNS capture",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_what_a_kernel_lacks_is_told_and_nothing_is_changed(
    kernel: Kernel, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs are the real ones; of what they read, one part is replaced by one that is refused."""
    lacking = LACKING[name]
    for program in RESTORE if lacking.backend == "iptables" else ("nft",):
        script = tmp_path / program
        script.write_text(
            f'#!/bin/sh\nsed "{lacking.refused}" | {shutil.which(program)} "$@" 2>{tmp_path}/said; code=$?\n'
            f'sed "s/LED/{lacking.instead}/; s/nosuch/{lacking.instead}/" {tmp_path}/said >&2; exit $code\n'
        )
        script.chmod(0o755)
    kind = msgspec.structs.replace(kernel, binary=lacking.binary)
    install(REDIRECT, BOTH, kind, lacking.backend)
    before = everything(kind)
    with monkeypatch.context() as changed:
        changed.setattr(kernel_module, "_SEARCH_PATH", f"{tmp_path}:{kernel_module._SEARCH_PATH}")
        with pytest.raises(CaptureError, match=f"the kernel seems to lack {lacking.told}") as caught:
            install(lacking.options, BOTH, kind, lacking.backend, force=True)
    told = ("every table was put back as it was", "no table was changed", "nothing was changed")
    assert str(caught.value).endswith(told)
    assert everything(kind) == before
    uninstall(REDIRECT, BOTH, kind)


def everything(kernel: Kernel) -> list[list[str]]:
    """Rules of every kind and routing rules."""
    shown = (kernel.nft("-s", "list", "ruleset"), kernel.save("ipv4"), kernel.save("ipv6"), routing(kernel, "rule"))
    return list(map(rules_of, shown))


def routing(kernel: Kernel, *arguments: str) -> str:
    return kernel.run(["ip", *arguments])


def test_tproxy_leaves_nothing_behind_in_redirect_mode(kernel: Kernel) -> None:
    """Rules in built-in chains and the policy route go with the mode, also where mangle is still needed."""
    install(TPROXY, BOTH, kernel)
    dropping = msgspec.structs.replace(REDIRECT, drop_invalid=True)
    install(dropping, BOTH, kernel)
    assert [str(rule) for rule in kernel.read("ipv4").table("mangle").rules] == [
        "-A PREROUTING -m conntrack --ctstate INVALID -j ISTIO_DROP",
        "-A ISTIO_DROP -j DROP",
    ]
    for family in ("-4", "-6"):
        rules = subprocess.run(
            ["ip", family, "-n", str(kernel.netns), "rule"], capture_output=True, text=True, check=True
        ).stdout
        assert "0x539" not in rules


@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_that_cannot_be_made_leave_no_route(kernel: Kernel, backend: Backend) -> None:
    before = held(kernel)
    with pytest.raises(CaptureError, match="no-such-group does not exist"):
        install(msgspec.structs.replace(TPROXY, outbound_owner_groups=("no-such-group",)), BOTH, kernel, backend)
    assert held(kernel) == before
    for arguments in (["rule"], ["addr", "show", "lo"]):
        shown = subprocess.run(
            ["ip", "-n", str(kernel.netns), *arguments], capture_output=True, text=True, check=True
        ).stdout
        assert "0x539" not in shown and "::6/" not in shown


def test_the_kind_of_iptables_is_chosen_by_what_is_there(kernel: Kernel) -> None:
    assert choose(kernel).binary == "nft"
    legacy = choose(kernel, "legacy")
    assert legacy.binary == "legacy" and "--force-iptables-binary" in legacy.reason
    kind = msgspec.structs.replace(kernel, binary="legacy")
    try:
        install(REDIRECT, BOTH, kind)
        chosen = choose(kernel)
        assert chosen.binary == "legacy" and "holds iptables-legacy rules already" in chosen.reason
        planned = planned_removal(REDIRECT, kernel)
        assert "# iptables-legacy-restore --noflush" in planned and "-D OUTPUT -j ISTIO_OUTPUT" in planned
        install(REDIRECT, BOTH, kernel, "nftables")
        assert not holds_mesh_rules(kind), "rules of the old kind go once the new ones stand"
    finally:
        uninstall(REDIRECT, kernel=kind)


def test_an_interface_that_an_earlier_set_excluded_is_told(kernel: Kernel) -> None:
    """Nothing tells such a rule from somebody else's, so it stays, and is named."""
    install(msgspec.structs.replace(REDIRECT, exclude_interfaces=("eth7",)), BOTH, kernel)
    left = install(REDIRECT, BOTH, kernel).bypasses
    assert "ipv4 nat PREROUTING: -i eth7 -j RETURN" in left and "ipv6 nat OUTPUT: -o eth7 -j RETURN" in left
    uninstall(msgspec.structs.replace(REDIRECT, exclude_interfaces=("eth7",)), BOTH, kernel)
    assert install(REDIRECT, BOTH, kernel).bypasses == ()


STEPS: dict[str, list[tuple[CaptureOptions, Backend]]] = {
    "iptables": [(VARIANTS["dns"], "iptables"), (REDIRECT, "iptables")],
    "nftables": [(VARIANTS["dns"], "nftables"), (REDIRECT, "nftables")],
    "backends": [(REDIRECT, "nftables"), (REDIRECT, "iptables")],
    "modes": [(TPROXY, "iptables"), (REDIRECT, "iptables"), (TPROXY, "nftables"), (REDIRECT, "nftables")],
}


OLDER = """*nat
:ISTIO_INBOUND - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
:ISTIO_OLD_EXTRA - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 22 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -s PASSTHROUGH -o lo -j RETURN
-A ISTIO_OUTPUT ! -d LOOPBACK -o lo -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d LOOPBACK -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""
"""As an older tool wrote them: fewer conditions, another jump, a port and a chain that are no more."""
OLDER_NFT = """add table inet istio-proxy-nat
add chain inet istio-proxy-nat prerouting { type nat hook prerouting priority -100 ; }
add chain inet istio-proxy-nat output { type nat hook output priority -100 ; }
add chain inet istio-proxy-nat istio-output
add chain inet istio-proxy-nat istio-old-extra
add rule inet istio-proxy-nat prerouting meta l4proto tcp tcp dport != 22 counter redirect to :15006
add rule inet istio-proxy-nat output meta l4proto tcp counter jump istio-output
add rule inet istio-proxy-nat istio-output oifname lo counter return
add rule inet istio-proxy-nat istio-output skuid 1337 counter return
add rule inet istio-proxy-nat istio-output meta l4proto tcp counter redirect to :15001
"""


def older_written(kernel: Kernel, form: str) -> None:
    """Rules that are none of this version's, put there by nobody of ours."""
    if form == "nft":
        kernel.nft("-f", "-", text=OLDER_NFT)
        return
    kind = msgspec.structs.replace(kernel, binary="legacy" if form == "iptables-legacy" else "")
    kind.write("ipv4", OLDER.replace("PASSTHROUGH", "127.0.0.6/32").replace("LOOPBACK", "127.0.0.1/32"))
    kind.write("ipv6", OLDER.replace("PASSTHROUGH", "::6/128").replace("LOOPBACK", "::1/128"))


NAMED = {
    ("iptables", "iptables"): ("ISTIO_OLD_EXTRA: an unexpected chain", 'unexpected rule "-p tcp -m tcp --dport 22'),
    ("nft", "nftables"): ("istio-old-extra: an unexpected chain", "istio-inbound: the chain is missing"),
    ("iptables-legacy", "iptables"): ("rules of a mesh are held by iptables-legacy too", "the chain is missing"),
    ("nft", "iptables"): ("rules of a mesh are held by native nftables too", "the chain is missing"),
    ("iptables", "nftables"): ("rules of a mesh are held by iptables-nft too", "the table is missing"),
    ("iptables-legacy", "nftables"): ("rules of a mesh are held by iptables-legacy too", "the table is missing"),
}
"""Rules that stand, and what is to be: what differs."""


@pytest.mark.parametrize(("form", "backend"), NAMED)
def test_an_older_set_is_named_and_replaced_under_traffic(
    pods: Pair, kernel: Kernel, form: str, backend: Backend
) -> None:
    older_written(kernel, form)
    before = "\n".join(verified(REDIRECT, BOTH, kernel, backend))
    assert all(part in before for part in NAMED[form, backend]), before
    with serving(pods), flooded(pods):
        assert install(REDIRECT, BOTH, kernel, backend).changed
    assert verified(REDIRECT, BOTH, kernel, backend) == []
    left = kernel.nft("list", "ruleset") + tables(msgspec.structs.replace(kernel, binary="legacy"))
    assert "OLD" not in left.upper(), "nothing of the older set is left, whoever wrote it"
    assert "table inet mine" in left


def test_a_failure_leaves_an_older_set_as_it_was(kernel: Kernel) -> None:
    """The last table of the second family is refused; all of the others have been written by then."""
    older_written(kernel, "iptables")
    before = [kernel.save("ipv4"), kernel.save("ipv6")]
    good = rule_set(VARIANTS["dns"], BOTH)
    raw = rule_set(VARIANTS["dns"], BOTH, "ipv6").table("raw")
    bad = msgspec.structs.replace(raw, rules=(*raw.rules, parse_rule("-A ISTIO_OUTPUT_DNS -j NOWHERE")))
    with pytest.raises(CaptureError, match=r"ip6tables.*-j NOWHERE.*every table was put back as it was"):
        apply((good, msgspec.structs.replace(good, family="ipv6", tables=(bad,))), kernel)
    assert list(map(rules_of, (kernel.save("ipv4"), kernel.save("ipv6")))) == list(map(rules_of, before))


def rules_of(saved: str) -> list[str]:
    """Without chains, and without tables that are empty: iptables-legacy lists each that was ever asked for."""
    return [line for line in saved.splitlines() if not line.startswith(("#", ":", "*", "COMMIT"))]


@pytest.mark.parametrize("name", STEPS)
def test_nothing_escapes_while_rules_are_replaced(pods: Pair, kernel: Kernel, name: str) -> None:
    """Connections in both directions and families, without a pause, while one rule set takes another's place."""
    install(REDIRECT, BOTH, kernel)
    with serving(pods), flooded(pods):
        for _ in range(2):
            for options, backend in STEPS[name]:
                install(options, BOTH, kernel, backend)


ISTIOS = ("tproxy", "ipnets-with-kube-virt-interfaces", "ipv6-dns-uid-gid", "drop-invalid", "ipv6-outbound-ports")


@pytest.mark.conformance
@pytest.mark.parametrize("tool", ["iptables", "nftables"])
@pytest.mark.parametrize("name", ISTIOS)
def test_what_istio_wrote_is_known_and_replaced(kernel: Kernel, shared: Path, name: str, tool: Backend) -> None:
    """Its own rules as the kernel tells them: nothing differs from ours of the same options, and they go like ours."""
    case = json.loads((shared / "conformance" / "iptables" / "sidecar" / f"{tool}-{name}.json").read_text())
    case["flags"].pop("native-nftables", None)
    options, around = options_of(case), surroundings_of(case)
    before = rules_of(kernel.nft("-s", "list", "ruleset"))
    if tool == "nftables":
        kernel.nft("-f", "-", text="\n".join(case["expect"]["nft"]) + "\n")
    else:
        kernel.write("ipv4", "\n".join(case["expect"]["v4_restore"]) + "\n")
        if around.ipv6:
            kernel.write("ipv6", "\n".join(case["expect"]["v6_restore"]) + "\n")
    assert verified(options, around, kernel, tool) == []
    assert not install(options, around, kernel, tool).changed
    assert install(REDIRECT, BOTH, kernel, "nftables").changed
    assert verified(REDIRECT, BOTH, kernel, "nftables") == []
    uninstall(options, around, kernel)
    assert read_native(kernel) == () and not holds_mesh_rules(kernel)
    assert set(before) <= set(rules_of(kernel.nft("-s", "list", "ruleset")))


def test_table_model_is_the_same_for_both_backends() -> None:
    """Each iptables rule has its nftables one: as many for both families as nftables has for the same tables."""
    for options in VARIANTS.values():
        alone = Surroundings(dns_servers_v4=BOTH.dns_servers_v4)
        iptables = {table.name: len(table.rules) for table in rule_set(options, alone).tables}
        native = {table.name.removeprefix("istio-proxy-"): len(table.rules) for table in native_tables(options, alone)}
        assert iptables == native


def test_the_self_test_waits_for_rules_that_are_still_being_written(kernel: Kernel) -> None:
    """As a Pod does whose network plugin comes late."""
    options = ["--network-namespace", str(kernel.netns), "-b", "*", "-i", "*", "-u", "1337"]
    testing = ["--skip-rule-apply", "--run-validation", "--probe-timeout", "30s"]
    command = [sys.executable, "-m", "tidegate", "iptables", *options, *testing]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tester:
        deadline = time.monotonic() + 30
        while ":15006" not in kernel.run(["ss", "-ltn"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        install(REDIRECT, BOTH, kernel)
        told, wrong = tester.communicate(timeout=40)
    assert tester.returncode == 0 and "captured: " in told, wrong


@pytest.mark.parametrize("backend", [(), ("--native-nftables", "-m", "TPROXY"), ("--cni-mode", "--redirect-dns")])
def test_command_line(kernel: Kernel, backend: tuple[str, ...]) -> None:
    where = f"/run/netns/{kernel.netns}" if "--cni-mode" in backend else str(kernel.netns)
    options = ["--network-namespace", where, "-b", "*", "-i", "*", "-u", "1337", *backend]

    def tidegate(command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "tidegate", command, *options, *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    before = held(kernel)
    assert tidegate("iptables", "--dry-run").returncode == 0 and held(kernel) == before
    assert tidegate("iptables", "--verify").returncode == 1
    tested = tidegate("iptables", "--skip-rule-apply", "--run-validation", "--probe-timeout", "200ms")
    assert tested.returncode == 126 and "did not arrive at the proxy's ports" in tested.stderr
    applied = tidegate("iptables", "--run-validation")
    assert applied.returncode == 0 and f"captured: {P}" in applied.stdout, applied.stderr
    assert "rules applied and verified, with " in applied.stdout
    assert tidegate("iptables", "--verify").returncode == 0
    assert "ISTIO_OUTPUT" in tidegate("clean-iptables", "--dry-run").stdout.upper().replace("-PROXY-NAT", "_OUTPUT")
    assert "rules removed" in tidegate("clean-iptables").stdout
    assert "there were no rules" in tidegate("clean-iptables").stdout
    assert tidegate("iptables", "-i", "10.0.0.0/33").returncode == 1
    assert read_native(kernel) == () and not holds_mesh_rules(kernel)
