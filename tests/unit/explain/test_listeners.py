"""Which listener takes a connection, and what its listener filters make of the first bytes."""

import pytest

from tests.unit.explain.worlds import chain, cluster, explain, get, hcm, host, inspector, listener, route, tcp
from tidegate.explain.connection import Connection, TlsHello

OUT = listener("out", "0.0.0.0", 15001, chain(tcp("original")), useOriginalDst=True, trafficDirection="OUTBOUND")
IN = listener("in", "0.0.0.0", 15006, chain(tcp()), trafficDirection="INBOUND", listenerFilters=[inspector("dst")])
ORIGINAL = cluster("original", type="ORIGINAL_DST", loadAssignment=None)


def virtual(name: str, ip: str, port: int, **rest: object) -> dict[str, object]:
    return listener(name, ip, port, chain(tcp()), bindToPort=False, **rest)


def dial(ip: str, port: int, **rest: object) -> Connection:
    return Connection("outbound", ip, port, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ip", "port", "expected"),
    [
        ("10.0.0.1", 80, "exact"),
        ("10.0.0.2", 80, "wild"),
        ("10.0.0.2", 81, "out"),
        ("2001:db8::1", 80, "out6"),
        ("2001:db8::1", 90, "wild6"),
        ("2001:DB8:0::7", 80, "exact6"),
        ("10.0.0.3", 80, "second"),
    ],
)
def test_exact_address_then_wildcard_then_the_one_that_received_it(ip: str, port: int, expected: str) -> None:
    more = [{"address": {"socketAddress": {"address": "10.0.0.3", "portValue": 80}}}]
    listeners = [
        OUT,
        {**OUT, **listener("out6", "::", 15001, chain(tcp("original")))},
        virtual("wild", "0.0.0.0", 80),
        virtual("exact", "10.0.0.1", 80),
        virtual("wild6", "::", 90),
        virtual("exact6", "2001:db8::7", 80),
        virtual("second", "10.0.0.4", 80, additionalAddresses=more),
    ]
    trace = explain(listeners, dial(ip, port), [cluster(), ORIGINAL])
    assert trace.steps[0].name == expected


def test_what_is_redirected_needs_a_listener_of_its_address_family() -> None:
    assert explain([OUT], dial("2001:db8::1", 80), [ORIGINAL]).end.kind == "no_listener"
    both = {"address": {"socketAddress": {"address": "::", "portValue": 15001, "ipv4Compat": True}}}
    for ip in ("2001:db8::1", "192.0.2.1"):
        assert explain([{**OUT, **both}], dial(ip, 80), [ORIGINAL]).end.kind == "forwarded"


def test_what_tproxy_takes_is_dropped_where_nobody_listens() -> None:
    asked = Connection("inbound", "2001:db8::1", 80, transparent=True)
    end = explain([IN], asked).end
    assert end.kind == "dropped" and "TPROXY drops" in end.why


def test_what_packet_rules_let_go_comes_to_the_listener_of_the_dialled_address() -> None:
    bound = listener("bound", "127.0.0.1", 7000, chain(tcp()))
    past = dial("127.0.0.1", 7000, captured=False)
    assert explain([OUT, bound], past).steps[0].name == "bound"
    assert explain([OUT], past).end.kind == "no_listener"


def test_dialled_address_is_where_an_original_dst_cluster_goes() -> None:
    end = explain([OUT], dial("192.0.2.1", 5432), [ORIGINAL]).end
    assert (end.kind, end.cluster_type, [each.address for each in end.endpoints]) == (
        "forwarded",
        "ORIGINAL_DST",
        ["192.0.2.1:5432"],
    )


def test_original_dst_cluster_has_nobody_where_nothing_was_redirected() -> None:
    bound = listener("bound", "0.0.0.0", 80, chain(tcp("original")))
    end = explain([bound], Connection("gateway", "10.0.0.1", 80), [ORIGINAL]).end
    assert (end.kind, end.response_flags) == ("no_endpoints", ("UH",))


def test_inbound_comes_to_the_inbound_listener_only() -> None:
    trace = explain([OUT, IN, virtual("wild", "0.0.0.0", 80)], Connection("inbound", "10.0.0.1", 80))
    assert [step.name for step in trace.steps if step.stage == "listener"] == ["in"]


