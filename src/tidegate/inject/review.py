"""AdmissionReview in, AdmissionReview out. https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/"""

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tidegate.inject import ranges, shape
from tidegate.inject.context import Place
from tidegate.inject.decide import decide
from tidegate.inject.pod import inject
from tidegate.inject.settings import Json, Settings
from tidegate.inject.workloads import owner_of
from tidegate.kit.errors import TidegateError

API = "admission.k8s.io/v1"


class NotAReviewError(TidegateError):
    """What came is no AdmissionReview; there is no request to answer."""


class Answer(msgspec.Struct, frozen=True):
    """What is answered, and the pod that it makes."""

    review: Json
    pod: Json
    reason: str = ""
    """Why the pod got no sidecar; "" if it got one."""


def decoded(body: bytes) -> Json:
    """The review of a request's body. Raises NotAReviewError that says what was expected."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAReviewError(f"expected an AdmissionReview of {API} as JSON: {error}") from error
    return _checked(found)


def _checked(found: Any) -> Json:
    if not isinstance(found, dict) or found.get("kind") != "AdmissionReview":
        shown = found.get("kind") if isinstance(found, dict) else type(found).__name__
        raise NotAReviewError(f"kind: expected AdmissionReview, got {shown!r}")
    if found.get("apiVersion") != API:
        raise NotAReviewError(f"apiVersion: expected {API}, got {found.get('apiVersion')!r}")
    request = found.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise NotAReviewError("request: expected an AdmissionRequest with a uid")
    return found


def answer(
    review: Json, settings: Settings, place: Place | None = None, services: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    """The answer to a review: the pod's sidecar as a JSON patch, nothing, or a denial with the reason. ``services``:
    addresses of the cluster's, by name, for warnings of what a pod's ranges do to them."""
    request = _checked(review)["request"]
    pod = request.get("object")
    if (wrong := _wrong(request, pod)) or not isinstance(pod, dict):
        return Answer(_response(request, denied=wrong), {}, wrong)
    namespace = str(request.get("namespace") or (pod.get("metadata") or {}).get("namespace") or "")
    place = msgspec.structs.replace(place or Place(), namespace=namespace)
    owner = owner_of(pod, namespace)
    whose = f'{owner.kind} "{namespace}/{owner.name}"'
    decision = decide(pod, namespace, settings, whose=whose)
    if not decision.injects:
        return Answer(_response(request), pod, decision.reason)
    try:
        made = inject(pod, owner, settings, place)
    except TidegateError as error:
        return Answer(_response(request, denied=str(error)), pod, str(error))
    same = f"{whose} has its sidecar already; nothing was changed" if made.pod == pod else ""
    of_ranges = ranges.warnings(made.pod["metadata"]["annotations"], services)
    told = (*made.warnings, *(() if same else of_ranges))
    return Answer(_response(request, patch(pod, made.pod), told), made.pod, same)


def denial(review: Json, why: str) -> Json:
    """The answer that refuses the pod of a review."""
    return _response(_checked(review)["request"], denied=why)


def _wrong(request: Json, pod: Any) -> str:
    kind = request.get("kind")
    if not isinstance(kind, dict) or kind.get("kind") != "Pod":
        shown = kind.get("kind") if isinstance(kind, dict) else kind
        return f"request.kind: expected Pod, got {shown!r}; the webhook's rules should name pods alone"
    if not isinstance(pod, dict) or not isinstance(pod.get("spec"), dict):
        return "request.object: expected a Pod with a spec"
    return "; ".join(f"request.object.{each}" for each in shape.errors(pod))


def _response(
    request: Json, operations: list[Json] | None = None, warnings: tuple[str, ...] = (), denied: str = ""
) -> Json:
    response: Json = {"uid": request["uid"], "allowed": not denied}
    if denied:
        response["status"] = {"code": 400, "reason": "Invalid", "message": denied}
    if operations:
        encoded = base64.b64encode(json.dumps(operations, separators=(",", ":")).encode()).decode()
        response |= {"patchType": "JSONPatch", "patch": encoded}
    if warnings:
        response["warnings"] = list(warnings)
    return {"apiVersion": API, "kind": "AdmissionReview", "response": response}


def patch(old: Any, new: Any, path: str = "") -> list[Json]:
    """RFC 6902 operations that make ``new`` of ``old``: mapping by mapping; a list that differs is replaced whole."""
    if old == new:
        return []
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [{"op": "replace" if path else "add", "path": path, "value": new}]
    out: list[Json] = []
    for name, value in new.items():
        at = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        out += patch(old[name], value, at) if name in old else [{"op": "add", "path": at, "value": value}]
    gone = (name for name in old if name not in new)
    return [*out, *({"op": "remove", "path": f"{path}/{n.replace('~', '~0').replace('/', '~1')}"} for n in gone)]
