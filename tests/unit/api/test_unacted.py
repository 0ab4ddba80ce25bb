"""The list of fields that are read and not acted on yet."""

from typing import Any

import pytest

from tidegate.api.kinds import KINDS
from tidegate.api.mesh import MeshConfig
from tidegate.api.shapes import ListShape, MapShape, MessageShape, Shape, shape_of
from tidegate.api.unacted import UNACTED, Unacted, warnings

ENTRIES = [(kind, entry) for kind, entries in UNACTED.items() for entry in entries]


def follow(shape: Shape, steps: list[str]) -> Shape:
    for step in steps:
        if step == "[]":
            assert isinstance(shape, ListShape)
            shape = shape.item
        elif step == "{}":
            assert isinstance(shape, MapShape)
            shape = shape.value
        else:
            assert isinstance(shape, MessageShape), step
            shape = shape.members[step].shape
    return shape


@pytest.mark.parametrize(("kind", "entry"), ENTRIES, ids=[f"{k}:{e.pattern}" for k, e in ENTRIES])
def test_every_pattern_names_a_field(kind: str, entry: Unacted) -> None:
    body = MeshConfig if kind == "MeshConfig" else KINDS[kind].body
    steps = entry.pattern.replace("[]", ".[]").replace("{}", ".{}").split(".")
    if kind != "MeshConfig":
        assert steps.pop(0) == "spec"
    follow(shape_of(body), steps)
    assert entry.effect


def test_every_istio_kind_has_its_list() -> None:
    others = {"MeshConfig", "Deployment", "ReplicaSet"}
    assert {name for name, kind in KINDS.items() if kind.strict} | others == set(UNACTED)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("ServiceEntry", {"hosts": ["a"]}, []),
        ("Gateway", {"servers": [{"tls": {"mode": "SIMPLE"}}]}, []),
        (
            "Gateway",
            {"servers": [{}, {"tls": {"mode": "ISTIO_MUTUAL"}}]},
            ["spec.servers[1].tls.mode: not acted on yet; workloads have no certificates for it"],
        ),
        ("VirtualService", {"gateways": ["mesh", "a/b"]}, []),
        (
            "VirtualService",
            {"tcp": [{}, {"match": [{}, {"sourceSubnet": "10.0.0.0/8"}]}]},
            ["spec.tcp[1].match[1].sourceSubnet: not acted on yet; clients are not told apart by address"],
        ),
        ("DestinationRule", {"trafficPolicy": {"tls": {"mode": "DISABLE"}}}, []),
        ("DestinationRule", {"trafficPolicy": {"tls": {"mode": "SIMPLE", "sni": "a"}}}, []),
        (
            "DestinationRule",
            {"subsets": [{"trafficPolicy": {"portLevelSettings": [{"tls": {"mode": "ISTIO_MUTUAL"}}]}}]},
            [
                "spec.subsets[0].trafficPolicy.portLevelSettings[0].tls.mode: not acted on yet; "
                "there are no certificates, connections are refused"
            ],
        ),
        ("MeshConfig", {"enableAutoMtls": False, "accessLogFile": "/dev/stdout"}, []),
        (
            "MeshConfig",
            {"enableAutoMtls": True},
            ["enableAutoMtls: not acted on yet; no certificates are issued, traffic between sidecars is plain text"],
        ),
        ("Pod", {"containers": []}, []),
        ("PeerAuthentication", {"mtls": {"mode": "DISABLE"}}, []),
        (
            "PeerAuthentication",
            {"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "STRICT"}}},
            [
                f"{path}: not acted on yet; no certificates are issued: plain text is accepted, and mutual TLS is not, "
                "whatever the mode"
                for path in ("spec.mtls.mode", "spec.portLevelMtls[8080].mode")
            ],
        ),
        (
            "AuthorizationPolicy",
            {"rules": [{"when": [{"key": "source.ip", "values": ["10.0.0.1"]}, {"key": "source.principal"}]}]},
            [
                "spec.rules[0].when[1].key: not acted on yet; no certificates are issued, so no caller has an "
                "identity: its values are those of nobody"
            ],
        ),
        ("RequestAuthentication", {"jwtRules": [{"issuer": "a", "jwksUri": "https://a.example"}]}, []),
        (
            "RequestAuthentication",
            {"jwtRules": [{"issuer": "a"}]},
            [
                "spec.jwtRules[0]: not acted on yet; keys are not looked for at the issuer, all its tokens are "
                "refused; set jwks or jwksUri"
            ],
        ),
    ],
)
def test_warnings_have_exact_paths(kind: str, body: dict[str, Any], expected: list[str]) -> None:
    assert warnings(kind, body) == expected


ACTED_MESH = frozenset(
    [
        "proxyListenPort",
        "proxyInboundListenPort",
        "proxyHttpPort",
        "connectTimeout",
        "protocolDetectionTimeout",
        "tcpKeepalive",
        "accessLogFile",
        "accessLogFormat",
        "accessLogEncoding",
        "disableEnvoyListenerLog",
        "outboundTrafficPolicy",
        "discoverySelectors",
        "serviceEntryVisibility",
        "inboundTrafficPolicy",
        "defaultServiceExportTo",
        "defaultVirtualServiceExportTo",
        "defaultDestinationRuleExportTo",
        "rootNamespace",
        "localityLbSetting",
        "dnsRefreshRate",
        "h2UpgradePolicy",
        "inboundClusterStatName",
        "outboundClusterStatName",
        "pathNormalization",
        "defaultHttpRetryPolicy",
        "defaultInboundHttpRetryPolicy",
        "defaultTrafficPolicy",
        "enableTracing",
        "extensionProviders",
        "defaultProviders",
        "defaultConfig",
        "trustDomain",
        "trustDomainAliases",
        "zoneAwareLbSetting",
        "ingressClass",
        "ingressService",
        "ingressControllerMode",
        "ingressSelector",
        "tlsDefaults",
    ]
)


def test_every_field_of_the_mesh_configuration_is_decided_upon() -> None:
    fields = set(shape_of(MeshConfig).members)
    listed = {entry.pattern for entry in UNACTED["MeshConfig"]}
    for name in fields:
        assert (name in listed) != (name in ACTED_MESH), name
