from pathlib import Path

from envoy.service.discovery.v3 import discovery_pb2

from tidegate.agent.acceptance import Acceptance
from tidegate.agent.lastgood import LastGood
from tidegate.xds.fixed import Item
from tidegate.xds.types import CLUSTER
from tidegate.xds.wire import delta_response


def asked(**fields: object) -> bytes:
    return bytes(discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, **fields).SerializeToString())


def told(nonce: str, *names: str, removed: tuple[str, ...] = ()) -> bytes:
    return delta_response(CLUSTER, nonce, "v", [Item(name, name.encode(), f"v-{name}") for name in names], removed)


def held(store: LastGood) -> dict[str, str]:
    return dict(store.versions(CLUSTER))


def test_a_conversation(tmp_path: Path) -> None:
    store, stream = LastGood(tmp_path / "db"), Acceptance()

    def received(**fields: object) -> None:
        if change := stream.received(asked(**fields)):
            change.keep(store)

    received(resource_names_subscribe=["*"])
    stream.sent(told("1", "a", "b"))
    assert held(store) == {}, "nothing is accepted before Envoy says so"
    received(response_nonce="1")
    assert held(store) == {"a": "v-a", "b": "v-b"}
    stream.sent(told("2", "c", removed=("a",)))
    received(response_nonce="2")
    assert held(store) == {"b": "v-b", "c": "v-c"}
    received(resource_names_unsubscribe=["c", "*"])
    assert held(store) == {"b": "v-b"}
    store.close()


def test_a_refused_response_is_not_kept(tmp_path: Path) -> None:
    stream = Acceptance()
    stream.received(asked())
    stream.sent(told("1", "bad"))
    change = stream.received(asked(response_nonce="1", error_detail={"code": 13, "message": "no such filter"}))
    assert change is not None and change.refused == "no such filter"
    assert stream.received(asked(response_nonce="1")) is None, "a nonce is answered once"


def test_a_stream_that_resumes_adds_to_what_is_held(tmp_path: Path) -> None:
    store = LastGood(tmp_path / "db")
    first = Acceptance()
    first.received(asked())
    first.sent(told("1", "a"))
    change = first.received(asked(response_nonce="1"))
    assert change is not None and change.whole
    change.keep(store)
    second = Acceptance()
    second.received(asked(initial_resource_versions={"a": "v-a"}))
    second.sent(told("9", "b"))
    change = second.received(asked(response_nonce="9"))
    assert change is not None and not change.whole
    change.keep(store)
    assert held(store) == {"a": "v-a", "b": "v-b"}
    store.close()


def test_resuming_is_seen() -> None:
    assert Acceptance.resumes([asked(), asked(initial_resource_versions={"a": "1"})])
    assert not Acceptance.resumes([asked()])
