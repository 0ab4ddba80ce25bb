"""ProxyConfig's connectionSettings: what clients may do on one connection."""

import json
from typing import Any

import pytest

from tests.unit.envoy.gateway.front import Front, gateway, server
from tests.worlds import Shop, entry, mesh
from tidegate.api.mesh import ConnectionSettings, HttpPathWithEscapedSlashesAction, Profile, ProxyConfig
from tidegate.app.discovery.proxies import read_metadata
from tidegate.envoy import protos
from tidegate.scope.connections import connection_settings

LIMITS = {
    "httpIdleTimeout": "7s",
    "httpMaxConnectionDuration": "9s",
    "httpStreamIdleTimeout": "8s",
    "httpRequestHeadersTimeout": "6s",
    "httpMaxConcurrentStreams": 5,
    "http2InitialStreamWindowSize": 65536,
    "httpHeadersWithUnderscoresAction": "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    "httpPathWithEscapedSlashesAction": "REJECT_REQUEST",
    "httpMergeSlashes": True,
}


def settings_of(raw: dict[str, Any], *, router: bool = False) -> ConnectionSettings | None:
    node = read_metadata({"PROXY_CONFIG": json.dumps({"connectionSettings": raw})})
    return connection_settings(node["proxy_config"], None, router=router)


def manager_of(chain: Any) -> Any:
    return protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)


def test_limits_of_a_sidecar() -> None:
    shop = Shop(entry("shop/a", "a.example", (8080, "HTTP")), connections=settings_of(LIMITS))
    listener = shop.listener("0.0.0.0_8080")
    found = manager_of(listener.filter_chains[0])
    common = found.common_http_protocol_options
    assert (common.idle_timeout.seconds, common.max_connection_duration.seconds) == (7, 9)
    assert common.headers_with_underscores_action == protos.CommonHttpProtocolOptions.DROP_HEADER
    assert (found.stream_idle_timeout.seconds, found.request_headers_timeout.seconds) == (8, 6)
    http2 = found.http2_protocol_options
    assert (http2.max_concurrent_streams.value, http2.initial_stream_window_size.value) == (5, 65536)
    assert found.merge_slashes
    assert found.path_with_escaped_slashes_action == protos.HttpConnectionManager.REJECT_REQUEST
    assert not listener.HasField("per_connection_buffer_limit_bytes")


def test_without_settings_nothing_is_limited() -> None:
    found = manager_of(Shop(entry("shop/a", "a.example", (8080, "HTTP"))).listener("0.0.0.0_8080").filter_chains[0])
    assert not found.HasField("common_http_protocol_options") and not found.HasField("http2_protocol_options")


def test_the_edge_profile_is_for_gateways_and_leaves_what_is_said() -> None:
    raw = {"profile": "EDGE", "httpStreamIdleTimeout": "8s"}
    sidecar, front = settings_of(raw), settings_of(raw, router=True)
    assert sidecar is not None and sidecar.http_request_timeout is None
    assert front is not None and front.http_request_timeout is not None
    assert front.http_stream_idle_timeout is not None and front.http_stream_idle_timeout.seconds == 8
    assert front.http_path_with_escaped_slashes_action is HttpPathWithEscapedSlashesAction.UNESCAPE_AND_REDIRECT


@pytest.mark.parametrize("own", [None, ProxyConfig()])
def test_the_meshs_settings_hold_where_a_proxy_has_none(own: ProxyConfig | None) -> None:
    whole = ProxyConfig(connection_settings=ConnectionSettings(profile=Profile.SIDECAR, http_merge_slashes=True))
    assert connection_settings(own, whole, router=False) == whole.connection_settings
    assert connection_settings(None, None, router=True) is None


def test_a_gateways_listener_holds_back_no_more_than_it_may() -> None:
    config = mesh("defaultConfig: {connectionSettings: {profile: EDGE}}")
    found = Front(config, gateway("edge/one", server(80, "HTTP"))).listener("0.0.0.0_80")
    assert found.per_connection_buffer_limit_bytes.value == 32768
    assert manager_of(found.filter_chains[0]).request_timeout.seconds == 300
