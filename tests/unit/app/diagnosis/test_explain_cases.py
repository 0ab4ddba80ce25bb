"""What users got wrong, explained: the class of outcome and the object whose edit would change it."""

import pytest

from tests.unit.app.diagnosis.explained import Json, answer, cases

_CASES = dict(cases())


@pytest.mark.parametrize("name", _CASES)
def test_the_outcome_and_the_object_that_decides_are_named(name: str) -> None:
    case: Json = _CASES[name]
    found = answer(case)
    told = f"{case['why']}\n{found.outcome}: {found.verdict}\nby {found.deciding_object}"
    assert found.outcome == case["outcome"], told
    assert found.deciding_object == case["by"], told
    for key, value in (("cluster", found.cluster), ("status", found.http_status), ("field", found.field)):
        assert case.get(key, value) == value, f"{told}\n{key}: {value}"
    if "endpoints" in case:
        assert sorted(e for end in found.ends for e in end.endpoints) == sorted(case["endpoints"]), told
    if "reason" in case:
        assert any(r.object == case["reason"] for r in found.reasons), f"{told}\n{found.reasons}"
    if "because" in case:
        assert any(case["because"] in r.words for r in found.reasons), f"{told}\n{found.reasons}"
