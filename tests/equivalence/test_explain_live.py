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
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.equivalence.live import gateways, judge, worlds
from tests.equivalence.live.stage import Json, Mode, Stage, staged
from tidegate.answer.question import Question

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]
WORLDS: dict[Mode, int] = {"REDIRECT": 17, "TPROXY": 3, "NONE": 3, "ROUTER": 8}
"""As many worlds of each make; set $TIDEGATE_JUDGE_TIMES for a longer run."""
CONNECTIONS = 20
LEAST = 500
SECONDS = float(os.environ.get("TIDEGATE_JUDGE_SECONDS", "60"))
"""For making a failing world small."""
FOLDER = Path(__file__).resolve().parents[2] / "build" / "explain-judge"


class Drawn(NamedTuple):
    documents: list[Json]
    questions: list[Question]

    def __repr__(self) -> str:
        return "the world that is told above, before it was made small"


@st.composite
def cases(draw: Any, mode: Mode) -> Drawn:
    documents = draw(gateways.makes() if mode == "ROUTER" else worlds.worlds(mode))
    asked = gateways.questions(documents) if mode == "ROUTER" else worlds.questions(documents)
    return Drawn(documents, draw(st.lists(asked, min_size=CONNECTIONS, max_size=CONNECTIONS, unique_by=repr)))


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
    count, tally = 0, dict[str, int]()

    @seed(number)
    @settings(
        max_examples=int(WORLDS[stage.mode] * float(os.environ.get("TIDEGATE_JUDGE_TIMES", "1"))),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(stage.mode))
    def run(case: Drawn) -> None:
        nonlocal count
        documents, questions = case
        try:
            found = judge.judged(stage, documents, questions, count)
        except AssertionError as error:  # Envoy does not run the world
            pytest.fail(f"--hypothesis-seed={number}: {error}\n{kept(documents)}", pytrace=False)
        count += len(found)
        for each in found:
            kind = each.ours.ends[0].kind if each.ours.ends else "bypassed"
            tally[kind] = tally.get(kind, 0) + 1
        for each in found:
            if each.wrong:
                pytest.fail(told(stage, documents, each, number), pytrace=False)

    run()
    print(f"{stage.mode}: {count} connections: {tally}")
    return count


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
