"""Joining messages: protobuf's rules, Istio's exceptions."""

import pytest

from tidegate.envoy import protos
from tidegate.envoy.patches.merge import MergeError, merge, merge_any, merge_with_socket
from tidegate.kit.durations import Duration


def seconds(value: float) -> object:
    return protos.duration(Duration.of(seconds=value))


def test_scalars_are_replaced_and_zero_changes_nothing() -> None:
    found = protos.Cluster(name="a", lb_policy="RING_HASH", alt_stat_name="old")
    merge(found, protos.Cluster(lb_policy="ROUND_ROBIN", alt_stat_name="new"))
    assert (found.name, found.alt_stat_name) == ("a", "new")
    assert found.lb_policy == protos.Cluster.LbPolicy.Value("RING_HASH")


def test_durations_are_replaced_whole() -> None:
    found = protos.Cluster(connect_timeout=seconds(10))
    merge(found, protos.Cluster(connect_timeout=seconds(0.75)))
    assert found.connect_timeout.ToTimedelta().total_seconds() == 0.75


def test_messages_are_joined_and_lists_grow() -> None:
    found = protos.VirtualHost(name="h", domains=["a"])
    found.retry_policy.retry_on = "5xx"
    change = protos.VirtualHost(domains=["b"])
    change.retry_policy.num_retries.value = 3
    merge(found, change)
    assert list(found.domains) == ["a", "b"]
    assert (found.retry_policy.retry_on, found.retry_policy.num_retries.value) == ("5xx", 3)


def test_lists_are_replaced_where_that_is_asked_for() -> None:
    found = protos.VirtualHost(name="h", domains=["a"])
    merge(found, protos.VirtualHost(domains=["b"]), replace_lists=True)
    assert list(found.domains) == ["b"]


def test_a_member_of_a_oneof_takes_the_place_of_another() -> None:
    found = protos.Route(route=protos.RouteAction(cluster="c"))
    merge(found, protos.Route(direct_response=protos.DirectResponseAction(status=204)))
    assert found.WhichOneof("action") == "direct_response"


def test_maps_are_joined_key_by_key() -> None:
    found, change = protos.Cluster(), protos.Cluster()
    found.metadata.filter_metadata["a"].update({"x": 1})
    found.metadata.filter_metadata["b"].update({"x": 1})
    change.metadata.filter_metadata["b"].update({"y": 2})
    merge(found, change)
    assert {key: dict(value) for key, value in found.metadata.filter_metadata.items()} == {"a": {"x": 1}, "b": {"y": 2}}


def test_an_empty_message_is_set_by_being_named() -> None:
    found = protos.Cluster()
    change = protos.Cluster()
    change.round_robin_lb_config.SetInParent()
    merge(found, change)
    assert found.HasField("round_robin_lb_config")


def test_what_stands_in_an_any_is_joined_as_what_it_is() -> None:
    found = protos.any_of(protos.TcpProxy(stat_prefix="a", cluster="c"))
    merge_any(found, protos.any_of(protos.TcpProxy(idle_timeout=seconds(5))))
    joined = protos.TcpProxy.FromString(found.value)
    assert (joined.cluster, joined.idle_timeout.seconds) == ("c", 5)


def test_different_types_cannot_be_joined() -> None:
    with pytest.raises(MergeError, match="TcpProxy"):
        merge_any(protos.any_of(protos.HTTPFault()), protos.any_of(protos.TcpProxy(stat_prefix="a")))


class TestTransportSockets:
    def test_those_of_one_name_are_joined(self) -> None:
        found = protos.Cluster(transport_socket=protos.transport_socket("tls", protos.UpstreamTlsContext(sni="a")))
        limit = protos.UpstreamTlsContext(max_session_keys=protos.u32(7))
        merge_with_socket(found, protos.Cluster(transport_socket=protos.transport_socket("tls", limit)))
        context = protos.UpstreamTlsContext.FromString(found.transport_socket.typed_config.value)
        assert (context.sni, context.max_session_keys.value) == ("a", 7)

    def test_another_one_takes_the_place(self) -> None:
        found = protos.Cluster(transport_socket=protos.transport_socket("tls", protos.UpstreamTlsContext(sni="a")))
        merge_with_socket(found, protos.Cluster(transport_socket=protos.transport_socket("raw", protos.RawBuffer())))
        assert found.transport_socket.name == "raw"

    def test_one_of_several_to_choose_from_is_joined(self) -> None:
        found = protos.Cluster()
        for name in ("tls", "raw"):
            socket = protos.transport_socket(name, protos.UpstreamTlsContext(sni=name))
            found.transport_socket_matches.add(name=name, transport_socket=socket)
        change = protos.transport_socket("tls", protos.UpstreamTlsContext(allow_renegotiation=True))
        merge_with_socket(found, protos.Cluster(alt_stat_name="s", transport_socket=change))
        context = protos.UpstreamTlsContext.FromString(
            found.transport_socket_matches[0].transport_socket.typed_config.value
        )
        assert (context.sni, context.allow_renegotiation) == ("tls", True)
        assert found.alt_stat_name == "s" and not found.HasField("transport_socket")
