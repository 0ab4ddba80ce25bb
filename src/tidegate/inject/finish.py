"""What is done once templates are merged: the user's own containers, probes, metrics, status and order."""

import json
from collections.abc import Callable
from typing import Any

from tidegate.inject import annotations, probes
from tidegate.inject.context import PROXY, Context
from tidegate.inject.otel import resource_attributes
from tidegate.inject.overlay import overlay
from tidegate.inject.settings import Json
from tidegate.inject.sidecar import INIT, VALIDATION

PARTS = ("containers", "initContainers")
METRICS = "ISTIO_PROMETHEUS_ANNOTATIONS"
_SCRAPE, _PORT, _PATH = "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"
AGENT_METRICS = "/stats/prometheus"


def own_containers(pod: Json, original: Json, template: Json, openshift: bool) -> Json:
    """The user's own definition of containers that the template makes wins over the template's."""
    before = [each for part in PARTS for each in (original.get("spec") or {}).get(part) or ()]
    kept: dict[str, list[Json]] = {}
    spec = dict(pod["spec"])
    for part in ("initContainers", "containers"):
        for name in _names(template, part):
            own = next((each for each in before if each.get("name") == name), None)
            if own is None:
                continue
            override = _override(own, before, openshift)
            kept.setdefault(part, []).append(override)
            spec = _applied(spec, part, override)
    if not kept:
        return {**pod, "spec": spec}
    text = json.dumps({part: kept[part] for part in PARTS if part in kept}, separators=(",", ":"), sort_keys=True)
    return _annotated({**pod, "spec": spec}, {annotations.OVERRIDES: text})


def placed(pod: Json, template: Json) -> Json:
    """The pod with its own definitions of the template's containers in the list where the template has them."""
    spec = dict(pod.get("spec") or {})
    for part in ("containers", "initContainers"):
        other = next(each for each in PARTS if each != part)
        names = set(_names(template, part)) - set(_names({"spec": spec}, part))
        moved = [each for each in spec.get(other) or () if each.get("name") in names]
        if moved:
            spec[other] = [each for each in spec[other] if each.get("name") not in names]
            spec[part] = [*(spec.get(part) or ()), *moved]
    return {**pod, "spec": spec}


def kept_as_found(pod: Json, original: Json, names: set[str]) -> Json:
    """Containers of an earlier injection as they are now, over the template's: others may have changed them since."""
    spec = dict(pod["spec"])
    for part in PARTS:
        for each in (original.get("spec") or {}).get(part) or ():
            if each.get("name") in names:
                where = next((p for p in reversed(PARTS) if each["name"] in _names({"spec": spec}, p)), part)
                spec = _applied(spec, where, each)
    return {**pod, "spec": spec}


def _override(own: Json, all_containers: list[Json], openshift: bool) -> Json:
    if own.get("image") != "auto":
        return own
    out = {k: v for k, v in own.items() if k != "image"}
    if openshift and isinstance(own.get("securityContext"), dict):
        out["securityContext"] = _without_assigned(own["securityContext"], all_containers)
    return out


def _without_assigned(security: Json, all_containers: list[Json]) -> Json:
    """OpenShift writes the namespace's user into every container: that is nobody's choice for the proxy."""
    others = [each.get("securityContext") or {} for each in all_containers if each.get("name") != PROXY]
    assigned = {(name, other.get(name)) for name in ("runAsUser", "runAsGroup") for other in others}
    return {k: v for k, v in security.items() if (k, v) not in assigned}


def _applied(spec: Json, part: str, override: Json) -> Json:
    """The container as the user has it over what there is; it goes where the template has put it."""
    name = override.get("name")
    other = next(each for each in PARTS if each != part)
    out = dict(spec)
    if name in _names({"spec": spec}, other):
        out[other] = [each for each in spec[other] if each.get("name") != name]
    out[part] = [overlay(each, override) if each.get("name") == name else each for each in spec.get(part) or ()]
    return out


def _names(pod: Json, part: str) -> list[str]:
    return [str(each.get("name")) for each in (pod.get("spec") or {}).get(part) or ()]


def finished(pod: Json, template: Json, context: Context) -> Json:
    """Metrics, probes, status and order."""
    pod = _as_root(_located(pod, context), context)
    pod = _with_metrics(pod, context)
    pod = _with_probes(pod, context)
    pod = _annotated(pod, {annotations.STATUS: status(template, context)})
    extra = context.value("sidecarInjectorWebhook.injectedAnnotations", {})
    pod = _annotated(pod, {name: str(value) for name, value in extra.items()})
    return {**pod, "spec": ordered(pod["spec"], context)}


def _as_root(pod: Json, context: Context) -> Json:
    """TPROXY's sockets need root, whatever else the user asks for."""
    if not context.tproxy:
        return pod
    root = {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}}
    return _with_proxy(pod, lambda proxy: overlay(proxy, root))


def status(template: Json, context: Context) -> str:
    """What was injected, for whoever injects again."""
    spec = template.get("spec") or {}
    names = {part: [each.get("name") for each in spec.get(part) or ()] or None for part in (*PARTS, "volumes")}
    secrets = [each.get("name") for each in spec.get("imagePullSecrets") or ()] or None
    said = {
        "initContainers": names["initContainers"],
        "containers": names["containers"],
        "volumes": names["volumes"],
        "imagePullSecrets": secrets,
        "revision": context.settings.revision,
    }
    return json.dumps(said, separators=(",", ":"))


