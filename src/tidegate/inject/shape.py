"""Whether what calls itself a pod has the shape of one, as far as injection walks through it."""

from collections.abc import Iterator
from typing import Any

from tidegate.inject.settings import Json
from tidegate.kit.errors import FieldError

_LISTS = ("containers", "initContainers", "volumes", "imagePullSecrets")
_CONTAINER_LISTS = ("env", "ports", "volumeMounts")
_CONTAINER_MAPPINGS = ("securityContext", "resources", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_MERGE_KEYS = ("name", "mountPath", "containerPort")
_HANDLERS = ("httpGet", "tcpSocket", "grpc")


def errors(pod: Json) -> Iterator[FieldError]:
    """Everything that has another shape than a pod's; null stands for nothing."""
    meta, spec = pod.get("metadata"), pod.get("spec")
    if not _is_mapping(meta):
        yield _wrong("metadata", "a mapping", meta)
    else:
        yield from _strings(meta or {})
    if not isinstance(spec, dict):
        yield _wrong("spec", "a mapping", spec)
        return
    for name in _LISTS:
        yield from _mappings(f"spec.{name}", spec.get(name))
    if not _is_mapping(spec.get("securityContext")):
        yield _wrong("spec.securityContext", "a mapping", spec["securityContext"])
    for part in ("containers", "initContainers"):
        if isinstance(spec.get(part), list):
            for number, each in enumerate(spec[part]):
                yield from _container(f"spec.{part}[{number}]", each) if isinstance(each, dict) else ()


def _strings(meta: Json) -> Iterator[FieldError]:
    for name in ("labels", "annotations"):
        found = meta.get(name)
        if not _is_mapping(found):
            yield _wrong(f"metadata.{name}", "a mapping of strings", found)
            continue
        for key, value in (found or {}).items():
            if not isinstance(value, str):
                yield _wrong(f"metadata.{name}[{key}]", "a string (quote it)", value)
    owners = meta.get("ownerReferences")
    yield from _mappings("metadata.ownerReferences", owners)


def _container(at: str, container: Json) -> Iterator[FieldError]:
    if not isinstance(container.get("name"), str):
        yield _wrong(f"{at}.name", "a string", container.get("name"))
    for name in _CONTAINER_LISTS:
        yield from _mappings(f"{at}.{name}", container.get(name))
    for name in ("command", "args"):
        if not isinstance(container.get(name) or [], list):
            yield _wrong(f"{at}.{name}", "a list", container[name])
    for name in _CONTAINER_MAPPINGS:
        found = container.get(name)
        if not _is_mapping(found):
            yield _wrong(f"{at}.{name}", "a mapping", found)
            continue
        if name == "securityContext":
            yield from _ids(f"{at}.{name}", found or {})
        handlers = (found or {}).values() if name == "lifecycle" else (found or {},)
        for handler in handlers:
            yield from _handler(f"{at}.{name}", handler)


def _ids(at: str, security: Json) -> Iterator[FieldError]:
    for name in ("runAsUser", "runAsGroup"):
        found = security.get(name)
        if found is not None and (not isinstance(found, int) or isinstance(found, bool) or found < 0):
            yield _wrong(f"{at}.{name}", "a whole number, 0 or more", found)


def _handler(at: str, handler: Any) -> Iterator[FieldError]:
    if not _is_mapping(handler):
        yield _wrong(at, "a mapping", handler)
        return
    for kind in _HANDLERS:
        if not _is_mapping((handler or {}).get(kind)):
            yield _wrong(f"{at}.{kind}", "a mapping", handler[kind])


def _mappings(at: str, value: Any) -> Iterator[FieldError]:
    if value is None:
        return
    if not isinstance(value, list):
        yield _wrong(at, "a list", value)
        return
    for number, each in enumerate(value):
        if not isinstance(each, dict):
            yield _wrong(f"{at}[{number}]", "a mapping", each)
            continue
        for key in _MERGE_KEYS:
            if isinstance(each.get(key), (dict, list)):
                yield _wrong(f"{at}[{number}].{key}", "a string or a number", each[key])


def _is_mapping(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _wrong(at: str, expected: str, value: Any) -> FieldError:
    shown = value if isinstance(value, (str, int, float, bool)) or value is None else type(value).__name__
    return FieldError(at, f"expected {expected}", shown)
