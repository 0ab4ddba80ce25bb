"""``proxy sidecar`` and ``proxy router``: the agent as Istio's containers and services start it."""

import json
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml

from tidegate.agent.environment import Flags, Machine, told
from tidegate.app import agent
from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.surroundings import addresses_of
from tidegate.kit import boundedyaml, envoy_binary
from tidegate.kit.errors import TidegateError

log = logging.getLogger(__name__)

ANNOTATIONS = Path("/etc/istio/pod/annotations")
"""The Pod's annotations, from the downward API."""
MESH_CONFIG = Path("/etc/istio/config/mesh")
_MAX_FILE = 4 * 1024 * 1024
_CHANGES_USER = 1 << 6 | 1 << 7 | 1 << 8
"""CAP_SETGID, CAP_SETUID and CAP_SETPCAP: capabilities(7)."""


def run(flags: Flags, envoy: str | None, mesh_config: Path = MESH_CONFIG, unacted: Sequence[str] = ()) -> None:
    """Run the agent until it is told to end; ``unacted`` are flags to be told as such.

    Raises TidegateError when it cannot start.
    """
    found = told(flags, os.environ, machine(mesh_config))
    os.environ.update(found.environment)
    for line in (*(f"not acted on: flag {name}" for name in unacted), *found.notes):
        log.warning("%s", line)
    agent.run(msgspec.structs.replace(found.settings, envoy=binary(envoy, found.binary)))


def binary(option: str | None, named: str) -> Path:
    """The option's Envoy, the environment's, the one that ProxyConfig names if it is there, or the installed one."""
    if option or os.environ.get(envoy_binary.VARIABLE) or not os.access(named, os.X_OK):
        return envoy_binary.find(option)
    return Path(named)


def machine(mesh_config: Path) -> Machine:
    """What there is to be seen of the machine or the container."""
    return Machine(
        hostname=socket.gethostname(),
        addresses=_addresses(),
        cpus=len(os.sched_getaffinity(0)),
        changes_user=may_change_user(Path("/proc/self/status").read_text()),
        shares_output=_shares_output(),
        annotations=parse_annotations(_text(ANNOTATIONS)),
        mesh_config=_default_config(mesh_config),
    )


def _addresses() -> tuple[str, ...]:
    try:
        found = addresses_of(Kernel())
    except (OSError, CaptureError) as error:
        log.info("the machine's addresses cannot be read: %s", error)
        return ()
    return tuple(str(each) for each in found if not each.is_loopback and not each.is_link_local)


def _shares_output() -> bool:
    try:
        with Path("/dev/stdout").open("ab", buffering=0):
            return True
    except OSError:
        return False


def may_change_user(status: str) -> bool:
    """Whether a process with this /proc/PID/status may start programs as another user and drop rights."""
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return held & _CHANGES_USER == _CHANGES_USER


def parse_annotations(text: str) -> dict[str, str]:
    """``name="value"`` lines of the downward API; a line that cannot be read is told and left out."""
    found = {}
    for line in text.splitlines():
        name, _, quoted = line.partition("=")
        try:
            found[name] = str(json.loads(quoted))
        except ValueError:
            log.warning("%s: the annotation %s cannot be read; it is left out", ANNOTATIONS, name[:200])
    return found


def _default_config(path: Path) -> str:
    """``defaultConfig`` of a mesh configuration's file, as JSON; "" where there is none."""
    text = _text(path)
    try:
        found = boundedyaml.load(text)
    except yaml.YAMLError as error:
        raise TidegateError(f"mesh configuration {path} cannot be read: {error}") from None
    given = found.get("defaultConfig") if isinstance(found, dict) else None
    return json.dumps(given, default=str) if given else ""


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_FILE)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise TidegateError(f"{path} cannot be read: {error.strerror}") from None
