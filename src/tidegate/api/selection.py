"""What the kinds that select workloads have in common: the reference to an object that a policy is attached to."""

from typing import Annotated, Any

from tidegate.api.fields import Message, doc
from tidegate.api.networking import MatchLabelsSelector

GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
"""Label of the workloads that a Gateway of the Gateway API is made of."""

_GROUP = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_KIND = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"


class PolicyTargetReference(Message, frozen=True):
    """type.v1beta1.PolicyTargetReference."""

    group: Annotated[str, doc("API group", max_length=253, pattern=_GROUP)] = ""
    kind: Annotated[str, doc("object kind", required=True, min_length=1, max_length=63, pattern=_KIND)] = ""
    name: Annotated[str, doc("object name", required=True, min_length=1, max_length=253)] = ""
    namespace: Annotated[str, doc("must be same namespace")] = ""


def labels_selected(selector: MatchLabelsSelector | None) -> dict[str, str]:
    """The labels that a workload must have; {} for all workloads."""
    return selector.match_labels if selector is not None else {}


def targets_of(spec: Any) -> tuple[PolicyTargetReference, ...]:
    """Every object that a policy is attached to, by either of the two fields."""
    single = spec.target_ref
    return (*((single,) if single is not None else ()), *spec.target_refs)
