"""The table, and a file with the differences of each suite's failures."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from conformance.suite import Outcome, Result

_MOST_LINES = 400
"""Lines of one failure that are written."""


def table(results: list[Result], floors: Mapping[str, float]) -> str:
    """One row a suite: cases, how many pass, the share, the floor and the slowest case."""
    rows: list[tuple[str, ...]] = [("SUITE", "CASES", "PASSED", "SHARE", "FLOOR", "SLOWEST")]
    rows += [_row(result, floors) for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    numbers = range(1, 5)
    return [
        cell.rjust(width) if i in numbers else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _row(result: Result, floors: Mapping[str, float]) -> tuple[str, ...]:
    name, floor = result.suite.name, floors.get(result.suite.name)
    told = f"{floor:g} %" if floor is not None else "-"
    if result.skipped:
        return name, "-", "-", "skipped", told, result.skipped
    slowest = result.slowest
    slow = f"{1000 * slowest.seconds:.0f} ms {slowest.case[:60]}" if slowest else "not built"
    return name, str(result.total), str(result.passed), f"{result.share:.1f} %", told, slow


def write(results: list[Result], folder: Path) -> int:
    """A file of failures for each suite that has some; the folder's former content goes. Returns how many failures."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for result in results:
        if result.failures:
            parts = [_failure(each) for each in result.failures]
            file = folder / (re.sub(r"[^\w.-]+", "-", result.suite.name) + ".diff")
            file.write_text("\n".join(parts))
    return sum(len(result.failures) for result in results)


def _failure(outcome: Outcome) -> str:
    lines = outcome.difference.splitlines()
    more = [f"... {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return "\n".join([f"=== {outcome.case}", *lines[:_MOST_LINES], *more, ""])
