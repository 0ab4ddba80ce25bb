"""The TCP sockets of a network namespace and the processes that have them, from /proc."""

import ipaddress
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidegate.capture.conntrack import Place

LISTEN = "LISTEN"
_STATES = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": LISTEN,
    "0B": "CLOSING",
    "0C": "NEW_SYN_RECV",
}
_ORDER = sys.byteorder
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_PLACE = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})")


class Socket(msgspec.Struct, frozen=True):
    """One line of /proc/net/tcp or tcp6."""

    local: Place
    remote: Place
    state: str
    uid: int
    inode: int
    """0 once no process has it any more (TIME_WAIT)."""


class Owner(msgspec.Struct, frozen=True):
    """The process that has a socket."""

    pid: int
    name: str
    group: int = -1
    """Its effective group id; -1 where nobody asked."""

    def __str__(self) -> str:
        return f"{self.name}/{self.pid}"


def parse(text: str) -> Iterator[Socket]:
    """Sockets of /proc/net/tcp, of tcp6, or of both one after the other; other lines are passed over."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 10 or not words[0].endswith(":") or not (words[7].isdigit() and words[9].isdigit()):
            continue
        local, remote = _place(words[1]), _place(words[2])
        if local is not None and remote is not None:
            yield Socket(local, remote, _STATES.get(words[3], words[3]), int(words[7]), int(words[9]))


def _place(text: str) -> Place | None:
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    raw = bytes.fromhex(found[1])
    # The kernel prints each 32-bit word of the address as this machine keeps a number.
    packed = b"".join(int.from_bytes(raw[i : i + 4], "big").to_bytes(4, _ORDER) for i in range(0, len(raw), 4))
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return Place(str(mapped or address), int(found[2], 16))


def owners(netns_inode: int, proc: Path = Path("/proc")) -> dict[int, Owner]:
    """Socket inode to process, of the processes in one network namespace. What is gone meanwhile is left out."""
    found: dict[int, Owner] = {}
    for folder in proc.iterdir():
        if folder.name.isdigit() and _namespace(folder) == netns_inode:
            group = _group(folder)
            for inode, name in _sockets_of(folder):
                found.setdefault(inode, Owner(int(folder.name), name, group))
    return found


def _namespace(folder: Path) -> int:
    try:
        return (folder / "ns" / "net").stat().st_ino
    except OSError:
        return 0


def _group(folder: Path) -> int:
    try:
        return folder.stat().st_gid
    except OSError:
        return -1


def _sockets_of(folder: Path) -> Iterator[tuple[int, str]]:
    try:
        name = (folder / "comm").read_text(errors="replace").strip()
        links = list((folder / "fd").iterdir())
    except OSError:
        return
    for link in links:
        try:
            target = _SOCKET.fullmatch(str(link.readlink()))
        except OSError:
            continue
        if target is not None:
            yield int(target[1]), name
