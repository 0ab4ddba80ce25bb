"""The measure itself: outcomes, floors, the report, and what makes a run fail."""

from pathlib import Path

import pytest

from conformance import difference, floors, report, run
from conformance.suite import CONFORMANCE, Outcome, Result, Suite, judged
from conformance.suite import run as judge


def fails(case: str) -> str:
    if case == "crash":
        raise ValueError("boom")
    return "" if case == "good" else "-a\n+b"


CASES = ("good", "bad", "crash")
SUITE = Suite("some", CONFORMANCE, "some", lambda _: judged(CASES, str, fails))


def result(tmp_path: Path, suite: Suite = SUITE) -> Result:
    (tmp_path / "some").mkdir(exist_ok=True)
    return judge(suite, {CONFORMANCE: tmp_path})


class TestSuite:
    def test_one_crash_is_one_failure(self, tmp_path: Path) -> None:
        found = result(tmp_path)
        assert (found.total, found.passed, round(found.share)) == (3, 1, 33)
        assert [f.case for f in found.failures] == ["bad", "crash"]
        assert "ValueError: boom" in found.failures[1].difference

    def test_what_is_not_built_counts_and_none_passes(self, tmp_path: Path) -> None:
        (tmp_path / "some").mkdir()
        (tmp_path / "some" / "index.json").write_text('{"cases": [{}, {}]}')
        found = result(tmp_path, Suite("some", CONFORMANCE, "some"))
        assert (found.total, found.passed, found.share) == (2, 0, 0.0)

    def test_cases_that_cannot_be_read_are_a_failure(self, tmp_path: Path) -> None:
        def broken(_: Path) -> list[Outcome]:
            raise ValueError("no JSON")

        found = result(tmp_path, Suite("some", CONFORMANCE, "some", broken))
        assert (found.total, found.passed) == (1, 0)
        assert "no JSON" in found.failures[0].difference

    def test_a_folder_without_cases_is_told(self, tmp_path: Path) -> None:
        assert result(tmp_path, Suite("some", CONFORMANCE, "some", lambda _: [])).skipped == "the folder has no cases"

    @pytest.mark.parametrize("there", [True, False])
    def test_a_folder_that_is_not_there_is_told(self, tmp_path: Path, there: bool) -> None:
        found = judge(SUITE, {CONFORMANCE: tmp_path if there else None})
        assert found.skipped == "there is no folder conformance/some"


class TestFloors:
    def test_below_the_floor(self, tmp_path: Path) -> None:
        found = [result(tmp_path)]
        assert floors.fallen(found, {"some": 40.0}) == ["some: 33.3 % pass, the floor is 40 %"]
        assert floors.fallen(found, {"some": 33.0}) == floors.fallen(found, {}) == []

    def test_what_was_skipped_has_not_fallen(self) -> None:
        assert floors.fallen([Result(SUITE, skipped="why")], {"some": 40.0}) == []

    def test_floors_only_rise(self) -> None:
        before = {"a": 10.0, "b": 20.0, "c": 30.0}
        assert floors.lowered({"a": 10.0, "b": 21.0}, before) == ["c: the floor was 30 % and is 0 %: floors only rise"]

    def test_a_floor_is_a_percentage(self) -> None:
        assert floors.read("[floors]\na = 98\n") == {"a": 98.0}
        with pytest.raises(ValueError, match="a: must be a percentage"):
            floors.read("[floors]\na = 980\n")

    def test_no_such_commit(self) -> None:
        assert floors.committed("no-such-revision") == {}

    def test_the_projects_own(self) -> None:
        assert floors.read(floors.FILE.read_text())


class TestReport:
    def test_the_table(self, tmp_path: Path) -> None:
        lines = report.table([result(tmp_path), Result(SUITE, skipped="no folder")], {"some": 30.0}).splitlines()
        assert lines[0].split() == ["SUITE", "CASES", "PASSED", "SHARE", "FLOOR", "SLOWEST"]
        assert lines[1].split()[:6] == ["some", "3", "1", "33.3", "%", "30"]
        assert "skipped" in lines[2]
        assert lines[2].endswith("no folder")

    def test_a_file_of_differences_for_each_suite_that_fails(self, tmp_path: Path) -> None:
        folder = tmp_path / "report"
        folder.mkdir()
        (folder / "former.diff").write_text("gone")
        assert report.write([result(tmp_path)], folder) == 2
        assert [f.name for f in folder.iterdir()] == ["some.diff"]
        assert (folder / "some.diff").read_text().startswith("=== bad\n-a\n+b\n")

    def test_long_differences_are_cut(self, tmp_path: Path) -> None:
        found = Result(SUITE, [Outcome("x", "\n".join(map(str, range(1000))))])
        report.write([found], tmp_path / "r")
        assert "600 more lines" in (tmp_path / "r" / "some.diff").read_text()


class TestDifference:
    def test_values(self) -> None:
        assert difference.of({"a": [1]}, {"a": [1]}) == ""
        assert '+  "b": 1' not in difference.of({"a": 1}, {"a": 2})
        assert difference.of({"a": 1}, {"a": 2}).splitlines()[-2:] == ['+ "a": 2', " }"]


class TestVerdict:
    def test_a_skipped_suite_fails_in_ci_where_the_shared_folder_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        skipped = [Result(SUITE, skipped="there is no folder")]
        monkeypatch.setattr(run, "SHARED", tmp_path)
        assert any("skipped in CI" in line for line in run.verdict(skipped, ci=True))
        assert run.verdict(skipped, ci=False) == []
        monkeypatch.setattr(run, "SHARED", tmp_path / "absent")
        assert run.verdict(skipped, ci=True) == []

    def test_folders_by_variable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TIDEGATE_CONFORMANCE", str(tmp_path))
        assert run.places()[CONFORMANCE] == tmp_path
        monkeypatch.setenv("TIDEGATE_CONFORMANCE", str(tmp_path / "absent"))
        with pytest.raises(SystemExit, match="TIDEGATE_CONFORMANCE: there is no folder"):
            run.places()
