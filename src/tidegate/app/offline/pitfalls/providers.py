"""Extension providers that objects name and the mesh has not."""

from collections.abc import Iterator, Sequence
from typing import Any

from tidegate.api import meshconfig
from tidegate.api.security import Action
from tidegate.api.telemetry import Telemetry
from tidegate.app.offline.pitfalls.looking import Pitfall
from tidegate.app.offline.world import Offline


def judge(offline: Offline) -> Iterator[Pitfall]:
    """Judged only of a mesh that is told its providers: where none are, its configuration may well be elsewhere."""
    world = offline.hub.world
    known = {each.name for each in world.mesh.extension_providers}
    if known <= {str(each["name"]) for each in meshconfig.base().get("extensionProviders", ())}:
        return
    listed, lower = ", ".join(sorted(known)), {name.lower() for name in known}
    for group in world.policies("Telemetry").values():
        for found in group:
            for field, name in _named(found.spec):
                if name.lower() not in lower:
                    yield found.ref, field, f"the mesh has no extension provider {name!r} (it has {listed})"
    for group in world.policies("AuthorizationPolicy").values():
        for policy in group:
            provider = policy.spec.provider
            if policy.spec.action is Action.CUSTOM and provider is not None and provider.name not in known:
                text = f"the mesh has no extension provider {provider.name!r} (it has {listed}): what the rules match"
                yield policy.ref, "spec.provider.name", f"{text} is denied"


def _named(spec: Telemetry) -> Iterator[tuple[str, str]]:
    parts: tuple[tuple[str, Sequence[Any]], ...] = (
        ("accessLogging", spec.access_logging),
        ("tracing", spec.tracing),
        ("metrics", spec.metrics),
    )
    for field, entries in parts:
        for number, entry in enumerate(entries):
            for position, provider in enumerate(entry.providers):
                yield f"spec.{field}[{number}].providers[{position}].name", provider.name
