"""What is said of a Pod rather than of a host: policies of security, and patches of its configuration."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st

from tests.equivalence.live.draw import Draw, Json, chance, choice, document, networking, some
from tests.equivalence.live.stage import ELSEWHERE, NAMESPACE, OUTSIDE

ISSUER = "https://tokens.example.com"
_TYPE = "type.googleapis.com/envoy.extensions.filters."


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


def _key_set() -> str:
    """One public key (RFC 7517); nothing that is drawn is signed by it."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    key = {"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "x": _number(point.x), "y": _number(point.y)}
    return json.dumps({"keys": [key]})


def _unsigned(issuer: str) -> str:
    parts = ({"alg": "ES256", "kid": "k", "typ": "JWT"}, {"iss": issuer, "sub": "anna"})
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts), "c2ln"])


KEYS = _key_set()
TOKENS = (("authorization", "Bearer nonsense"), ("authorization", f"Bearer {_unsigned('https://other.example.com')}"))
"""Headers with tokens of which none holds."""

# What AuthorizationPolicies ask


OPERATIONS = (
    {"paths": ["/api"]},
    {"paths": ["/api/*"]},
    {"notPaths": ["/api*"]},
    {"methods": ["GET"]},
    {"ports": ["8080"]},
    {"notPorts": ["9000"]},
    {"hosts": ["web*"]},
)
SOURCES = (
    {"ipBlocks": [ELSEWHERE]},
    {"notIpBlocks": [f"{ELSEWHERE}/32"]},
    {"remoteIpBlocks": [OUTSIDE]},
    {"principals": ["cluster.local/ns/shop/sa/*"]},
    {"notPrincipals": ["*"]},
    {"namespaces": ["shop"]},
    {"requestPrincipals": ["*"]},
    {"notRequestPrincipals": ["*"]},
)
CONDITIONS = (
    {"key": "request.headers[x-user]", "values": ["anna", "b*"]},
    {"key": "destination.port", "values": ["8080"]},
    {"key": "source.ip", "notValues": [OUTSIDE]},
    {"key": "connection.sni", "values": ["web*"]},
    {"key": "request.auth.claims[sub]", "values": ["anna"]},
)


@st.composite
def authorization(draw: Draw, number: int) -> Json:
    rule: Json = {}
    if draw(chance(70)):
        rule["to"] = [{"operation": draw(choice(*OPERATIONS))}]
    if draw(chance(35)):
        rule["from"] = [{"source": draw(choice(*SOURCES))}]
    if draw(chance(25)):
        rule["when"] = [draw(choice(*CONDITIONS))]
    spec: Json = {"action": draw(choice("ALLOW", "DENY", "DENY")), "rules": [rule] if draw(chance(92)) else []}
    return document("AuthorizationPolicy", "security.istio.io/v1", f"p{number}", NAMESPACE, spec)


@st.composite
def token_rules(draw: Draw) -> Json:
    rule: Json = {"issuer": ISSUER, "jwks": KEYS}
    if draw(chance(30)):
        rule["fromHeaders"] = [{"name": "x-token"}]
    return document("RequestAuthentication", "security.istio.io/v1", "tokens", NAMESPACE, {"jwtRules": [rule]})


MODES = ("STRICT", "STRICT", "PERMISSIVE", "DISABLE", "UNSET")


@st.composite
def peers(draw: Draw) -> Json:
    """Who may come without a certificate, for all ports and for some."""
    spec: Json = {"mtls": {"mode": draw(choice(*MODES))}}
    if draw(chance(60)):
        spec["selector"] = {"matchLabels": {"app": "web"}}
        ports = draw(some((8080, 8081, 9000, 3306), 2))
        spec |= {"portLevelMtls": {port: {"mode": draw(choice(*MODES))} for port in ports}} if ports else {}
    return document("PeerAuthentication", "security.istio.io/v1", "peers", NAMESPACE, spec)


# Patches


def _patched(apply_to: str, match: Json, operation: str, value: Any = None) -> Json:
    patch = {"operation": operation, **({"value": value} if value is not None else {})}
    return {"applyTo": apply_to, "match": match, "patch": patch}


def _filter(name: str, kind: str, **rest: Any) -> Json:
    return {"name": name, "typed_config": {"@type": _TYPE + kind, **rest}}


_ROUTER = {"listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}}
_FAULT = _filter(
    "extra.fault",
    "http.fault.v3.HTTPFault",
    abort={"http_status": 418, "percentage": {"numerator": 100}},
    headers=[{"name": "x-user", "string_match": {"exact": "bob"}}],
)
_NOBODY_TO_9000 = _filter(
    "extra.rbac",
    "network.rbac.v3.RBAC",
    stat_prefix="extra",
    rules={
        "action": "DENY",
        "policies": {"p": {"permissions": [{"destination_port": 9000}], "principals": [{"any": True}]}},
    },
)
_TEAM = {"header": {"key": "x-team", "value": "patched"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
_NEW = {"header": {"key": "x-new", "value": "patched"}, "append_action": "ADD_IF_ABSENT"}
_ONE_HOST = {"routeConfiguration": {"vhost": {"name": "one.example.com:80"}}}
PATCHES = tuple(
    patch
    for context in ("SIDECAR_OUTBOUND", "SIDECAR_INBOUND", "GATEWAY", "ANY")
    for patch in (
        _patched("HTTP_FILTER", {"context": context, **_ROUTER}, "INSERT_FIRST", _FAULT),
        _patched("NETWORK_FILTER", {"context": context}, "INSERT_FIRST", _NOBODY_TO_9000),
        _patched("HTTP_ROUTE", {"context": context}, "MERGE", {"request_headers_to_add": [_NEW]}),
        _patched("VIRTUAL_HOST", {"context": context}, "MERGE", {"request_headers_to_add": [_TEAM]}),
        _patched("VIRTUAL_HOST", {"context": context, **_ONE_HOST}, "MERGE", {"domains": ["unknown.test"]}),
        _patched("CLUSTER", {"context": context, "cluster": {"service": "one.example.com"}}, "REMOVE"),
        _patched("CLUSTER", {"context": context, "cluster": {"portNumber": 8000}}, "REMOVE"),
        _patched("HTTP_ROUTE", {"context": context, "routeConfiguration": {"name": "80"}}, "REMOVE"),
    )
)


@st.composite
def patches(draw: Draw) -> Json:
    spec = {"configPatches": draw(some(PATCHES, 2, 1))}
    return {**networking("EnvoyFilter", "patch", NAMESPACE, spec), "apiVersion": "networking.istio.io/v1alpha3"}


@st.composite
def said_of_the_pod(draw: Draw, *, often: bool) -> list[Json]:
    """often: authorization in half of the worlds, else in a quarter."""
    found = [draw(authorization(n)) for n in range(draw(choice(0, 0, 1, 2) if often else choice(0, 0, 0, 1)))]
    found += [draw(token_rules())] if draw(chance(20)) else []
    return found + ([draw(patches())] if draw(chance(20)) else [])
