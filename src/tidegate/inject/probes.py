"""Probes and lifecycle hooks of applications led to the agent, which asks the application in the pod itself.

The kubelet has no certificate of the mesh: where mutual TLS is required its own requests would be refused.
"""

import json
from collections.abc import Iterator
from typing import Any

from tidegate.inject.context import PROXY
from tidegate.inject.settings import Json

_PROBES = {"livenessProbe": "livez", "readinessProbe": "readyz", "startupProbe": "startupz"}
_HOOKS = {"postStart": "poststartz", "preStop": "prestopz"}
_HANDLERS = ("httpGet", "tcpSocket", "grpc")


def rewritten(spec: Json, port: int) -> tuple[Json, Json]:
    """The pod's spec with its probes led to the agent's ``port``, and what the agent asks instead, by path."""
    found: Json = {}
    out = dict(spec)
    for part in ("containers", "initContainers"):
        if spec.get(part):
            out[part] = [_container(each, port, found) for each in spec[part]]
    return out, dict(sorted(found.items()))


def unknown_ports(container: Json) -> Iterator[tuple[str, str]]:
    """The probes of a container that ask a port by a name that it has not: where, and the name."""
    hooks = container.get("lifecycle") or {}
    asked = {field: container.get(field) for field in _PROBES}
    asked |= {f"lifecycle.{hook}": hooks.get(hook) for hook in _HOOKS}
    for field, probe in asked.items():
        for kind in _HANDLERS:
            port = ((probe or {}).get(kind) or {}).get("port")
            if isinstance(_number(container, port), str):
                yield f"{field}.{kind}.port", str(port)


def _container(container: Json, port: int, found: Json) -> Json:
    if container.get("name") == PROXY:
        return container
    name, out = container.get("name"), dict(container)
    for field, word in _PROBES.items():
        if isinstance(container.get(field), dict):
            out[field] = _led(container, container[field], f"/app-health/{name}/{word}", port, found)
    if isinstance(container.get("lifecycle"), dict):
        out["lifecycle"] = {
            hook: _led(container, handler, f"/app-lifecycle/{name}/{_HOOKS[hook]}", port, found)
            if hook in _HOOKS and isinstance(handler, dict)
            else handler
            for hook, handler in container["lifecycle"].items()
        }
    return out


def _led(container: Json, probe: Json, path: str, port: int, found: Json) -> Json:
    kind = next((each for each in _HANDLERS if isinstance(probe.get(each), dict)), None)
    if kind is None or str(probe[kind].get("path", "")).startswith(("/app-health/", "/app-lifecycle/")):
        return probe
    asked = {**probe[kind], "port": _number(container, probe[kind].get("port"))}
    if not isinstance(asked["port"], str):
        timeout = {"timeoutSeconds": probe["timeoutSeconds"]} if probe.get("timeoutSeconds") else {}
        found[path] = {kind: asked, **timeout}
    kept = {k: v for k, v in probe.items() if k not in _HANDLERS}
    request = {**probe["httpGet"], **_plain(probe["httpGet"])} if kind == "httpGet" else {}
    return {**kept, "httpGet": {**request, "path": path, "port": port}}


def _plain(request: Json) -> Json:
    """The agent itself is asked over plain HTTP."""
    return {"scheme": "HTTP"} if request.get("scheme") == "HTTPS" else {}


def _number(container: Json, port: Any) -> Any:
    """A named port's number; a name that the container has not stays."""
    if not isinstance(port, str):
        return port
    if port.isascii() and port.isdigit():
        return int(port)
    named = (p.get("containerPort") for p in container.get("ports") or () if p.get("name") == port)
    return next(named, port)


def restored(spec: Json, text: str) -> Json:
    """The spec with the probes that an earlier injection led away, from what it told the agent."""
    try:
        told = json.loads(text)
    except ValueError:
        return spec
    if not isinstance(told, dict):
        return spec
    out = dict(spec)
    for part in ("containers", "initContainers"):
        if spec.get(part):
            out[part] = [_back(each, told) for each in spec[part]]
    return out


def _back(container: Json, told: Json) -> Json:
    out = dict(container)
    for field in _PROBES:
        if isinstance(container.get(field), dict):
            out[field] = _own(container[field], told)
    if isinstance(container.get("lifecycle"), dict):
        hooks = container["lifecycle"].items()
        out["lifecycle"] = {k: _own(v, told) if isinstance(v, dict) else v for k, v in hooks}
    return out


def _own(probe: Json, told: Json) -> Json:
    asked = told.get(str((probe.get("httpGet") or {}).get("path")))
    if not isinstance(asked, dict):
        return probe
    handler = {k: v for k, v in asked.items() if k in _HANDLERS}
    return {**{k: v for k, v in probe.items() if k not in _HANDLERS}, **handler}
