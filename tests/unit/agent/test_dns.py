"""The agent's DNS: answers read by another implementation, and what is not ours to answer."""

import random
import struct
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.agent import dnswire
from tidegate.agent.dnsforward import ResolverSettings, read_resolv_conf
from tidegate.agent.dnsserver import DnsServer
from tidegate.agent.dnstable import MOST_KEPT, Names
from tidegate.kit.nametable import NameInfo

DOMAIN = "shop.svc.cluster.local"
SEARCH = (DOMAIN, "svc.cluster.local", "cluster.local")
MANY = tuple(f"10.9.{i // 250}.{i % 250 + 1}" for i in range(100))
TABLE = {
    "orders.shop.svc.cluster.local": NameInfo(("10.96.0.1",), "Kubernetes", "orders", "shop"),
    "web.front.svc.cluster.local": NameInfo(("10.96.0.2", "fd00::2"), "Kubernetes", "web", "front"),
    "db-0.db.shop.svc.cluster.local": NameInfo(("10.244.0.5",), "Kubernetes", "db-0.db", "shop"),
    "Ledger.example.com": NameInfo(("240.240.0.1",), "External"),
    "outside.shop.svc.cluster.local": NameInfo(("10.1.1.1",), "External"),
    "*.saas.example": NameInfo(("240.240.0.2",), "External"),
    "*.deep.saas.example": NameInfo(("240.240.0.3",), "External"),
    "many.example": NameInfo(MANY, "External"),
}


@pytest.fixture
def server() -> DnsServer:
    made = DnsServer(DOMAIN, ResolverSettings((), SEARCH))
    made.replace(TABLE)
    return made


def asked(server: DnsServer, name: str, kind: str = "A", *, stream: bool = False, **query: object) -> list[str] | None:
    """Records of the answer, each as type and value; None when it has to be forwarded."""
    message = dns.message.make_query(name, kind, **query)
    wire = server.respond(message.to_wire(), stream=stream)
    if wire is None:
        return None
    reply = dns.message.from_wire(wire)
    assert message.is_response(reply)
    assert reply.flags & dns.flags.AA and reply.rcode() == dns.rcode.NOERROR
    assert all(rrset.ttl == 30 for rrset in reply.answer)
    return [f"{dns.rdatatype.to_text(rrset.rdtype)} {item}" for rrset in reply.answer for item in rrset]


@pytest.mark.parametrize("name", ["orders", "orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local."])
def test_every_form_of_a_services_name(server: DnsServer, name: str) -> None:
    assert asked(server, name) == ["A 10.96.0.1"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("web.front", "10.96.0.2"),
        ("db-0.db", "10.244.0.5"),
        ("db-0.db.shop.svc", "10.244.0.5"),
        ("ORDERS.Shop", "10.96.0.1"),
        ("LEDGER.example.COM", "240.240.0.1"),
        ("a.saas.example", "240.240.0.2"),
        ("a.b.saas.example", "240.240.0.2"),
        ("a.deep.saas.example", "240.240.0.3"),
    ],
)
def test_names_are_found(server: DnsServer, name: str, address: str) -> None:
    assert asked(server, name) == [f"A {address}"]


@pytest.mark.parametrize("name", ["web", "nobody.shop", "example.com", "saas.example", ".", "outside", "a\\.b.shop"])
def test_other_names_are_forwarded(server: DnsServer, name: str) -> None:
    assert asked(server, name) is None


@pytest.mark.parametrize("kind", ["TXT", "HTTPS", "SRV", "ANY", "CNAME", "PTR"])
def test_other_types_are_forwarded(server: DnsServer, kind: str) -> None:
    assert asked(server, "orders.shop.svc.cluster.local", kind) is None


def test_a_missing_family_is_answered_with_nothing(server: DnsServer) -> None:
    assert asked(server, "orders.shop", "AAAA") == []
    assert asked(server, "web.front", "AAAA") == ["AAAA fd00::2"]


def test_a_name_with_the_first_search_domain_is_an_alias(server: DnsServer) -> None:
    assert asked(server, f"ledger.example.com.{DOMAIN}") == ["CNAME ledger.example.com.", "A 240.240.0.1"]
    assert asked(server, f"ledger.example.com.{DOMAIN}", "AAAA") == []
    assert asked(server, "ledger.example.com.svc.cluster.local") is None


