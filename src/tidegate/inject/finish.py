"""What is done once templates are merged: the user's own containers, probes, metrics, status and order."""

import json
from collections.abc import Callable
from typing import Any

from tidegate.inject import annotations, probes, scrapes
from tidegate.inject.context import PROXY, Context
from tidegate.inject.overlay import overlay
from tidegate.inject.settings import Json
from tidegate.inject.sidecar import INIT, VALIDATION
from tidegate.kit import injected

PARTS = ("containers", "initContainers")


def own_containers(pod: Json, original: Json, template: Json) -> Json:
    """The user's own definition of containers that the template makes wins over the template's."""
    before = [each for part in PARTS for each in (original.get("spec") or {}).get(part) or ()]
    kept: dict[str, list[Json]] = {}
    spec = dict(pod["spec"])
    for part in ("initContainers", "containers"):
        for name in _names(template, part):
            own = next((each for each in before if each.get("name") == name), None)
            if own is None:
                continue
            override = {k: v for k, v in own.items() if (k, v) != ("image", "auto")}
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
    pod = _with_metrics(_exempting(pod, context), context)
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


def _exempting(pod: Json, context: Context) -> Json:
    """The rules leave alone the user that the pod's author gives the proxy, whatever a template says."""
    own, spec = context.own_user, dict(pod["spec"])
    if own:
        spec["initContainers"] = [_with_user(each, str(own)) for each in spec.get("initContainers") or ()]
    return {**pod, "spec": {k: v for k, v in spec.items() if v or k in pod["spec"]}}


def _with_user(container: Json, user: str) -> Json:
    given = list(container.get("args") or ())
    if container.get("name") not in (INIT, VALIDATION) or "-u" not in given[:-1]:
        return container
    given[given.index("-u") + 1] = user
    return {**container, "args": given}


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
    """The pod's cluster and network, and what else the webhook's path says of where it runs."""
    known = {"ISTIO_META_CLUSTER_ID": context.known_cluster, "ISTIO_META_NETWORK": context.network}
    said = context.place.variables | {name: value for name, value in known.items() if value}
    pod = _with_variables(pod, dict(sorted(said.items())))
    if not context.network:
        return pod
    meta = pod["metadata"]
    labels = {**(meta.get("labels") or {}), "topology.istio.io/network": context.network}
    return {**pod, "metadata": {**meta, "labels": labels}}


def _with_variables(pod: Json, variables: dict[str, str]) -> Json:
    """The pod with these variables at the end of its proxy's, in place of those of their names."""
    if not variables:
        return pod
    env = [{"name": name, "value": value} for name, value in variables.items()]

    def changed(proxy: Json) -> Json:
        return {**proxy, "env": [*(e for e in proxy.get("env") or () if e.get("name") not in variables), *env]}

    return _with_proxy(pod, changed)


def _with_proxy(pod: Json, change: Callable[[Json], Json]) -> Json:
    """The pod with its proxy changed; a template may name the proxy only to mount something into it, without image."""
    spec = dict(pod["spec"])
    for part in PARTS:
        if spec.get(part):
            spec[part] = [change(e) if e.get("name") == PROXY and e.get("image") else e for e in spec[part]]
    return {**pod, "spec": spec}


# Metrics


def _with_metrics(pod: Json, context: Context) -> Json:
    """Scrapes go to the agent, which joins the application's numbers to the proxy's."""
    said = scrapes.of_pod(context)
    if said is not None:
        if said:
            pod = _with_variables(pod, {injected.SCRAPES: json.dumps(said, separators=(",", ":"))})
        meta = pod.get("metadata") or {}
        led = scrapes.led(meta.get("annotations") or {}, context.agent_port)
        pod = {**pod, "metadata": {**meta, "annotations": led}}
    given = pod["metadata"].get("annotations") or {}
    return _annotated(pod, scrapes.secure_port(given, proxy_variables(pod)))


def proxy_variables(pod: Json) -> dict[str, str]:
    """The values that the pod's proxy has in its environment."""
    found = [each for part in PARTS for each in (pod.get("spec") or {}).get(part) or () if each.get("name") == PROXY]
    return {str(e.get("name")): str(e.get("value", "")) for each in found for e in each.get("env") or ()}


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
    return _with_variables(pod, {injected.PROBES: json.dumps(told, separators=(",", ":"))}) if told else pod


_REWRITE_SETTING = "sidecarInjectorWebhook.rewriteAppHTTPProbe"


# Order


def ordered(spec: Json, context: Context) -> Json:
    """Containers in the order in which they must start."""
    out = dict(spec)
    if spec.get("containers"):
        out["containers"] = _moved(spec["containers"], PROXY, first=context.holds_application)
    if found := spec.get("initContainers"):
        native = any(each.get("name") == PROXY for each in found)
        # The last that is moved to the front is the first to run.
        order = (_CORE_DUMP, PROXY, VALIDATION, INIT) if native else (VALIDATION, INIT, _CORE_DUMP)
        for name in order:
            found = _moved(found, name, first=native or name == VALIDATION)
        out["initContainers"] = found
    return out


_CORE_DUMP = "enable-core-dump"


def _moved(containers: list[Json], name: str, *, first: bool) -> list[Any]:
    own = [each for each in containers if each.get("name") == name]
    others = [each for each in containers if each.get("name") != name]
    return [*own, *others] if first else [*others, *own]
