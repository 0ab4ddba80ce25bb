"""The shares below which nothing may fall. They only rise."""

import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

from conformance.suite import Result

FILE = Path(__file__).with_name("floors.toml")
_SPARE = 1e-9


def read(text: str) -> dict[str, float]:
    """Suite to the least share that passes, in percent. Raises ValueError for what is no floor."""
    found = tomllib.loads(text).get("floors", {})
    for name, floor in found.items():
        if not isinstance(floor, int | float) or not 0 <= floor <= 100:
            raise ValueError(f"{FILE.name}: {name}: must be a percentage from 0 to 100 (got {floor!r})")
    return {name: float(floor) for name, floor in found.items()}


def fallen(results: list[Result], floors: Mapping[str, float]) -> list[str]:
    """Suites below their floor, in words."""
    return [
        f"{r.suite.name}: {r.share:.1f} % pass, the floor is {floors[r.suite.name]:g} %"
        for r in results
        if not r.skipped and r.share + _SPARE < floors.get(r.suite.name, 0.0)
    ]


def lowered(now: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """Floors that were higher, or that are gone."""
    return [
        f"{name}: the floor was {floor:g} % and is {now.get(name, 0.0):g} %: floors only rise"
        for name, floor in before.items()
        if now.get(name, 0.0) + _SPARE < floor
    ]


def committed(revision: str) -> dict[str, float]:
    """The floors of a commit; none where there is no such commit, no such file in it, or no git."""
    command = ["git", "-C", str(FILE.parent), "show", f"{revision}:./{FILE.name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return read(done.stdout) if done.returncode == 0 else {}
