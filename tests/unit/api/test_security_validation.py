"""Rules of AuthorizationPolicy, PeerAuthentication and RequestAuthentication: what is told, and where."""

import json
from typing import Any

import pytest

from tidegate.api.decode import admit
from tidegate.api.validation.authorization_policy import path_problem
from tidegate.kit.errors import InvalidObjectError


def tried(kind: str, spec: dict[str, Any], **annotations: str) -> tuple[list[str], list[str]]:
    """Paths of the errors, and the warnings about rules."""
    meta = {"name": "a", "namespace": "shop", "annotations": {k.replace("__", "/"): v for k, v in annotations.items()}}
    raw = {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec}
    try:
        found = admit(raw, field_validation="Strict")
    except InvalidObjectError as error:
        return [each.path for each in error.errors], []
    return [], [text for text in found.warnings if "not acted on" not in text]


def errors(kind: str, spec: dict[str, Any], **annotations: str) -> list[str]:
    return tried(kind, spec, **annotations)[0]


def rule(**parts: Any) -> dict[str, Any]:
    return {"rules": [{k.rstrip("_"): v for k, v in parts.items()}]}


def source(**attributes: Any) -> dict[str, Any]:
    return rule(from_=[{"source": attributes}])


def operation(**attributes: Any) -> dict[str, Any]:
    return rule(to=[{"operation": attributes}])


AT_SOURCE, AT_OPERATION = "spec.rules[0].from[0].source", "spec.rules[0].to[0].operation"
PAY = {"matchLabels": {"app": "pay"}}


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({}, []),
        ({"rules": [{}]}, []),
        ({"action": "DENY"}, ["spec.rules"]),
        ({"action": "CUSTOM", "rules": [{}]}, ["spec.provider.name"]),
        ({"rules": [{}], "provider": {"name": "x"}}, ["spec.provider"]),
        (rule(from_=[]), ["spec.rules[0].from"]),
        (rule(to=[{}]), [AT_OPERATION]),
        (source(), [AT_SOURCE]),
        (source(ipBlocks=["10.0.0.0/8", "x"]), [f"{AT_SOURCE}.ipBlocks[1]"]),
        (source(notPrincipals=[""]), [f"{AT_SOURCE}.notPrincipals[0]"]),
        (source(serviceAccounts=["a/b"], notNamespaces=["c"]), [AT_SOURCE]),
        (source(serviceAccounts=["a/b/c", "a*"]), [f"{AT_SOURCE}.serviceAccounts[{i}]" for i in range(2)]),
        (source(trustDomains=["a*b", "a/b", "*a", "b*"]), [f"{AT_SOURCE}.trustDomains[{i}]" for i in range(2)]),
        (operation(ports=["80", "x", "70000"]), [f"{AT_OPERATION}.ports[{i}]" for i in (1, 2)]),
        (operation(paths=["/a/{*}", "/{x}"]), [f"{AT_OPERATION}.paths[1]"]),
        (rule(when=[{"key": "x", "values": ["1"]}]), ["spec.rules[0].when[0].key"]),
        (rule(when=[{"key": "source.ip"}]), ["spec.rules[0].when[0]"]),
        (rule(when=[{"key": "source.ip", "notValues": ["x"]}]), ["spec.rules[0].when[0].notValues[0]"]),
        (rule(when=[{"key": "request.headers[]", "values": ["x"]}]), ["spec.rules[0].when[0].key"]),
        (rule(when=[{"key": "request.auth.claims[a][]", "values": ["x"]}]), ["spec.rules[0].when[0].key"]),
        (source(principals=["a" * 3000]), [f"{AT_SOURCE}.principals[0]"]),
        (rule(when=[{"key": "destination.labels[app]", "values": ["x"]}]), ["spec.rules[0].when[0].key"]),
        ({"selector": PAY, "targetRefs": [{"kind": "Service", "name": "x"}]}, ["spec"]),
        ({"targetRefs": [{"kind": "Pod", "name": "x"}]}, ["spec.targetRefs[0]"]),
    ],
)
def test_authorization_policy(spec: dict[str, Any], paths: list[str]) -> None:
    assert errors("AuthorizationPolicy", spec) == paths


def test_custom_policies_may_not_speak_of_identities() -> None:
    spec = {
        "action": "CUSTOM",
        "provider": {"name": "x"},
        "rules": [
            {
                "from": [{"source": {"principals": ["a"], "ipBlocks": ["10.0.0.1"]}}],
                "when": [{"key": "request.auth.claims[a]", "values": ["b"]}],
            }
        ],
    }
    assert errors("AuthorizationPolicy", spec) == [f"{AT_SOURCE}.principals", "spec.rules[0].when[0].key"]


