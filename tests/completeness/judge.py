"""What becomes of a field that is written: something is shown to a proxy, a warning is told, or neither."""

import enum
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from tests.completeness.bases import BASES
from tests.completeness.context import context_of, values_of
from tests.completeness.mutations import concrete, leaves, put
from tests.completeness.stage import Stage, admitted, root_of, shape_for, stage
from tidegate.api import decode
from tidegate.api.decode import Admitted
from tidegate.api.objects import Object
from tidegate.kit.errors import FieldError, InvalidObjectError


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
    try:
        written = [admitted(kind, body) for body in bodies]
    except InvalidObjectError as error:
        return Verdict(path, place, Answer.REFUSED, error.errors[0])
    told = warned(place, written)
    if differs((decode.stored(each.object) for each in written), on):
        return Verdict(path, place, Answer.BOTH if told else Answer.ACTS)
    return Verdict(path, place, Answer.WARNED if told else Answer.SILENT)


def differs(items: Iterable[Object[Any]], on: Stage) -> bool:
    """Whether the proxies see something else with one of the objects than with the first."""
    first, ref = None, None
    try:
        for item in items:
            ref, seen = item.ref, on.show(item)
            first = first or seen
            if seen != first:
                return True
        return False
    finally:
        if ref is not None:
            on.clear(ref)


def warned(place: str, written: Iterable[Admitted]) -> bool:
    return any(names(text, place) for each in written for text in each.warnings)


def names(warning: str, place: str) -> bool:
    """Whether it is a warning that the field, or something that it stands in, is not acted on."""
    named, _, text = warning.partition(": ")
    return "not acted on" in text and (place == named or place.startswith((f"{named}.", f"{named}[")))


@lru_cache
def verdicts(kind: str) -> tuple[Verdict, ...]:
    return tuple(judge(kind, *case, stage()) for case in cases(kind))


def answered(kind: str, answer: Answer) -> set[str]:
    return {v.path for v in verdicts(kind) if v.answer is answer}
