"""Hide a workload's /etc files behind private ones, drop to its user, become its program.

Started in the workload's network namespace. Run as a script by path (``python -I -S launcher.py FD [STATUS_FD]``) with
the standard library only, so that it costs milliseconds; it is never forked from a process with threads. FD holds the
order as JSON; a failure is written to STATUS_FD, which the program's start closes.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SLAVE, MS_SHARED = 4096, 16384, 1 << 19, 1 << 20

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes as shells have them."""


def name_new_namespace(path: str) -> None:
    """Put the calling thread into a new network namespace, which the file then stands for. Raises OSError."""
    _call("unshare", CLONE_NEWNET)
    _call("mount", b"/proc/thread-self/ns/net", path.encode(), b"none", MS_BIND, None)


def share_mount(folder: str) -> None:
    """Let what is mounted below the folder be seen by all who see the folder, as iproute2 has it. Raises OSError."""
    try:
        _call("mount", b"none", folder.encode(), b"none", MS_SHARED | MS_REC, None)
    except OSError:  # no mount point yet
        _call("mount", folder.encode(), folder.encode(), b"none", MS_BIND | MS_REC, None)
        _call("mount", b"none", folder.encode(), b"none", MS_SHARED | MS_REC, None)


def hide_files(binds: list[list[str]]) -> None:
    """Put each (source, target) file over the target, seen by this process and its children only."""
    _call("unshare", CLONE_NEWNS)
    _call("mount", b"none", b"/", None, MS_REC | MS_SLAVE, None)
    for source, target in binds:
        _call("mount", source.encode(), target.encode(), None, MS_BIND, None)


def drop_to(uid: int, gid: int) -> None:
    """Become an ordinary user without supplementary groups."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _call(function: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _become(order: dict) -> None:  # type: ignore[type-arg]
    if order["binds"]:
        hide_files(order["binds"])
    os.umask(0o022)
    if order["cwd"]:
        os.chdir(order["cwd"])
    if order["uid"]:
        drop_to(order["uid"], order["uid"])
    os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606


def _main(order_fd: int, status_fd: int | None) -> int:
    with open(order_fd, encoding="utf-8") as stream:
        order = json.load(stream)
    if status_fd is not None:
        os.set_inheritable(status_fd, False)
    os.environ["PATH"] = order["env"].get("PATH", os.defpath)
    try:
        _become(order)
    except OSError as error:
        text = f"cannot start {order['argv'][0]}: {error.strerror or error}"
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    if status_fd is not None:
        os.write(status_fd, text.encode())
    else:
        print(f"error: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None))

PATH = Path(__file__)
"""This file, to be run as a script."""
