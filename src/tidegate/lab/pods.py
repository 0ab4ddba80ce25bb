"""Pods that come while a lab is up, as the workloads that run for them. Pure.

A lab has no images: a container's command runs with the machine's files. What it does of a Pod, and what it leaves
out, is told by Events.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.lab import objects
from tidegate.lab.checks import workload_problems
from tidegate.lab.spec import HostAlias, Image, LabSpec, Port, Sidecar, Workload

Json = dict[str, Any]

INJECT = "sidecar.istio.io/inject"
TEMPLATES = "inject.istio.io/templates"
_NAMESPACE_INJECTION = "istio-injection"
_LEFT_OUT = ("initContainers", "volumes", "hostNetwork", "affinity", "nodeSelector")
_LEFT_OUT_OF_CONTAINER = (
    "resources",
    "volumeMounts",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "envFrom",
    "workingDir",
)


class Found(msgspec.Struct, frozen=True):
    """What a Pod comes to."""

    workload: Workload
    notes: tuple[str, ...]
    """What of it is done otherwise than on a node with images, for an Event."""


def runs_here(pod: Json, node: str) -> bool:
    """Whether the lab runs the Pod: nothing else has a claim on it, and it is not on its way out."""
    spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
    wanted = spec.get("nodeName") or node
    return wanted == node and "deletionTimestamp" not in pod["metadata"] and phase not in ("Succeeded", "Failed")


def read(pod: Json, namespace_labels: Mapping[str, str], spec: LabSpec) -> Found:
    """The Pod as a workload of the lab. Raises TidegateError naming what the lab cannot run and what to do."""
    meta, body = pod["metadata"], pod.get("spec") or {}
    if is_gateway(pod):
        return _gateway(pod)
    container = _only_container(body)
    image = _image(str(container.get("image") or ""), spec.images)
    command = (*(container.get("command") or image.command), *(container.get("args") or ()))
    if not container.get("command") and not image.command:
        raise TidegateError(
            f"container {container.get('name')}: image {container.get('image')} cannot run, as a lab has no images; "
            "give the container a command, or the image a program under images: of the lab file"
        )
    workload = Workload(
        name=str(meta["name"]),
        namespace=str(meta["namespace"]),
        command=tuple(str(part) for part in command),
        labels=dict(meta.get("labels") or {}),
        annotations=dict(meta.get("annotations") or {}),
        service_account=str(body.get("serviceAccountName") or "default"),
        env={**image.env, **_environment(pod, container)},
        uid=_user(body, container, image),
        ports=tuple(_ports(container)),
        sidecar=_sidecar(meta, namespace_labels),
        host_aliases=tuple(_aliases(body)),
        files=image.files,
        restart_policy="Never" if body.get("restartPolicy") == "Never" else "Always",
    )
    if found := tuple(workload_problems(workload)):
        raise TidegateError("; ".join(str(problem) for problem in found))
    return Found(workload, tuple(_notes(body, container)))


def is_gateway(pod: Json) -> bool:
    """Whether the Pod asks for Istio's gateway template: its one container is the proxy."""
    return str((pod["metadata"].get("annotations") or {}).get(TEMPLATES, "")) == "gateway"


def _gateway(pod: Json) -> Found:
    meta, body = pod["metadata"], pod.get("spec") or {}
    containers = body.get("containers") or []
    if [each.get("name") for each in containers] != [objects.PROXY]:
        raise TidegateError(f"{TEMPLATES}: gateway: expected one container, named {objects.PROXY}")
    workload = Workload(
        name=str(meta["name"]),
        namespace=str(meta["namespace"]),
        type="router",
        labels=dict(meta.get("labels") or {}),
        annotations=dict(meta.get("annotations") or {}),
        service_account=str(body.get("serviceAccountName") or "default"),
        ports=tuple(_ports(containers[0])),
        host_aliases=tuple(_aliases(body)),
    )
    if found := tuple(workload_problems(workload)):
        raise TidegateError("; ".join(str(problem) for problem in found))
    return Found(workload, tuple(_notes(body, containers[0])))


def _only_container(body: Json) -> Json:
    containers = [each for each in body.get("containers") or () if each.get("name") != objects.PROXY]
    if len(containers) != 1:
        names = ", ".join(str(each.get("name")) for each in containers)
        raise TidegateError(f"a lab runs Pods of one container, beside the sidecar; this one has {names or 'none'}")
    found: Json = containers[0]
    return found


def _image(name: str, images: Mapping[str, Image]) -> Image:
    """As it is named, or without its digest or tag."""
    plain = name.partition("@")[0]
    path, _, last = plain.rpartition("/")
    untagged = "/".join(filter(None, (path, last.partition(":")[0])))
    return next((images[each] for each in (name, plain, untagged) if each in images), Image())


