"""metav1.Status: the answers of the embedded server when a request is refused.

Codes and reasons are those of the Kubernetes API conventions, section "Response Status Kind".
"""

import http

from tidegate.api.kinds import Kind
from tidegate.kit.errors import InvalidObjectError
from tidegate.store.model import Expired, Json, StoreError

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    500: "InternalError",
    504: "Timeout",
}


def resource_name(kind: Kind) -> str:
    """``serviceentries.networking.istio.io``; plain ``pods`` for the core group."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def qualified_kind(kind: Kind) -> str:
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def error(code: int, message: str, **details: object) -> StoreError:
    """A refusal whose reason follows from its code."""
    return StoreError(code, _REASONS.get(code, ""), message, details)


def not_found(kind: Kind, name: str) -> StoreError:
    message = f'{resource_name(kind)} "{name}" not found'
    return StoreError(404, "NotFound", message, _details(kind, name, kind.plural))


def already_exists(kind: Kind, name: str) -> StoreError:
    message = f'{resource_name(kind)} "{name}" already exists'
    return StoreError(409, "AlreadyExists", message, _details(kind, name, kind.plural))


def conflict(kind: Kind, name: str, why: str, causes: list[Json] | None = None) -> StoreError:
    details = _details(kind, name, kind.plural)
    if causes:
        details["causes"] = causes
    return StoreError(409, "Conflict", f'{resource_name(kind)} "{name}" was not changed: {why}', details)


def invalid(kind: Kind, name: str, causes: list[tuple[str, str, str]]) -> StoreError:
    """422. ``causes`` are (reason, message, field path)."""
    details = _details(kind, name, kind.kind)
    details["causes"] = [{"reason": r, "message": m, "field": f} for r, m, f in causes]
    text = ", ".join(f"{field}: {message}" if field else message for _, message, field in causes)
    return StoreError(422, "Invalid", f'{qualified_kind(kind)} "{name}" is invalid: {text}', details)


def from_invalid_object(kind: Kind, failure: InvalidObjectError) -> StoreError:
    causes = []
    for found in failure.errors:
        shown = "" if found.value is None else f" (got {found.value!r})"
        causes.append((found.reason, f"{found.message}{shown}", found.path))
    return invalid(kind, failure.name, causes)


def expired(version: int, oldest: int) -> Expired:
    message = f"resourceVersion {version} is too old: changes up to {oldest} are no longer kept; list again"
    return Expired(410, "Expired", message)


def version_too_large(version: int, current: int) -> StoreError:
    message = f"resourceVersion {version} is in the future: the current one is {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": message}]
    return StoreError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def as_json(failure: StoreError) -> Json:
    """The Status object of a refusal."""
    body: Json = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(failure),
        "reason": failure.reason,
        "code": failure.code,
    }
    if failure.details:
        body["details"] = dict(failure.details)
    if not failure.reason:
        body["reason"] = http.HTTPStatus(failure.code).phrase.replace(" ", "")
    return body


def success(kind: Kind, name: str, uid: str) -> Json:
    """The answer of a delete that took effect at once."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**_details(kind, name, kind.plural), "uid": uid},
    }


def _details(kind: Kind, name: str, what: str) -> Json:
    details: Json = {"name": name, "kind": what}
    if kind.group:
        details["group"] = kind.group
    return details