def test_without_a_search_list_there_are_no_aliases() -> None:
    server = DnsServer(DOMAIN, ResolverSettings())
    server.replace(TABLE)
    assert asked(server, f"ledger.example.com.{DOMAIN}") is None


def test_long_answers_are_truncated_over_udp_only(server: DnsServer) -> None:
    short = dns.message.from_wire(server.respond(dns.message.make_query("many.example", "A").to_wire(), stream=False))
    assert short.flags & dns.flags.TC and not short.answer
    whole = [f"A {ip}" for ip in MANY]
    assert sorted(asked(server, "many.example", stream=True) or ()) == sorted(whole)
    assert sorted(asked(server, "many.example", use_edns=0, payload=4096) or ()) == sorted(whole)


def test_addresses_take_turns(server: DnsServer) -> None:
    firsts = {(asked(server, "many.example", stream=True) or [""])[0] for _ in range(8)}
    assert len(firsts) == 8


def test_edns_is_answered_with_edns(server: DnsServer) -> None:
    query = dns.message.make_query("orders", "A", use_edns=0, want_dnssec=True)
    reply = dns.message.from_wire(server.respond(query.to_wire(), stream=False))
    assert reply.edns == 0 and reply.payload == dnswire.OUR_UDP_SIZE
    plain = dns.message.from_wire(server.respond(dns.message.make_query("orders", "A").to_wire(), stream=False))
    assert plain.edns == -1


def test_nothing_is_known_before_the_first_table() -> None:
    server = DnsServer(DOMAIN, ResolverSettings())
    wire = server.respond(dns.message.make_query("orders", "A").to_wire(), stream=False)
    assert dns.message.from_wire(wire).rcode() == dns.rcode.SERVFAIL
    assert server.known is None


def test_a_new_table_counts_at_once(server: DnsServer) -> None:
    assert asked(server, "orders") == ["A 10.96.0.1"]
    server.replace({"orders.shop.svc.cluster.local": NameInfo(("10.96.0.9",), "Kubernetes", "orders", "shop")})
    assert asked(server, "orders") == ["A 10.96.0.9"]
    assert asked(server, "web.front") is None


def test_what_is_kept_of_answers_is_bounded() -> None:
    names = Names(TABLE, DOMAIN)
    for number in range(MOST_KEPT + 10):
        wire = b"\x00\x01\x01\x00\x00\x01" + bytes(6) + _name(f"n{number}") + struct.pack("!HH", 1, 1)
        question = dnswire.question(wire)
        assert question is not None and names.respond(wire, question, 512) is None
    assert len(names._kept) <= MOST_KEPT


def _name(text: str) -> bytes:
    encoded = dnswire.encode_name(text)
    assert encoded is not None
    return encoded


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_not_encoded(name: str) -> None:
    assert dnswire.encode_name(name) is None


@given(st.binary(max_size=600))
@example(b"")
@example(b"\x00\x01\x01\x00\x00\x01" + bytes(6) + b"\xc0\x0c\x00\x01\x00\x01")
@example(b"\x00\x01\x01\x00\x00\x01" + bytes(6) + b"\x3f")
def test_random_bytes_do_no_harm(data: bytes) -> None:
    server = DnsServer(DOMAIN, ResolverSettings((), SEARCH))
    server.replace(TABLE)
    if dnswire.is_query(data):
        for stream in (False, True):
            answer = server.respond(data, stream=stream)
            assert answer is None or answer[:2] == data[:2]
        assert dnswire.failure(data)[:2] == data[:2]


def test_queries_with_flipped_bits_do_no_harm(server: DnsServer) -> None:
    whole = dns.message.make_query(f"ledger.example.com.{DOMAIN}", "A", use_edns=0).to_wire()
    chance = random.Random(7)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        answer = server.respond(bytes(data), stream=False)
        assert answer is None or dns.message.from_wire(answer).id == int.from_bytes(data[:2], "big")


def test_resolv_conf(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# none\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver name\ndomain x\nsearch a.b c\n")
    assert read_resolv_conf(file) == ResolverSettings((("10.0.0.1", 53), ("fe80::1%eth0", 53)), ("a.b", "c"))
    assert read_resolv_conf(tmp_path / "absent") == ResolverSettings()
