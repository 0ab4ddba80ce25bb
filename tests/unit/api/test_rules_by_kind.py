"""Rules where Istio accepts more, or less, than one would think: each with what passes and what does not."""

from typing import Any

import pytest

from tests.unit.api.test_validation import ROUTE, entry, http, of, policy, server
from tidegate.api.decode import admit
from tidegate.api.validation import conditions, findings, headers, locality, names, proxy_config
from tidegate.api.validation import mesh as mesh_rules
from tidegate.api.validation.keys import holds_private, read_keys
from tidegate.api.validation.tls import is_cipher
from tidegate.api.validation.virtual_service import gateway_domain_problem
from tidegate.api.validation.wasm_plugin import scheme_of
from tidegate.kit.errors import InvalidObjectError

HTTPS = {"number": 443, "name": "tls", "protocol": "HTTPS"}
FILES = {"serverCertificate": "a", "privateKey": "b"}
TEMPLATE = {"probe": {"tcpSocket": {"port": 1}}}


def refusals(raw: dict[str, Any]) -> list[str]:
    try:
        admit(raw)
    except InvalidObjectError as refused:
        return [error.path for error in refused.errors]
    return []


def advice(raw: dict[str, Any]) -> list[str]:
    return [warning.partition(":")[0] for warning in admit(raw).warnings]


def found_by(rule: Any, *given: Any) -> findings.Findings:
    out = findings.Findings()
    rule("x", *given, out)
    return out


@pytest.mark.parametrize(
    "value", ["", "a", "%A%", "%a b%", "100%%", "%A(b)%", '%A(["b", "c"])%', "%A( b )%", r"%A(b\))%"]
)
def test_header_values_whose_variables_end(value: str) -> None:
    assert not found_by(headers.check_value, value).errors


@pytest.mark.parametrize(
    "value",
    [
        "%",
        "a%",
        "%A",
        "%A%%",
        "%A(b%",
        "%A(b)",
        r"%A(\))%",
        "%A(b):9%",
        "%A([b])%",
        '%A(["b"x])%',
        '%A(["b"]x)%',
        "\x01",
    ],
)
def test_header_values_whose_variables_do_not_end(value: str) -> None:
    assert found_by(headers.check_value, value).errors


@pytest.mark.parametrize(
    ("operations", "at"),
    [
        ({"request": {"set": {":authority": "a"}}}, []),
        ({"request": {"add": {"Host": "a"}}}, []),
        ({"request": {"set": {":path": "/a"}}}, ["spec.http[0].headers.request.set[:path]"]),
        ({"request": {"add": {":method": "GET"}}}, ["spec.http[0].headers.request.add[:method]"]),
    ],
)
def test_of_the_pseudo_headers_requests_can_have_the_authority_set(operations: dict[str, Any], at: list[str]) -> None:
    assert refusals(http(headers=operations)) == at


@pytest.mark.parametrize(
    ("gateways", "at"),
    [
        (["ns/gw", "mesh"], []),
        (["gw..ns"], ["spec.gateways[0]"]),
        (["a_b/gw"], ["spec.gateways[0]"]),
        (["gw", "a_b/gw"], []),
    ],
)
def test_names_of_gateways(gateways: list[str], at: list[str]) -> None:
    assert refusals(of("VirtualService", {"hosts": ["a.com"], "http": [{"route": ROUTE}], "gateways": gateways})) == at


ROUTES = [
    ({"redirect": {"uri": "/a", "port": 0}, "route": []}, []),
    ({"mirror": {"host": "a"}, "mirrorPercentage": {"value": 0.00001}}, []),
    ({"mirror": {"host": "a"}, "mirrorPercentage": {"value": 101}}, ["mirrorPercentage.value"]),
    ({"fault": {"abort": {"httpStatus": 500, "percentage": {"value": 0.00001}}}}, ["fault.abort.percentage.value"]),
    (
        {"route": [], "delegate": {"name": "x"}, "mirror": {"host": "a"}, "mirrors": [{"destination": {"host": "b"}}]},
        [],
    ),
]


