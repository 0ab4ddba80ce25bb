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
    assert {name for name, kind in KINDS.items() if kind.strict} | {"MeshConfig"} == set(UNACTED)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("ServiceEntry", {"hosts": ["a"]}, []),
        ("Gateway", {"servers": []}, ["spec: gateways are not acted on yet"]),
        ("VirtualService", {"gateways": ["mesh"]}, []),
        (
            "VirtualService",
            {"gateways": ["mesh", "a/b"]},
            ["spec.gateways[1]: not acted on yet; rules apply to sidecars only"],
        ),
        (
            "VirtualService",
            {"http": [{}, {"match": [{}, {"gateways": ["mesh", "x"]}]}]},
            ["spec.http[1].match[1].gateways[1]: not acted on yet; rules apply to sidecars only"],
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
    ],
)
def test_warnings_have_exact_paths(kind: str, body: dict[str, Any], expected: list[str]) -> None:
    assert warnings(kind, body) == expected


ACTED_MESH = frozenset(
    [
        "proxyListenPort",
        "proxyInboundListenPort",
        "connectTimeout",
        "protocolDetectionTimeout",
        "tcpKeepalive",
        "accessLogFile",
        "accessLogFormat",
        "accessLogEncoding",
        "disableEnvoyListenerLog",
        "outboundTrafficPolicy",
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
    ]
)


def test_every_field_of_the_mesh_configuration_is_decided_upon() -> None:
    fields = set(shape_of(MeshConfig).members)
    listed = {entry.pattern for entry in UNACTED["MeshConfig"]}
    for name in fields:
        assert (name in listed) != (name in ACTED_MESH), name
