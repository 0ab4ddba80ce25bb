"""No field is ignored silently: changing it changes a resource, or writing it is answered with a warning by path."""

import enum
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.completeness.bases import BASES
from tests.completeness.context import PARTLY, REFUSED, context_of, values_of
from tests.completeness.mutations import concrete, leaves, put
from tests.completeness.stage import Stage, admitted, root_of, shape_for, stage
from tidegate.api import decode, unacted
from tidegate.kit.errors import FieldError, InvalidObjectError


KINDS = sorted(BASES)

LEAST_UNACTED = {
    "DestinationRule": 40,
    "Gateway": 28,
    "MeshConfig": 330,
    "ServiceEntry": 2,
    "Sidecar": 15,
    "VirtualService": 5,
    "WorkloadEntry": 2,
    "WorkloadGroup": 23,
}
"""How many fields of a kind are known not to act at least; lower a number when fields begin to."""


class Answer(enum.Enum):
    ACTS = "changes a resource"
    WARNED = "warns, and changes nothing"
    REFUSED = "is not admitted"
    SILENT = "changes nothing and warns of nothing"
    BOTH = "warns of doing nothing, but changes a resource"


class Verdict(NamedTuple):
    path: str
    place: str
    answer: Answer
    error: FieldError | None = None

    def refusal_names_it(self) -> bool:
        """Whether the error is about the field, or about something below the body that it stands in."""
        named = self.error.path if self.error else ""
        return "." in named and (self.place == named or self.place.startswith((f"{named}.", f"{named}[")))

    def __str__(self) -> str:
        return f"{self.path}: {self.answer.value} {self.error or ''}".rstrip()


def cases(kind: str) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Path, its spelling in the bodies, and bodies that differ in the field at that path alone."""
    shape, root = shape_for(kind), root_of(kind)
    for path, leaf in leaves(shape, root):
        body = BASES[kind]
        for needed in context_of(kind, path):
            body = put(shape, body, needed.path, needed.value, needed.key, root)
        found, key = values_of(kind, path, leaf)
        at = path if key else path.removesuffix("{}")
        yield path, concrete(path, key), [put(shape, body, at, value, key, root) for value in found]


def judge(kind: str, path: str, place: str, bodies: list[dict[str, Any]], on: Stage) -> Verdict:
    seen, told = [], False
    for body in bodies:
        try:
            written = admitted(kind, body)
        except InvalidObjectError as error:
            return Verdict(path, place, Answer.REFUSED, error.errors[0])
        told |= any(names(text, place) for text in written.warnings)
        seen.append(on.show(decode.stored(written.object)))
    acts = any(each != seen[0] for each in seen[1:])
    if acts:
        return Verdict(path, place, Answer.BOTH if told else Answer.ACTS)
    return Verdict(path, place, Answer.WARNED if told else Answer.SILENT)


def names(warning: str, place: str) -> bool:
    """Whether it is a warning that the field, or something that it stands in, is not acted on."""
    named, _, text = warning.partition(": ")
    return "not acted on" in text and (place == named or place.startswith((f"{named}.", f"{named}[")))


@lru_cache
def verdicts(kind: str) -> tuple[Verdict, ...]:
    return tuple(judge(kind, *case, stage()) for case in cases(kind))


def answered(kind: str, answer: Answer) -> set[str]:
    return {v.path for v in verdicts(kind) if v.answer is answer}


def of_kind(kind: str, paths: frozenset[tuple[str, str]]) -> set[str]:
    return {path for k, path in paths if k == kind}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_acts_or_warns(kind: str) -> None:
    known = of_kind(kind, REFUSED)
    wrong = [
        v
        for v in verdicts(kind)
        if v.answer is Answer.SILENT or (v.answer is Answer.REFUSED and v.path not in known)
    ]
    assert not wrong, f"{len(wrong)} fields:\n" + "\n".join(map(str, wrong))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_never_admitted_is_refused_by_name(kind: str) -> None:
    assert answered(kind, Answer.REFUSED) == of_kind(kind, REFUSED)
    wrong = [v for v in verdicts(kind) if v.answer is Answer.REFUSED and not v.refusal_names_it()]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("kind", KINDS)
def test_no_warning_says_of_a_field_that_acts_that_it_does_not(kind: str) -> None:
    assert answered(kind, Answer.BOTH) == of_kind(kind, PARTLY)


@pytest.mark.parametrize("kind", KINDS)
def test_without_their_warnings_unacted_fields_are_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = answered(kind, Answer.WARNED)
    assert len(quiet) >= LEAST_UNACTED[kind]
    monkeypatch.setattr(unacted, "UNACTED", {})
    found = {judge(kind, *case, stage()) for case in cases(kind) if case[0] in quiet}
    assert {v.path for v in found if v.answer is Answer.SILENT} == quiet


@pytest.mark.parametrize(
    ("builder", "kind", "path"),
    [
        ("actions.set_timeout", "VirtualService", "spec.http[].timeout"),
        ("balancing.put_load_balancer", "DestinationRule", "spec.trafficPolicy.loadBalancer.simple"),
        ("pool.put_keepalive", "DestinationRule", "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive.time"),
        ("pool.put_keepalive", "MeshConfig", "data.mesh.tcpKeepalive.probes"),
    ],
)
def test_a_field_that_a_builder_forgets_is_found(
    builder: str, kind: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in cases(kind) if case[0] == path)
    assert judge(kind, *case, stage()).answer is Answer.ACTS
    monkeypatch.setattr(f"tidegate.envoy.{builder}", lambda *_: None)
    assert judge(kind, *case, Stage()).answer is Answer.SILENT


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_of_the_api_is_missed(kind: str, shared: Path) -> None:
    sheet = json.loads((shared / "reference/api/fields.json").read_text())
    listed = {bare(path) for path in {**sheet["crds"], **sheet["config"]}[kind]["fields"]}
    wanted = {path for path in listed if not any(other.startswith(f"{path}.") for other in listed)}
    judged = {bare(v.path).removeprefix(f"{root_of(kind)}.") for v in verdicts(kind)}
    assert judged == wanted


def bare(path: str) -> str:
    return path.replace("[]", "").replace("{}", "")
