"""Whole objects, YAML documents, mesh settings and single rules: the same accepted, the same warned about.

Wording is ours; that something is refused, or warned about, has to agree. A warning that a field is not acted on is
ours alone and does not count.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

from conformance import fragments
from conformance.suite import Json, Outcome, judged
from tidegate.api.decode import admit
from tidegate.api.fields import decode_hook
from tidegate.api.kinds import KINDS
from tidegate.api.validation import validate
from tidegate.api.walk import walk
from tidegate.kit.errors import InvalidObjectError


def read(folder: Path) -> list[Json]:
    """The cases of every file of a folder."""
    return [case for file in sorted(folder.glob("*.json")) for case in json.loads(file.read_text())]


def objects(folder: Path) -> Iterator[Outcome]:
    return judged(read(folder), lambda c: f"{c['kind']} {c['name']}", _object)


def crds(folder: Path) -> Iterator[Outcome]:
    return judged(read(folder), lambda c: str(c["name"]), _document)


def rules(folder: Path) -> Iterator[Outcome]:
    return judged(read(folder), lambda c: f"{c['function']} {c['name']}", _rule)


def _object(case: Json) -> str:
    raw = named(case["object"])
    refused, warned = refusal(raw), warnings(raw) if case["kind"] in KINDS else []
    found = (not refused, bool(warned))
    return _difference(case, found, [refused] if refused else [], warned)


def _document(case: Json) -> str:
    refused = refusal(named(YAML(typ="safe", pure=True).load(case["yaml"])))
    if bool(refused) == (case["crd_error"] is not None):
        return ""
    expected = f"schema: {case['crd_error'] or 'accepted'}\nwebhook: {case['webhook_error'] or 'accepted'}"
    return f"expected {expected}\ngot      {refused or 'accepted'}\n{case['yaml']}"


def _rule(case: Json) -> str:
    out = fragments.judge(case["function"], case["args"])
    found = (not out.errors, bool(out.warnings))
    return _difference(case, found, [str(e) for e in out.errors], out.warnings)


def _difference(case: Json, found: tuple[bool, bool], errors: list[str], warned: list[str]) -> str:
    if found == (case["valid"], case["warning"]):
        return ""
    given = json.dumps(case.get("object") or case.get("args"))
    expected = f"valid {case['valid']}, warning {case['warning']}: {case['error_text'] or case['warning_text'] or ''}"
    return f"expected {expected}\ngot      valid {found[0]}, warning {found[1]}: {errors + warned}\n{given}"


def named(raw: Any) -> Any:
    """With a name and a namespace where the case has none."""
    meta = raw.get("metadata") or {}
    filled = {"name": meta.get("name") or "case", "namespace": meta.get("namespace") or "default"}
    return {**raw, "metadata": {**meta, **filled}}


def refusal(raw: Any) -> str:
    """Why admission refuses an object; "" when it does not."""
    try:
        admit(raw, field_validation="Ignore")
    except InvalidObjectError as refused:
        return str(refused)
    return ""


def warnings(raw: Json) -> list[str]:
    """What Istio's rules warn about in an object, accepted or not."""
    kind = KINDS[raw["kind"]]
    body, _, _ = walk(kind.body, raw.get("spec"), "spec", limits=False)
    typed = msgspec.convert(body, kind.body, dec_hook=decode_hook)
    meta = raw["metadata"]
    about = {"annotations": meta.get("annotations") or {}, "labels": meta.get("labels") or {}}
    return validate(kind.kind, meta["namespace"], meta["name"], typed, **about)[1]
