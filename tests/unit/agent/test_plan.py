import pytest

from tidegate.agent.process import MAX_DELAY, Exit, Observed, delay_after, plan

KILLED = Exit(-9, 42.0)
CRASHED = Exit(1, 0.2, ("bind failed: address already in use",))


@pytest.mark.parametrize(
    ("seen", "kind", "reason"),
    [
        (Observed(), "start", "no Envoy is running yet"),
        (Observed(found=77), "adopt", "running already (pid 77)"),
        (Observed(running=True), "nothing", "Envoy is running"),
        (Observed(running=True, exit=KILLED), "nothing", "Envoy is running"),
        (Observed(exit=KILLED, failures=1), "start", "Envoy was killed by SIGKILL after 42.0 s"),
        (Observed(exit=CRASHED, failures=1), "start", "exited with code 1 after 0.2 s; its last words: bind failed"),
        (Observed(exit=CRASHED, failures=2, since_exit=0.25), "wait", "2 short lives in a row"),
        (Observed(exit=CRASHED, failures=2, since_exit=1.0), "start", "exited with code 1"),
        (Observed(exit=Exit(None, 3.0), failures=1), "start", "an adopted process: its exit code is not known"),
        (Observed(stopping=True, exit=CRASHED), "nothing", "the agent is ending"),
        (Observed(stopping=True, found=77), "nothing", "the agent is ending"),
    ],
)
def test_what_is_done_and_why(seen: Observed, kind: str, reason: str) -> None:
    action = plan(seen)
    assert action.kind == kind
    assert reason in action.reason


def test_the_wait_is_what_is_left_of_it() -> None:
    assert plan(Observed(exit=CRASHED, failures=3, since_exit=0.5)).delay == pytest.approx(1.5)


def test_back_off_doubles_up_to_a_bound() -> None:
    assert [delay_after(failures) for failures in range(1, 6)] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert delay_after(1000) == MAX_DELAY
