"""Whether a pod gets a sidecar, and in words why not."""

from typing import Any

import msgspec

from tidegate.inject import annotations
from tidegate.inject.settings import Json, Settings

NEVER = ("kube-system", "kube-public", "kube-node-lease", "local-path-storage")
"""Namespaces whose pods are the cluster's own."""


class Decision(msgspec.Struct, frozen=True):
    """What was decided, and by what."""

    injects: bool
    reason: str


def decide(pod: Json, namespace: str, settings: Settings, *, whose: str = "the pod") -> Decision:
    """In the order of Istio's injector: host network, the cluster's namespaces, the pod's own word, selectors, the
    installation's policy. ``whose`` names the object in the reason."""
    spec, meta = pod.get("spec") or {}, pod.get("metadata") or {}
    if spec.get("hostNetwork"):
        return _no(f"Skipping injection because {whose} has host networking enabled")
    if namespace in NEVER:
        return _no(f"Skipping injection because {whose} is in namespace {namespace}, which is the cluster's own")
    labels, given = meta.get("labels") or {}, meta.get("annotations") or {}
    policy = settings.value("global.proxy.autoInject", "enabled")
    if policy not in ("enabled", "disabled"):
        return _no(f"Skipping injection because global.proxy.autoInject is {policy!r}; expected enabled or disabled")
    return _by_pod(labels, given, whose) or _by_selectors(labels, settings, whose) or _by_policy(policy, whose)


def _no(reason: str) -> Decision:
    return Decision(False, reason)


def _by_pod(labels: Json, given: Json, whose: str) -> Decision | None:
    """The label, if there is one, else the annotation; what is neither "true" nor "false" decides nothing."""
    kind, values = ("label", labels) if annotations.INJECT in labels else ("annotation", given)
    value = values.get(annotations.INJECT)
    if value == "true":
        return Decision(True, f"{kind} {annotations.INJECT} is {value!r}")
    if value == "false":
        return _no(f"Skipping injection because {whose} has {kind} {annotations.INJECT}: {value!r}")
    return None


def _by_selectors(labels: Json, settings: Settings, whose: str) -> Decision | None:
    for name, injects in (("neverInjectSelector", False), ("alwaysInjectSelector", True)):
        for number, selector in enumerate(settings.value(f"sidecarInjectorWebhook.{name}", [])):
            if selects(selector, labels):
                said = f"sidecarInjectorWebhook.{name}[{number}] matches"
                return Decision(True, said) if injects else _no(f"Skipping injection of {whose} because {said}")
    return None


def _by_policy(policy: str, whose: str) -> Decision:
    if policy == "enabled":
        return Decision(True, "global.proxy.autoInject is enabled")
    said = "global.proxy.autoInject is disabled and nothing else asks for it"
    return _no(f"Skipping injection of {whose} because {said}")


def selects(selector: Any, labels: Json) -> bool:
    """A Kubernetes label selector; an empty one selects nothing here."""
    if not isinstance(selector, dict):
        return False
    wanted, rules = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if not wanted and not rules:
        return False
    return all(labels.get(k) == v for k, v in wanted.items()) and all(_holds(rule, labels) for rule in rules)


def _holds(rule: Json, labels: Json) -> bool:
    key, values = rule.get("key"), rule.get("values") or []
    match rule.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
