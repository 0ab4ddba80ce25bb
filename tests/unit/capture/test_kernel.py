"""What a failed program said, made readable."""

from pathlib import Path

import pytest

from tidegate.capture import surroundings
from tidegate.capture.apply import plan
from tidegate.capture.kernel import CaptureError, Kernel, _explained, pod_lock
from tidegate.capture.surroundings import RESOLV_CONF, _resolv_conf
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.model import Family
from tidegate.rules.options import CaptureOptions, Surroundings


def test_the_line_that_nft_names_is_shown_with_what_the_kernel_lacks() -> None:
    text = "add table inet istio-proxy-nat\nadd rule inet istio-proxy-nat istio-output skuid 1337 counter return\n"
    said = "/dev/stdin:2:1-9: Error: Could not process rule: Operation not supported\nadd rule\n^^^^"
    shown = _explained(said, text)
    assert shown.startswith('at "add rule inet istio-proxy-nat istio-output skuid 1337 counter return": ')
    assert shown.endswith("without it, use iptables, without --native-nftables")


def test_an_extension_that_legacy_names_at_the_end_is_shown_with_its_rule() -> None:
    text = "* mangle\n-N ISTIO_TPROXY\n-A ISTIO_TPROXY -p tcp -j TPROXY --on-port 15006\nCOMMIT\n"
    said = "Warning: Extension TPROXY revision 0 not supported, missing kernel module?\niptables-restore: line 4 failed"
    shown = _explained(said, text)
    assert shown.startswith('at "-A ISTIO_TPROXY -p tcp -j TPROXY --on-port 15006": ')
    assert shown.endswith("load module xt_TPROXY (modprobe xt_TPROXY); without it, use interception mode REDIRECT")


@pytest.mark.parametrize(
    "said",
    [
        "Fatal: can't open lock file /run/xtables.lock: Permission denied",
        "netlink: Error: cache initialization failed: Operation not permitted",
        "iptables-save v1.8.9 (legacy): Cannot initialize: Permission denied (you must be root)",
    ],
)
def test_lacking_rights_are_told_as_such(said: str) -> None:
    assert _explained(said, "* nat\nCOMMIT\n").endswith("by root, or with the capability NET_ADMIN; use sudo")


def test_a_line_that_is_not_there_is_not_shown() -> None:
    assert _explained("/dev/stdin:9:1-2: Error: syntax error", "one\n").startswith("/dev/stdin:9")
    assert _explained("", "one\n") == "it said nothing"


class WithoutIpv6(Kernel, frozen=True):
    """A kernel that has no IPv6: the programs are there and fail."""

    def has_tools(self, family: Family) -> bool:
        return True

    def run(self, command: list[str], text: str = "") -> str:
        if "ip6tables-save" in command[0]:
            raise CaptureError("ip6tables-save failed")
        return ""

    def program(self, family: Family, action: str) -> str:
        return f"{'iptables' if family == 'ipv4' else 'ip6tables'}-{action}"


def test_a_family_that_the_kernel_lacks_matters_only_when_rules_are_wanted_for_it() -> None:
    kernel = WithoutIpv6()
    assert kernel.works("ipv4") and not kernel.works("ipv6")
    options = CaptureOptions()
    without = (rule_set(options, Surroundings()), rule_set(options, Surroundings(), "ipv6"))
    assert {family for family, *_ in plan(without, kernel).steps} == {"ipv4"}
    with pytest.raises(CaptureError, match="ip6tables-save"):
        plan((rule_set(options, Surroundings(ipv6=True), "ipv6"),), kernel)


@pytest.mark.parametrize("kind", ["ns/uts", "status", "ns"])
def test_a_file_that_is_no_network_namespace_is_refused(kind: str) -> None:
    with pytest.raises(CaptureError, match=rf"/proc/self/{kind} is no network namespace; expected a name that"):
        Kernel(netns=f"/proc/self/{kind}").netns_path()
    assert Kernel(netns="/proc/self/ns/net").netns_path() == "/proc/self/ns/net"


def test_a_lock_for_each_namespace() -> None:
    own = pod_lock(Kernel())
    assert own == pod_lock(Kernel()) and own.endswith(".lock")
    lock = Kernel(lock_file=own)._environment()["XTABLES_LOCKFILE"]
    assert lock == own
    assert "XTABLES_LOCKFILE" not in Kernel()._environment()


def test_a_named_namespace_may_have_a_resolv_conf_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "NETNS_CONFIGURATION", tmp_path)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "resolv.conf").write_text("nameserver 10.0.0.53\n")
    assert _resolv_conf(Kernel(netns="web")) == tmp_path / "web" / "resolv.conf"
    assert _resolv_conf(Kernel(netns="/run/netns/web")) == tmp_path / "web" / "resolv.conf"
    assert _resolv_conf(Kernel(netns="other")) == _resolv_conf(Kernel()) == RESOLV_CONF
