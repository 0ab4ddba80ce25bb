"""The steps of docs/capture.md as they stand, in a mount namespace in which no other test's namespaces have names."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.test_docs import blocks, matches

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("iptables-save") is None, reason="iptables is not installed"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
]
_APART = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && echo ready && exec sleep infinity"
BLOCK_SECONDS = 60


@pytest.fixture
def apart() -> Iterator[int]:
    """The process that holds the mount namespace."""
    command = ["unshare", "--mount", "sh", "-c", _APART]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
            yield holder.pid
        finally:
            holder.kill()


def test_the_steps_work_as_they_are_written(apart: int) -> None:
    entering = ["nsenter", f"--mount=/proc/{apart}/ns/mnt", "--", "bash", "-euo", "pipefail", "-c"]
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    found = blocks("../capture")
    assert len(found) > 5
    for block in found:
        done = subprocess.run(
            [*entering, block.shell],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS,
        )
        assert done.returncode == 0, f"{block}:\n{done.stdout}"
        assert block.expected is None or matches(block.expected, done.stdout), f"{block} printed\n{done.stdout}"
