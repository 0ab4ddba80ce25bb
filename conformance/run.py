"""``python -m conformance``: every suite that there is, the table, the report and the floors."""

import argparse
import os
import sys
from pathlib import Path

from conformance import floors, report
from conformance.suite import CONFORMANCE, GOLDENS, INCIDENTS, Result, run
from conformance.suites import SUITES

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"
VARIABLES = {
    CONFORMANCE: "TIDEGATE_CONFORMANCE",
    GOLDENS: "TIDEGATE_XDS_GOLDENS",
    INCIDENTS: "TIDEGATE_INCIDENTS",
}
"""Environment variables that name the folders; by default they lie in ``../shared``."""


def places() -> dict[str, Path | None]:
    """The folders of cases; None for one that is not there. Raises SystemExit for a variable that names none."""
    found: dict[str, Path | None] = {}
    for name, variable in VARIABLES.items():
        given = os.environ.get(variable)
        folder = Path(given) if given else SHARED / name
        if given and not folder.is_dir():
            raise SystemExit(f"{variable}: there is no folder {given}")
        found[name] = folder if folder.is_dir() else None
    return found


def chosen(names: list[str]) -> list[Result]:
    """Results of the suites whose name begins with one of ``names``; of all without."""
    roots = places()
    wanted = [s for s in SUITES if not names or any(s.name.startswith(name) for name in names)]
    if not wanted:
        raise SystemExit(f"no suite begins with {', '.join(names)}; there are: {', '.join(s.name for s in SUITES)}")
    return [run(suite, roots) for suite in wanted]


def verdict(results: list[Result], ci: bool) -> list[str]:
    """What makes the run fail, in words."""
    now = floors.read(floors.FILE.read_text())
    bad = floors.fallen(results, now)
    if ci:
        for revision in ("HEAD", "HEAD~1"):
            bad += floors.lowered(now, floors.committed(revision))
        bad += [f"{r.suite.name}: skipped in CI: {r.skipped}" for r in results if r.skipped and SHARED.is_dir()]
    return list(dict.fromkeys(bad))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", help="only suites whose name begins so")
    parser.add_argument(
        "--report", type=Path, default=PROJECT / "build" / "conformance", help="folder of the differences"
    )
    given = parser.parse_args()
    results = chosen(given.suites)
    print(report.table(results, floors.read(floors.FILE.read_text())), end="")
    failures = report.write(results, given.report)
    if failures:
        print(f"{failures} failures, with their differences: {given.report}")
    bad = verdict(results, ci=bool(os.environ.get("CI")))
    for line in bad:
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if bad else 0
