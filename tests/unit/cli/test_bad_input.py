"""What a user gives that cannot be used: told in a line, whatever it is, and never with a traceback."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.unit.app.offline.test_world import POD, SERVICE
from tidegate.cli import main
from tidegate.cli.main import cli
from tidegate.kit.errors import TidegateError

WORLD = f"{SERVICE}\n---\n{POD}"


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(cli, arguments, input=given)


@pytest.fixture
def dump() -> str:
    return run("compile", "-f", "-", given=WORLD).stdout


def explained(tmp_path: Path, dump: str) -> Result:
    (tmp_path / "dump.json").write_text(dump)
    options = ["-f", "-", "--config-dump", str(tmp_path / "dump.json"), "--to", "web:80", "-o", "json"]
    return run("explain", "--from", "web-0.shop", *options, given=WORLD)


class TestDumps:
    def test_a_whole_one(self, tmp_path: Path, dump: str) -> None:
        assert "unknown" not in json.loads(explained(tmp_path, dump).stdout)

    def test_one_that_is_cut_short_is_explained_as_far_as_it_goes(self, tmp_path: Path, dump: str) -> None:
        cut = dump[: dump.index("RoutesConfigDump") + 400]
        report = json.loads(explained(tmp_path, cut).stdout)
        assert report["outcome"] == "unknown"
        assert any("breaks off" in each for each in report["unknown"])

    @pytest.mark.parametrize("text", ["", "words", '{"configs": []}', "[" * 100_000, '{"configs":[' + "[" * 100_000])
    def test_one_without_listeners_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(TidegateError, match="has no listeners"):
            raise explained(tmp_path, text).exception or AssertionError

    def test_one_from_standard_input(self, dump: str) -> None:
        assert "web.shop.svc.cluster.local" in run("proxy-config", "cluster", "-f", "-", given=dump).stdout

    def test_one_that_is_none_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.json").write_text("words")
        with pytest.raises(TidegateError, match=r"x\.json: not a configuration dump"):
            raise run("proxy-config", "route", "-f", str(tmp_path / "x.json")).exception or AssertionError


class TestFaults:
    def test_an_error_that_nobody_foresaw_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(
            main, "cli", click.Group(commands={"break": click.Command("break", callback=lambda: 1 / 0)})
        )
        monkeypatch.setattr("sys.argv", ["tidegate", "break"])
        with pytest.raises(SystemExit) as ended:
            main.main()
        told = capsys.readouterr().err
        assert (ended.value.code, told.count("\n")) == (1, 1)
        assert "ZeroDivisionError: division by zero" in told and "TIDEGATE_TRACEBACK=1" in told

    def test_the_traceback_is_there_for_who_asks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            main, "cli", click.Group(commands={"break": click.Command("break", callback=lambda: 1 / 0)})
        )
        monkeypatch.setattr("sys.argv", ["tidegate", "break"])
        monkeypatch.setenv(main.TRACEBACK, "1")
        with pytest.raises(ZeroDivisionError):
            main.main()
