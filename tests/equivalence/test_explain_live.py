"""Worlds and connections drawn at random go through a real Envoy: a sidecar behind real packet rules, or a gateway.

What explain says of each is what the access log, the far side and the client say. A failing one is kept as YAML, made
small, in build/explain-judge.
"""

import contextlib
import json
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.equivalence.live import judge, worlds
from tests.equivalence.live.drawing import Drawn, drawn
from tests.equivalence.live.stage import Json, Mode, Stage, staged

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]
WORLDS: dict[Mode, int] = {"REDIRECT": 20, "TPROXY": 4, "NONE": 3, "ROUTER": 11}
"""As many worlds of each make; set $TIDEGATE_JUDGE_TIMES for a longer run."""
LEAST = 500
SECONDS = float(os.environ.get("TIDEGATE_JUDGE_SECONDS", "60"))
"""For making a failing world small."""
FOLDER = Path(__file__).resolve().parents[2] / "build" / "explain-judge"


def test_connections_end_as_explain_says(request: pytest.FixtureRequest) -> None:
    number = int(request.config.getoption("--hypothesis-seed", None) or random.randrange(2**32))
    print(f"--hypothesis-seed={number}")
    only = os.environ.get("TIDEGATE_JUDGE_ONLY", "")
    count = 0
    for mode in WORLDS:
        if only in ("", mode):
            with staged(mode) as stage:
                count += played(stage, number)
    assert only or count >= LEAST


def played(stage: Stage, number: int) -> int:
    """Worlds of one make, and how many connections went through them."""
    count, tally = 0, Counter[str]()

    def run(case: Drawn) -> None:
        nonlocal count
        found = judged(stage, case, count, number)
        count += len(found)
        tally.update(each.ours.ends[0].kind if each.ours.ends else "bypassed" for each in found)

    for world in range(int(WORLDS[stage.mode] * float(os.environ.get("TIDEGATE_JUDGE_TIMES", "1")))):
        drawn(stage.mode, f"{number} {stage.mode} {world}", run)
    print(f"{stage.mode}: {count} connections: {dict(tally)}")
    return count


def judged(stage: Stage, case: Drawn, first: int, number: int) -> list[judge.Case]:
    """All connections of a world, which end as explain says."""
    try:
        found = judge.judged(stage, case.documents, case.questions, first)
    except AssertionError as error:  # Envoy does not run the world
        pytest.fail(f"--hypothesis-seed={number}: {error}\n{kept(case.documents)}", pytrace=False)
    for each in found:
        if each.wrong:
            pytest.fail(told(stage, case.documents, each, number), pytrace=False)
    return found


def told(stage: Stage, documents: list[Json], case: judge.Case, number: int) -> str:
    """The failing connection in the smallest world that was found, written to a folder that outlives the test."""
    deadline = time.monotonic() + SECONDS
    last = case

    def fails(candidate: list[Json]) -> bool:
        nonlocal last
        with contextlib.suppress(Exception):
            found = judge.judged(stage, candidate, [case.question], random.randrange(10**9))
            last = found[0] if found[0].wrong else last
            return bool(found[0].wrong)
        return False

    small = judge.smallest(documents, fails, lambda: time.monotonic() < deadline)
    world = kept(small)
    verdict = {
        "wrong": last.wrong,
        "question": msgspec.to_builtins(last.question),
        "ends": msgspec.to_builtins(last.ours.ends),
        "live": msgspec.to_builtins(last.live.ends),
        "client": last.seen.told,
        "log": last.seen.near,
        "far side": last.seen.far,
    }
    text = json.dumps(verdict, indent=1)
    (FOLDER / "connection.json").write_text(text)
    return f"--hypothesis-seed={number}: {last.wrong}\n{text}\n{world}"


def kept(documents: list[Json]) -> str:
    """The world, written to a folder that outlives the test."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / "world.yaml"
    file.write_text(worlds.as_yaml(documents))
    return f"{file}:\n{file.read_text()}"