def _environment(pod: Json, container: Json) -> dict[str, str]:
    found = {}
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        path = str(((source or {}).get("fieldRef") or {}).get("fieldPath", ""))
        if source and path not in _FIELDS:
            raise TidegateError(
                f"env {variable.get('name')}: a lab sets values and fieldRef of {', '.join(_FIELDS)}; write the value"
            )
        value = _field(pod, path) if source else variable.get("value")
        found[str(variable.get("name", ""))] = str(value or "")
    return found


_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName")


def _field(pod: Json, path: str) -> Any:
    part, _, name = path.partition(".")
    return pod[part].get(name)


def _user(body: Json, container: Json, image: Image) -> int:
    for context in (container.get("securityContext"), body.get("securityContext")):
        if isinstance(context, dict) and isinstance(context.get("runAsUser"), int):
            return int(context["runAsUser"])
    return image.uid


def _ports(container: Json) -> Iterator[Port]:
    for port in container.get("ports") or ():
        yield Port(int(port["containerPort"]), str(port.get("name") or ""), str(port.get("protocol") or "TCP"))


def _aliases(body: Json) -> Iterator[HostAlias]:
    for alias in body.get("hostAliases") or ():
        yield HostAlias(str(alias.get("ip", "")), tuple(str(name) for name in alias.get("hostnames") or ()))


def _sidecar(meta: Json, namespace_labels: Mapping[str, str]) -> bool | Sidecar:
    """A sidecar unless the Pod, or else its namespace, wants none; what it captures is in annotations."""
    annotations = meta.get("annotations") or {}
    asked = (meta.get("labels") or {}).get(INJECT, annotations.get(INJECT, ""))
    if asked == "false" or (not asked and namespace_labels.get(_NAMESPACE_INJECTION) == "disabled"):
        return False
    given = {
        name.removeprefix(objects.CAPTURE_PREFIX): str(value)
        for name, value in annotations.items()
        if name.startswith(objects.CAPTURE_PREFIX)
    }
    if objects.INTERCEPTION in annotations:
        given["interceptionMode"] = str(annotations[objects.INTERCEPTION])
    try:
        return msgspec.convert(given, Sidecar)
    except msgspec.ValidationError as error:
        raise TidegateError(f"metadata.annotations: {objects.CAPTURE_PREFIX}…: {error}") from error


def _notes(body: Json, container: Json) -> Iterator[str]:
    left_out = [f"spec.{name}" for name in _LEFT_OUT if body.get(name)]
    left_out += [f"container {name}" for name in _LEFT_OUT_OF_CONTAINER if container.get(name)]
    if left_out:
        yield f"not acted on by a lab: {', '.join(left_out)}"
    if body.get("restartPolicy") == "OnFailure":
        yield "restartPolicy OnFailure counts as Always in a lab"


def bound(pod: Json, node: str, workload: Workload) -> Json:
    """A merge patch that takes the Pod to the lab's node and gives it its sidecar, as injection would."""
    kept = workload.is_gateway  # its one container is the proxy
    containers = [each for each in pod["spec"]["containers"] if kept or each.get("name") != objects.PROXY]
    if workload.capture is not None:
        containers.append(objects.PROXY_CONTAINER)
    return {
        "metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]},
        "spec": {"nodeName": node, "containers": containers},
    }


def named(status: Json, pod: Json) -> Json:
    """A workload's status under the container's own name and image."""
    if is_gateway(pod):
        image = pod["spec"]["containers"][0].get("image", "")
        return {**status, "containerStatuses": [each | {"image": image} for each in status["containerStatuses"]]}
    container = _only_container(pod["spec"])
    own = {"name": container["name"], "image": container.get("image", "")}
    containers = [each | own if each["name"] == objects.APP else each for each in status["containerStatuses"]]
    return {**status, "containerStatuses": containers}


def refused(pod: Json, message: str) -> Json:
    """The status of a Pod that cannot run."""
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    containers = [
        {"name": each["name"], "image": each.get("image", ""), "imageID": "", "ready": False, "restartCount": 0}
        | {"started": False, "state": waiting, "lastState": {}}
        for each in pod["spec"].get("containers") or ()
    ]
    return {"phase": "Pending", "containerStatuses": containers}


def event(pod: Json, kind: str, reason: str, message: str, now: str) -> Json:
    """A core/v1 Event about the Pod; ``kind`` is Normal or Warning."""
    meta = pod["metadata"]
    about = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": meta["name"],
        "namespace": meta["namespace"],
        "uid": meta["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
        "involvedObject": about,
        "type": kind,
        "reason": reason,
        "message": message[:1024],
        "source": {"component": "tidegate-lab"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
