"""Routes of VirtualServices that lead to a subset which no DestinationRule has: requests there get 503."""

from collections.abc import Iterator, Sequence
from typing import Any

from tidegate.api.networking import Destination, VirtualService
from tidegate.api.objects import Ref
from tidegate.app.offline import findings
from tidegate.app.offline.findings import Finding, Severity
from tidegate.app.offline.world import Offline
from tidegate.kit.hosts import resolve_short
from tidegate.snapshot.state import Snapshot


def missing_subsets(offline: Offline) -> Iterator[Finding]:
    """A warning for each. What lies outside of the manifests is not judged: a host of which they hold neither a
    definition nor a DestinationRule may have both elsewhere."""
    world = offline.hub.world
    for ref in sorted(each for each in offline.documents if each.kind == "VirtualService"):
        rule = world.objects.get(ref)
        for path, destination in _destinations(rule.spec) if rule is not None else ():
            text = _problem(world, ref, destination)
            place = offline.place(ref, f"{path}.subset")
            if text and place is not None:
                yield findings.note(Severity.WARNING, place, str(ref), f"{path}.subset: {text}")


def _destinations(spec: VirtualService) -> Iterator[tuple[str, Destination]]:
    sorts: tuple[tuple[str, Sequence[Any]], ...] = (
        ("http", spec.http),
        ("tls", spec.tls),
        ("tcp", spec.tcp),
    )
    for name, rules in sorts:
        for index, rule in enumerate(rules):
            for number, route in enumerate(rule.route):
                if route.destination is not None:
                    yield f"spec.{name}[{index}].route[{number}].destination", route.destination
    for index, http in enumerate(spec.http):
        if http.mirror is not None:
            yield f"spec.http[{index}].mirror", http.mirror
        for number, mirror in enumerate(http.mirrors):
            if mirror.destination is not None:
                yield f"spec.http[{index}].mirrors[{number}].destination", mirror.destination


def _problem(world: Snapshot, ref: Ref, destination: Destination) -> str:
    if not destination.subset:
        return ""
    host = resolve_short(destination.host, ref.namespace, world.domain)
    defined = world.by_host.get(host.lower(), ())
    spaces = dict.fromkeys((ref.namespace, *(key.namespace for key in defined), world.mesh.root_namespace))
    rules = [rule for space in spaces for rule in world.destination_rules_for(space, host)]
    if any(subset.name == destination.subset for rule in rules for subset in rule.spec.subsets):
        return ""
    if rules:
        return f"{rules[0].ref} has no subset {destination.subset} of {host}: requests get 503; add it there"
    return f"no DestinationRule gives {host} subsets: requests get 503; add one, or leave subset out" if defined else ""
