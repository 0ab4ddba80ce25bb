"""The function: a pod, what it belongs to, the settings -> the pod with its sidecar."""

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tidegate.inject import advice, annotations, custom, finish, openshift, probes, scrapes, shape
from tidegate.inject.context import PROXY, Context, Place
from tidegate.inject.errors import InjectionError
from tidegate.inject.gateway import gateway
from tidegate.inject.grpc import grpc_agent, grpc_simple
from tidegate.inject.overlay import overlay
from tidegate.inject.settings import Json, Settings
from tidegate.inject.sidecar import sidecar
from tidegate.inject.workloads import Workload
from tidegate.kit.errors import FieldError
from tidegate.kit.injected import PROBES, SCRAPES

SHIPPED: dict[str, Callable[[Context], Json]] = {
    "sidecar": sidecar,
    "gateway": gateway,
    "grpc-simple": grpc_simple,
    "grpc-agent": grpc_agent,
}


_PROXYLESS = ("grpc-simple", "grpc-agent")


class Injected(msgspec.Struct, frozen=True):
    """A pod with its sidecar, and what its author is to be told."""

    pod: Json
    warnings: tuple[str, ...] = ()


def inject(pod: Json, workload: Workload, settings: Settings, place: Place | None = None) -> Injected:
    """The pod with what its templates give it. One that has it already comes out as it went in, unless the settings
    have changed. Raises InjectionError or TemplateError."""
    _check(pod, workload, settings)
    bare = _authored(stripped(pod), settings)
    context = Context(bare, workload, settings, place or Place())
    if wrong := tuple(scrapes.errors(context)):
        raise InjectionError(str(workload), wrong)
    names = _template_names(context)
    rendered = [_rendered(name, context) for name in names]
    template: Json = functools.reduce(overlay, rendered, {})
    merged = functools.reduce(overlay, rendered, finish.placed(bare, template))
    merged = finish.own_containers(merged, bare, template)
    if injected := _injected_names(pod):
        merged = finish.kept_as_found(merged, pod, injected)
    meta = bare.get("metadata") or {}
    named = advice.warnings(meta.get("annotations") or {}, meta.get("labels") or {})
    told = (*named, *advice.of_pod(context), *_of_templates(names, context))
    return Injected(finish.finished(merged, template, context), told)


def _authored(pod: Json, settings: Settings) -> Json:
    if settings.platform != "openshift" or not pod.get("spec"):
        return pod
    return {**pod, "spec": openshift.without_assigned(pod["spec"], PROXY)}


def _check(pod: Json, workload: Workload, settings: Settings) -> None:
    if misshapen := tuple(shape.errors(pod)):
        raise InjectionError(str(workload), misshapen)
    given = (pod.get("metadata") or {}).get("annotations") or {}
    wrong = (*annotations.errors(given), *annotations.setting_errors(settings.value("global.proxy", {})))
    if wrong:
        raise InjectionError(str(workload), wrong)


def _of_templates(names: list[str], context: Context) -> Iterator[str]:
    own = context.value("sidecarInjectorWebhook.templates", {})
    for name in names:
        if name in _PROXYLESS and name not in own:
            yield (
                f"template {name}: it is for Istio's agent and control plane; tidegate's configure Envoy, and nothing "
                "for gRPC applications without one"
            )


def _template_names(context: Context) -> list[str]:
    given = str(context.annotations.get(annotations.TEMPLATES) or "")
    names = [each.strip() for each in given.split(",") if each.strip()]
    names = names or context.value("sidecarInjectorWebhook.defaultTemplates") or ["sidecar"]
    aliases = context.value("sidecarInjectorWebhook.aliases", {})
    return [inner for name in names for inner in aliases.get(name, [name])]


def _rendered(name: str, context: Context) -> Json:
    own = context.value("sidecarInjectorWebhook.templates", {})
    if name in own:
        return custom.render(str(own[name]), name, context)
    if name in SHIPPED:
        return SHIPPED[name](context)
    known = ", ".join(sorted({*SHIPPED, *own}))
    where = f"metadata.annotations[{annotations.TEMPLATES}]"
    raise InjectionError(str(context.workload), (FieldError(where, f"no such template; there are {known}", name),))


# A pod that was injected before


def _injected_names(pod: Json) -> set[str]:
    """The containers that an earlier injection has put in."""
    told = _mapping(((pod.get("metadata") or {}).get("annotations") or {}).get(annotations.STATUS))
    return {str(name) for part in finish.PARTS for name in _list(told, part)}


def _list(told: Json, part: str) -> list[Any]:
    found = told.get(part)
    return found if isinstance(found, list) else []


def stripped(pod: Json) -> Json:
    """The pod as its author wrote it: without what an earlier injection has put in."""
    meta = pod.get("metadata") or {}
    given = dict(meta.get("annotations") or {})
    told = _mapping(given.pop(annotations.STATUS, None))
    overrides = _mapping(given.pop(annotations.OVERRIDES, None))
    if not told and not overrides:
        return pod
    spec = dict(pod.get("spec") or {})
    variables = finish.proxy_variables(pod)
    spec = probes.restored(spec, variables.get(PROBES, ""))
    for part in finish.PARTS:
        spec = _without(spec, part, _list(told, part), _list(overrides, part))
    given = scrapes.restored(given, variables.get(SCRAPES, ""))
    return {**pod, "metadata": {**meta, "annotations": given}, "spec": spec}


def _mapping(text: object) -> Json:
    try:
        found = json.loads(str(text)) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _without(spec: Json, part: str, names: list[Any], own: list[Any]) -> Json:
    """Without the containers of these names; those of the author are put back."""
    given = {each.get("name"): each for each in own if isinstance(each, dict)}
    kept = []
    for each in spec.get(part) or ():
        name = each.get("name")
        if name in given:
            kept.append({"image": "auto", **given.pop(name)})
        elif name not in names:
            kept.append(each)
    kept += [{"image": "auto", **each} for each in given.values()]
    return {**spec, part: kept} if kept or part in spec else spec
