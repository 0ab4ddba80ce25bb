"""Virtual hosts and route configurations of outbound HTTP.

A virtual host is built once for its input; a route configuration is put together from the bytes of its hosts.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from tidegate.api.networking import (
    Destination,
    HTTPMatchRequest,
    HTTPRetry,
    HTTPRoute,
    HTTPRouteDestination,
    PortSelector,
    VirtualService,
)
from tidegate.api.objects import Object, Ref
from tidegate.envoy import actions, matches, policy, protos, sessions
from tidegate.envoy.clusters import config_path
from tidegate.envoy.domains import domains, own_domains
from tidegate.envoy.inputs import CatchAll, RouteDefaults, Target, VirtualHostInput
from tidegate.envoy.resource import ROUTE, VIRTUAL_HOST, Fragments, Origin, Resource, resource
from tidegate.kit import naming
from tidegate.kit.hosts import resolve_short
from tidegate.registry.model import Service
from tidegate.scope.proxy import ProxyKind

UNKNOWN_SERVICE = "UnknownService"
MAX_DIRECT_RESPONSE = 1_048_576
"""Bytes of a direct response's body."""

_NAME, _VIRTUAL_HOSTS = 1, 2
"""Field numbers of RouteConfiguration."""

ROUTE_FIELDS = (
    ("timeout", "route.timeout", "timeout"),
    ("retries", "route.retry_policy", "retries"),
    ("rewrite", "route.prefix_rewrite", "rewrite"),
    ("mirror", "route.request_mirror_policies", "mirror"),
    ("mirrors", "route.request_mirror_policies", "mirrors"),
    ("fault", "typed_per_filter_config.fault", "fault"),
    ("cors_policy", "typed_per_filter_config.cors", "corsPolicy"),
    ("headers", "request_headers_to_add", "headers"),
    ("redirect", "redirect", "redirect"),
    ("direct_response", "direct_response", "directResponse"),
)
"""(attribute of HTTPRoute, path in Route, JSON name): which part of a route an author's field decided."""


class _Cluster(msgspec.Struct, frozen=True):
    """A destination, resolved: what a route needs to send requests there."""

    name: str
    host: str
    port: int
    hashing: Any = None
    """HashPolicy message, or None."""
    hash_origin: tuple[Ref, str] | None = None


def virtual_host(given: VirtualHostInput) -> Resource | None:
    """One virtual host (serialized VirtualHost): the routes of its VirtualService in order, up to the first that
    takes every request; one default route where no rule applies. None for a host that is no service and whose
    VirtualService has no route for this proxy and port."""
    built = _Routes(given)
    if given.virtual_service is not None:
        built.add_rules(given.virtual_service)
    if not built.routes and given.service is not None:
        built.add_default(given.service)
    if not built.routes:
        return None
    name = naming.virtual_host(given.host, given.port)
    message = protos.VirtualHost(
        name=name,
        domains=given.domains,
        routes=built.routes,
        include_request_attempt_count=given.proxy.headers.attempt_count,
    )
    _put_session(message, (given.service,), given.proxy)
    return resource(name, VIRTUAL_HOST, message, (*_host_origins(given), *built.origins))


def _put_session(message: Any, services: Sequence[Service | None], proxy: ProxyKind) -> None:
    """What a virtual host or a route tells the filter of persistent sessions."""
    told = sessions.per_route(services) if proxy.sessions else None
    if told is not None:
        message.typed_per_filter_config[sessions.FILTER].CopyFrom(protos.any_of(told))


def rule_routes(given: VirtualHostInput) -> tuple[list[Any], list[Origin]]:
    """The routes that the VirtualService alone gives, none where nothing of it holds; and where each comes from."""
    built = _Routes(given)
    if given.virtual_service is not None:
        built.add_rules(given.virtual_service)
    return built.routes, built.origins


def _host_origins(given: VirtualHostInput) -> Iterator[Origin]:
    if given.service is not None:
        yield from (Origin("", ref, "") for ref in given.service.sources)
    elif given.virtual_service is not None:
        yield Origin("", given.virtual_service.ref, "spec.hosts")


