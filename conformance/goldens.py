"""istiod's recorded configuration: the same resources, the same traffic-relevant fields, the same objects refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance import difference
from conformance.suite import Outcome, judged
from tests.golden.accepted import unaccepted
from tests.golden.compare import Difference, compare_resources
from tests.golden.scenario import SECTIONS, Scenario
from tests.golden.translate import translated
from tidegate.app.proxyspec import ProxySpec


def explained(folder: Path) -> Iterator[Outcome]:
    """A scenario passes when nothing differs beyond the accepted list."""
    return judged(_folders(folder), lambda f: f.name, lambda f: "\n".join(_lines(f)))


def _folders(root: Path) -> list[Path]:
    return sorted(f.parent for f in root.glob("*/proxies.json"))


def _lines(folder: Path) -> Iterator[str]:
    scenario = Scenario(folder)
    for spec in scenario.proxies():
        expected = scenario.expected(spec)
        refused = sorted("/".join((r["kind"], r["namespace"], r["name"])) for r in expected["rejected"] or ())
        yield from filter(None, [difference.of(refused, sorted(scenario.rejected))])
        yield from (f"{spec.name} {each}" for each in unaccepted(differences(scenario, spec, expected)))


def differences(scenario: Scenario, spec: ProxySpec, expected: dict[str, Any]) -> Iterator[Difference]:
    """Every place in which one proxy's resources differ from the recorded ones."""
    names = [route["name"] for route in expected["rds"] or ()]
    actual = scenario.resources(scenario.compiled(spec), names)
    for section, url in SECTIONS.items():
        yield from compare_resources(translated(expected[section] or []), actual[section], url)
