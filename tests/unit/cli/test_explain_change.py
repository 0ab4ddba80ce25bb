"""``tidegate explain --with --without``: both answers, as text and as a document."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from tests.unit.app.offline.test_world import POD, SERVICE
from tidegate.cli.main import cli

GONE = "service/shop/web"


def asked(*options: str) -> Result:
    question = ("--from", "web-0.shop", "--to", "web.shop:80", "--ip", "10.96.0.1")
    return CliRunner().invoke(cli, ["explain", "-f", "-", *question, *options], input=f"{SERVICE}\n---\n{POD}")


def test_text_has_both_verdicts() -> None:
    lines = asked("--without", GONE).stdout.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith(("before", "after"))] == [
        "before  reaches",
        "after   passthrough",
    ]
    assert any(line.startswith("differs: outcome, decidingObject") for line in lines)


def test_a_change_without_effect_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "same.yaml"
    path.write_text(SERVICE)
    assert asked("--with", str(path)).stdout.startswith("the change does nothing to this connection:\nreaches: ")


def test_document() -> None:
    found = json.loads(asked("--without", GONE, "-o", "json").stdout)
    assert found["schema"] == "tidegate.io/explain-change/v1"
    assert [found[when]["outcome"] for when in ("before", "after")] == ["reaches", "passthrough"]
    assert "cluster" in found["differs"]


def test_not_beside_what_an_envoy_runs(tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text("{}")
    found = asked("--config-dump", str(dump), "--without", GONE)
    assert found.exit_code == 2
    assert "--with and --without" in found.stderr
