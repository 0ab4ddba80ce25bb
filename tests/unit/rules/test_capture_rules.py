from typing import Any

import msgspec
import pytest

from tidegate.rules.capture_rules import rule_set
from tidegate.rules.options import ALL, CaptureOptions, InvalidCaptureOptionsError, Surroundings

NOTHING_AROUND = Surroundings()


def outbound(options: CaptureOptions, surroundings: Surroundings = NOTHING_AROUND) -> list[str]:
    return [rule.specification for rule in rule_set(options, surroundings).table("nat").contents()["ISTIO_OUTPUT"]]


def test_nine_rules_in_their_order() -> None:
    """Seed 001's truth table in today's form."""
    assert outbound(CaptureOptions(service_cidr=ALL)) == [
        "-o lo -s 127.0.0.6/32 -j RETURN",
        "-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT",
        "-o lo -m owner ! --uid-owner 1337 -j RETURN",
        "-m owner --uid-owner 1337 -j RETURN",
        "-o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT",
        "-o lo -m owner ! --gid-owner 1337 -j RETURN",
        "-m owner --gid-owner 1337 -j RETURN",
        "-d 127.0.0.1/32 -j RETURN",
        "-j ISTIO_REDIRECT",
    ]


def test_nothing_is_captured_outbound_without_ranges() -> None:
    assert not any("-j ISTIO_REDIRECT" in rule for rule in outbound(CaptureOptions()))


def test_ranges_replace_the_catch_all_and_excludes_come_first() -> None:
    options = CaptureOptions(service_cidr=("10.0.0.0/8", "2001:db8::/32"), service_exclude_cidr=("10.1.0.0/16",))
    assert outbound(options)[-2:] == ["-d 10.1.0.0/16 -j RETURN", "-d 10.0.0.0/8 -j ISTIO_REDIRECT"]


def test_every_query_is_captured_without_servers() -> None:
    options = CaptureOptions(redirect_dns=True, capture_all_dns=True)
    dns = rule_set(options, NOTHING_AROUND).table("nat").contents()["ISTIO_OUTPUT_DNS"]
    assert [rule.specification for rule in dns] == [
        "-p tcp --dport 53 -j REDIRECT --to-ports 15053",
        "-p udp --dport 53 -j REDIRECT --to-port 15053",
    ]


def test_ranges_are_written_in_one_form() -> None:
    """Whatever the case and the zeros; bits right of the mask stay, as they were given."""
    options = CaptureOptions(service_cidr=("2001:DB8:0:0::/32", "10.1.2.3/8", "10.0.0.1"))
    spoken = Surroundings(ipv6=True)
    assert outbound(options, spoken)[-2:] == ["-d 10.1.2.3/8 -j ISTIO_REDIRECT", "-d 10.0.0.1/32 -j ISTIO_REDIRECT"]
    ipv6 = rule_set(options, spoken, "ipv6").table("nat").contents()["ISTIO_OUTPUT"]
    assert ipv6[-1].specification == "-d 2001:db8::/32 -j ISTIO_REDIRECT"


def test_without_an_owner_group_nobody_is_captured() -> None:
    assert outbound(CaptureOptions(service_cidr=ALL, outbound_owner_groups=()))[-3] == "-j RETURN"
    named = outbound(CaptureOptions(service_cidr=ALL, outbound_owner_groups=("7", "java")))[-3]
    assert named == "-m owner ! --gid-owner 7 -m owner ! --gid-owner java -j RETURN"


def test_the_mark_of_the_proxys_own_calls_does_not_follow_the_other() -> None:
    options = CaptureOptions(inbound_interception_mode="TPROXY", inbound_ports=ALL, inbound_tproxy_mark=42)
    mangle = [str(rule) for rule in rule_set(options, NOTHING_AROUND).table("mangle").rules]
    assert "-I ISTIO_INBOUND 3 -p tcp -i lo -m mark ! --mark 1338 -j RETURN" in mangle
    assert "-I ISTIO_INBOUND 1 -p tcp -m mark --mark 42 -j RETURN" in mangle


def test_ipv6_only_where_it_is_spoken() -> None:
    assert rule_set(CaptureOptions(), NOTHING_AROUND, "ipv6").tables == ()
    spoken = rule_set(CaptureOptions(), Surroundings(ipv6=True), "ipv6").table("nat")
    assert "-o lo -s ::6/128 -j RETURN" in [rule.specification for rule in spoken.rules]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"inbound_ports": ("0",)}, "--istio-inbound-ports: expected a port from 1 to 65535 (got '0')"),
        ({"outbound_ports": ("*",)}, "--istio-outbound-ports"),
        ({"service_cidr": ("10.0.0.0/33",)}, "--istio-service-cidr"),
        ({"service_exclude_cidr": ALL}, "--istio-service-exclude-cidr"),
        ({"service_cidr": ("*", "10.0.0.0/8")}, "expected * as the only value, or CIDRs such as 10.0.0.0/8 (got '*')"),
        ({"service_exclude_cidr": ("10.0.0.0/255.0.0.0",)}, "--istio-service-exclude-cidr"),
        ({"service_cidr": ("fe80::1%eth0",)}, "--istio-service-cidr"),
        ({"exclude_interfaces": ("eth0\n",)}, "--istio-exclude-interfaces"),
        ({"outbound_owner_groups_exclude": ("7\n",)}, "ISTIO_OUTBOUND_OWNER_GROUPS"),
        ({"exclude_interfaces": ("eth0\nCOMMIT",)}, "--istio-exclude-interfaces"),
        ({"kube_virt_interfaces": ("-j",)}, "--kube-virt-interfaces"),
        ({"proxy_uid": ("root",)}, "--proxy-uid: expected a numeric id"),
        ({"proxy_gid": ()}, "--proxy-gid: expected at least one"),
        ({"outbound_owner_groups": ("a b",)}, "ISTIO_OUTBOUND_OWNER_GROUPS: expected a group"),
        ({"outbound_owner_groups": tuple(map(str, range(65)))}, "at most 64 groups"),
        ({"ipv4_loopback_cidr": "10.0.0.0/8"}, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"),
        ({"inbound_tproxy_mark": 0}, "--istio-inbound-tproxy-mark"),
        ({"inbound_tproxy_route_table": -1}, "--istio-inbound-tproxy-route-table"),
    ],
)
def test_values_that_make_no_rule_are_refused(change: dict[str, Any], told: str) -> None:
    options = msgspec.structs.replace(CaptureOptions(), **change)
    with pytest.raises(InvalidCaptureOptionsError) as caught:
        rule_set(options, NOTHING_AROUND)
    assert told in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidCaptureOptionsError) as caught:
        rule_set(CaptureOptions(inbound_ports=("x",), service_cidr=("y",)), NOTHING_AROUND)
    assert len(caught.value.errors) == 2
