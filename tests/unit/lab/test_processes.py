"""Starting, recognizing and ending processes; the lock; the state file."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tidegate.kit.errors import TidegateError
from tidegate.lab import processes
from tidegate.lab.launch import MARK, Order, Started, environment, start
from tidegate.lab.plan import make_plan
from tidegate.lab.spec import LabSpec, Workload
from tidegate.lab.state import Folders, Owner, State, lock, read_owner, read_state

SECONDS = 20


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_program_gets_its_arguments_environment_and_folder_as_they_are(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = 'printf "%s|" "$0" "$A" "$HOME" "$PWD"'
    env = environment("t", A="$(x) 'y'", HOME="/nowhere")
    started = start(Order(argv=("sh", "-c", script, "; exit"), env=env, cwd=str(tmp_path)), log)
    os.waitpid(started.pid, 0)
    assert log.read_text() == f"; exit|$(x) 'y'|/nowhere|{tmp_path}|"


def test_nothing_of_the_callers_environment_reaches_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    log = tmp_path / "log"
    os.waitpid(start(Order(argv=("env",), env=environment("t")), log).pid, 0)
    assert "SECRET_OF_THE_CALLER" not in log.read_text() and f"{MARK}=t" in log.read_text()


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match=r"cannot start no-such-program: No such file"):
        start(Order(argv=("no-such-program",), env=environment("t")), tmp_path / "log")


def test_a_marked_process_and_its_child_are_found_and_ended(tmp_path: Path) -> None:
    mark = f"unit@{tmp_path}"
    order = Order(argv=("sh", "-c", "trap '' TERM; sleep 1000 & wait; wait"), env=environment(mark))
    started = start(order, tmp_path / "log")
    until(lambda: len(processes.belonging(mark, [])) == 2)
    assert processes.end(lambda: processes.belonging(mark, []), grace=0.1) == []
    assert not processes.alive(started)
    os.waitpid(started.pid, 0)


def test_a_pid_with_another_start_time_is_another_process() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        assert processes.alive(Started(child.pid, int(fields[19])))
        assert not processes.alive(Started(child.pid, int(fields[19]) + 1))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_listening_ports(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] in processes.listening(os.getpid())
        port = server.getsockname()[1]
    assert port not in processes.listening(os.getpid())


def test_only_one_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "run", tmp_path / "state")
    with lock(folders) as held:
        held.write(Owner("one", str(folders.state)))
        with pytest.raises(TidegateError, match="another lab command is at work"), lock(folders):
            pass
    assert read_owner(folders.lock_file) == Owner("one", str(folders.state))
    with lock(folders) as held:
        assert held.owner == Owner("one", str(folders.state))
        held.remove()
    assert not folders.lock_file.exists()


def test_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = Folders(tmp_path / "run", tmp_path).lab("small")
    folder.path.mkdir(parents=True)
    plan = make_plan(LabSpec("small", workloads=(Workload("a", ("x",), sidecar=False),)), "/labs")
    state = State(name="small", run_dir="/run", file="/labs/lab.yaml", plan=plan)
    state.processes["a.default/app"] = Started(1, 2)
    state.save(folder)
    assert read_state(folder) == state
    assert folder.state_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": 3}'])
def test_a_damaged_state_counts_as_none(tmp_path: Path, content: bytes) -> None:
    folder = Folders(tmp_path / "run", tmp_path).lab("small")
    folder.path.mkdir(parents=True)
    folder.state_file.write_bytes(content)
    assert read_state(folder) is None
