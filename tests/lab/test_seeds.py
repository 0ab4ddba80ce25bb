"""Every scenario of the demo's seeds, on one lab of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.labs import NEEDS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900
PROGRAMS = ("conntrack", "curl", "nc", "nginx", "openssl", "redis-server", "setpriv", "ss")
_MISSING = [name for name in PROGRAMS if shutil.which(name) is None]

pytestmark = [*NEEDS, pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}")]


def test_every_scenario_of_every_seed_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(tmp_path / "state"))
    command = [sys.executable, str(ROOT / "demo" / "run.py"), "--seed", "all", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout, done.stderr
    steps = json.loads(done.stdout)["steps"]
    failed = {step["title"]: step for step in steps if not step["passed"]}
    assert not failed, json.dumps(failed, indent=1, ensure_ascii=False)
    assert {step["title"][:4] for step in steps} >= {"S000", "S001", "S002", "S003", "S004"}
    assert done.returncode == 0
