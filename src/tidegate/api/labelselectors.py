"""Label selectors as Kubernetes has them: matchLabels and matchExpressions, of which all must hold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from tidegate.api.metadata import is_label_value, is_qualified_name

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


class Requirement(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Sequence[str]: ...


class Selector(Protocol):
    @property
    def match_labels(self) -> Mapping[str, str]: ...
    @property
    def match_expressions(self) -> Sequence[Requirement]: ...


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether all of it holds; an empty selector selects everything. ``NotIn`` also holds without the label."""
    plain = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return plain and all(_holds(each, labels) for each in selector.match_expressions)


def _holds(wanted: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(wanted.key)
    match wanted.operator:
        case "In":
            return value in wanted.values
        case "NotIn":
            return value not in wanted.values
        case "Exists":
            return value is not None
    return value is None


def problems(selector: Selector) -> Iterator[tuple[str, str, str]]:
    """What Kubernetes would refuse: the field's path in the selector, what was expected, and the value."""
    for key, value in selector.match_labels.items():
        if not is_qualified_name(key):
            yield "matchLabels", "keys must be label names: [prefix/]name", key
        if not is_label_value(value):
            yield f"matchLabels[{key[:120]}]", "must be a label value", value
    for index, each in enumerate(selector.match_expressions):
        for field, expected, value in _problems(each):
            yield f"matchExpressions[{index}].{field}", expected, value


def _problems(wanted: Requirement) -> Iterator[tuple[str, str, str]]:
    if not is_qualified_name(wanted.key):
        yield "key", "must be a label name: [prefix/]name", wanted.key
    if wanted.operator not in OPERATORS:
        yield "operator", f"must be one of {', '.join(OPERATORS)}", wanted.operator
    elif bool(wanted.values) != (wanted.operator in ("In", "NotIn")):
        need = "must not be given" if wanted.values else "must be given"
        yield "values", f"{need} with operator {wanted.operator}", ", ".join(wanted.values)
    for value in wanted.values:
        if not is_label_value(value):
            yield "values", "must be label values", value
