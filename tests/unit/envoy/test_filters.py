"""Network filters."""

import msgspec
import pytest

from tests.unit.envoy.outbound_samples import CLIENT, listener_defaults, unpacked
from tidegate.api.fields import Duration
from tidegate.api.networking import TunnelSettings
from tidegate.envoy import filters, protos
from tidegate.envoy.inputs import AccessLog


def manager(direction="outbound", route_config=None, proxy=CLIENT, defaults=None, **options):
    made = filters.http_connection_manager(
        filters.HttpOptions(
            direction=direction,
            stat_prefix="outbound_0.0.0.0_80;",
            route_name="80",
            defaults=defaults or listener_defaults(),
            proxy=proxy,
            **options,
        ),
        route_config,
    )
    return unpacked(made.typed_config, protos.HttpConnectionManager)


def proxy(**options):
    made = filters.tcp_proxy(filters.TcpOptions(**{"stat_prefix": "c", "clusters": (("c", 1),), **options}))
    return unpacked(made.typed_config, protos.TcpProxy)


def names(found):
    return [f.name.rpartition(".")[2] for f in found.http_filters]


def test_filters_in_order():
    assert names(manager()) == ["grpc_stats", "fault", "cors", "router"]


def test_with_certificates_the_offered_protocols_follow_the_request():
    found = manager(proxy=msgspec.structs.replace(CLIENT, mtls=True))
    assert names(found) == ["grpc_stats", "set_filter_state", "fault", "cors", "router"]
    assert names(manager("inbound", proxy=msgspec.structs.replace(CLIENT, mtls=True))) == names(manager())
    state = unpacked(found.http_filters[1].typed_config, protos.HttpSetFilterState).on_request_headers[0]
    assert state.object_key == "envoy.network.application_protocols"
    assert "istio-h2" in state.format_string.text_format_source.inline_string
    assert state.skip_if_empty, "a cluster that wants no override must keep its own list"


def test_routes_come_by_discovery_or_inline():
    found = manager()
    assert found.rds.route_config_name == "80"
    assert found.rds.config_source.WhichOneof("config_source_specifier") == "ads"
    assert found.rds.config_source.HasField("initial_fetch_timeout")
    inline = manager("inbound", protos.RouteConfiguration(name="inbound|80||"))
    assert inline.route_config.name == "inbound|80||"


def test_inbound_tells_the_application_who_called():
    found = manager("inbound")
    assert found.server_name == "istio-envoy"
    assert found.forward_client_cert_details == protos.HttpConnectionManager.APPEND_FORWARD
    assert found.set_current_client_cert_details.uri
    assert manager().server_name == ""


@pytest.mark.parametrize(
    ("mode", "normalize", "merge", "action"),
    [
        ("DEFAULT", True, False, 1),
        ("BASE", True, False, 1),
        ("NONE", False, False, 1),
        ("MERGE_SLASHES", True, True, 1),
        ("DECODE_AND_MERGE_SLASHES", True, True, 4),
    ],
)
def test_path_normalization(mode, normalize, merge, action):
    found = manager(defaults=listener_defaults(path_normalization=mode))
    assert (found.normalize_path.value, found.merge_slashes) == (normalize, merge)
    assert found.path_with_escaped_slashes_action == action


def test_what_the_proxy_says_of_itself():
    own = msgspec.structs.replace(CLIENT, http10=True, idle_timeout=Duration.of(seconds=35))
    found = manager(proxy=own)
    assert found.http_protocol_options.accept_http_10
    assert found.common_http_protocol_options.idle_timeout.seconds == 35
    assert not manager().HasField("common_http_protocol_options")


def test_tracing_can_be_off():
    assert manager().tracing.random_sampling.value == 1
    assert not manager(defaults=listener_defaults(tracing=False)).HasField("tracing")


def test_http_proxy_takes_whole_urls():
    assert manager(absolute_url=True).http_protocol_options.allow_absolute_url.value


def test_access_log():
    assert len(manager(defaults=listener_defaults(access_log=AccessLog(path="/x"))).access_log) == 1
    assert len(proxy(access_log=AccessLog(path="/x")).access_log) == 1


def test_tcp_proxy_to_one_cluster():
    found = proxy()
    assert (found.cluster, found.stat_prefix) == ("c", "c")
    assert not found.HasField("idle_timeout")


def test_tcp_proxy_by_weight():
    found = proxy(clusters=(("a", 80), ("b", 20)))
    assert [(c.name, c.weight) for c in found.weighted_clusters.clusters] == [("a", 80), ("b", 20)]
    assert found.WhichOneof("cluster_specifier") == "weighted_clusters"


def test_tcp_proxy_settings():
    found = proxy(
        idle_timeout=Duration.of(seconds=0),
        max_connection_duration=Duration.of(seconds=9),
        hash_source_ip=True,
        tunnel=TunnelSettings(protocol="POST", target_host="bulk.example.com", target_port=2200),
    )
    assert found.HasField("idle_timeout")
    assert found.max_downstream_connection_duration.seconds == 9
    assert found.hash_policy[0].HasField("source_ip")
    assert (found.tunneling_config.hostname, found.tunneling_config.use_post) == ("bulk.example.com:2200", True)
