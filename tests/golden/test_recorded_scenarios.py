"""Whole configurations through the pure core, against what Istio's control plane told the same proxies."""

from pathlib import Path

import pytest

from conformance.recorded.accepted import unaccepted
from conformance.recorded.compare import compare_resources
from conformance.recorded.scenario import SECTIONS, Scenario
from conformance.recorded.translate import translated

pytestmark = pytest.mark.conformance


def differences(folder: Path) -> list[str]:
    scenario = Scenario(folder)
    found = []
    for spec in scenario.proxies():
        expected = scenario.expected(spec)
        actual = scenario.resources(scenario.compiled(spec), expected)
        for section, url in SECTIONS.items():
            wanted = translated(expected[section] or [])
            compared = compare_resources(wanted, actual[section], url)
            found += [f"{spec.name} {each}" for each in unaccepted(compared, mixed=scenario.mixed)]
    return found


def scenarios() -> list[str]:
    root = Path(__file__).resolve().parents[3] / "shared" / "xds-goldens"
    return sorted(f.name for f in root.iterdir() if f.is_dir()) if root.is_dir() else []


@pytest.mark.parametrize("name", scenarios() or ["absent"])
def test_a_scenario_gives_the_recorded_resources(shared: Path, name: str) -> None:
    found = differences(shared / "xds-goldens" / name)
    assert not found, "\n".join(found[:20])
