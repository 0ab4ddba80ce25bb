"""What a write has to pass: shape, limits, Istio's rules; and what is told to the writer when it does."""

import base64
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import msgspec

from tidegate.api import core_checks, core_fields, metadata, unacted, validation
from tidegate.api.fields import decode_hook
from tidegate.api.identify import api_version_kind, naming
from tidegate.api.kinds import Kind
from tidegate.api.meshconfig import check_mesh_config_map
from tidegate.api.walk import walk
from tidegate.kit.errors import FieldError, InvalidObjectError

FieldValidation: TypeAlias = Literal["Strict", "Warn", "Ignore"]

_TOLD = 200
"""Errors, and warnings, that one answer carries: a hostile object may have one in every place."""

_ENVELOPE = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


class Admitted(msgspec.Struct, frozen=True):
    """An accepted object as it is to be stored, and the warnings for the API's Warning headers."""

    object: dict[str, Any]
    warnings: tuple[str, ...] = ()


def admit(raw: Any, *, field_validation: FieldValidation = "Warn") -> Admitted:
    """Check a write and bring it into canonical form.

    Istio kinds are pruned to the fields they have; ``field_validation`` says what an unknown one is (kubectl's
    ``--validate``): an error ("Strict"), a warning, or nothing. Core kinds keep all that they carry.
    Raises InvalidObjectError with every error at once (the first 200), and nothing else whatever ``raw`` is.
    """
    kind = api_version_kind(raw)
    meta, errors = metadata.check(kind, raw.get("metadata"))
    meta, unknown = core_fields.unknown_metadata(meta)
    told, warnings = _unknown(unknown, field_validation)
    body = _strict(kind, raw, meta, field_validation) if kind.strict else _open(kind, raw, meta, field_validation)
    errors += told + body.errors
    if errors:
        raise InvalidObjectError(*naming(raw), _bounded(errors))
    warnings += body.warnings
    return Admitted({**body.object, "metadata": meta}, tuple(dict.fromkeys(warnings))[:_TOLD])


def _bounded(errors: list[FieldError]) -> tuple[FieldError, ...]:
    more = len(errors) - _TOLD
    return (*errors[:_TOLD], FieldError("", f"and {more} more errors")) if more > 0 else tuple(errors)


class _Checked(msgspec.Struct):
    object: dict[str, Any]
    errors: list[FieldError]
    warnings: list[str]


def _strict(kind: Kind, raw: dict[str, Any], meta: dict[str, Any], field_validation: FieldValidation) -> _Checked:
    normal, errors, unknown = walk(kind.body, raw.get("spec"), "spec")
    unknown = [str(key) for key in raw if key not in _ENVELOPE] + unknown
    told, warnings = _unknown(unknown, field_validation)
    errors += told
    checked, advice = _by_rules(kind, normal, meta)
    errors += _unexplained(checked, errors)
    out = {key: value for key, value in raw.items() if key in _ENVELOPE and value is not None}
    out["spec"] = normal
    status = out.get("status", {})
    if not isinstance(status, dict):
        errors.append(FieldError("status", "must be an object"))
    advice += [f"{kind.kind}: {kind.advice}"] if kind.advice else []
    return _Checked(out, errors, warnings + advice + unacted.warnings(kind.kind, normal))


def _unknown(unknown: list[str], field_validation: FieldValidation) -> tuple[list[FieldError], list[str]]:
    """Errors and warnings that unknown fields are."""
    if field_validation == "Strict":
        return core_fields.errors(unknown), []
    return [], [f'unknown field "{path}"' for path in unknown] if field_validation == "Warn" else []


def _by_rules(kind: Kind, normal: dict[str, Any], meta: dict[str, Any]) -> tuple[list[FieldError], list[str]]:
    body = msgspec.convert(normal, kind.body, dec_hook=decode_hook)
    return validation.validate(
        kind.kind,
        meta.get("namespace", ""),
        meta.get("name", ""),
        body,
        annotations=meta.get("annotations", {}),
        labels=meta.get("labels", {}),
    )


def _unexplained(found: list[FieldError], earlier: list[FieldError]) -> list[FieldError]:
    """Without a rule's complaints about places that could not be read, or around them: they say nothing new."""
    said = {error.path for error in earlier if error.reason != "BadRequest"}
    around = {prefix for path in said for prefix in _prefixes(path)}
    return [e for e in found if e.path not in around and not any(prefix in said for prefix in _prefixes(e.path))]


def _prefixes(path: str) -> list[str]:
    """The path itself and the paths of all that it stands in."""
    return [path[:i] for i, letter in enumerate(path) if letter in ".["] + [path]


def _open(kind: Kind, raw: dict[str, Any], meta: dict[str, Any], field_validation: FieldValidation) -> _Checked:
    at = kind.body_at
    raw, unknown = core_fields.unknown_fields(kind.kind, raw)
    normal, errors, _ = walk(kind.body, raw.get(at) if at else raw, at, proto=False)
    if kind.kind == "Secret":
        errors = [replace(error, value=None) for error in errors]
    if kind.status is not None:
        errors += walk(kind.status, raw.get("status"), "status", proto=False)[1]
    body = msgspec.convert(normal, kind.body, dec_hook=decode_hook)
    errors += _unexplained(core_checks.check(kind.kind, body), errors)
    told, warnings = _unknown(unknown, field_validation)
    errors += told
    warnings += unacted.warnings(kind.kind, normal)
    if kind.kind == "ConfigMap" and not errors:
        more, advice = check_mesh_config_map(meta, body)
        errors += more
        warnings += advice
    return _Checked(_encoded(raw) if kind.kind == "Secret" and not errors else raw, errors, warnings)


def _encoded(secret: dict[str, Any]) -> dict[str, Any]:
    """``stringData`` written into ``data``, as Kubernetes does at every write."""
    plain = secret.get("stringData") or {}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
    out = {key: value for key, value in secret.items() if key != "stringData"}
    return {**out, "data": {**(out.get("data") or {}), **data}} if data else out
