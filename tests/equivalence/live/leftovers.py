"""What a run leaves behind that was killed and could not clean up: found by the process id in its names."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

RESOLVERS = Path("/etc/netns")
"""Where ``ip netns exec`` looks for a namespace's own files."""
_NAME = re.compile(r"xj-(?P<process>\d+)-\w+")


def namespace(part: str) -> str:
    """The name of a namespace of this run."""
    return f"xj-{os.getpid()}-{part}"


def folder() -> Path:
    """A new folder of this run."""
    return Path(tempfile.mkdtemp(prefix=f"xj-{os.getpid()}-"))


def remove() -> None:
    """Namespaces, with the processes in them, and folders of runs that are over."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for name in (line.split()[0] for line in listed.splitlines() if line):
        if _over(name):
            _end(name)
            subprocess.run(["ip", "netns", "del", name], check=False)
    for parent in (RESOLVERS, Path(tempfile.gettempdir())):
        for path in parent.glob("xj-*"):
            if _over(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _over(name: str) -> bool:
    found = _NAME.fullmatch(name)
    return found is not None and not Path("/proc", found["process"]).exists()


def _end(name: str) -> None:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    for process in listed.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
