"""/debug/registryz: the services of the world and the objects that decide them, as the control plane holds them."""

from typing import Any

from tidegate.api.objects import Ref
from tidegate.registry.model import Service
from tidegate.snapshot.state import Snapshot

MAX_SERVICES = 1000
"""Services that one answer describes."""
MAX_PROBLEMS = 100


def registry(world: Snapshot, undecodable: dict[Ref, str], search: str, limit: int) -> dict[str, Any]:
    """Services whose host or namespace contains ``search``, by host; ``total`` counts those beyond ``limit`` too."""
    wanted = search.lower()
    keys = [k for k in world.services if wanted in k.host.lower() or wanted in k.namespace]
    keys.sort(key=lambda k: (k.host, k.namespace))
    shown = keys[: min(limit, MAX_SERVICES)]
    spaces = sorted({ref.namespace for ref in world.destination_rules})
    return {
        "total": len(keys),
        "services": [_service(world, world.services[key], spaces) for key in shown],
        "problems": _problems(world, undecodable),
    }


def _service(world: Snapshot, service: Service, spaces: list[str]) -> dict[str, Any]:
    """One host; rules of any namespace that cover it: which of them counts for a proxy follows from where it is."""
    rules = [rule.ref for space in spaces for rule in world.destination_rules_for(space, service.host)]
    routes = [route.ref for route in world.virtual_services_for(service.host)]
    return {
        "host": service.host,
        "namespace": service.namespace,
        "registry": service.registry.value,
        "resolution": service.resolution.value,
        "ports": [{"number": p.number, "name": p.name, "protocol": p.protocol.value} for p in service.ports],
        "addresses": [*service.addresses, *service.auto_addresses],
        "endpoints": len(world.endpoints.get(service.key, ())),
        "sources": [str(ref) for ref in service.sources],
        "virtualServices": _members(world, routes),
        "destinationRules": _members(world, rules),
    }


def _members(world: Snapshot, refs: list[Ref]) -> list[str]:
    """Every object that effective ones are made of: delegates and merged rules too."""
    return list(dict.fromkeys(str(member) for ref in refs for member in world.members_of(ref)))


def _problems(world: Snapshot, undecodable: dict[Ref, str]) -> list[dict[str, Any]]:
    """Objects left out or in conflict, and why."""
    found = {**world.problems(), **{ref: (text,) for ref, text in undecodable.items()}}
    return [{"object": str(ref), "reasons": list(found[ref])} for ref in sorted(found)[:MAX_PROBLEMS]]
