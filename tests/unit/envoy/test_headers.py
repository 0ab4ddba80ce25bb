"""What proxyHeaders of a ProxyConfig change in connection managers and routes."""

from typing import Any

import pytest

from tests.worlds import Shop, entry, mesh
from tidegate.api import meshconfig
from tidegate.app.discovery.proxies import read_metadata
from tidegate.envoy import protos
from tidegate.scope.proxy import HeaderSettings
from tidegate.scope.proxyheaders import header_settings

PARTS = ("subject", "cert", "dns", "uri")
SITE = entry("shop/a", "a.example", (8080, "HTTP"))


def manager(**settings: Any) -> Any:
    shop = Shop(SITE, headers=HeaderSettings(**settings))
    chain = shop.listener("0.0.0.0_8080").filter_chains[0]
    return protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)


def settings_of(text: str) -> HeaderSettings:
    return header_settings(meshconfig.parse(f"defaultConfig: {{proxyHeaders: {text}}}").default_config)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{}", HeaderSettings()),
        ("{server: {value: edge}}", HeaderSettings(server="edge")),
        ("{server: {disabled: true, value: edge}}", HeaderSettings(server_passed=True)),
        ("{forwardedClientCert: SANITIZE}", HeaderSettings(client_cert="SANITIZE")),
        ("{setCurrentClientCertDetails: {uri: true, cert: true}}", HeaderSettings(client_cert_parts=PARTS)),
        ("{setCurrentClientCertDetails: {uri: false, subject: false}}", HeaderSettings(client_cert_parts=("dns",))),
        ("{requestId: {disabled: true}}", HeaderSettings(request_id=False)),
        ("{attemptCount: {disabled: true}}", HeaderSettings(attempt_count=False)),
        ("{attemptCount: {disabled: false}}", HeaderSettings()),
        ("{envoyDebugHeaders: {disabled: true}}", HeaderSettings(debug_headers=False)),
        ("{xForwardedPort: {enabled: true}}", HeaderSettings(forwarded_port=True)),
        ("{xForwardedHost: {enabled: true}}", HeaderSettings(forwarded_host=True)),
        ("{preserveHttp1HeaderCase: true}", HeaderSettings(keeps_case=True)),
    ],
)
def test_settings_are_read(text: str, wanted: HeaderSettings) -> None:
    assert settings_of(text) == wanted


def test_the_server_header() -> None:
    assert manager(server="edge").server_name == "edge"
    passed = protos.HttpConnectionManager.ServerHeaderTransformation.Value("PASS_THROUGH")
    assert manager(server_passed=True).server_header_transformation == passed


def test_request_ids_ports_and_debug_headers() -> None:
    assert manager(request_id=False).generate_request_id.value is False
    assert not manager().HasField("generate_request_id")
    assert manager(forwarded_port=True).append_x_forwarded_port
    router = manager(debug_headers=False).http_filters[-1]
    assert protos.Router.FromString(router.typed_config.value).suppress_envoy_headers


def test_attempts_are_told_unless_switched_off() -> None:
    def told(**settings: Any) -> set[bool]:
        found = Shop(SITE, mesh("{}"), headers=HeaderSettings(**settings)).route("8080")
        return {host.include_request_attempt_count for host in found.virtual_hosts}

    assert told() == {True} and told(attempt_count=False) == {False}


@pytest.mark.parametrize(
    "config", ['{"proxyHeaders": {"server": {"value": "a"}}}', {"proxyHeaders": {"server": {"value": "a"}}}]
)
def test_a_node_says_its_own(config: Any) -> None:
    found = read_metadata({"PROXY_CONFIG": config})["proxy_config"]
    assert header_settings(found) == HeaderSettings(server="a")


@pytest.mark.parametrize("config", ["{", "[]", 3, None, {"proxyHeaders": 3}, {"concurrency": "many"}])
def test_what_cannot_be_read_counts_as_absent(config: Any) -> None:
    assert header_settings(read_metadata({"PROXY_CONFIG": config})["proxy_config"]) == HeaderSettings()
