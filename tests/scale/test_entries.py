"""Ten thousand ServiceEntries added, edited one by one, removed: nothing stays, and edits cost what they always did."""

import json
import subprocess
import sys
from typing import Any

import pytest

COUNT, EDITS = 10_000, 500


@pytest.fixture(scope="module")
def cycles() -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.scale.cycle", str(COUNT), str(EDITS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_nothing_stays(cycles: dict[str, Any]) -> None:
    for each in cycles["cycles"]:
        start, full, end = (dict(each[when]) for when in ("start", "full", "end"))
        assert sum(held >= COUNT - 1 for held in full.values()) >= 20, "what is counted did grow"
        left = end.pop("builders")
        assert left < full["builders"] / 5
        start.pop("builders")
        assert end == start
    first, second = cycles["cycles"]
    assert second["end"] == first["end"], "not even what the caches keep grows"


def test_an_edit_costs_the_same_at_any_size(cycles: dict[str, Any]) -> None:
    costs = [cost for each in cycles["cycles"] for cost in (each["first"], each["last"], *each["costs"])]
    assert all(each["edits"] >= EDITS for each in cycles["cycles"])
    assert costs == [costs[0]] * len(costs)
    assert costs[0]["tidegate.envoy.endpoints.build"] == 2, "an endpoint assignment for each of the two ports"


def test_memory_does_not_grow_with_each_cycle(cycles: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The allocator keeps some of what a first cycle took; a second one must do with that."""
    before, (first, second) = cycles["before"], (each["rss"] for each in cycles["cycles"])
    with capsys.disabled():
        print(f"\nresident: {before >> 20} MiB, {first >> 20} MiB after a cycle, {second >> 20} MiB after two")
    assert second - first < (first - before) / 4