def test_without_redirection_a_socket_of_its_own_is_needed() -> None:
    end = explain([virtual("wild", "0.0.0.0", 80)], dial("10.0.0.1", 80)).end
    assert end.kind == "no_listener"
    assert end.steps[0].rejected[0].what == "wild"
    bound = listener("bound", "127.0.0.1", 80, chain(tcp()))
    assert explain([bound], dial("127.0.0.1", 80)).end.kind == "forwarded"


def test_runners_up_are_told() -> None:
    trace = explain([OUT, virtual("exact", "10.0.0.1", 80), virtual("wild", "0.0.0.0", 80)], dial("10.0.0.1", 80))
    assert [(each.what, "more exact" in each.why) for each in trace.steps[0].rejected] == [("wild", True)]


SILENT = {"server_first": True}


@pytest.mark.parametrize(
    ("settings", "kind", "delay"),
    [
        ({"listenerFiltersTimeout": "0s"}, "waits", ""),
        ({"listenerFiltersTimeout": "0s", "continueOnListenerFiltersTimeout": True}, "waits", ""),
        ({"listenerFiltersTimeout": "0.100s", "continueOnListenerFiltersTimeout": True}, "forwarded", "0.100s"),
        ({"listenerFiltersTimeout": "0.100s"}, "closed", "0.100s"),
        ({}, "closed", "15s"),
    ],
)
def test_server_first_and_detection(settings: dict[str, object], kind: str, delay: str) -> None:
    sniffing = listener("l", "0.0.0.0", 80, chain(tcp()), listenerFilters=[inspector("tls")], **settings)
    end = explain([sniffing], Connection("gateway", "10.0.0.1", 80, **SILENT)).end
    assert (end.kind, end.delay) == (kind, delay)


def test_a_filter_disabled_for_the_port_waits_for_nothing() -> None:
    ports = {"orMatch": {"rules": [{"destinationPortRange": {"start": 80, "end": 81}}]}}
    for rule, kind in ((ports, "forwarded"), ({"notMatch": ports}, "waits")):
        filters = [inspector("tls", filterDisabled=rule), inspector("http", filterDisabled=rule)]
        sniffing = listener("l", "0.0.0.0", 80, chain(tcp()), listenerFilters=filters, listenerFiltersTimeout="0s")
        assert explain([sniffing], Connection("gateway", "10.0.0.1", 80, **SILENT)).end.kind == kind


def test_server_first_at_a_plain_tcp_listener_passes() -> None:
    plain = listener("l", "0.0.0.0", 80, chain(tcp()))
    assert explain([plain], Connection("gateway", "10.0.0.1", 80, **SILENT)).end.kind == "forwarded"


def test_server_first_at_an_http_listener_waits() -> None:
    http = listener("l", "0.0.0.0", 80, chain(hcm(host(route()))))
    assert explain([http], Connection("gateway", "10.0.0.1", 80, **SILENT)).end.kind == "waits"


def test_unknown_listener_filter_is_named_and_passed() -> None:
    odd = {"name": "odd", "typedConfig": {"@type": "type.googleapis.com/example.Odd"}}
    trace = explain(
        [listener("l", "0.0.0.0", 80, chain(tcp()), listenerFilters=[odd])], Connection("gateway", "10.0.0.1", 80)
    )
    assert trace.end.kind == "forwarded"
    assert [(each.where, "example.Odd" in each.why) for each in trace.unknown] == [
        ("Listener l listenerFilters[0]", True)
    ]


def test_detected_protocol_is_seen_only_with_its_inspector() -> None:
    chains = (
        chain(tcp("tls"), name="tls", filterChainMatch={"transportProtocol": "tls"}),
        chain(tcp("http"), name="http", filterChainMatch={"applicationProtocols": ["http/1.1"]}),
        chain(tcp("raw"), name="raw"),
    )
    known = {"tls": [inspector("tls")], "http": [inspector("http")], "raw": []}
    https = Connection("gateway", "10.0.0.1", 80, tls=TlsHello("a.test", ("http/1.1",)))
    http = Connection("gateway", "10.0.0.1", 80, http=get())
    for filters, connection, expected in (
        ("tls", https, "tls"),
        ("raw", https, "raw"),
        ("http", https, "raw"),
        ("http", http, "http"),
        ("tls", http, "raw"),
    ):
        trace = explain([listener("l", "0.0.0.0", 80, *chains, listenerFilters=known[filters])], connection, [])
        assert trace.end.cluster == expected
