"""What is written down about a lab, before it is done, so that ``down`` always knows; and who may do it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.lab.launch import Started
from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Workload

DEFAULT_RUN_DIR = Path("/run/tidegate")
DEFAULT_STATE_DIR = Path("/var/lib/tidegate")


class Folders(msgspec.Struct, frozen=True):
    """Where labs keep their sockets and their state."""

    run: Path = DEFAULT_RUN_DIR
    state: Path = DEFAULT_STATE_DIR

    @property
    def lock_file(self) -> Path:
        return self.run / "lab.lock"

    def lab(self, name: str) -> "LabFolder":
        return LabFolder(self.state / "labs" / name)


class LabFolder(msgspec.Struct, frozen=True):
    """One lab's folder and what lies where in it."""

    path: Path

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def kubeconfig(self) -> Path:
        return self.store / "kubeconfig"

    def log(self, process: str) -> Path:
        """``process`` is ``<member>/<program>``, or one of the lab's own."""
        return self.path / "logs" / f"{process.replace('/', '.')}.log"

    def proxy_log(self, key: str) -> Path:
        """Envoy's output and access log, which the agent has it write."""
        return self.path / "proxies" / key / "envoy.log"

    @property
    def grown_file(self) -> Path:
        return self.path / "node.json"

    def token(self, key: str) -> Path:
        """The token of a member's sidecar."""
        return self.member(key) / "token"

    def member(self, key: str) -> Path:
        return self.path / "members" / key

    def home(self, process: str) -> Path:
        """The working folder of a program."""
        return self.path / "homes" / process.replace("/", ".")


class State(msgspec.Struct):
    """A lab as it was ordered and as far as it was built."""

    name: str
    run_dir: str
    file: str
    """The lab file's path when ``up`` read it."""
    plan: Plan
    complete: bool = False
    processes: dict[str, Started] = {}

    restarts: dict[str, int] = {}
    """How often a program was started again, by its process's name."""

    def save(self, folder: LabFolder) -> None:
        """Write by rename and wait for the disk: what is not written down must not have been done."""
        _save(self, folder.state_file)


class Grown(msgspec.Struct):
    """What the node made of the lab since it was built: Pods that came, programs that were started again."""

    pods: dict[str, tuple[Workload, Member]] = {}
    """By ``<name>.<namespace>``."""
    processes: dict[str, Started] = {}
    restarts: dict[str, int] = {}

    def save(self, folder: LabFolder) -> None:
        _save(self, folder.grown_file)


def _save(state: State | Grown, path: Path) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    with fresh.open("wb") as stream:
        stream.write(msgspec.json.encode(state))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def read_state(folder: LabFolder) -> State | None:
    """The state of a lab as it is now; None when there is none or it was cut short by a full disk."""
    try:
        state = msgspec.json.decode(folder.state_file.read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    grown = read_grown(folder)
    state.plan = state.plan.with_workloads(grown.pods.values())
    state.processes |= grown.processes
    state.restarts = grown.restarts
    return state


def read_grown(folder: LabFolder) -> Grown:
    try:
        return msgspec.json.decode(folder.grown_file.read_bytes(), type=Grown)
    except (OSError, msgspec.DecodeError):
        return Grown()


def folder_of(name: str, folders: Folders) -> tuple[LabFolder, State]:
    """A lab that is there. Raises TidegateError when it is not."""
    folder = folders.lab(name)
    state = read_state(folder)
    if state is None:
        raise TidegateError(
            f"lab {name} is not up (no state in {folder.path}); start it with `tidegate lab up -f FILE`"
        )
    return folder, state


class Owner(msgspec.Struct, frozen=True):
    """The lab that has the run folder, as its lock file tells."""

    lab: str
    state_dir: str


class Lock:
    """Held while a lab is changed; between changes its file tells which lab has the run folder."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd

    @property
    def owner(self) -> Owner | None:
        return read_owner(self._path)

    def write(self, owner: Owner) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, msgspec.json.encode(owner), 0)

    def remove(self) -> None:
        """Remove the file while it is held: whoever waits for it sees that it is gone and takes a new one."""
        self._path.unlink(missing_ok=True)


def read_owner(lock_file: Path) -> Owner | None:
    try:
        return msgspec.json.decode(lock_file.read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError):
        return None


@contextlib.contextmanager
def lock(folders: Folders) -> Iterator[Lock]:
    """Take the lock of the run folder, at once or not at all."""
    try:
        folders.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = _taken(folders.lock_file)
    except BlockingIOError:
        raise TidegateError(
            f"another lab command is at work in {folders.run}; wait for it, or use another --run-dir"
        ) from None
    except OSError as error:
        raise TidegateError(f"cannot lock {folders.lock_file}: {error.strerror}") from error
    try:
        yield Lock(folders.lock_file, fd)
    finally:
        os.close(fd)


def _taken(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
