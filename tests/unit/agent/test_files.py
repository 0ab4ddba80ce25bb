import os
from pathlib import Path

import pytest

from tidegate.agent import procfs
from tidegate.agent.logfile import rotate
from tidegate.agent.process import last_lines


def test_rotation_keeps_the_end_writable(tmp_path: Path) -> None:
    path = tmp_path / "envoy.log"
    with path.open("ab", buffering=0) as envoy:
        envoy.write(b"old\n" * 100)
        assert not rotate(path, max_size=400)
        assert rotate(path, max_size=399)
        envoy.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "envoy.log.1").read_bytes() == b"old\n" * 100


def test_no_log_yet(tmp_path: Path) -> None:
    assert not rotate(tmp_path / "absent")
    assert last_lines(tmp_path / "absent") == ()


def test_last_lines_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("\n".join(f"line {n}" for n in range(10000)))
    assert last_lines(path, 2) == ("line 9998", "line 9999")


def test_a_pid_that_another_process_has_now_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    argument = procfs.arguments(os.getpid())[1]
    me = procfs.Process.of(os.getpid())
    procfs.keep(path, me)
    found = procfs.find(path, argument)
    assert found is not None and found.pid == os.getpid()
    me.started += 1
    procfs.keep(path, me)
    assert procfs.find(path, argument) is None
    for process in (me, found):
        process.close()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    me = procfs.Process.of(os.getpid())
    procfs.keep(tmp_path / "absent" / "pid", me)
    assert "is not kept in a file" in caplog.text
    me.close()


def test_a_pid_file_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("nonsense")
    assert procfs.find(path, "no process has this argument \0") is None