@pytest.mark.parametrize(("route", "at"), ROUTES, ids=[next(iter(route)) for route, _ in ROUTES])
def test_routes(route: dict[str, Any], at: list[str]) -> None:
    assert refusals(http(**route)) == [f"spec.http[0].{path}" for path in at]


@pytest.mark.parametrize(
    ("name", "usable"),
    [("outbound_.80_.v1_.a.com", True), ("outbound_80_x_.a", True), ("outbound_.x_._.a.com", False), ("*.a.com", True)],
)
def test_names_between_gateways(name: str, usable: bool) -> None:
    assert (gateway_domain_problem(name, sni=True) is None) is usable


@pytest.mark.parametrize(
    ("text", "usable"), [("123", True), ("a.123", False), ("a.123.", True), ("*.", True), ("a..b", False)]
)
def test_wildcard_domains(text: str, usable: bool) -> None:
    assert (names.wildcard_problem(text) is None) is usable


@pytest.mark.parametrize(
    ("text", "usable"),
    [("10.0.0.0/8", True), ("10.0.0.0/08", False), ("fe80::1%a/64", False), ("::/0", True), ("1.1.1.1/33", False)],
)
def test_subnets(text: str, usable: bool) -> None:
    assert names.is_subnet(text) is usable


@pytest.mark.parametrize(
    ("listed", "usable"),
    [
        (["a/b", "a/*", "*"], True),
        (["a/*", "a/b"], False),
        (["a/b/c", "a/b"], False),
        (["a/b/c", "a/b/*", "a/*"], True),
        (["*", "a"], False),
        (["a", "a/b/c"], False),
        (["a", "ab"], True),
        (["a//b"], False),
        (["a/*/b"], False),
    ],
)
def test_localities(listed: list[str], usable: bool) -> None:
    assert bool(found_by(locality.check_localities, listed).errors) is not usable


REFUSED = [
    (entry(ports=[{**HTTPS, "targetPort": 0}]), "spec.ports[0].targetPort"),
    (entry(hosts=["*.a.com"], resolution="DNS", workloadSelector={"labels": {"a": "b"}}), "spec.hosts[0]"),
    (entry(resolution="STATIC", workloadSelector={"labels": {"a": "b" * 64}}), "spec.workloadSelector.labels[a]"),
    (server(hosts=["::1"]), "spec.servers[0].hosts[0]"),
    (server(tls={"httpsRedirect": True, "caCertificates": "a"}), "spec.servers[0].tls"),
    (server(port=HTTPS, tls={**FILES, "credentialName": "c"}), "spec.servers[0].tls"),
    (server(port=HTTPS, tls={"caCrl": "a", "credentialName": "c"}), "spec.servers[0].tls.caCrl"),
    (policy(tls={"mode": "SIMPLE", "credentialName": "configmap://roots"}), "spec.trafficPolicy.tls.credentialName"),
    (
        policy(outlierDetection={"outlierDetectionHttpErrorCodes": [99]}),
        "spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[0]",
    ),
    (
        of(
            "Sidecar",
            {
                "outboundTrafficPolicy": {
                    "mode": "ALLOW_ANY",
                    "egressProxy": {"host": "a.com", "subset": "a_b", "port": {"number": 1}},
                }
            },
        ),
        "spec.outboundTrafficPolicy.egressProxy.subset",
    ),
    (of("ProxyConfig", {"environmentVariables": {"A": "b" * 2049}}), "spec.environmentVariables[A]"),
    (of("TrafficExtension", {"lua": {"inlineCode": "\u00e9" * 32769}}), "spec.lua.inlineCode"),
    (of("Telemetry", {"accessLogging": [{"filter": {}}]}), "spec.accessLogging[0].filter.expression"),
    (of("WorkloadGroup", {"template": {"ports": {"http": 0}}, **TEMPLATE}), "spec.template.ports[http]"),
]


