"""MeshConfig.serviceEntryVisibility: how far a namespace's ServiceEntries may be seen at most."""

from collections.abc import Iterable, Mapping

from tidegate.api.labelselectors import selects
from tidegate.api.mesh import MatchRule, ServiceEntryVisibility, Visibility

NOBODY, OWN = frozenset("~"), frozenset(".")


def cap(
    export_to: Iterable[str], namespace: str, labels: Mapping[str, str], asked: ServiceEntryVisibility | None
) -> frozenset[str] | None:
    """The exportTo that a ServiceEntry of ``namespace`` has instead; None: its own holds.

    Sidecars and gateways are capped with applyToSidecars alone. The first policy whose rules all match decides;
    visibility is only ever taken away. export_to: with the mesh's default filled in.
    """
    scopes = frozenset(export_to)
    if asked is None or not asked.apply_to_sidecars or scopes == NOBODY:
        return None
    match _visibility(labels, asked):
        case Visibility.NONE:
            return NOBODY
        case Visibility.NAMESPACE:
            return OWN if scopes & {"*", ".", namespace} else NOBODY
    return None


def _visibility(labels: Mapping[str, str], asked: ServiceEntryVisibility) -> Visibility:
    for policy in asked.policies:
        if all(_matches(rule, labels) for rule in policy.matching_rules):
            return policy.visibility
    return asked.default_visibility


def _matches(rule: MatchRule, labels: Mapping[str, str]) -> bool:
    return rule.namespace_selector is not None and selects(rule.namespace_selector, labels)