def test_dry_run() -> None:
    at = "metadata.annotations[istio.io/dry-run]"
    assert errors("AuthorizationPolicy", {}, istio__io=" ") == []
    for spec, value, expected in (({}, "true", []), ({}, "maybe", [at]), ({"action": "AUDIT"}, "true", [at])):
        assert errors("AuthorizationPolicy", spec, **{"istio.io/dry-run": value}) == expected
    assert errors("PeerAuthentication", {}, **{"istio.io/dry-run": "true"}) == [at]


def test_a_deny_rule_of_http_attributes_alone_denies_all_of_tcp() -> None:
    methods, ports = {"methods": ["GET"]}, {"methods": ["GET"], "ports": ["80"]}
    assert tried("AuthorizationPolicy", {"action": "DENY", **operation(**methods)})[1]
    assert not tried("AuthorizationPolicy", {"action": "DENY", **operation(**ports)})[1]
    assert not tried("AuthorizationPolicy", {"action": "ALLOW", **operation(**methods)})[1]


@pytest.mark.parametrize(
    ("path", "valid"),
    [
        ("/a/{*}/b", True),
        ("/{**}/b", True),
        ("/{*}/{**}", True),
        ("/{**}/{*}", False),
        ("/a{*}", False),
        ("/{*}/b*", False),
        ("/{*}/b c", False),
        ("/{*}/b%20c", True),
        ("/a*", True),
        ("/{a}", False),
        ("{*}", False),
        ("//{*}", False),
        ("/a//{*}", False),
        ("/{*}/", True),
        ("/{**}/{**}", False),
    ],
)
def test_path_templates(path: str, valid: bool) -> None:
    assert (path_problem(path) is None) == valid


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({"selector": PAY, "portLevelMtls": {"80": {"mode": "STRICT"}}}, []),
        ({"selector": PAY, "portLevelMtls": {80: {"mode": "STRICT"}}}, []),
        ({"portLevelMtls": {"80": {}}}, ["spec.portLevelMtls"]),
        ({"selector": PAY, "portLevelMtls": {}}, ["spec.portLevelMtls"]),
        ({"selector": PAY, "portLevelMtls": {"x": {}, "0": {}}}, ["spec.portLevelMtls", "spec.portLevelMtls"]),
        ({"selector": {"matchLabels": {"app": "a*"}}}, ["spec.selector.matchLabels[app]"]),
        ({"mtls": {"mode": "SOMETIMES"}}, ["spec.mtls.mode"]),
    ],
)
def test_peer_authentication(spec: dict[str, Any], paths: list[str]) -> None:
    assert errors("PeerAuthentication", spec) == paths


RULE = "spec.jwtRules[0]"


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({"issuer": "a"}, []),
        ({"jwksUri": "https://a.example/keys"}, []),
        ({}, [RULE]),
        ({"jwksUri": "ftp://a.example"}, [f"{RULE}.jwksUri"]),
        ({"jwksUri": "https://"}, [f"{RULE}.jwksUri"]),
        ({"jwksUri": "https://a.example:0"}, [f"{RULE}.jwksUri"]),
        ({"jwksUri": "https://a.example:x"}, [f"{RULE}.jwksUri"]),
        ({"issuer": "a", "jwks": "x"}, [f"{RULE}.jwks"]),
        ({"issuer": "a", "jwks": '{"keys": []}', "jwksUri": "https://a.example"}, [f"{RULE}.jwks"]),
        ({"jwksUri": "https://a.example/\u00e9"}, [f"{RULE}.jwksUri"]),
        ({"issuer": "a", "outputPayloadToHeader": "x\n"}, [f"{RULE}.outputPayloadToHeader"]),
        ({"issuer": "a", "fromHeaders": [{"name": "x", "prefix": "a\nb"}]}, [f"{RULE}.fromHeaders[0].prefix"]),
        ({"issuer": "a", "timeout": "1us"}, [f"{RULE}.timeout"]),
        (
            {"issuer": "a", "outputClaimToHeaders": [{"header": ":x", "claim": "y"}]},
            [f"{RULE}.outputClaimToHeaders[0].header"],
        ),
    ],
)
def test_request_authentication(given: dict[str, Any], paths: list[str]) -> None:
    assert errors("RequestAuthentication", {"jwtRules": [given]}) == paths


def test_keys_that_are_private_or_useless_are_told() -> None:
    keys = {"keys": [{"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB", "d": "x"}]}
    _, found = tried("RequestAuthentication", {"jwtRules": [{"issuer": "a", "jwks": json.dumps(keys)}]})
    assert ["private" in found[0], "no key" in found[1], len(found)] == [True, True, 2]
