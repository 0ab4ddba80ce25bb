"""Lists of which a second item is to count as the first does."""

import copy
from collections.abc import Iterator
from typing import Any

from tests.completeness.context import BESIDE, SECOND
from tests.completeness.judge import Answer, Verdict, answered, cases, judge
from tests.completeness.mutations import put, steps
from tests.completeness.stage import root_of, shape_for, stage


def lists(path: str) -> list[str]:
    """``spec.a[].b[]`` -> ["spec.a[]", "spec.a[].b[]"]."""
    return [path[: at + 2] for at in range(len(path)) if path.startswith("[]", at)]


def items(body: dict[str, Any], path: str, root: str) -> list[Any]:
    """The list at ``path``, by way of the first items of the lists that it stands in; [] where there is none."""
    at: Any = body
    for step in steps(path.removeprefix(f"{root}."))[:-1]:
        at = at[0] if step == "[]" else at.get(step, [])
        if not at:
            return []
    return list(at)


def replaced(body: dict[str, Any], path: str, root: str, new: list[Any]) -> dict[str, Any]:
    out = copy.deepcopy(body)
    at: Any = out
    for step in steps(path.removeprefix(f"{root}."))[:-1]:
        at = at[0] if step == "[]" else at[step]
    at[:] = new
    return out


def pairs(kind: str) -> Iterator[tuple[str, dict[str, Any], Any, Any]]:
    """For each list below which a field acts: its path, a body that has it, and two items that differ."""
    seen, root = set(), root_of(kind)
    for leaf, _, bodies in cases(kind):
        for path in lists(leaf) if leaf in answered(kind, Answer.ACTS) else ():
            first, last = items(bodies[0], path, root), items(bodies[-1], path, root)
            other = SECOND.get((kind, path)) or (last[0] if last else None)
            if path not in seen and first and other not in (None, first[0]):
                seen.add(path)
                body = bodies[0]
                for needed in BESIDE.get((kind, path), ()):
                    body = put(shape_for(kind), body, needed.path, needed.value, needed.key, root)
                yield path, body, first[0], other


def longer(kind: str, path: str, body: dict[str, Any], one: Any, other: Any) -> Verdict:
    """Whether either item, put behind the other, changes something."""
    root, place = root_of(kind), path.replace("[]", "[0]")
    found = []
    for a, b in ((one, other), (other, one)):
        bodies = [replaced(body, path, root, new) for new in ([a], [a, b])]
        found.append(judge(kind, path, place, bodies, stage()))
    return next((v for v in found if v.answer is Answer.ACTS), found[0])