def _annotated(pod: Json, given: Json) -> Json:
    meta = pod.get("metadata") or {}
    return {**pod, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), **given}}}


def _located(pod: Json, context: Context) -> Json:
    """The pod's network, and what else is known of where it runs."""
    variables = {"ISTIO_META_NETWORK": context.network} if context.network else {}
    pod = _with_variables(pod, {**variables, **_resource_attributes(context), **context.place.variables})
    if not context.network:
        return pod
    meta = pod["metadata"]
    labels = {"topology.istio.io/network": context.network, **(meta.get("labels") or {})}
    return {**pod, "metadata": {**meta, "labels": labels}}


def _resource_attributes(context: Context) -> dict[str, str]:
    applications = context.applications or [{"name": PROXY}]
    mesh, given = context.settings.mesh, context.annotations
    said = resource_attributes(mesh, given, context.labels, context.namespace, applications)
    return {"OTEL_RESOURCE_ATTRIBUTES": said} if said else {}


def _with_variables(pod: Json, variables: dict[str, str]) -> Json:
    if not variables:
        return pod
    env = [{"name": name, "value": value} for name, value in variables.items()]
    return _with_proxy(pod, lambda proxy: {**proxy, "env": _env_first(proxy, env)})


def _with_proxy(pod: Json, change: Callable[[Json], Json]) -> Json:
    """The pod with its proxy changed; a template may name the proxy only to mount something into it, without image."""
    spec = dict(pod["spec"])
    for part in PARTS:
        if spec.get(part):
            spec[part] = [change(e) if e.get("name") == PROXY and e.get("image") else e for e in spec[part]]
    return {**pod, "spec": spec}


def _env_first(container: Json, more: list[Json]) -> list[Json]:
    """All variables of a container, those given replaced or added at the end."""
    given = {each["name"]: each for each in more}
    kept = [given.pop(each.get("name"), each) for each in container.get("env") or ()]
    return [*kept, *given.values()]


# Metrics


def _with_metrics(pod: Json, context: Context) -> Json:
    """Scrapes go to the agent, which joins the application's numbers to the proxy's."""
    asked = context.annotations.get(annotations.MERGE_METRICS)
    merges = annotations.is_true(asked) if asked is not None else context.settings.mesh.get("enablePrometheusMerge")
    given, port = context.annotations, context.agent_port
    if not merges or str(given.get(_SCRAPE, given.get("prometheus.io.scrape", "true"))).lower() == "false":
        return pod
    if given.get(_PORT) == port and given.get(_PATH) == AGENT_METRICS:
        return pod
    if told := _application_metrics(given):
        pod = _with_variables(pod, {METRICS: json.dumps(told, separators=(",", ":"))})
        pod = _without_annotation(pod, annotations.SCRAPE_TARGETS)
    return _annotated(pod, {_SCRAPE: "true", _PORT: port, _PATH: AGENT_METRICS})


def _without_annotation(pod: Json, name: str) -> Json:
    meta = pod["metadata"]
    return {**pod, "metadata": {**meta, "annotations": {k: v for k, v in meta["annotations"].items() if k != name}}}


def _application_metrics(given: Json) -> Json:
    targets = [_target(part.strip()) for part in str(given.get(annotations.SCRAPE_TARGETS) or "").split(",") if part]
    told = {k: given[name] for k, name in (("scrape", _SCRAPE), ("path", _PATH), ("port", _PORT)) if name in given}
    if targets:
        return {"scrape": "true", **targets[0], **told, "targets": targets}
    return told if str(given.get(_SCRAPE, "")).lower() == "true" else {}


def _target(text: str) -> Json:
    port, _, path = text.partition(":")
    return {"port": port, "path": path or "/metrics"}


# Probes


def _with_probes(pod: Json, context: Context) -> Json:
    made = (pod.get("metadata") or {}).get("annotations") or {}
    asked = made.get(annotations.REWRITE)
    wanted = annotations.is_true(asked) if asked is not None else context.value(_REWRITE_SETTING, True)
    port = context.probe_port
    if not wanted or port == "0" or not any(PROXY in _names(pod, part) for part in PARTS):
        return pod
    spec, told = probes.rewritten(pod["spec"], int(port))
    pod = {**pod, "spec": spec}
    return _with_variables(pod, {probes.PROBERS: json.dumps(told, separators=(",", ":"))}) if told else pod


_REWRITE_SETTING = "sidecarInjectorWebhook.rewriteAppHTTPProbe"


# Order


def ordered(spec: Json, context: Context) -> Json:
    """Containers in the order in which they must start."""
    out = dict(spec)
    if spec.get("containers"):
        out["containers"] = _moved(spec["containers"], PROXY, first=context.holds_application and not context.native)
    if spec.get("initContainers"):
        found = _moved(spec["initContainers"], PROXY, first=True)
        found = _moved(found, INIT, first=context.native)
        out["initContainers"] = _moved(found, VALIDATION, first=True)
    return out


def _moved(containers: list[Json], name: str, *, first: bool) -> list[Any]:
    own = [each for each in containers if each.get("name") == name]
    others = [each for each in containers if each.get("name") != name]
    return [*own, *others] if first else [*others, *own]