def has_routes(rule: Object[VirtualService], port: int, proxy: ProxyKind) -> bool:
    """Whether a VirtualService routes any HTTP of this proxy to this port."""
    return any(_acts(http) and any(_applies(m, port, proxy) for m in http.match or (None,)) for http in rule.spec.http)


def _acts(http: HTTPRoute) -> bool:
    return bool(http.route or http.redirect or http.direct_response)


def _applies(match: HTTPMatchRequest | None, port: int, proxy: ProxyKind, gateway: str = matches.MESH_GATEWAY) -> bool:
    if match is None:
        return True
    return matches.http_holds(match, port, proxy, gateway)


class _Routes:
    """The routes of one virtual host while they are built, and where each comes from."""

    def __init__(self, given: VirtualHostInput) -> None:
        self.given = given
        self.routes: list[Any] = []
        self.origins: list[Origin] = []
        self._targets = {t.host: t for t in given.targets}

    def add_default(self, service: Service) -> None:
        given = self.given
        own = Destination(host=service.host, port=PortSelector(number=given.port))
        cluster = self._cluster(own, given.port, self._targets.get(service.host))
        route = protos.Route()
        route.CopyFrom(_default_route(given.defaults))
        route.decorator.operation = f"{given.host}:{given.port}/*"
        route.route.cluster = cluster.name
        self._add_hashing(route.route, [cluster])
        self.routes.append(route)
        index = next((i for i, p in enumerate(service.ports) if p.number == given.port), None)
        field = "" if index is None else f"spec.ports[{index}]"
        self.origins.extend(Origin("routes[0]", ref, field) for ref in service.sources[:1])

    def add_rules(self, rule: Object[VirtualService]) -> None:
        for index, http in enumerate(rule.spec.http):
            for nth, match in enumerate(http.match or (None,)) if _acts(http) else ():
                if not _applies(match, self.given.port, self.given.proxy, self.given.gateway):
                    continue
                route = self._route(rule, http, match)
                self._note(rule, index, http, None if match is None else nth)
                self.routes.append(route)
                if matches.is_catch_all(route.match):
                    return

    def _note(self, rule: Object[VirtualService], index: int, http: HTTPRoute, nth: int | None) -> None:
        at, field = f"routes[{len(self.routes)}]", f"spec.http[{index}]"
        self.origins.append(Origin(at, rule.ref, field))
        if nth is not None:
            self.origins.append(Origin(f"{at}.match", rule.ref, f"{field}.match[{nth}]"))
        if http.route and not (http.redirect or http.direct_response):
            path = "route.cluster" if len(http.route) == 1 else "route.weighted_clusters"
            self.origins.append(Origin(f"{at}.{path}", rule.ref, f"{field}.route"))
        for attribute, path, name in ROUTE_FIELDS:
            if getattr(http, attribute):
                self.origins.append(Origin(f"{at}.{path}", rule.ref, f"{field}.{name}"))

    def _route(self, rule: Object[VirtualService], http: HTTPRoute, match: HTTPMatchRequest | None) -> Any:
        route = protos.Route(match=matches.route_match(match), metadata=config_metadata(rule))
        route.name = f"{http.name}.{match.name}" if match is not None and match.name else http.name
        if match is not None and match.stat_prefix:
            route.stat_prefix = match.stat_prefix
        authority = actions.apply_headers(route, http.headers)
        operation = f"{rule.ref.name}:{self.given.port}"
        if http.redirect is not None:
            route.redirect.CopyFrom(actions.redirect(http.redirect, self.given.port, tls=self.given.tls))
        elif http.direct_response is not None:
            route.direct_response.CopyFrom(actions.direct_response(http.direct_response))
        else:
            operation = self._forward(route, rule, http, authority) or operation
        route.decorator.operation = operation + matches.text(route.match)
        if http.fault is not None:
            route.typed_per_filter_config[actions.FAULT_FILTER].CopyFrom(protos.any_of(actions.fault(http.fault)))
        if http.cors_policy is not None:
            route.typed_per_filter_config[actions.CORS_FILTER].CopyFrom(protos.any_of(actions.cors(http.cors_policy)))
        _put_session(route, [self._service(rule, each) for each in http.route], self.given.proxy)
        return route

    def _forward(self, route: Any, rule: Object[VirtualService], http: HTTPRoute, authority: str) -> str:
        """Fill the RouteAction; returns ``host:port`` for the operation's name if there is one destination."""
        action, operation = route.route, ""
        if authority:
            action.host_rewrite_literal = authority
        if http.rewrite is not None:
            actions.rewrite(action, http.rewrite)
            action.append_x_forwarded_host = self.given.proxy.headers.forwarded_host
        if len(http.route) == 1:
            clusters = [self._single(route, rule, http.route[0])]
            operation = f"{clusters[0].host}:{clusters[0].port}"
        else:
            clusters = list(self._weighted(action, rule, http))
        actions.set_timeout(action, http.timeout)
        self._add_hashing(action, clusters)
        self._add_retries(action, http, len(http.route) == 1 and clusters[0].hashing is not None)
        for _, destination, share in actions.mirrors(http):
            mirror = self._destination(rule, destination)
            action.request_mirror_policies.append(actions.mirror_policy(mirror.name, share))
        return operation

    def _single(self, route: Any, rule: Object[VirtualService], given: HTTPRouteDestination) -> _Cluster:
        cluster = self._destination(rule, given.destination)
        route.route.cluster = cluster.name
        authority = actions.apply_headers(route, given.headers)
        if authority and not route.route.host_rewrite_literal:
            route.route.host_rewrite_literal = authority
        return cluster

    def _weighted(self, action: Any, rule: Object[VirtualService], http: HTTPRoute) -> Iterator[_Cluster]:
        action.weighted_clusters.SetInParent()
        for given in http.route:
            if given.weight <= 0:
                continue
            cluster = self._destination(rule, given.destination)
            weighted = action.weighted_clusters.clusters.add(name=cluster.name, weight=protos.u32(given.weight))
            authority = actions.apply_headers(weighted, given.headers)
            if authority:
                weighted.host_rewrite_literal = authority
            yield cluster

    def _add_hashing(self, action: Any, clusters: Sequence[_Cluster]) -> None:
        for cluster in clusters:
            if cluster.hashing is None:
                continue
            if cluster.hash_origin:
                path = f"routes[{len(self.routes)}].route.hash_policy[{len(action.hash_policy)}]"
                self.origins.append(Origin(path, *cluster.hash_origin))
            action.hash_policy.append(cluster.hashing)

    def _add_retries(self, action: Any, http: HTTPRoute, hashed: bool) -> None:
        _put_retries(action, http.retries if http.retries is not None else self.given.defaults.retry, hashed)

    def _service(self, rule: Object[VirtualService], given: HTTPRouteDestination) -> Service | None:
        if given.destination is None:
            return None
        host = resolve_short(given.destination.host, rule.ref.namespace, self.given.defaults.domain)
        target = self._targets.get(given.destination.host) or self._targets.get(host)
        return target.service if target is not None else None

    def _destination(self, rule: Object[VirtualService], given: Destination | None) -> _Cluster:
        if given is None or not given.host:
            return _Cluster(UNKNOWN_SERVICE, UNKNOWN_SERVICE, self.given.port)
        host = resolve_short(given.host, rule.ref.namespace, self.given.defaults.domain)
        target = self._targets.get(given.host) or self._targets.get(host)
        if host != given.host:
            given = msgspec.structs.replace(given, host=host)
        port = destination_port(given, target, self.given.port, only=self.given.proxy.router)
        return self._cluster(given, port, target)

    def _cluster(self, given: Destination, port: int, target: Target | None) -> _Cluster:
        hashing, origin = _hashing(target, given)
        host = target.concrete if target is not None and target.service is not None else given.host
        name = naming.outbound_cluster(port, given.subset, host)
        return _Cluster(name, host, port, hashing, origin)


