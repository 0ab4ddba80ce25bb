"""Each suite of ``make conformance`` holds its floor."""

import pytest

from conformance import floors, run
from conformance.suite import Suite
from conformance.suite import run as judge
from conformance.suites import SUITES

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_suite_holds_its_floor(suite: Suite) -> None:
    result = judge(suite, run.places())
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.total > 0
    fallen = floors.fallen([result], floors.read(floors.FILE.read_text()))
    assert not fallen, "\n".join([*fallen, *(each.case for each in result.failures)])
