"""The order in which filter chains are matched: each criterion decides for good."""

from typing import Any

import pytest

from tests.unit.explain.worlds import (
    TYPE,
    at,
    chain,
    cluster,
    explain,
    extension,
    get,
    hcm,
    host,
    inspector,
    listener,
    route,
    tcp,
    tls_socket,
)
from tidegate.explain.config import read_config
from tidegate.explain.connection import Connection, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import Trace

SNIFFING = [inspector("tls"), inspector("http")]


def cidr(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    return {"addressPrefix": address, "prefixLen": int(length)}


def chosen(connection: Connection, *matches: dict[str, Any], **rest: Any) -> Trace:
    chains = [chain(tcp(), name=f"n{number}", filterChainMatch=match) for number, match in enumerate(matches)]
    return explain([listener("l", "0.0.0.0", connection.port, *chains, listenerFilters=SNIFFING, **rest)], connection)


def name_of(trace: Trace) -> str:
    return next(step.name for step in trace.steps if step.stage == "filter_chain")


HELLO = TlsHello("x.a.test", ("h2", "http/1.1"))


@pytest.mark.parametrize(
    ("matches", "expected"),
    [
        ([{}, {"destinationPort": 80}], "n1"),
        ([{"destinationPort": 80}, {"prefixRanges": [cidr("10.0.0.0/8")]}], "n0"),
        ([{"prefixRanges": [cidr("10.0.0.0/8")]}, {"prefixRanges": [cidr("10.0.0.0/24")]}], "n1"),
        ([{"prefixRanges": [cidr("10.0.0.1/32")]}, {"serverNames": ["x.a.test"]}], "n0"),
        ([{"serverNames": ["*.a.test"]}, {"serverNames": ["x.a.test"]}], "n1"),
        ([{"serverNames": ["*.test"]}, {"serverNames": ["*.a.test"]}], "n1"),
        ([{"serverNames": ["*.test"]}, {"transportProtocol": "tls"}], "n0"),
        ([{"serverNames": ["X.A.TEST"]}, {}], "n1"),
        ([{"transportProtocol": "tls"}, {"applicationProtocols": ["h2"]}], "n0"),
        ([{"applicationProtocols": ["http/1.1"]}, {"applicationProtocols": ["h2"]}], "n1"),
        ([{"applicationProtocols": ["http/1.1"]}, {}], "n0"),
        ([{"sourcePrefixRanges": [cidr("10.9.0.0/16")]}, {"sourceType": "EXTERNAL"}], "n1"),
        ([{"sourceType": "SAME_IP_OR_LOOPBACK"}, {}], "n1"),
        ([{"sourcePrefixRanges": [cidr("10.9.0.0/16")]}, {"sourcePorts": [7]}], "n0"),
        ([{"sourcePorts": [7]}, {}], "n0"),
        ([{"sourcePorts": [8]}, {}], "n1"),
        ([{"directSourcePrefixRanges": [cidr("10.9.9.0/24")]}, {"sourceType": "EXTERNAL"}], "n0"),
    ],
)
def test_precedence(matches: list[dict[str, Any]], expected: str) -> None:
    assert name_of(chosen(at(tls=HELLO, source_port=7), *matches)) == expected


def test_no_way_back_to_a_chain_left_behind() -> None:
    only_plain = {"destinationPort": 80, "transportProtocol": "raw_buffer"}
    end = chosen(at(tls=HELLO), only_plain, {"transportProtocol": "tls"}).end
    assert (end.kind, end.response_flags) == ("no_filter_chain", ("NR",))


def test_default_chain_takes_what_no_other_takes() -> None:
    trace = chosen(at(tls=HELLO), {"destinationPort": 81}, defaultFilterChain=chain(tcp("c"), name="rest"))
    assert (name_of(trace), trace.steps[1].path) == ("rest", "defaultFilterChain")


def test_runners_up_say_which_criterion_they_lost_by() -> None:
    trace = chosen(at(tls=HELLO), {"serverNames": ["x.a.test"]}, {"serverNames": ["*.a.test"]}, {"destinationPort": 81})
    told = {each.what: each.why for each in trace.steps[1].rejected}
    assert "server name" in told["filterChains[1] n1"]
    assert "destination port" in told["filterChains[2] n2"]


def test_same_match_twice_is_named() -> None:
    trace = chosen(at(), {"destinationPort": 80}, {"destinationPort": 80})
    assert trace.steps[1].facts == {"ambiguous": ["filterChains[1]"]}
    assert "Envoy refuses" in trace.unknown[0].why


def test_unknown_source_matches_nothing_that_asks_for_one() -> None:
    assert name_of(chosen(at(source_ip=""), {"sourcePrefixRanges": [cidr("0.0.0.0/0")]}, {})) == "n1"


def test_matcher_tree_names_the_chain() -> None:
    inputs = TYPE + "matching.common_inputs.network.v3."
    name = {"name": "n", "typedConfig": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "n1"}}
    ports = {"input": extension(inputs + "DestinationPortInput"), "exactMatchMap": {"map": {"80": {"action": name}}}}
    ranges = {"rangeMatchers": [{"ranges": [cidr("10.0.0.0/8")], "onMatch": {"matcher": {"matcherTree": ports}}}]}
    custom = {"name": "ip", "typedConfig": {"@type": "type.googleapis.com/xds.type.matcher.v3.IPMatcher", **ranges}}
    tree = {"matcherTree": {"input": extension(inputs + "DestinationIPInput"), "customMatch": custom}}
    assert name_of(chosen(at(), {}, {"destinationPort": 9}, filterChainMatcher=tree)) == "n1"
    assert chosen(at("192.0.2.1"), {}, filterChainMatcher=tree).end.kind == "no_filter_chain"


