"""``tidegate compile`` and ``tidegate validate``."""

import json

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.unit.app.offline.test_world import ENTRY, POD, SERVICE
from tidegate.cli.main import cli
from tidegate.kit.errors import TidegateError

BAD = ENTRY.replace("NONE", "SOMEHOW")
WARNED = ENTRY.replace("name: http, protocol: HTTP", "name: tcp, protocol: TCP")
STRICT = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x}\nspec: {mtls: {mode: STRICT}}"
METRICS = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: x}\nspec: {metrics: [{}]}"
UNSERVED = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}"


def run(command: str, *arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(cli, [command, "-f", "-", *arguments], input=given)


class TestCompile:
    def test_json_is_a_config_dump(self) -> None:
        result = run("compile", given=f"{SERVICE}\n---\n{POD}")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["configs"][0]["@type"].endswith("ClustersConfigDump")

    def test_yaml(self) -> None:
        assert yaml.safe_load(run("compile", "-o", "yaml", given=POD).stdout)["configs"]

    def test_table(self) -> None:
        text = run("compile", "-o", "table", given=f"{SERVICE}\n---\n{POD}").stdout
        assert all(f"------ {title} ------" in text for title in ("Listeners", "Routes", "Clusters", "Endpoints"))
        assert "web.shop.svc.cluster.local" in text

    def test_a_table_of_nothing_is_a_table(self) -> None:
        result = run("compile", "-o", "table", given=POD)
        assert result.exit_code == 0 and "------ Endpoints ------" in result.stdout

    def test_what_is_refused_is_told_beside_the_output(self) -> None:
        result = run("compile", given=f"{POD}\n---\n{BAD}")
        assert "error: ServiceEntry/default/out: spec.resolution" in result.stderr
        assert json.loads(result.stdout)

    def test_an_assumed_address_is_told(self) -> None:
        assert (
            "Pod/shop/web-0 has no status: taken to run and be ready at 198.18.0.1"
            in run("compile", given=POD.partition("status:")[0]).stderr
        )

    def test_fields_without_effect_are_counted_where_there_are_any(self) -> None:
        assert run("compile", given=f"{POD}\n---\n{STRICT}").stderr == ""
        for given, options in ((METRICS, ()), (STRICT, ("--no-certificates",))):
            told = run("compile", *options, given=f"{POD}\n---\n{given}").stderr
            assert told == "note: 1 field(s) without effect here: tidegate validate --limits lists them\n"

    def test_without_a_workload(self) -> None:
        with pytest.raises(TidegateError, match="--proxy-spec"):
            raise run("compile", given=SERVICE).exception or AssertionError

    def test_a_variable_without_a_value(self) -> None:
        result = run("compile", "--env", "ISTIO_DUAL_STACK", given=POD)
        assert (result.exit_code, "must be NAME=VALUE" in result.stderr) == (2, True)


class TestValidate:
    @pytest.mark.parametrize(
        ("given", "fail_on", "code"),
        [
            (SERVICE, "warning", 0),
            (WARNED, "error", 0),
            (WARNED, "warning", 1),
            (BAD, "error", 1),
            (BAD, "never", 0),
            (UNSERVED, "warning", 0),
            (STRICT, "warning", 0),
            ("a: [", "error", 1),
        ],
    )
    def test_the_exit_code(self, given: str, fail_on: str, code: int) -> None:
        assert run("validate", "--fail-on", fail_on, given=given).exit_code == code

    def test_each_line_names_place_object_field_and_value(self) -> None:
        text = run("validate", given=BAD).stdout
        assert text.startswith("<stdin>:8: error: ServiceEntry/default/out: spec.resolution: ")
        assert "'SOMEHOW'" in text
        assert text.endswith("1 object(s): 1 error(s)\n")

    def test_json_and_yaml(self) -> None:
        for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
            found = read(run("validate", "-o", output, given=BAD).stdout)
            assert [(f["severity"], f["line"], f["field"], f["value"]) for f in found] == [
                ("error", 8, "spec.resolution", "SOMEHOW")
            ]

    def test_nothing_wrong(self) -> None:
        assert run("validate", given=SERVICE).stdout == "1 object(s): no errors, no warnings\n"

    def test_nothing_at_all(self) -> None:
        assert run("validate", given="# empty\n").stdout == "no objects: the manifests are empty\n"

    def test_kinds_that_are_not_judged(self) -> None:
        assert run("validate", given=UNSERVED).stdout.endswith("1 object(s): 1 not judged\n")

    def test_a_kind_that_is_not_judged_is_told_once(self) -> None:
        lines = run("validate", given=f"{UNSERVED}\n---\n{UNSERVED}").stdout.splitlines()
        assert lines[0].endswith("info: kind CronJob is not judged: tidegate does not serve it (2 objects)")
        assert lines[1] == "2 object(s): 2 not judged"

    def test_limits_of_the_mesh_are_counted_and_listed_for_who_asks(self) -> None:
        assert run("validate", given=STRICT).stdout.splitlines() == [
            "1 object(s): no errors, no warnings",
            "note: 1 field(s) that Istio acts on, and tidegate's own mesh does not yet; --limits lists them",
        ]
        listed = run("validate", "--limits", given=STRICT).stdout
        assert "limit: PeerAuthentication/default/x: spec.mtls.mode: not acted on yet" in listed
        assert "--limits" not in listed
