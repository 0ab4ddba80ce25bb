"""Rules for what says which workloads a policy holds for: a selector, or references to what it is attached to."""

from typing import Any

from tidegate.api.networking import MatchLabelsSelector
from tidegate.api.selection import PolicyTargetReference
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import check_selector

TARGETS = (
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
)
"""Group and kind of what a policy can be attached to."""
_GROUPS = frozenset((*TARGETS, ("core", "Service")))


def check_selection(spec: Any, out: Findings) -> None:
    """``selector``, ``targetRef`` and ``targetRefs`` of a policy: at most one of them, and each in order."""
    given = [spec.selector is not None, spec.target_ref is not None, bool(spec.target_refs)]
    if sum(given) > 1:
        out.error("spec", "only one of selector, targetRef and targetRefs may be set")
    check_workloads(spec.selector, out)
    if spec.target_ref is not None:
        check_target("spec.targetRef", spec.target_ref, out)
    for index, target in enumerate(spec.target_refs):
        check_target(f"spec.targetRefs[{index}]", target, out)


def check_workloads(selector: MatchLabelsSelector | None, out: Findings) -> None:
    if selector is not None:
        check_selector("spec.selector.matchLabels", selector.match_labels, out)


def check_target(path: str, target: PolicyTargetReference, out: Findings) -> None:
    if not target.name:
        out.required(f"{path}.name", "the name of the object that the policy is attached to is required")
    if target.namespace:
        out.error(f"{path}.namespace", "must not be set: the object is in the policy's own namespace", target.namespace)
    if (target.group, target.kind) not in _GROUPS:
        kinds = ", ".join(f"{kind} ({group or 'core'})" for group, kind in TARGETS)
        out.error(path, f"must refer to one of {kinds}", f"{target.group}/{target.kind}")
