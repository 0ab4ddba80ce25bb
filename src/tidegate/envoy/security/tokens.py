"""RequestAuthentications as the JWT filter, and the clusters by which Envoy fetches key sets.

Envoy fetches the keys of a ``jwksUri`` itself: no address that a user writes is ever called by the control plane, and
a proxy keeps its keys fresh while the control plane is away.
"""

import base64
import hashlib
import json
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.objects import Object, Ref
from tidegate.api.security import JWTRule, Presence, RequestAuthentication
from tidegate.api.validation.keys import has_usable
from tidegate.envoy import protos, tls
from tidegate.envoy.inputs import ClusterDefaults, SecurityInput
from tidegate.envoy.resource import CLUSTER, Decision, Origin, Resource, resource
from tidegate.envoy.security import messages as m
from tidegate.envoy.security.matchers import JWT_FILTER, PAYLOAD
from tidegate.kit import naming
from tidegate.registry.addresses import is_ip
from tidegate.scope.proxy import ProxyKind

FETCH_TIMEOUT = Duration.of(seconds=5)
KEPT = Duration.of(seconds=20 * 60)
"""How long fetched keys are used before they are fetched again: Istio's interval."""
LISTS = ("permission", "scope")
"""Claims that hold several words (RFC 8693, section 4.2), besides those that a rule names."""
_RETRIES = 2
_P256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

Rules = list[tuple[Ref, int, JWTRule]]
"""The object, the rule's place in it, and the rule."""


def rules_of(policies: tuple[Object[RequestAuthentication], ...]) -> Rules:
    """All rules that hold, by issuer."""
    found = [(p.ref, index, rule) for p in policies for index, rule in enumerate(p.spec.jwt_rules)]
    return sorted(found, key=lambda each: each[2].issuer)


def filters(given: SecurityInput, *, routing: bool = False) -> list[Any]:
    """The JWT filter (HttpFilter), where some rule holds. ``routing``: routes may ask for claims, and are looked for
    anew once they are known."""
    rules = [rule for _, _, rule in rules_of(given.authentication)]
    if not rules:
        return []
    services = dict(given.key_services)
    config = m.JwtAuthentication(bypass_cors_preflight=True)
    for index, rule in enumerate(rules):
        config.providers[_name(index)].CopyFrom(_provider(rule, services))
        config.providers[_name(index)].clear_route_cache = routing
    config.rules.add(match={"prefix": "/"}, requires=_requirement(rules))
    return [protos.HttpFilter(name=JWT_FILTER, typed_config=protos.any_of(config))]


def _name(index: int) -> str:
    return f"origins-{index}"


def _provider(rule: JWTRule, services: dict[str, str]) -> Any:
    provider = m.JwtProvider(
        issuer=rule.issuer,
        audiences=rule.audiences,
        forward=rule.forward_original_token,
        from_headers=[{"name": place.name, "value_prefix": place.prefix} for place in rule.from_headers],
        from_params=rule.from_params,
        from_cookies=rule.from_cookies,
        forward_payload_header=rule.output_payload_to_header,
        payload_in_metadata=PAYLOAD,
        claim_to_headers=[{"header_name": c.header, "claim_name": c.claim} for c in rule.output_claim_to_headers],
    )
    lists = dict.fromkeys((*LISTS, *rule.space_delimited_claims))
    provider.normalize_payload_in_metadata.space_delimited_claims.extend(lists)
    if rule.jwks_uri and not rule.jwks:
        _put_fetching(provider.remote_jwks, rule, services)
    else:
        provider.local_jwks.inline_string = rule.jwks if has_usable(rule.jwks) else nobodys_keys()
    return provider