SECRET = {"name": "s", "sdsConfig": {"ads": {}}}
ROOTS = {"combinedValidationContext": {"validationContextSdsSecretConfig": {"name": "r"}}}


def ending(connection: Connection, **settings: Any) -> Trace:
    socket = tls_socket(**settings)
    http = chain(hcm(host(route())), transportSocket=socket)
    return explain([listener("l", "0.0.0.0", 80, http, listenerFilters=SNIFFING)], connection, [cluster()])


def test_tls_that_the_chain_ends_opens_the_request() -> None:
    common = {"tlsCertificateSdsSecretConfigs": [SECRET], "alpnProtocols": ["h2", "http/1.1"]}
    trace = ending(at(tls=HELLO, http=get()), commonTlsContext=common)
    assert trace.end.kind == "forwarded" and trace.end.far_side is not None
    assert not trace.end.far_side.client_tls
    step = next(step for step in trace.steps if step.stage == "downstream_tls")
    assert (step.facts["tls"], step.facts["certificates"]) == ("simple", ["s"])


@pytest.mark.parametrize(
    ("connection", "kind"),
    [
        (at(http=get()), "tls_error"),
        (at(server_first=True), "closed"),
        (at(tls=HELLO, http=get()), "tls_error"),
        (at(tls=TlsHello("x", mutual=True), http=get()), "forwarded"),
        (at(tls=TlsHello("x", mutual=True, principal="spiffe://other/a"), http=get()), "tls_error"),
        (at(tls=TlsHello("x", mutual=True, principal="spiffe://td/a"), http=get()), "forwarded"),
    ],
)
def test_mutual_tls(connection: Connection, kind: str) -> None:
    names = {"defaultValidationContext": {"matchSubjectAltNames": [{"prefix": "spiffe://td/"}]}}
    combined = {"combinedValidationContext": {**ROOTS["combinedValidationContext"], **names}}
    trace = ending(connection, requireClientCertificate=True, commonTlsContext=combined)
    assert trace.end.kind == kind


def test_tls_left_closed_is_no_http() -> None:
    trace = explain([listener("l", "0.0.0.0", 80, chain(hcm(host(route()))))], at(tls=HELLO, http=get()))
    assert (trace.end.kind, trace.end.http_status) == ("protocol_error", 400)


def test_a_secret_that_never_came_ends_the_handshake() -> None:
    common = {"tlsCertificateSdsSecretConfigs": [{"name": "kubernetes://cert", "sdsConfig": {"ads": {}}}]}
    secured = chain(tcp(), transportSocket=tls_socket(commonTlsContext=common))
    listed: dict[str, Any] = {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"}
    listed["dynamicListeners"] = [{"activeState": {"listener": listener("l", "0.0.0.0", 443, secured)}}]
    kind = "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"
    for waiting, expected in (([{"name": "kubernetes://cert"}], "tls_error"), ([{"name": "other"}], "unknown")):
        dump = {"configs": [listed, {"@type": kind, "dynamic_warming_secrets": waiting}]}
        end = interpret(read_config(dump), at(port=443, tls=TlsHello("a.test"))).end
        assert end.kind == expected
        assert ("kubernetes://cert was never delivered" in end.why) == (expected == "tls_error")
