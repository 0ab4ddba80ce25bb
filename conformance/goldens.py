"""istiod's recorded configuration: the same resources, the same traffic-relevant fields, the same objects refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance import difference
from conformance.names import told
from conformance.recorded.accepted import special, unaccepted
from conformance.recorded.compare import Difference, compare_resources
from conformance.recorded.scenario import SECTIONS, Scenario
from conformance.recorded.translate import translated
from conformance.suite import Outcome, judged
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.kit import nametable
from tidegate.kit.nametable import decode


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
        found = differences(scenario, spec, expected)
        yield from (f"{spec.name} {each}" for each in unaccepted(found, mixed=scenario.mixed))
        yield from filter(None, [_names(scenario, spec, expected)])


def in_general(folder: Path) -> Iterator[Outcome]:
    """A scenario passes when no difference needs more than the general entries of the accepted list."""
    return judged(_folders(folder), lambda f: f.name, lambda f: "\n".join(_special(f)))


def _special(folder: Path) -> Iterator[str]:
    scenario = Scenario(folder)
    for spec in scenario.proxies():
        found = differences(scenario, spec, scenario.expected(spec))
        yield from (f"{spec.name} {each}" for each in special(found, mixed=scenario.mixed))


def _names(scenario: Scenario, spec: ProxySpec, expected: dict[str, Any]) -> str:
    """The name table, which only proxies get that answer DNS."""
    compiled = scenario.compiled(spec)
    if not compiled.proxy.kind.dns_capture:
        return ""
    table = {
        name: {**found, "ips": sorted(found["ips"])}
        for each in expected["nds"] or ()
        for name, found in each["table"].items()
    }
    made = {n: i for r in compiled.resources(nametable.TYPE_URL).values() for n, i in decode(r.name, r.body).items()}
    return difference.of(table, {name: told(info) for name, info in made.items()})


def differences(scenario: Scenario, spec: ProxySpec, expected: dict[str, Any]) -> Iterator[Difference]:
    """Every place in which one proxy's resources differ from the recorded ones."""
    actual = scenario.resources(scenario.compiled(spec), expected)
    for section, url in SECTIONS.items():
        yield from compare_resources(translated(expected[section] or []), actual[section], url)
