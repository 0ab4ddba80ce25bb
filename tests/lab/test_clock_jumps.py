"""The wall clock of a whole lab is set while it runs: sidecars keep their streams, and find lost ones again."""

import time
from collections.abc import Iterator

import pytest

from tests.faketime import DAY, NEEDED, Clock, seconds_of_work
from tests.lab.labs import NEEDS, Lab, kill, running_lab, until
from tests.lab.test_faults import PROXIES, WEB, abort, answers, load, reconnected

pytestmark = [*NEEDS, NEEDED]

LOOK_SECONDS = 2.0
BUSY = 0.5
"""Share of a processor that nobody uses who has nothing to do."""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def lab(clock: Clock) -> Iterator[Lab]:
    """A lab whose own processes are started again under our clock; the node does so for the agents."""
    with running_lab() as made:
        for name in ("apiserver", "discovery", "dns", "node"):
            made.start_again(name, **clock.environment)
        for proxy in PROXIES:
            before = made.state.processes[f"{proxy}/agent"]
            kill(before)
            until(lambda: made.state.processes[f"{proxy}/agent"] != before)  # noqa: B023 - done with in this turn
        until(made.synced)
        yield made


def at_rest(lab: Lab) -> None:
    """Nobody turns in circles."""
    names = ("apiserver", "discovery", "dns", "node", *(f"{proxy}/agent" for proxy in PROXIES))
    pids = {name: lab.running(name).pid for name in names}
    before = {name: seconds_of_work(pid) for name, pid in pids.items()}
    time.sleep(LOOK_SECONDS)
    used = {name: seconds_of_work(pid) - before[name] for name, pid in pids.items()}
    assert max(used.values()) < BUSY * LOOK_SECONDS, used


@pytest.mark.parametrize("seconds", [DAY, -DAY, 0], ids=["a day forward", "two days back", "right again"])
def test_edits_arrive_and_streams_come_back_under_another_clock(lab: Lab, clock: Clock, seconds: int) -> None:
    """A day is longer than a token lives: that of each sidecar is renewed by then."""
    until(lambda: lab.probe("v2.shop").get(WEB)["status"], lambda status: status == 200)
    with load(lab):
        clock.set(seconds)
        at_rest(lab)
    with lab.applied(abort(555)):
        answers(lab, 555)
    answers(lab, 200)
    back = reconnected(lab)
    with lab.killed("discovery"):
        pass
    until(back)
    with lab.applied(abort(556)):
        answers(lab, 556)
    answers(lab, 200)