@lru_cache(maxsize=64)
def _default_route(defaults: RouteDefaults) -> Any:
    """What the default routes of all hosts share. Never change it: copy it."""
    route = protos.Route(name=naming.DEFAULT_ROUTE, match=matches.route_match(None))
    actions.set_timeout(route.route, None)
    _put_retries(route.route, defaults.retry, hashed=False)
    return route


def _put_retries(action: Any, retry: HTTPRetry | None, hashed: bool) -> None:
    found = actions.retry_policy(retry, hashed)
    if found is not None:
        action.retry_policy.CopyFrom(found)


def destination_port(given: Destination, target: Target | None, listener_port: int, *, only: bool = False) -> int:
    """The port that is asked for, else the listener's: a sidecar looks for the destination among the services of
    that port. A unix socket has no port, and a gateway's (``only``) means nothing to the destination: there it is the
    service's only one."""
    if given.port is not None and given.port.number:
        return given.port.number
    ports = target.service.ports if target is not None and target.service is not None else ()
    return ports[0].number if (only or not listener_port) and len(ports) == 1 else listener_port


def _hashing(target: Target | None, given: Destination) -> tuple[Any, tuple[Ref, str] | None]:
    """By what requests are spread, and who says so: the most particular hash of a rule. A port's counts where the
    destination names the port; one without a hash leaves the wider one in place."""
    rule = target.rule if target is not None else None
    if rule is None:
        return None, None
    port = given.port.number if given.port is not None else 0
    chosen, field = None, ""
    for path, balancer in policy.balancers(rule.spec, port, given.subset):
        if balancer.consistent_hash is not None:
            chosen, field = balancer.consistent_hash, path
    if chosen is None:
        return None, None
    return actions.hash_policy(chosen), (rule.ref, f"{field}.consistentHash")


