"""What a status says of an object that counts for less than it was written to."""

from typing import Any

from tidegate.controllers import conditions
from tidegate.controllers.conditions import CONFLICT, LEFT_OUT

Json = dict[str, Any]
OTHERS = {"type": "Healthy", "status": "True"}


def obj(*listed: Json, generation: int = 3, **status: Any) -> Json:
    found = {"conditions": list(listed), **status} if listed or status else {}
    return {"metadata": {"name": "a", "generation": generation}, **({"status": found} if found else {})}


def written(found: Json, wanted: dict[str, str], now: str = "2026-01-02T00:00:00Z") -> Json:
    made = conditions.status(found, wanted, now)
    assert made is not None
    return {**found, "status": made}


def test_a_conflict_is_a_condition_of_the_generation():
    after = written(obj(), {CONFLICT: "loses listener 0.0.0.0_80"})
    assert after["status"] == {
        "conditions": [
            {
                "type": "tidegate.io/Conflict",
                "status": "True",
                "reason": "TakenByOthers",
                "message": "loses listener 0.0.0.0_80",
                "observedGeneration": 3,
                "lastTransitionTime": "2026-01-02T00:00:00Z",
            }
        ],
        "observedGeneration": 3,
    }


def test_what_is_said_already_is_not_written_again():
    wanted = {CONFLICT: "x", LEFT_OUT: "y"}
    after = written(obj(), wanted)
    assert conditions.held(after) == (wanted, True)
    assert conditions.status(after, wanted, "later") is None
    assert conditions.status(obj(OTHERS), {}, "later") is None


def test_of_a_new_generation_it_is_said_again_with_the_time_kept():
    after = written(obj(), {CONFLICT: "x"})
    after["metadata"]["generation"] = 4
    assert conditions.held(after) == ({CONFLICT: "x"}, False)
    again = written(after, {CONFLICT: "x"}, "later")["status"]["conditions"][0]
    assert (again["observedGeneration"], again["lastTransitionTime"]) == (4, "2026-01-02T00:00:00Z")


def test_what_is_solved_is_removed_and_what_others_wrote_stays():
    before = obj(OTHERS, addresses=[{"value": "240.240.0.1"}])
    after = written(before, {CONFLICT: "x"})
    assert [c["type"] for c in after["status"]["conditions"]] == ["Healthy", CONFLICT]
    solved = written(after, {})
    assert solved["status"] == {**before["status"], "observedGeneration": 3}
    assert written(written(obj(), {CONFLICT: "x"}), {})["status"] == {}


def test_messages_are_bounded():
    assert conditions.messages((), ()) == {}
    text = conditions.messages((), tuple(f"loses {n}" for n in range(20)))[CONFLICT]
    assert text.startswith("loses 0; loses 1; ")
    assert text.endswith("; and 12 more")


def test_a_status_of_another_shape_says_nothing():
    assert conditions.held({"metadata": {}, "status": {"conditions": [None, "x", {"type": 3}]}}) == ({}, True)
