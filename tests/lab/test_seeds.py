"""Every scenario of the demo's seeds, on one lab of its own."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.labs import NEEDS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 900
PROGRAMS = ("conntrack", "curl", "nc", "nginx", "openssl", "redis-server", "setpriv", "ss")
_MISSING = [name for name in PROGRAMS if shutil.which(name) is None]

pytestmark = [*NEEDS, pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}")]


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that the lab's ordinary users may enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_every_scenario_of_every_seed_passes(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_RUN_DIR", str(base / "run"))
    monkeypatch.setenv("TIDEGATE_STATE_DIR", str(base / "state"))
    command = [sys.executable, str(ROOT / "demo" / "run.py"), "--seed", "all", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout, done.stderr
    steps = json.loads(done.stdout)["steps"]
    failed = {step["title"]: step for step in steps if not step["passed"]}
    assert not failed, json.dumps(failed, indent=1, ensure_ascii=False)
    assert {step["title"][:4] for step in steps} >= {"S000", "S001", "S002", "S003", "S004"}
    assert done.returncode == 0
