"""A real Kubernetes API server for tests: the binary of ``control-plane/``, built once per state of its sources."""

import contextlib
import fcntl
import hashlib
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = HERE / "control-plane"
BUILD_SECONDS = 1800
START_SECONDS = 180


def cached(sources: Path = SOURCES) -> Path:
    """Where the binary of the present sources is, or will be."""
    digest = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return ROOT / ".cache" / "kubetest" / digest.hexdigest()[:16] / "kubetest"


def unavailable(sources: Path = SOURCES) -> str:
    """Why there can be no real API server here; "" when there can."""
    if cached(sources).exists() or shutil.which("go"):
        return ""
    return f"no real Kubernetes {sources.name}: Go is not on the PATH and {cached(sources)} was not built before"


def binary(sources: Path = SOURCES) -> Path:
    """The built binary; builds it when absent (minutes)."""
    path = cached(sources)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side, and need it once
            _build(sources, path)
    return path


def _build(sources: Path, path: Path) -> None:
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / "kubetest"
            subprocess.run([sources / "build", made], check=True, timeout=BUILD_SECONDS)
            made.replace(path)


@contextlib.contextmanager
def control_plane(folder: Path, *options: str, within: Sequence[str] = ()) -> Iterator[Path]:
    """Run etcd, API server and controller manager with their state in ``folder``; gives the kubeconfig's path.

    ``options`` are those of ``kubetest up``, such as --scheduler; ``within`` is a command that runs it elsewhere, as in
    another network namespace.
    """
    with (folder / "kubetest.err").open("w+") as errors:
        process = subprocess.Popen(
            [*within, binary(), "up", "--dir", folder / "state", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            yield Path(first_line(process, START_SECONDS, lambda: (folder / "kubetest.err").read_text()))
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            if process.stdout:
                process.stdout.close()


def first_line(process: "subprocess.Popen[str]", seconds: float, errors: "object" = None) -> str:
    """The first line that a process prints, within a deadline."""
    deadline = time.monotonic() + seconds
    assert process.stdout is not None
    while time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 0.2)
        if readable and (line := process.stdout.readline()):
            return line.strip()
        if process.poll() is not None:
            break
    told = errors() if callable(errors) else ""
    raise AssertionError(f"{process.args!r} printed nothing (exit {process.poll()}): {told}")
