"""Namespace selectors of a mesh configuration that cannot be read: Istio keeps those that it had before."""

from collections.abc import Iterator

from tidegate.api.labelselectors import problems
from tidegate.api.mesh import MeshConfig


def discovery_mistakes(mesh: MeshConfig) -> Iterator[tuple[str, str]]:
    """Path in the mesh configuration, and what was expected there."""
    for index, selector in enumerate(mesh.discovery_selectors):
        for path, expected, value in problems(selector):
            yield f"discoverySelectors[{index}].{path}", f"{expected}, not {value[:120]!r}"


def visibility_mistakes(mesh: MeshConfig) -> Iterator[tuple[str, str]]:
    """Likewise."""
    asked = mesh.service_entry_visibility
    for at, policy in enumerate(asked.policies if asked is not None else ()):
        for index, rule in enumerate(policy.matching_rules):
            place = f"serviceEntryVisibility.policies[{at}].matchingRules[{index}].namespaceSelector"
            for path, expected, value in problems(rule.namespace_selector) if rule.namespace_selector else ():
                yield f"{place}.{path}", f"{expected}, not {value[:120]!r}"
