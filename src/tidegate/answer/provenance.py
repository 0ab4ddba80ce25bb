"""Which object a piece of Envoy configuration was made from, as the metadata that Istio's API leaves on it tells."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.api.kinds import KINDS
from tidegate.api.objects import Ref
from tidegate.explain.trace import Step
from tidegate.registry.model import ServiceKey

_CONFIG = re.compile(r"^/apis/[^/]+/[^/]+/namespaces/(?P<namespace>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)$")
_POLICY = re.compile(
    r"^(?:istio-ext-authz-)?ns\[(?P<namespace>[^\]]+)\]-policy\[(?P<name>[^\]]+)\]-rule\[(?P<rule>\d+)\]"
)
_KEBAB = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_KINDS = {_KEBAB.sub("-", kind).lower(): kind for kind in KINDS}


def config_of(istio: Mapping[str, Any]) -> Ref | None:
    """The object named under ``config``: the rule that a route, a cluster's policy or a chain comes from."""
    found = _CONFIG.match(str(istio.get("config", "")))
    kind = _KINDS.get(found["kind"]) if found else None
    return Ref(kind, found["namespace"], found["name"]) if found and kind else None


def policy_of(name: str) -> Ref | None:
    """The AuthorizationPolicy that an RBAC policy is named after."""
    found = _POLICY.match(name)
    return Ref("AuthorizationPolicy", found["namespace"], found["name"]) if found else None


def rule_field(name: str) -> str:
    """Which of the AuthorizationPolicy's rules an RBAC policy is made of; "" where its name does not tell."""
    found = _POLICY.match(name)
    return f"spec.rules[{found['rule']}]" if found else ""


def services_of(istio: Mapping[str, Any]) -> tuple[ServiceKey, ...]:
    """The services that a cluster serves."""
    listed = istio.get("services")
    if not isinstance(listed, list):
        return ()
    return tuple(
        ServiceKey(str(each.get("namespace", "")), str(each["host"]))
        for each in listed
        if isinstance(each, dict) and each.get("host")
    )


def last(steps: Iterable[Step], stage: str) -> Step | None:
    """The last step of a stage: what was chosen in the end."""
    return next((step for step in reversed(tuple(steps)) if step.stage == stage), None)
