"""A Unix socket's path, owned by one server at a time."""

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

from tidegate.kit.errors import TidegateError

_MAX_PATH = 107
_CONNECT_TIMEOUT = 1.0


class SocketPathError(TidegateError):
    """The path cannot be listened on."""


class SocketClaim:
    """Holds ``<path>.lock`` locked, so that no other server unlinks or binds the path meanwhile.

    A socket that a dead server left is removed; a living server's, or a file of another kind, is an error.
    """

    def __init__(self, path: Path) -> None:
        if len(os.fsencode(path)) > _MAX_PATH:
            raise SocketPathError(f"socket path {path}: longer than the {_MAX_PATH} bytes that Unix allows; shorten it")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._claim(path)
        except BaseException:
            os.close(self._lock)
            raise

    def _claim(self, path: Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SocketPathError(f"socket path {path}: another server holds it; stop that one first") from None
        _remove_stale(path)

    def release(self) -> None:
        """Give the path up. The lock file stays: removing it would let two servers lock two different files."""
        os.close(self._lock)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketPathError(f"socket path {path}: is there already and is not a socket; remove it or name another")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_TIMEOUT)
        code = probe.connect_ex(str(path))
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise SocketPathError(f"socket path {path}: another server answers there; stop that one first")
    path.unlink(missing_ok=True)
