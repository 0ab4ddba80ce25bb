"""What an agent sees of the machine that it runs on."""

from pathlib import Path

import pytest

from tidegate.app.proxy import binary, machine, may_change_user, parse_annotations
from tidegate.kit.errors import TidegateError


def test_who_may_change_users() -> None:
    assert may_change_user("Name:\tx\nCapEff:\t000001ffffffffff\n")
    assert not may_change_user("CapEff:\t0000000000003000\n"), "a container with NET_ADMIN and NET_RAW alone"
    assert not may_change_user("")


def test_annotations_as_the_downward_api_writes_them(caplog: pytest.LogCaptureFixture) -> None:
    text = 'a="one"\nb="two\\nlines \\"quoted\\""\nbroken\n'
    assert parse_annotations(text) == {"a": "one", "b": 'two\nlines "quoted"'}
    assert "annotation broken cannot be read" in caplog.text


def test_the_machines_own_mesh_configuration(tmp_path: Path) -> None:
    path = tmp_path / "mesh"
    assert machine(path).mesh_config == ""
    path.write_text("defaultConfig: {discoveryAddress: 'a:1'}\ntrustDomain: x\n")
    assert machine(path).mesh_config == '{"discoveryAddress": "a:1"}'
    with pytest.raises(TidegateError, match="cannot be read"):
        machine(tmp_path)


def test_which_envoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, other = tmp_path / "named", tmp_path / "other"
    for path in (named, other):
        path.touch(mode=0o755)
    monkeypatch.delenv("TIDEGATE_ENVOY", raising=False)
    assert binary(None, str(named)) == named
    assert binary(str(other), str(named)) == other
    monkeypatch.setenv("TIDEGATE_ENVOY", str(other))
    assert binary(None, str(named)) == other
