"""Patches of route configurations: of the whole, of its virtual hosts and of their routes."""

from functools import partial
from typing import Any

from tidegate.api.envoyfilter import ApplyTo, Operation, RouteAction, RouteConfigurationMatch, RouteMatch
from tidegate.envoy.patches.elements import Element, Elements
from tidegate.envoy.patches.merge import merge
from tidegate.envoy.patches.patch import Patch
from tidegate.envoy.patches.selection import PatchSet
from tidegate.kit import naming

KINDS = (ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE)
_ACTIONS = {
    RouteAction.ROUTE: "route",
    RouteAction.REDIRECT: "redirect",
    RouteAction.DIRECT_RESPONSE: "direct_response",
}


def concerning(patches: PatchSet, name: str, *, gateway: bool = False) -> PatchSet:
    """The patches for the route configuration ``name`` and what is in it."""
    found = (p for p in patches.of(*KINDS) if _matches(p.match.route_configuration, name, gateway))
    return PatchSet(tuple(found))


def _matches(match: RouteConfigurationMatch | None, name: str, gateway: bool) -> bool:
    if match is None:
        return True
    if match.name and match.name != name:
        return False
    if gateway:
        return _of_gateway(match, name)
    return match.port_number in (0, _port(name))


def _port(name: str) -> int:
    parts = naming.parse_cluster(name)
    if parts is not None:
        return parts.port
    digits = name.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _of_gateway(match: RouteConfigurationMatch, name: str) -> bool:
    """``http.8080``, or ``https.443.PORT-NAME.GATEWAY.NAMESPACE``."""
    parts = name.split(".")
    port = parts[1] if len(parts) > 1 else ""
    port_name = parts[2] if len(parts) == 5 else ""
    owner = f"{parts[4]}/{parts[3]}" if len(parts) == 5 else ""
    return (
        (not match.port_number or str(match.port_number) == port)
        and match.port_name in ("", port_name)
        and match.gateway in ("", owner)
    )


def merge_whole(config: Any, patches: PatchSet) -> list[Patch]:
    """Join what is meant for the configuration itself; returns the patches that were."""
    found = [patch for patch in patches.of(ApplyTo.ROUTE_CONFIGURATION) if patch.merges]
    for patch in found:
        merge(config, patch.value, replace_lists=patch.replaces_lists)
    return found


def apply_hosts(hosts: Elements, patches: PatchSet) -> None:
    """Patch every virtual host of a configuration, then add those that patches add."""
    for element in list(hosts):
        remover = apply_host(element, patches)
        if remover is not None:
            hosts.remove(element, remover)
    for patch in added_hosts(patches):
        hosts.insert(len(hosts.all), patch)


def added_hosts(patches: PatchSet) -> list[Patch]:
    return [patch for patch in patches.of(ApplyTo.VIRTUAL_HOST) if patch.operation is Operation.ADD]


def host_patches(patches: PatchSet, host: Any) -> PatchSet:
    """Those for one virtual host (a message, or anything that has its name and domains) and its routes."""
    found = patches.of(ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE)
    kept = (p for p in found if _is_host(p, host) and not _adds_host(p))
    return PatchSet(tuple(kept))


def may_concern_host(patches: PatchSet, name: str) -> bool:
    """Whether the patches can have to do with a virtual host of this name, whatever its domains."""
    for patch in patches.of(ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE):
        match = patch.match.route_configuration
        wanted = match.vhost.name if match is not None and match.vhost is not None else ""
        if wanted in ("", name) and not _adds_host(patch):
            return True
    return False


def _adds_host(patch: Patch) -> bool:
    return patch.apply_to is ApplyTo.VIRTUAL_HOST and patch.operation is Operation.ADD


def _is_host(patch: Patch, host: Any) -> bool:
    match = patch.match.route_configuration
    wanted = match.vhost if match is not None else None
    if wanted is None:
        return True
    return wanted.name in ("", host.name) and (not wanted.domain_name or wanted.domain_name in host.domains)


def apply_host(element: Element, patches: PatchSet) -> Patch | None:
    """Patch a virtual host and its routes; returns the patch that removes it, or None."""
    for patch in patches.of(ApplyTo.VIRTUAL_HOST):
        if not _is_host(patch, element.message):
            continue
        if patch.operation is Operation.REMOVE:
            return patch
        if patch.operation is Operation.REPLACE:
            element.message.CopyFrom(patch.value)
        elif patch.merges:
            merge(element.message, patch.value, replace_lists=patch.replaces_lists)
        else:
            continue
        element.by.append(patch)
    routes = Elements(element.message.routes)
    _apply_routes(routes, [p for p in patches.of(ApplyTo.HTTP_ROUTE) if _is_host(p, element.message)])
    routes.store(element.message, "routes")
    element.inner["routes"] = routes
    return None


def _apply_routes(routes: Elements, patches: list[Patch]) -> None:
    """Removals and merges come before anything is added."""
    for element in list(routes):
        _change_route(routes, element, patches)
    for patch in patches:
        if patch.operation not in (Operation.REMOVE, Operation.REPLACE) and not patch.merges:
            wanted = _route_match(patch)
            routes.place(patch, partial(_is_route, wanted) if wanted is not None else None)


def _change_route(routes: Elements, element: Element, patches: list[Patch]) -> None:
    for patch in patches:
        wanted = _route_match(patch)
        if wanted is not None and not _is_route(wanted, element.message):
            continue
        if patch.operation is Operation.REMOVE:
            routes.remove(element, patch)
            return
        if patch.merges:
            merge(element.message, patch.value, replace_lists=patch.replaces_lists)
            element.by.append(patch)


def _route_match(patch: Patch) -> RouteMatch | None:
    match = patch.match.route_configuration
    return match.vhost.route if match is not None and match.vhost is not None else None


def _is_route(match: RouteMatch, route: Any) -> bool:
    if match.name and match.name != route.name:
        return False
    return match.action is RouteAction.ANY or bool(route.HasField(_ACTIONS[match.action]))
