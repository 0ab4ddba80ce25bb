"""Both backends in real network namespaces: one outcome, nothing half-applied, nothing that escapes meanwhile."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from tidegate.capture import CaptureError, install, uninstall
from tidegate.capture.backend import Backend, choose, holds_mesh_rules
from tidegate.capture.install import planned_removal, verified
from tidegate.capture.kernel import Kernel
from tidegate.capture.native import _become, read_native
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.native import NativeRule, NativeTable, native_tables
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.text import table_to_restore

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
    pytest.mark.skipif(shutil.which("iptables-save") is None, reason="iptables is not installed"),
]

POD, OTHER = f"n1-{os.getpid()}p", f"n1-{os.getpid()}q"
P, Q, P6, Q6 = "10.67.0.2", "10.67.0.3", "fd67::2", "fd67::3"
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
    exclude_interfaces=("eth7", "wg+"),
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

SERVER = """
import selectors, socket, sys
chosen = selectors.DefaultSelector()
for port in map(int, sys.argv[1].split(",")):
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.IPPROTO_IPV6, 75, 1)
    server.setsockopt(socket.SOL_IP, 19, 1)
    server.bind(("::", port))
    server.listen(512)
    chosen.register(server, selectors.EVENT_READ, port)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        connection, _ = key.fileobj.accept()
        connection.sendall(str(key.data).encode())
        connection.close()
"""
FLOOD = """
import collections, encodings.idna, os, select, socket, sys
host, port, uid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setuid(uid)
seen = collections.Counter()
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    try:
        with socket.create_connection((host, port), timeout=5) as peer:
            seen[peer.recv(16).decode()] += 1
    except OSError as error:
        seen[type(error).__name__] += 1
print(dict(seen))
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def started(name: str, *command: str) -> "subprocess.Popen[str]":
    made = subprocess.Popen(
        ["ip", "netns", "exec", name, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdout is not None and made.stdout.readline() == "ready\n"
    return made


@pytest.fixture(scope="module")
def pods() -> Iterator[None]:
    try:
        for name in (POD, OTHER):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", POD, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", OTHER)
        for name, four, six in ((POD, P, P6), (OTHER, Q, Q6)):
            ip("-n", name, "addr", "add", f"{four}/24", "dev", "eth0")
            ip("-n", name, "addr", "add", f"{six}/64", "dev", "eth0", "nodad")
            ip("-n", name, "link", "set", "eth0", "up")
        yield
    finally:
        for name in (POD, OTHER):
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture
def kernel(pods: None) -> Iterator[Kernel]:
    """The Pod's tables, with a table of somebody else's; emptied afterwards."""
    found = Kernel(netns=POD)
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
        rules = subprocess.run(["ip", family, "-n", POD, "rule"], capture_output=True, text=True, check=True).stdout
        assert "0x539" not in rules


@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_that_cannot_be_made_leave_no_route(kernel: Kernel, backend: Backend) -> None:
    before = held(kernel)
    with pytest.raises(CaptureError, match="no-such-group does not exist"):
        install(msgspec.structs.replace(TPROXY, outbound_owner_groups=("no-such-group",)), BOTH, kernel, backend)
    assert held(kernel) == before
    for arguments in (["rule"], ["addr", "show", "lo"]):
        shown = subprocess.run(["ip", "-n", POD, *arguments], capture_output=True, text=True, check=True).stdout
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


def istio_written(kernel: Kernel) -> None:
    """Rules as Istio's tool leaves them: an older, smaller set, put there by nobody of ours."""
    old = CaptureOptions(inbound_ports=ALL, service_cidr=ALL, redirect_dns=True, capture_all_dns=True)
    for table in rule_set(old, BOTH).tables:
        kernel.write("ipv4", table_to_restore(table))


STEPS: dict[str, list[tuple[CaptureOptions, Backend]]] = {
    "iptables": [(VARIANTS["dns"], "iptables"), (REDIRECT, "iptables")],
    "nftables": [(VARIANTS["dns"], "nftables"), (REDIRECT, "nftables")],
    "backends": [(REDIRECT, "nftables"), (REDIRECT, "iptables")],
    "modes": [(TPROXY, "iptables"), (REDIRECT, "iptables"), (TPROXY, "nftables"), (REDIRECT, "nftables")],
}


@pytest.mark.parametrize("name", STEPS)
def test_nothing_escapes_while_rules_are_replaced(kernel: Kernel, name: str) -> None:
    """Connections in both directions and families, without a pause, while one rule set takes another's place."""
    istio_written(kernel)
    install(REDIRECT, BOTH, kernel)
    running = [
        started(POD, sys.executable, "-c", SERVER, "9080,15001,15006"),
        started(OTHER, sys.executable, "-c", SERVER, "9080"),
    ]
    floods = {
        started(where, sys.executable, "-c", FLOOD, host, "9080", uid): port
        for where, host, uid, port in (
            (OTHER, P, "0", "15006"),
            (OTHER, P6, "0", "15006"),
            (POD, Q, "1000", "15001"),
            (POD, Q6, "1000", "15001"),
        )
    }
    try:
        for _ in range(2):
            for options, backend in STEPS[name]:
                install(options, BOTH, kernel, backend)
        for flood, port in floods.items():
            seen = flood.communicate(timeout=30)[0].strip()  # which closes its input, and so ends it
            assert seen.startswith(f"{{'{port}': ") and "," not in seen, seen
    finally:
        for process in (*floods, *running):
            process.kill()
            process.communicate()


def test_table_model_is_the_same_for_both_backends() -> None:
    """Each iptables rule has its nftables one: as many for both families as nftables has for the same tables."""
    for options in VARIANTS.values():
        alone = Surroundings(dns_servers_v4=BOTH.dns_servers_v4)
        iptables = {table.name: len(table.rules) for table in rule_set(options, alone).tables}
        native = {table.name.removeprefix("istio-proxy-"): len(table.rules) for table in native_tables(options, alone)}
        assert iptables == native


@pytest.mark.parametrize("backend", [(), ("--native-nftables",)])
def test_command_line(kernel: Kernel, backend: tuple[str, ...]) -> None:
    options = ["--network-namespace", POD, "-b", "*", "-i", "*", "-u", "1337", *backend]

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
