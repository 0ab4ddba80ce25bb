import pytest

from tidegate.rules.advice import advice
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.support import missing_support

DUAL = Surroundings(ipv6=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (CaptureOptions(), "--istio-service-cidr is empty: no outbound connection is captured"),
        (CaptureOptions(service_cidr=("10.0.0.0/8", "10.1.0.0/16")), "10.1.0.0/16 lies within 10.0.0.0/8"),
        (
            CaptureOptions(service_cidr=("10.1.0.0/16",), service_exclude_cidr=("10.0.0.0/8",)),
            "10.1.0.0/16 is never captured: it lies within 10.0.0.0/8 of --istio-service-exclude-cidr",
        ),
        (CaptureOptions(service_cidr=("10.1.2.3/8",)), "10.1.2.3/8 means 10.0.0.0/8"),
        (
            CaptureOptions(outbound_ports=("80",), local_outbound_ports_exclude=("80",)),
            "--istio-outbound-ports: 80 is never captured",
        ),
        (CaptureOptions(service_cidr=ALL, local_exclude_ports=("80",)), "--istio-local-exclude-ports has no effect"),
        (CaptureOptions(service_cidr=ALL, inbound_ports=("15006",)), "15006 is the proxy's own port"),
        (CaptureOptions(service_cidr=ALL, envoy_port=15006), "--envoy-port and --inbound-capture-port are both 15006"),
        (
            CaptureOptions(service_cidr=ALL, inbound_interception_mode="TPROXY", proxy_uid=("0",)),
            "--proxy-uid: with TPROXY the proxy runs as user 0",
        ),
        (CaptureOptions(service_cidr=("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8")), "10.1.0.0/16 lies within"),
        (
            CaptureOptions(service_cidr=ALL, inbound_interception_mode="TPROXY", inbound_tproxy_mark=1338),
            "its calls would not be captured; use 1337",
        ),
        (
            CaptureOptions(service_cidr=ALL, inbound_interception_mode="TPROXY", inbound_tproxy_mark=42),
            "the proxy marks what it hands to the application with 1337, not 42",
        ),
        (CaptureOptions(service_cidr=ALL, outbound_owner_groups=()), "nobody's connections are captured"),
        (CaptureOptions(service_cidr=ALL, redirect_dns=True), "--redirect-dns has no effect"),
        (CaptureOptions(service_cidr=ALL, capture_all_dns=True), "--capture-all-dns has no effect"),
        (
            CaptureOptions(service_cidr=ALL, outbound_owner_groups=("1",), outbound_owner_groups_exclude=("2",)),
            "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE has no effect",
        ),
    ],
)
def test_what_is_valid_and_doubtful_is_told_once(options: CaptureOptions, told: str) -> None:
    (line,) = advice(options, DUAL)
    assert told in line


def test_ranges_of_a_family_that_is_not_spoken() -> None:
    options = CaptureOptions(service_cidr=("10.0.0.0/8", "fd00::/8"))
    assert advice(options, DUAL) == []
    (line,) = advice(options, Surroundings())
    assert "fd00::/8 has no effect" in line and "--dual-stack" in line


def test_the_usual_settings_are_not_commented() -> None:
    usual = CaptureOptions(service_cidr=ALL, inbound_ports=ALL, local_exclude_ports=("15020",))
    assert advice(usual, DUAL) == []


@pytest.mark.parametrize(
    ("said", "rule", "told"),
    [
        (
            "iptables: No chain/target/match by that name.",
            "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN",
            "the owner match: load module xt_owner (modprobe xt_owner); without it, use --native-nftables",
        ),
        (
            "Couldn't load target `TPROXY':No such file or directory",
            "-A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
            "the TPROXY target: load module xt_TPROXY (modprobe xt_TPROXY); without it, use interception mode REDIRECT",
        ),
        (
            "iptables-restore: unable to initialize table 'raw'",
            "* raw",
            "table raw: load module iptable_raw (modprobe iptable_raw); without it, use rules without DNS capture",
        ),
        (
            "Error: Could not process rule: No such file or directory",
            "add rule inet istio-proxy-nat istio-redirect meta l4proto tcp counter redirect to :15001",
            "load module nft_redir (modprobe nft_redir); without it, use iptables, without --native-nftables",
        ),
        (
            "Error: Could not process rule: Operation not supported",
            "add chain inet istio-proxy-nat output { type nat hook output priority -100 ; }",
            "table nat: load module nft_chain_nat",
        ),
    ],
)
def test_what_a_kernel_lacks_is_named_with_what_works_instead(said: str, rule: str, told: str) -> None:
    assert told in missing_support(said, rule)


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("Permission denied (you must be root)", "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN"),
        ("Chain 'FOO' does not exist", "-A OUTPUT -j FOO"),
        ("Chain 'ISTIO_X' does not exist", ""),
    ],
)
def test_other_failures_are_not_blamed_on_the_kernel(said: str, rule: str) -> None:
    assert missing_support(said, rule) == ""
