"""What istiod generates for many more set-ups, by name: listeners, clusters, routes and virtual hosts.

Some set-ups were changed by code that is not in the case; those that show it are told as such, beside differences.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance import cases, difference, generated
from conformance.cases import Case
from conformance.suite import Json, Outcome, judged
from tidegate.app.offline.compile import Compiled, route_names
from tidegate.envoy.resource import CLUSTER, LISTENER


def names(folder: Path) -> Iterator[Outcome]:
    """The same names of listeners, clusters, route configurations and virtual hosts, as far as any were generated."""
    return judged(cases.load_all(folder), lambda c: c.name, _names)


def _names(case: Case) -> str:
    compiled, raw = case.compiled(), case.raw["generated"]
    expected = {key: value for key, value in expected_names(raw).items() if value}
    made = {key: value for key, value in made_names(compiled, raw).items() if key in expected}
    found = difference.of(expected, made)
    return f"{changed_by_code(case, compiled)}{found}" if found else ""


def details(folder: Path) -> Iterator[Outcome]:
    """The same names and, of what is named, the same filter chains, routes and kinds of clusters."""
    return judged(cases.load_all(folder), lambda c: c.name, _details)


def _details(case: Case) -> str:
    compiled = case.compiled()
    names, rest = generated.compare(case.raw["generated"], compiled)
    return changed_by_code(case, compiled) + "\n".join((*names, *rest)) if names or rest else ""


def changed_by_code(case: Case, compiled: Compiled) -> str:
    """Why the case cannot be rebuilt from what it holds, as a line; "" where nothing shows it."""
    hosts = {key.host for key in compiled.world.services}
    missing = sorted(set(case.raw["known_services"]) - hosts)
    if missing:
        return f"SET-UP: services that nothing in the case describes: {', '.join(missing)}\n"
    if case.raw.get("mesh_exact") is not None:
        return "SET-UP: a mesh configuration without any default\n"
    refused = sorted(str(ref) for ref, _ in compiled.world.problems().items())
    if refused:
        return f"SET-UP: objects that admission refuses: {', '.join(refused)}\n"
    if case.raw.get("has_mesh_networks"):
        return "SET-UP: mesh networks that are not given\n"
    listeners = [each["name"] for each in case.raw["generated"].get("listeners") or []]
    if any(name.startswith("_") for name in listeners):
        return "SET-UP: a service whose address is an empty text, which no object can have\n"
    words = {p.get("protocol") for s in case.raw.get("services") or () for p in s.get("ports") or ()}
    if "unknown" in words:
        return "SET-UP: a protocol that no word of a port stands for\n"
    inbound = [c["name"] for c in case.raw["generated"].get("clusters") or [] if c["name"].startswith("inbound|")]
    if inbound and not any(name.startswith("inbound|") for name in compiled.resources(CLUSTER)):
        return "SET-UP: the proxy's own services, which nothing in the case describes\n"
    return ""


def expected_names(generated: Json) -> Json:
    routes = generated.get("routes") or []
    return {
        "listeners": sorted(each["name"] for each in generated.get("listeners") or []),
        "clusters": sorted(each["name"] for each in generated.get("clusters") or []),
        "hosts": {
            r["name"]: sorted(h["name"] for h in r.get("virtual_hosts") or []) for r in sorted(routes, key=_size)
        },
    }


def _size(route_config: Json) -> int:
    return len(route_config.get("virtual_hosts") or ())


def made_names(compiled: Compiled, generated: Json) -> Json:
    dump = compiled.config_dump()
    wanted = {r["name"] for r in generated.get("routes") or []} | set(route_names(dump))
    routes: dict[str, Any] = {
        entry["routeConfig"]["name"]: entry["routeConfig"]
        for part in dump["configs"]
        for entry in part.get("dynamicRouteConfigs", ())
    }
    return {
        "listeners": sorted(compiled.resources(LISTENER)),
        "clusters": sorted(compiled.resources(CLUSTER)),
        "hosts": {
            name: sorted(h["name"] for h in route.get("virtualHosts", ()))
            for name, route in routes.items()
            if name in wanted
        },
    }
