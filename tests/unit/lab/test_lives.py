"""Programs that are started again when they end."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tidegate.kit.errors import TidegateError
from tidegate.lab import lives
from tidegate.lab.launch import Order, Started, environment, start
from tidegate.lab.lives import FIRST_PAUSE, LAST_PAUSE, LONG_LIFE, Backoff, Kept, ended, keep
from tidegate.lab.node import is_due
from tidegate.lab.objects import Life


def test_the_pauses_grow_and_have_an_end() -> None:
    backoff = Backoff()
    pauses = [backoff.pause(1.0) for _ in range(9)]
    assert pauses == [0.0, FIRST_PAUSE, 2.0, 4.0, 8.0, 16.0, 32.0, LAST_PAUSE, LAST_PAUSE]
    assert backoff.pause(LONG_LIFE) == 0.0 and backoff.pause(0.0) == FIRST_PAUSE


def program(folder: Path, script: str) -> Started:
    return start(Order(argv=("sh", "-c", script), env=environment("unit")), folder / "log")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
async def test_the_exit_code_of_a_child_is_known_and_no_zombie_stays(tmp_path: Path, script: str, code: int) -> None:
    process = program(tmp_path, script)
    assert await asyncio.wait_for(ended(process), 20) == code
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # noqa: ASYNC222 - it returns at once


async def test_the_exit_code_of_anothers_child_is_not(tmp_path: Path) -> None:
    other = (
        "import os, sys; pid = os.fork(); pid or os.execvp('sleep', ['sleep', '0.2']); print(pid); sys.stdout.flush()"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", other, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    assert await asyncio.wait_for(ended(Started(pid, lives.processes.procfs.start_ticks(pid))), 20) is None
    await process.wait()


class Told:
    """Programs that end at once, and what is told of them."""

    def __init__(self, folder: Path, scripts: list[str | None], *, always: bool = True) -> None:
        self.folder, self.scripts = folder, scripts
        self.lives: list[tuple[Life, bool]] = []
        self.restarts: list[int] = []
        self.kept = Kept("unit", self._start, lambda _: True, self._tell, self.restarts.append, always)

    def _start(self) -> Started:
        if not self.scripts:
            raise asyncio.CancelledError
        script = self.scripts.pop(0)
        if script is None:
            raise TidegateError("cannot start it")
        return program(self.folder, script)

    def _tell(self, life: Life, ready: bool) -> None:
        self.lives.append((life, ready))

    async def run(self) -> None:
        try:
            await asyncio.wait_for(keep(self.kept, None), 20)
        except asyncio.CancelledError:
            pass


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(lives, "LAST_PAUSE", 0.001)


async def test_a_program_is_started_again_and_each_step_is_told(tmp_path: Path, no_pauses: None) -> None:
    told = Told(tmp_path, ["exit 1", None, "exit 2"])
    await told.run()
    assert told.restarts == [1, 2, 3]
    waiting = [(life.waiting, life.code) for life, _ in told.lives if life.waiting]
    assert waiting == [("RunContainerError", None), ("CrashLoopBackOff", 2)]
    assert next(life.message for life, _ in told.lives if life.waiting) == "cannot start it"
    assert max(life.restarts for life, _ in told.lives) == 2


async def test_a_program_that_is_to_end_is_not_started_again(tmp_path: Path) -> None:
    told = Told(tmp_path, ["exit 0", "exit 1"], always=False)
    await told.run()
    assert told.restarts == [] and told.scripts == ["exit 1"]
    assert told.lives[-1] == (Life(ended=True, code=0), False)


def token(**claims: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.mark.parametrize(
    ("text", "now", "due"),
    [
        (token(iat=1000, exp=2000), 1000, False),
        (token(iat=1000, exp=2000), 1799, False),
        (token(iat=1000, exp=2000), 1800, True),
        (token(iat=1000, exp=2000), 1000 + 86400, True),
        (token(iat=1000, exp=2000), 1000 - 86400, False),
        (token(exp=2000), 0, True),
        ("", 0, True),
        ("a.b.c", 0, True),
        ("a.\x00é.c", 0, True),
    ],
)
def test_when_a_token_is_renewed(text: str, now: float, due: bool) -> None:
    assert is_due(text, now) is due
