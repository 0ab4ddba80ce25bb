"""Label and field selectors (Kubernetes documentation, "Labels and Selectors" and "Field Selectors")."""

import re
from collections.abc import Callable

import msgspec

from tidegate.store import status
from tidegate.store.model import Json

Predicate = Callable[[Json], bool]

_FIELDS: dict[str, frozenset[str]] = {
    "Pod": frozenset(
        {
            "spec.nodeName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "Event": frozenset(
        {
            *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion")),
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        }
    ),
    "Namespace": frozenset({"status.phase"}),
    "Secret": frozenset({"type"}),
    "Service": frozenset({"spec.clusterIP", "spec.type"}),
}
_ALWAYS = frozenset({"metadata.name", "metadata.namespace"})

_KEY = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_TERM = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<k1>{_KEY})"
    rf"|(?P<k2>{_KEY})\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<k3>{_KEY})\s*(?P<op>==|!=|=)\s*(?P<value>{_VALUE})"
    rf"|(?P<k4>{_KEY}))\s*(?:,|$)"
)


class Requirement(msgspec.Struct, frozen=True):
    """One term of a label selector. ``operator``: in, notin, exists, absent."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: dict[str, str]) -> bool:
        """``notin`` (and ``!=``) also holds where the label is absent."""
        match self.operator:
            case "in":
                return self.key in labels and labels[self.key] in self.values
            case "notin":
                return labels.get(self.key) not in self.values
            case "exists":
                return self.key in labels
        return self.key not in labels


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """``a=b,c!=d,e in (f,g),h,!i``; raises a 400 StoreError that quotes the text."""
    found, at = [], 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None or (match.end() == len(text) and text.endswith(",")):
            expected = "terms such as a=b, a!=b, a in (b,c), a notin (b), a or !a, joined by commas"
            raise status.error(400, f"labelSelector {text!r} cannot be read at {text[at:]!r}: expected {expected}")
        found.append(_requirement(match))
        at = match.end()
    return tuple(found)


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        return Requirement(match["k1"], "absent")
    if match["set"]:
        values = frozenset(v.strip() for v in match["values"].split(","))
        return Requirement(match["k2"], match["set"], values)
    if match["op"]:
        return Requirement(match["k3"], "notin" if match["op"] == "!=" else "in", frozenset({match["value"]}))
    return Requirement(match["k4"], "exists")


class FieldTerm(msgspec.Struct, frozen=True):
    path: str
    value: str
    negated: bool

    def matches(self, obj: Json) -> bool:
        return (field_text(obj, self.path) == self.value) is not self.negated


def parse_fields(kind: str, text: str) -> tuple[FieldTerm, ...]:
    """``metadata.name=a,spec.nodeName!=b``; a field that the kind is not selectable by is a 400 StoreError."""
    terms = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"\s*([A-Za-z.]+)\s*(==|!=|=)\s*(.*?)\s*", part)
        if match is None:
            raise status.error(400, f"fieldSelector {text!r}: expected field=value or field!=value, got {part!r}")
        path, operator, value = match.groups()
        allowed = _ALWAYS | _FIELDS.get(kind, frozenset())
        if path not in allowed:
            raise status.error(
                400, f"field label not supported: {path} of {kind}; supported are {', '.join(sorted(allowed))}"
            )
        terms.append(FieldTerm(path, value, operator == "!="))
    return tuple(terms)


def field_text(obj: Json, path: str) -> str:
    """The field as selectors compare it; "" where it is absent."""
    value: object = obj
    if path == "source" and obj.get("kind") == "Event":
        path = "source.component" if obj.get("source") else "reportingComponent"
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def predicate(kind: str, labels: str, fields: str) -> Predicate | None:
    """A test for both selectors together; None when neither is given."""
    requirements, terms = parse_labels(labels), parse_fields(kind, fields)
    if not requirements and not terms:
        return None

    def keep(obj: Json) -> bool:
        own = obj["metadata"].get("labels") or {}
        return all(r.matches(own) for r in requirements) and all(t.matches(obj) for t in terms)

    return keep
