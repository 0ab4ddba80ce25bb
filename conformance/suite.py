"""What a suite is: where its cases lie, how many there are, and how one is judged."""

import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Json = dict[str, Any]
C = TypeVar("C")

CONFORMANCE, GOLDENS, INCIDENTS = "conformance", "xds-goldens", "incidents"
"""The folders that cases come from, by the name that each has under the shared folder."""


@dataclass(frozen=True)
class Outcome:
    """One case, judged."""

    case: str
    difference: str = ""
    """What was expected and what came, in lines; "" for a case that passes."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.difference


Judge = Callable[[Path], Iterable[Outcome]]


@dataclass(frozen=True)
class Suite:
    """Cases of one make. ``judge`` is None for what tidegate has not built: its cases are counted, none passes."""

    name: str
    root: str
    """Which of the folders."""
    part: str
    """Folder within it; "" for the folder itself."""
    judge: Judge | None = None
    count: Callable[[Path], int] | None = None


@dataclass
class Result:
    """What became of a suite."""

    suite: Suite
    outcomes: list[Outcome] = field(default_factory=list)
    unbuilt: int = 0
    skipped: str = ""
    """Why it did not run."""

    @property
    def total(self) -> int:
        return len(self.outcomes) + self.unbuilt

    @property
    def passed(self) -> int:
        return sum(each.passed for each in self.outcomes)

    @property
    def share(self) -> float:
        """Percent."""
        return 100 * self.passed / self.total if self.total else 0.0

    @property
    def failures(self) -> list[Outcome]:
        return [each for each in self.outcomes if not each.passed]

    @property
    def slowest(self) -> Outcome | None:
        return max(self.outcomes, key=lambda each: each.seconds, default=None)


def judged(cases: Iterable[C], name: Callable[[C], str], judge: Callable[[C], str]) -> Iterator[Outcome]:
    """Judge cases one by one; one that crashes has failed, and the others go on."""
    for case in cases:
        start = time.perf_counter()
        try:
            difference = judge(case)
        except Exception:
            difference = traceback.format_exc(limit=-8)
        yield Outcome(name(case), difference, time.perf_counter() - start)


def run(suite: Suite, roots: dict[str, Path | None]) -> Result:
    """The suite on the folder that there is."""
    root = roots.get(suite.root)
    folder = root / suite.part if root is not None else None
    if folder is None or not folder.is_dir():
        return Result(suite, skipped=f"there is no folder {suite.root}/{suite.part}".rstrip("/"))
    if suite.judge is None:
        return Result(suite, unbuilt=suite.count(folder) if suite.count else listed(folder))
    outcomes: list[Outcome] = []
    try:
        outcomes.extend(suite.judge(folder))
    except Exception:  # cases that cannot even be read
        outcomes.append(Outcome("the cases themselves", traceback.format_exc(limit=-8)))
    return Result(suite, outcomes, skipped="" if outcomes else "the folder has no cases")


def cases(file: Path) -> list[Any]:
    """The cases of a file that holds a list of them; none where there is no such file."""
    found: list[Any] = json.loads(file.read_text()) if file.exists() else []
    return found


def listed(folder: Path) -> int:
    """How many cases a suite's index lists."""
    index: Json = json.loads((folder / "index.json").read_text())
    return len(index["cases"])