@pytest.mark.parametrize(("raw", "path"), REFUSED, ids=[path for _, path in REFUSED])
def test_what_is_refused(raw: dict[str, Any], path: str) -> None:
    assert refusals(raw) == [path]


ACCEPTED = [
    policy(connectionPool={"tcp": {"idleTimeout": "500us"}}),
    policy(tls={}),
    policy(tls={"mode": "SIMPLE", "credentialName": "configmap://shop/roots"}),
    policy(loadBalancer={"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 1}}}),
    policy(
        loadBalancer={
            "localityLbSetting": {
                "failover": [{"from": "a", "to": "b"}],
                "failoverPriority": ["topology.kubernetes.io/region=a"],
            }
        }
    ),
    policy(
        loadBalancer={"localityLbSetting": {"distribute": [{"from": "a", "to": {"a": 100}}], "failoverPriority": ["x"]}}
    ),
    of("WorkloadGroup", {"template": {"address": "a_b", "labels": {"a": "b c"}}, **TEMPLATE}),
    of("AuthorizationPolicy", {"rules": [{"to": [{"operation": {"ports": ["80"]}}] * 513}]}),
]


@pytest.mark.parametrize("raw", ACCEPTED)
def test_what_is_accepted(raw: dict[str, Any]) -> None:
    assert refusals(raw) == []


WARNED = [
    (of("VirtualService", {"hosts": ["a.com"], "http": [{"route": ROUTE}], "gateways": ["gw.ns"]}), "spec.gateways[0]"),
    (
        http(rewrite={"authority": "a"}, route=[{**ROUTE[0], "headers": {"request": {"set": {"Host": "b"}}}}]),
        "spec.http[0].route[0].headers.request.set[Host]",
    ),
    (
        of("VirtualService", {"hosts": ["a.com"], "tcp": [{"match": [{"sourceNamespace": "a_b"}], "route": ROUTE}]}),
        "spec.tcp[0].match[0].sourceNamespace",
    ),
    (
        policy(portLevelSettings=[{"port": {"number": 70000}, "tls": {}}]),
        "spec.trafficPolicy.portLevelSettings[0].port.number",
    ),
    (
        of("Telemetry", {"metrics": [{"overrides": [{"tagOverrides": {"": {"value": "a"}}}]}]}),
        "spec.metrics[0].overrides[0].tagOverrides",
    ),
    (
        entry(hosts=["a.com", "b.com"], addresses=["10.0.0.1"], resolution="DNS", ports=[HTTPS]),
        "spec.hosts",
    ),
    (
        of("AuthorizationPolicy", {"action": "DENY", "rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]}),
        "spec.rules[0]",
    ),
]


@pytest.mark.parametrize(("raw", "path"), WARNED, ids=[path for _, path in WARNED])
def test_what_is_told(raw: dict[str, Any], path: str) -> None:
    assert path in advice(raw)


def test_a_deny_rule_that_names_ports_denies_what_it_says() -> None:
    rule = {"from": [{"source": {"requestPrincipals": ["*"]}}], "to": [{"operation": {"ports": ["80"]}}]}
    assert "spec.rules[0]" not in advice(of("AuthorizationPolicy", {"action": "DENY", "rules": [rule]}))


@pytest.mark.parametrize(
    ("key", "value", "usable"),
    [
        ("source.serviceAccount", "ns/sa", True),
        ("source.serviceAccount", "a/b/c", False),
        ("source.serviceAccount", "a*", False),
        ("source.trustDomain", "*.local", True),
        ("source.trustDomain", "a*b", False),
    ],
)
def test_values_of_identities(key: str, value: str, usable: bool) -> None:
    raw = of("AuthorizationPolicy", {"rules": [{"when": [{"key": key, "values": [value]}]}]})
    assert (refusals(raw) == []) is usable


def test_a_condition_has_as_many_accounts_as_a_source() -> None:
    listed = [f"a{n}" for n in range(17)]
    raw = of("AuthorizationPolicy", {"rules": [{"when": [{"key": "source.serviceAccount", "values": listed}]}]})
    assert refusals(raw) == ["spec.rules[0].when[0].values"]
    assert conditions.service_account_problem(listed[0]) is None


@pytest.mark.parametrize(
    ("address", "scheme"),
    [
        ("oci://reg/x:v1", "oci"),
        ("reg.example/x", "http"),
        ("localhost:5000/x", "localhost"),
        ("/x.wasm", ""),
        ("file:///x", "file"),
        ("#%x$#@", None),
        ("http://a b/", None),
        ("http://a/%zz", None),
        (":x", None),
    ],
)
def test_schemes_of_modules(address: str, scheme: str | None) -> None:
    assert scheme_of(address) == scheme


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ('{"keys": []}', True),
        ("{}", False),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}', True),
        ('{"kty": "oct", "k": "AQAB"}', True),
        ('{"keys": [{"kty": "RSA", "n": "AQAB"}]}', False),
        ('{"keys": [{"kty": "DSA"}]}', False),
        ('{"keys": [{"kty": "EC", "crv": "P-1", "x": "AQAB", "y": "AQAB"}]}', False),
        ('{"keys": [{"kty": "oct", "k": "=!"}]}', False),
    ],
)
def test_key_sets(text: str, usable: bool) -> None:
    assert (read_keys(text) is not None) is usable


def test_a_symmetric_key_is_private() -> None:
    assert holds_private([{"kty": "oct", "k": "AQAB"}])
    assert not holds_private([{"kty": "RSA", "n": "AQAB", "e": "AQAB"}])


@pytest.mark.parametrize(("text", "known"), [("AES128-SHA", True), ("!RC4", True), ("ALL", True), ("RC4", False)])
def test_cipher_suites_and_rules_about_them(text: str, known: bool) -> None:
    assert is_cipher(text) is known


@pytest.mark.parametrize(
    ("service", "usable"), [("ns/a.com", True), ("ns/a", False), ("*/a.com", True), ("a", True), ("1.1.1.1", True)]
)
def test_services_of_providers(service: str, usable: bool) -> None:
    assert bool(found_by(mesh_rules.check_provider_service, service).errors) is not usable


@pytest.mark.parametrize(("domain", "usable"), [("cluster.local.", True), ("a_b", False), ("", False)])
def test_trust_domains(domain: str, usable: bool) -> None:
    assert bool(found_by(mesh_rules.check_trust_domain, domain).errors) is not usable


@pytest.mark.parametrize(
    ("address", "usable"), [("[a.com]:1", True), ("[::1]:1", True), ("::1:1", False), ("a", False)]
)
def test_addresses_of_proxies(address: str, usable: bool) -> None:
    assert bool(found_by(proxy_config.check_address, address).errors) is not usable


def test_an_extension_without_its_configuration_is_told() -> None:
    patch = {"operation": "MERGE", "value": {"transport_socket": {"name": "tls"}}}
    found = advice(of("EnvoyFilter", {"configPatches": [{"applyTo": "CLUSTER", "patch": patch}]}))
    assert "spec.configPatches[0].patch.value.transportSocket" in found


def test_a_removal_may_carry_a_value_that_is_read() -> None:
    patch = {"operation": "REMOVE", "value": {"name": 5}}
    raw = of("EnvoyFilter", {"configPatches": [{"applyTo": "CLUSTER", "patch": patch}]})
    assert refusals(raw) == ["spec.configPatches[0].patch.value.name"]


def test_types_of_envoys_old_api_are_refused() -> None:
    config = {"@type": "type.googleapis.com/envoy.config.filter.http.lua.v2.Lua", "inline_code": "x"}
    patch = {"operation": "INSERT_BEFORE", "value": {"name": "lua", "typed_config": config}}
    raw = of("EnvoyFilter", {"configPatches": [{"applyTo": "HTTP_FILTER", "patch": patch}]})
    assert refusals(raw) == ["spec.configPatches[0].patch.value.typed_config.@type"]
    config["@type"] = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
    assert refusals(raw) == []
