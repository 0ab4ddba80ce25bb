"""The agent's own subscription."""

from pathlib import Path

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from tidegate.agent.lastgood import LastGood
from tidegate.agent.namefeed import NameFeed, Table
from tidegate.kit.nametable import TYPE_URL, NameInfo, encode

A, B = NameInfo(("10.0.0.1",), "External"), NameInfo(("10.0.0.2",), "External")


def response(nonce: str, *removed: str, url: str = TYPE_URL, **names: bytes) -> bytes:
    message = DeltaDiscoveryResponse(type_url=url, nonce=nonce, removed_resources=removed)
    for name, body in names.items():
        item = message.resources.add(name=name, version=f"v{body!r}")
        item.resource.type_url, item.resource.value = url, body
    return bytes(message.SerializeToString())


def asked(data: bytes) -> DeltaDiscoveryRequest:
    return DeltaDiscoveryRequest.FromString(data)


def test_what_is_told_is_published_and_acknowledged() -> None:
    tables: list[Table] = []
    feed = NameFeed(tables.append)
    assert list(asked(feed.subscribe()).resource_names_subscribe) == ["*"]
    received = feed.receive(response("n1", a=encode(A), b=encode(B)))
    assert received is not None and asked(received.request).response_nonce == "n1"
    assert tables == [{"a": A, "b": B}]
    feed.receive(response("n2", "a"))
    assert tables[-1] == {"b": B}
    assert set(asked(feed.subscribe()).initial_resource_versions) == {"b"}


def test_an_empty_table_is_one() -> None:
    tables: list[Table] = []
    NameFeed(tables.append).receive(response("n1"))
    assert tables == [{}]


def test_envoys_responses_are_left_alone() -> None:
    tables: list[Table] = []
    assert NameFeed(tables.append).receive(response("n1", url="type.googleapis.com/other", a=b"")) is None
    assert not tables


def test_what_cannot_be_read_is_refused_as_a_whole() -> None:
    tables: list[Table] = []
    feed = NameFeed(tables.append)
    received = feed.receive(response("n1", a=encode(A), b=b"\x12\x7f"))
    assert received is not None and received.refused
    assert asked(received.request).error_detail.message == received.refused
    assert not tables


def test_names_are_kept_for_the_next_agent(tmp_path: Path) -> None:
    store = LastGood(tmp_path / "store")
    tables: list[Table] = []
    for given in (response("n1", a=encode(A), b=encode(B)), response("n2", "b")):
        received = NameFeed(tables.append).receive(given)
        assert received is not None
        received.keep(store)
    NameFeed(tables.append).restore(store.everything()[TYPE_URL])
    assert tables[-1] == {"a": A}
    store.close()
