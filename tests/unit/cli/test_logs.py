"""``tidegate logs`` from a file: text, JSON, only errors, in words."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.dump.test_accesslog import BLOCKED, TCP
from tidegate.cli.logs import logs
from tidegate.kit.errors import TidegateError

GOOD = BLOCKED.replace("502 - direct_response", "200 - via_upstream").replace("block_all", "default")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "envoy.log"
    path.write_text(f"[2026-01-02][1][warning] starting\n{GOOD}\n{TCP}\n{BLOCKED}")
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(logs, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_as_it_is(log: Path) -> None:
    assert run("--file", log) == log.read_text() + "\n"


def test_the_last_lines(log: Path) -> None:
    assert run("--file", log, "--tail", 1) == BLOCKED + "\n"


def test_only_errors_in_words(log: Path) -> None:
    found = run("client", "-n", "front", "--file", log, "--errors", "--explain")
    assert "starting" not in found
    assert "200" not in found
    assert "TCP connection to 203.0.113.7:7000: 0 bytes in, 0 out UH, 0 ms" in found
    assert "GET www.example/ HTTP/1.1 to 203.0.113.7:80: 502" in found
    assert "look at a ServiceEntry for the host" in found
    assert "tidegate proxy-config route client.front" in found


def test_what_went_well_needs_no_advice(log: Path) -> None:
    assert "look at" not in run("--file", log, "--explain").partition("TCP connection")[0]


def test_json_has_an_object_for_each_line_of_the_log(log: Path) -> None:
    found = [json.loads(line) for line in run("--file", log, "--explain", "-o", "json").splitlines()]
    assert [line.get("response_code", 0) for line in found] == [200, 0, 502]
    assert found[1]["explained"][0]["code"] == "UH"
    assert "explained" not in json.loads(run("--file", log, "-o", "json").splitlines()[0])


def test_a_workload_or_a_file_is_needed(tmp_path: Path) -> None:
    assert CliRunner().invoke(logs, []).exit_code == 2
    assert CliRunner().invoke(logs, ["a", "-f", "--tail", "1"]).exit_code == 2
    with pytest.raises(TidegateError, match="there is no log"):
        run("--file", tmp_path / "none.log")
    with pytest.raises(TidegateError, match="no lab is up in"):
        run("client", "--run-dir", tmp_path, "--state-dir", tmp_path)