@lru_cache(maxsize=1)
def nobodys_keys() -> str:
    """A key set that no token can be signed for: Envoy takes none that is empty.

    Its one key is a point of P-256 (FIPS 186-4, D.1.2.3) that begins with a hash, so that nobody knows its private
    part.
    """
    x = int.from_bytes(hashlib.sha256(b"tidegate: no key").digest(), "big")
    while True:
        square = (x**3 - 3 * x + _P256_B) % _P256
        y = pow(square, (_P256 + 1) // 4, _P256)
        if y * y % _P256 == square:
            key = {"kty": "EC", "crv": "P-256", "x": _coordinate(x % _P256), "y": _coordinate(y)}
            return json.dumps({"keys": [key]})
        x += 1


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def refusals(given: SecurityInput) -> tuple[Decision, ...]:
    """Issuers whose tokens are all refused, since nothing could check them."""
    return tuple(
        Decision(f"tokens of {rule.issuer}", f"refused: spec.jwtRules[{index}] has no key to check them with", ref)
        for ref, index, rule in rules_of(given.authentication)
        if not rule.jwks_uri and not has_usable(rule.jwks)
    )


def _put_fetching(remote: Any, rule: JWTRule, services: dict[str, str]) -> None:
    remote.http_uri.uri = rule.jwks_uri
    remote.http_uri.cluster = services.get(rule.jwks_uri) or key_server(rule.jwks_uri).name
    timeout = rule.timeout if rule.timeout is not None else FETCH_TIMEOUT
    remote.http_uri.timeout.CopyFrom(protos.duration(timeout))
    remote.cache_duration.CopyFrom(protos.duration(KEPT))
    remote.async_fetch.fast_listener = True  # a key server that is down must not hold the listener back
    remote.retry_policy.num_retries.value = _RETRIES


def _requirement(rules: list[JWTRule]) -> Any:
    """A token that is there must be valid; one that is required must be there.

    Several issuers may look for theirs in the same place, where a token is valid for one of them only: any one valid
    token will do, unless some issuer's is required.
    """
    each = [_one(_name(index), rule) for index, rule in enumerate(rules)]
    if len(each) == 1:
        return each[0]
    every = m.JwtRequirement(requires_all={"requirements": each})
    if any(rule.presence is Presence.REQUIRED for rule in rules):
        return every
    valid = [m.JwtRequirement(provider_name=_name(index)) for index in range(len(rules))]
    return m.JwtRequirement(requires_any={"requirements": [*valid, every]})


def _one(name: str, rule: JWTRule) -> Any:
    valid = m.JwtRequirement(provider_name=name)
    if rule.presence is Presence.REQUIRED:
        return valid
    return m.JwtRequirement(requires_any={"requirements": [valid, m.JwtRequirement(allow_missing={})]})


# Where keys are fetched


class KeyServer(msgspec.Struct, frozen=True):
    """Host and port of a ``jwksUri``."""

    host: str
    port: int
    tls: bool

    @property
    def name(self) -> str:
        """Of the cluster that a proxy has for it."""
        return naming.key_server_cluster(self.port, "https" if self.tls else "http", self.host)


def key_server(uri: str) -> KeyServer:
    parts = urlsplit(uri)
    secure = parts.scheme == "https"
    return KeyServer((parts.hostname or "").lower(), parts.port or (443 if secure else 80), secure)


def clusters(given: SecurityInput, defaults: ClusterDefaults, proxy: ProxyKind) -> tuple[Resource, ...]:
    """A cluster for each server of keys that is not a service of the mesh."""
    services = dict(given.key_services)
    wanted: dict[KeyServer, list[Origin]] = {}
    for ref, index, rule in rules_of(given.authentication):
        if rule.jwks_uri and not rule.jwks and rule.jwks_uri not in services:
            origin = Origin("", ref, f"spec.jwtRules[{index}].jwksUri")
            wanted.setdefault(key_server(rule.jwks_uri), []).append(origin)
    return tuple(_cluster(server, tuple(origins), defaults, proxy) for server, origins in wanted.items())


def _cluster(server: KeyServer, origins: tuple[Origin, ...], defaults: ClusterDefaults, proxy: ProxyKind) -> Resource:
    kinds = protos.Cluster.DiscoveryType
    cluster = protos.Cluster(
        name=server.name,
        type=kinds.STATIC if is_ip(server.host) else kinds.STRICT_DNS,
        connect_timeout=protos.duration(defaults.connect_timeout),
        dns_lookup_family=protos.Cluster.DnsLookupFamily.Value(
            "ALL" if proxy.both_families else "V4_ONLY" if proxy.ipv4 else "V6_ONLY"
        ),
    )
    if cluster.type == kinds.STRICT_DNS:
        cluster.respect_dns_ttl = True
        cluster.dns_refresh_rate.CopyFrom(protos.duration(defaults.dns_refresh_rate))
    cluster.load_assignment.cluster_name = server.name
    member = cluster.load_assignment.endpoints.add().lb_endpoints.add()
    member.endpoint.address.CopyFrom(protos.socket_address(server.host, server.port))
    if server.tls:
        cluster.transport_socket.CopyFrom(tls.to_host(server.host, defaults, sds=proxy.mtls))
    return resource(server.name, CLUSTER, cluster, origins)
