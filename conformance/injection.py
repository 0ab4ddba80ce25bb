"""Sidecar injection: objects in, objects with sidecars out, by command line and by admission review.

Accepted differences, each a general rule:
- what Go's typed objects print and Kubernetes defaults to is left out on both sides: null, ``creationTimestamp``,
  an empty ``status``, ``resources``, ``strategy``, ``updateStrategy``, ``metadata``, and statuses of zeros;
- a quantity is compared as a number (``2000m`` is ``2``), for Kubernetes normalises it when it stores it;
- text that holds JSON is compared as JSON;
- beside the pod, zero values (0, false, "", empty lists and mappings) are left out: they are those that Go's typed
  objects print, or do not;
- a CronJob's labels and annotations are expected on its job template's metadata, where no pod would get them; ours
  are on the pod template's;
- init containers, containers, environment, mounts and volumes are compared in their order.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from conformance import difference
from conformance.suite import Json, Outcome, judged
from tidegate.inject.context import Place
from tidegate.inject.objects import Result, inject_object
from tidegate.inject.review import answer
from tidegate.inject.settings import Settings, from_installation, merged, parse_set
from tidegate.inject.workloads import PodAt, pod_of, replaced
from tidegate.kit.errors import TidegateError

_RANGE = "1000620000/10000"
_OPENSHIFT = {"openshift.io/sa.scc.uid-range": _RANGE, "openshift.io/sa.scc.supplemental-groups": _RANGE}
_NAMESPACES = {"test-ns": Place(namespace="test-ns", namespace_annotations=_OPENSHIFT)}


class Case:
    """One folder of ``cases/``."""

    def __init__(self, folder: Path, values: Json, mesh: Json) -> None:
        self.raw: Json = json.loads((folder / "case.json").read_text())
        self._folder, self._values, self._mesh = folder, values, mesh

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    def documents(self, which: str) -> list[Json]:
        text = (self._folder / str(self.raw[which])).read_text()
        return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]

    def settings(self) -> Settings:
        env = self.raw.get("env") or {}
        return Settings(
            values=self._own_values(),
            mesh=merged(self._mesh, self.raw.get("mesh_overrides") or {}),
            native=_native(env.get("ENABLE_NATIVE_SIDECARS"), self.raw["oldest_node_version"]),
            platform=env.get("PLATFORM", ""),
            compliance_policy=env.get("COMPLIANCE_POLICY", ""),
        )

    def _own_values(self) -> Json:
        values = self._values
        if self.raw.get("values_file"):
            document = yaml.load((self._folder / self.raw["values_file"]).read_text(), Loader=yaml.CSafeLoader)
            values = merged(values, from_installation(document, self.raw["values_file"]))
        given = parse_set(tuple(self.raw.get("set_flags") or ()))
        values = merged(values, given.get("values") or {})
        return merged(values, self.raw.get("values_overrides") or {})


def _native(asked: str | None, oldest: str) -> bool:
    if asked is not None:
        return asked == "true"
    return tuple(map(int, re.findall(r"\d+", oldest)[:2])) >= (1, 33)


def judge(folder: Path) -> Iterator[Outcome]:
    values = json.loads((folder / "default_values.json").read_text())
    mesh = json.loads((folder / "default_mesh.json").read_text())
    folders = sorted(each.parent for each in folder.glob("cases/**/case.json"))
    return judged([Case(each, values, mesh) for each in folders], lambda case: case.name, _judge)


def _judge(case: Case) -> str:
    if case.raw.get("error_contains"):
        return _refusal(case)
    wanted = case.documents("expected")
    found = ""
    if case.raw.get("check_whole_resource"):
        found = _whole(case, wanted)
    if not found and case.raw.get("check_pod_webhook"):
        found = _reviews(case, wanted)
    return found


def _refusal(case: Case) -> str:
    try:
        for each in case.documents("input"):
            inject_object(each, case.settings())
    except TidegateError as error:
        wanted = str(case.raw["error_contains"])
        return "" if wanted in str(error).lower() else f"expected an error with {wanted!r}, got: {error}"
    return "expected an error, got none"


def _whole(case: Case, wanted: list[Json]) -> str:
    results = [_injected(each, case.settings()) for each in case.documents("input")]
    said = "\n".join(text for each in results for text in (*each.warnings, *each.reasons))
    if (expected := case.raw.get("log_contains")) and expected not in said:
        return f"expected to be told {expected!r}, was told: {said}"
    return difference.of([_object(each) for each in wanted], [_object(each.object) for each in results])


def _object(obj: Json) -> Any:
    """An object to compare: what is beside its pods without zeros, and the pods."""
    pods = [pod_of(each) for each in _items(obj)]
    beside = [
        replaced(i, p.path, {"metadata": {}, "spec": {}}) if p and p.path else dict(i)
        for i, p in zip(_items(obj), pods, strict=True)
    ]
    for each in beside:
        if each.get("kind") == "CronJob":
            each["spec"] = {**each["spec"], "jobTemplate": {**each["spec"]["jobTemplate"], "metadata": {}}}
        if each.get("kind") == "Pod":
            each.update(metadata={}, spec={})
    return {
        "beside": [_without_zeros(_normal(each)) for each in beside],
        "pods": [_pod(i, p) for i, p in zip(_items(obj), pods, strict=True)],
    }


def _pod(obj: Json, found: PodAt | None) -> Any:
    if found is None:
        return None
    pod = dict(found.pod)
    if obj.get("kind") == "CronJob":
        pod["metadata"] = merged(obj["spec"]["jobTemplate"].get("metadata") or {}, pod.get("metadata") or {})
    return _normal({k: pod.get(k) for k in ("metadata", "spec")})


def _without_zeros(value: Any) -> Any:
    if isinstance(value, dict):
        found = {k: _without_zeros(v) for k, v in value.items()}
        return {k: v for k, v in found.items() if v}
    return [_without_zeros(each) for each in value] if isinstance(value, list) else value


def _injected(obj: Json, settings: Settings) -> Result:
    place = _NAMESPACES.get(str((obj.get("metadata") or {}).get("namespace") or ""), Place())
    return inject_object(obj, settings, place)


def _reviews(case: Case, wanted: list[Json]) -> str:
    expected = [pod_of(each) for document in wanted for each in _items(document)]
    given = [pod_of(each) for document in case.documents("input") for each in _items(document)]
    for number, (before, after) in enumerate(zip(given, expected, strict=True)):
        if before is None or after is None:
            continue
        owner = before.workload
        reference = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "controller": True}
        meta = {**(before.pod.get("metadata") or {}), "ownerReferences": [reference]}
        meta["name"] = meta.get("name") or owner.name
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": before.pod["spec"]}
        request = {"uid": "1", "namespace": owner.namespace, "kind": {"kind": "Pod"}, "object": pod}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        made = answer(review, case.settings(), _NAMESPACES.get(owner.namespace, Place(namespace=owner.namespace)))
        left, right = ({k: each.get(k) for k in ("metadata", "spec")} for each in (after.pod, made.pod))
        right["metadata"] = {k: v for k, v in right["metadata"].items() if k in ("labels", "annotations")}
        left["metadata"] = {k: v for k, v in (left["metadata"] or {}).items() if k in ("labels", "annotations")}
        if said := difference.of(_normal(left), _normal(right)):
            return f"by admission review, pod {number}:\n{said}"
    return ""


def _items(obj: Json) -> list[Json]:
    return list(obj.get("items") or ()) if obj.get("kind") == "List" else [obj]


_EMPTY = ("status", "resources", "strategy", "updateStrategy", "metadata", "annotations", "labels")
_QUANTITIES = ("requests", "limits")
_SUFFIXES = {"": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def _normal(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return _normal_mapping(value, name)
    if isinstance(value, list):
        return [_normal(each) for each in value]
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return _normal(json.loads(value))
        except ValueError:
            return value
    return value


def _normal_mapping(value: Json, name: str) -> Json:
    if name in _QUANTITIES:
        return {k: _quantity(str(v)) for k, v in value.items()}
    out = {k: _normal(v, k) for k, v in value.items() if v is not None and k != "creationTimestamp"}
    if name == "status" and not any(out.values()):
        return {}
    return {k: v for k, v in out.items() if not (k in _EMPTY and v == {})}


def _quantity(text: str) -> Any:
    match = re.fullmatch(r"([\d.]+)([A-Za-z]*)", text)
    return str((Decimal(match[1]) * _SUFFIXES[match[2]]).normalize()) if match and match[2] in _SUFFIXES else text
