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

    def test_extensions_that_nobody_knows_are_named(self, tmp_path: Path, dump: str) -> None:
        strange = dump.replace("envoy.filters.http.fault", "acme.magic").replace(
            "http.fault.v3.HTTPFault", "acme.v9.Magic"
        )
        report = json.loads(explained(tmp_path, strange).stdout)
        assert report["outcome"] == "reaches"
        assert any(
            "acme.v9.Magic is not known here: taken to let the request pass" in each for each in report["unknown"]
        )


def rule(name: str, spec: str) -> str:
    head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %s, namespace: shop}\nspec: %s"
    return head % (name, spec)


def matching(regex: str) -> str:
    return rule("r", f"{{hosts: [web], http: [{{match: [{{uri: {{regex: '{regex}'}}}}], route: [{TO_WEB}]}}]}}")


TO_WEB = "{destination: {host: web}}"
CYCLE = "\n---\n".join(
    rule(name, f"{{{hosts}http: [{{delegate: {{name: {to}, namespace: shop}}}}]}}")
    for name, hosts, to in (("root", "hosts: [web], ", "a"), ("a", "", "b"), ("b", "", "a"))
)
BAD: dict[str, tuple[str, str]] = {
    "a regex without end": (matching("(a+)+" * 20_000), "must be at most 1024 characters long (got 100000)"),
    "a regex of brackets": (matching("(" * 1000), "must be an RE2 expression"),
    "a regex that multiplies": (matching("((a{1,1000}){1,1000}){1,1000}"), "must be an RE2 expression"),
    "delegates in a circle": (CYCLE, "a delegate may not delegate further"),
    "a host that is none": (rule("r", f"{{hosts: ['not a host'], http: [{{route: [{TO_WEB}]}}]}}"), "spec.hosts[0]"),
    "a host of numbers": (rule("r", f"{{hosts: [10.0.0.300], http: [{{route: [{TO_WEB}]}}]}}"), "spec.hosts[0]"),
    "nesting": ("a: " + "[" * 10_000, "must lie at most 200 levels deep"),
    "aliases that multiply": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{', '.join([f'*{b}'] * 9)}]\n" for b, n in zip("abcde", "bcdef", strict=True)),
        "must have at most",
    ),
    "no object": ("- 1\n- 2", "must be a Kubernetes object"),
    "an object of wrong types": ("apiVersion: v1\nkind: Service\nmetadata: {name: 5}\nspec: []", "must be an object"),
}


class TestManifests:
    @pytest.mark.parametrize("name", BAD)
    def test_each_is_told_with_its_line_and_hides_no_other(self, name: str) -> None:
        given, told = BAD[name]
        result = run("validate", "-f", "-", given=f"{given}\n---\n{BAD['no object'][0]}\n---\n{WORLD}")
        assert result.exit_code == 1
        lines = [line for line in result.stdout.splitlines() if told in line]
        assert lines and all(line.startswith("<stdin>:") and ": error: " in line for line in lines), result.stdout
        assert "must be a Kubernetes object" in result.stdout

    @pytest.mark.parametrize("name", BAD)
    def test_the_rest_is_explained_nevertheless(self, name: str) -> None:
        given = f"{BAD[name][0]}\n---\n{WORLD}"
        result = run("explain", "-f", "-", "--from", "web-0.shop", "--to", "web:80", "--expect", "reaches", given=given)
        assert (result.exit_code, BAD[name][1] in result.stderr) == (0, True)


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
