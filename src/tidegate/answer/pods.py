"""What a Pod's manifest tells of it beyond what decides its proxy's configuration."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegate.api.objects import Ref

_INJECT = "sidecar.istio.io/inject"


class PodFacts(msgspec.Struct, frozen=True):
    ports: frozenset[int] = frozenset()
    """TCP ports that its containers declare; empty where they declare none, which says nothing."""
    host_network: bool = False
    """It shares its node's network, so that nothing redirects its connections."""
    uninjected: str = ""
    """The field that says that it gets no sidecar; "" where nothing says so."""


def pod_facts(raws: Iterable[Any]) -> dict[Ref, PodFacts]:
    """Of every Pod among decoded manifests; what cannot be read counts as not said."""
    return {Ref("Pod", *_named(raw)): _facts(raw) for raw in raws if isinstance(raw, dict) and raw.get("kind") == "Pod"}


def _named(raw: Mapping[str, Any]) -> tuple[str, str]:
    meta = _mapping(raw.get("metadata"))
    return str(meta.get("namespace") or "default"), str(meta.get("name") or "")


def _facts(raw: Mapping[str, Any]) -> PodFacts:
    spec, meta = _mapping(raw.get("spec")), _mapping(raw.get("metadata"))
    return PodFacts(frozenset(_ports(spec)), spec.get("hostNetwork") is True, _uninjected(meta))


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
