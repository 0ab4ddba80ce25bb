"""Answers of the lab's name servers."""

import asyncio
from typing import Any

import dns.message
import dns.rcode
import pytest

from tidegate.lab import dns_server, names

ZONE = "cluster.local"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def endpoint_slice(owner: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": owner}
    return {"metadata": {"name": owner, "namespace": "default", "labels": labels}, "endpoints": list(endpoints)}


TABLE = names.service_table(
    [
        service("web", clusterIP="10.96.0.9"),
        service("db", clusterIP="None"),
        service("away", type="ExternalName", externalName="Away.Example."),
    ],
    [
        endpoint_slice(
            "db",
            {"addresses": ["10.244.0.7"], "hostname": "db-0"},
            {"addresses": ["10.244.0.8"], "conditions": {"ready": True}},
            {"addresses": ["10.244.0.9"], "conditions": {"ready": False}},
        )
    ],
    ZONE,
)


def asked(name: str, kind: str = "A") -> tuple[str, list[str]] | None:
    reply = names.answer(dns.message.make_query(name, kind), TABLE, ZONE)
    if reply is None:
        return None
    return dns.rcode.to_text(reply.rcode()), sorted(item.to_text() for rrset in reply.answer for item in rrset)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.default.svc.cluster.local", "A", ("NOERROR", ["10.96.0.9"])),
        ("WEB.Default.svc.cluster.local.", "A", ("NOERROR", ["10.96.0.9"])),
        ("web.default.svc.cluster.local", "AAAA", ("NOERROR", [])),
        ("db.default.svc.cluster.local", "A", ("NOERROR", ["10.244.0.7", "10.244.0.8"])),
        ("db-0.db.default.svc.cluster.local", "A", ("NOERROR", ["10.244.0.7"])),
        ("away.default.svc.cluster.local", "A", ("NOERROR", ["away.example."])),
        ("nosuch.default.svc.cluster.local", "A", ("NXDOMAIN", [])),
        ("default.svc.cluster.local", "A", ("NOERROR", [])),
        ("www.example.com", "A", None),
        ("notcluster.local", "A", None),
    ],
)
def test_answers(name: str, kind: str, expected: tuple[str, list[str]] | None) -> None:
    assert asked(name, kind) == expected


def test_a_zone_of_everything_never_forwards() -> None:
    table = names.Table({"a.example": ("10.1.1.1",)})
    reply = names.answer(dns.message.make_query("b.example", "A"), table, "")
    assert reply is not None and reply.rcode() == dns.rcode.NXDOMAIN


def respond(wire: bytes) -> bytes | None:
    server = dns_server.Server(
        dns_server.Order(netns="none", address="10.0.0.1", records={"A.example.": ("10.1.1.1",)})
    )
    return asyncio.run(server.respond(wire))


def test_the_outer_server_answers_its_records() -> None:
    wire = respond(dns.message.make_query("a.EXAMPLE", "A").to_wire())
    assert wire is not None
    assert [item.to_text() for item in dns.message.from_wire(wire).answer[0]] == ["10.1.1.1"]


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, b"\xff" * 40, b"no message at all"])
def test_garbage_gets_no_answer(wire: bytes) -> None:
    assert respond(wire) is None


def test_a_long_answer_is_cut_for_a_small_datagram_only() -> None:
    table = names.Table({"many.example": tuple(f"10.1.0.{n}" for n in range(1, 120))})
    small = dns.message.make_query("many.example", "A")
    large = dns.message.make_query("many.example", "A", use_edns=0, payload=4096)
    for query, cut in ((small, True), (large, False)):
        reply = names.answer(query, table, "")
        assert reply is not None
        sent = dns.message.from_wire(dns_server.shortened(reply.to_wire(), query.to_wire()))
        assert bool(sent.flags & 0x0200) is cut
        assert len(sent.answer) == (0 if cut else 1)
