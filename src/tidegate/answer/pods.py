"""What a Pod's manifest tells of it beyond what decides its proxy's configuration."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegate.api.objects import Ref
from tidegate.registry.workloads import PROXY_CONTAINER

_INJECT = "sidecar.istio.io/inject"


class PodFacts(msgspec.Struct, frozen=True):
    ports: frozenset[int] = frozenset()
    """TCP ports that its containers declare; empty where they declare none, which says nothing."""
    host_network: bool = False
    """It shares its node's network, so that nothing redirects its connections."""
    uninjected: str = ""
    """The field that says that it gets no sidecar; "" where nothing says so."""
    user: int | None = None
    """User id of its application; None: its image tells it."""
    user_field: str = ""
    """Where ``user`` is written."""
    group: int | None = None
    group_field: str = ""


def pod_facts(raws: Iterable[tuple[Ref, Any]]) -> dict[Ref, PodFacts]:
    """Of every Pod with the decoded manifest that describes it: its own, or that of the object which makes it. What
    cannot be read counts as not said."""
    return {ref: _facts(_described(raw)) for ref, raw in raws if ref.kind == "Pod" and isinstance(raw, dict)}


def _described(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return raw if raw.get("kind") == "Pod" else _mapping(_mapping(raw.get("spec")).get("template"))


def _facts(raw: Mapping[str, Any]) -> PodFacts:
    spec, meta = _mapping(raw.get("spec")), _mapping(raw.get("metadata"))
    user, user_field = _runs_as(spec, "runAsUser")
    group, group_field = _runs_as(spec, "runAsGroup")
    return PodFacts(
        ports=frozenset(_ports(spec)),
        host_network=spec.get("hostNetwork") is True,
        uninjected=_uninjected(meta),
        user=user,
        user_field=user_field,
        group=group,
        group_field=group_field,
    )


def _runs_as(spec: Mapping[str, Any], key: str) -> tuple[int | None, str]:
    """User or group of the first container beside the proxy, and the field that says so: its own before the Pod's."""
    own = (n for n, c in enumerate(_listed(spec.get("containers"))) if _mapping(c).get("name") != PROXY_CONTAINER)
    for number in list(own)[:1]:
        found = _mapping(_mapping(spec["containers"][number]).get("securityContext")).get(key)
        if isinstance(found, int):
            return found, f"spec.containers[{number}].securityContext.{key}"
    found = _mapping(spec.get("securityContext")).get(key)
    return (found, f"spec.securityContext.{key}") if isinstance(found, int) else (None, "")


def _ports(spec: Mapping[str, Any]) -> Iterable[int]:
    for container in _listed(spec.get("containers")):
        for port in _listed(_mapping(container).get("ports")):
            number = _mapping(port).get("containerPort")
            if isinstance(number, int) and _mapping(port).get("protocol", "TCP") == "TCP":
                yield number


def _uninjected(meta: Mapping[str, Any]) -> str:
    """The label counts before the annotation, as for the injector."""
    for part in ("labels", "annotations"):
        value = _mapping(meta.get(part)).get(_INJECT)
        if value is not None:
            return f"metadata.{part}[{_INJECT}]" if str(value).lower() == "false" else ""
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