def config_metadata(rule: Object[Any]) -> Any:
    """Metadata that names the VirtualService a route or chain was made from, as istioctl reads it."""
    return protos.metadata(istio={"config": config_path(rule)})


def route_config(name: str, hosts: Sequence[Resource], catch_all: CatchAll | None) -> Resource:
    """A route configuration of these virtual hosts in this order; the catch-all comes last. The hosts' origins are
    found through ``parts``. ``catch_all`` None: a sniffed service's own configuration."""
    parts = (*hosts, _catch_all_host(catch_all)) if catch_all is not None else tuple(hosts)
    fragments = Fragments()
    fragments.put(_NAME, name.encode())
    fragments.put_all(_VIRTUAL_HOSTS, parts)
    fragments.merge(_settings(), "outbound")
    body, version = fragments.finish()
    return Resource(name, ROUTE, body, version, parts=parts, part_field="virtual_hosts")


@lru_cache(maxsize=1)
def _settings() -> bytes:
    """The fields that all outbound route configurations share."""
    message = protos.RouteConfiguration(
        validate_clusters=protos.boolean(False),
        max_direct_response_body_size_bytes=protos.u32(MAX_DIRECT_RESPONSE),
        ignore_port_in_host_matching=True,
    )
    return bytes(message.SerializeToString(deterministic=True))


@lru_cache(maxsize=64)
def _catch_all_host(given: CatchAll) -> Resource:
    """``allow_any`` passes on what nothing else matches, ``block_all`` answers 502."""
    name = naming.ALLOW_ANY if given.allow else naming.BLOCK_ALL
    if given.dynamic:
        name = naming.ALLOW_ANY_DYNAMIC_DNS
    route = protos.Route(name=name, match=matches.route_match(None))
    if given.allow:
        anywhere = naming.ALLOW_ANY_DYNAMIC_DNS_CLUSTER if given.dynamic else naming.PASSTHROUGH_CLUSTER
        route.route.cluster = given.cluster or anywhere
        route.route.append_x_forwarded_host = given.forwarded_host
        actions.set_timeout(route.route, None)
    else:
        route.direct_response.status = 502
    message = protos.VirtualHost(
        name=name, domains=["*"], routes=[route], include_request_attempt_count=given.attempt_count
    )
    return resource(name, VIRTUAL_HOST, message)


__all__ = ["config_metadata", "destination_port", "domains", "own_domains", "route_config", "virtual_host"]
