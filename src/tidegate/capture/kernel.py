"""The kernel's tables as iptables' own programs show and change them, in any network namespace."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.rules.model import Family, RuleSet
from tidegate.rules.support import missing_support
from tidegate.rules.text import parse_save

Binary = Literal["", "legacy", "nft"]

LOCK_SECONDS = 5
"""How long to wait for another program that changes the tables."""
TIMEOUT_SECONDS = 30
NETNS_FOLDER = Path("/run/netns")
_SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
_FAILED_LINE = re.compile(r"line:? (\d+)|/dev/stdin:(\d+):")
_REFUSED = re.compile(r"permission denied|operation not permitted|must be root", re.IGNORECASE)
RIGHTS = "packet rules are read and changed by root, or with the capability NET_ADMIN; use sudo"
_NAMED = re.compile(r"'([^']+)'|Extension (\w+) revision \d+ not supported")


class CaptureError(TidegateError):
    """Rules that could not be applied, verified or removed; the text tells what the kernel holds now."""


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """The tables of one network namespace and one kind of iptables."""

    netns: str | None = None
    """Name or path of the namespace; None is the caller's own."""
    binary: Binary = ""
    """Which iptables to use where a machine has both; empty takes the one called ``iptables``."""
    lock_file: str = ""
    """Lock that iptables-legacy takes; empty is the machine's, which its other users hold too."""

    def save(self, family: Family) -> str:
        """What the tables hold, with counters, as iptables-save prints it."""
        return self.run([self.program(family, "save"), "-c"])

    def read(self, family: Family) -> RuleSet:
        """What the tables hold."""
        return parse_save(self.run([self.program(family, "save")]), family)

    def write(self, family: Family, text: str) -> None:
        """Run one table's transaction on top of what is there. Raises CaptureError naming the rule that failed."""
        command = [self.program(family, "restore"), "--noflush", "-w", str(LOCK_SECONDS)]
        self.run(command, text)

    def replace(self, family: Family, text: str) -> None:
        """Make a table hold exactly the text, counters included."""
        self.run([self.program(family, "restore"), "-c", "-w", str(LOCK_SECONDS)], text)

    def has_tools(self, family: Family) -> bool:
        """Whether the programs for this family are installed."""
        return shutil.which(self._name(family, "restore"), path=_SEARCH_PATH) is not None

    def works(self, family: Family) -> bool:
        """Whether the programs for this family are installed, and the kernel has what they need."""
        if not self.has_tools(family):
            return False
        try:
            self.save(family)
        except CaptureError:
            return False
        return True

    def has_nft(self) -> bool:
        """Whether nft is installed."""
        return shutil.which("nft", path=_SEARCH_PATH) is not None

    def nft(self, *arguments: str, text: str = "") -> str:
        """Run nft in the namespace. Raises CaptureError naming the rule that failed."""
        found = shutil.which("nft", path=_SEARCH_PATH)
        if found is None:
            raise CaptureError(
                "nft was not found; install the Debian package nftables, or leave --native-nftables away"
            )
        return self.run([found, *arguments], text)

    def program(self, family: Family, action: str) -> str:
        """Path of ``iptables-save`` or its relatives. Raises CaptureError when it is not installed."""
        name = self._name(family, action)
        found = shutil.which(name, path=_SEARCH_PATH)
        if found is None:
            raise CaptureError(f"{name} was not found; install the Debian package iptables")
        return found

    def run(self, command: list[str], text: str = "") -> str:
        """Run a program in the namespace and return what it prints."""
        full = [*self._entering(), *command]
        shown = " ".join(full)
        try:
            done = subprocess.run(
                full,
                input=text,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                env=self._environment(),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CaptureError(f"{shown} did not end within {TIMEOUT_SECONDS} s") from error
        if done.returncode != 0:
            raise CaptureError(f"{shown} failed: {_explained(done.stderr, text)}")
        return done.stdout

    def netns_path(self) -> str | None:
        """The namespace's file. Raises CaptureError when there is none, or it is something else."""
        if self.netns is None:
            return None
        path = Path(self.netns) if "/" in self.netns else NETNS_FOLDER / self.netns
        if not path.exists():
            raise CaptureError(f"network namespace {self.netns}: {path} does not exist")
        if not _is_namespace(path):
            raise CaptureError(
                f"network namespace {self.netns}: {path} is no network namespace; expected a name that "
                "`ip netns` lists, or a path such as /proc/PID/ns/net"
            )
        return str(path)

    def _entering(self) -> list[str]:
        path = self.netns_path()
        return [] if path is None else [shutil.which("nsenter", path=_SEARCH_PATH) or "nsenter", f"--net={path}", "--"]

    def _environment(self) -> dict[str, str]:
        lock = {"XTABLES_LOCKFILE": self.lock_file} if self.lock_file else {}
        return {"PATH": _SEARCH_PATH, "LC_ALL": "C", **lock}

    def _name(self, family: Family, action: str) -> str:
        plain = "iptables" if family == "ipv4" else "ip6tables"
        return "-".join(part for part in (plain, self.binary, action) if part)


def _is_namespace(path: Path) -> bool:
    """Whether the file stands for a network namespace, ioctl_ns(2); one that may not be opened is left to setns."""
    try:
        with path.open("rb") as file:
            return fcntl.ioctl(file, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except PermissionError:
        return True
    except OSError:
        return False


_NS_GET_NSTYPE, _CLONE_NEWNET = 0xB703, 0x40000000


def pod_lock(kernel: Kernel) -> str:
    """A lock of its own for a namespace: what its rules wait for is nobody outside it."""
    path = Path(kernel.netns_path() or "/proc/self/ns/net")
    return str(NETNS_FOLDER.parent / f"xtables.{path.stat().st_ino}.lock")


def _explained(stderr: str, text: str) -> str:
    """The program's own words, with the rule in place of a line number."""
    said = [line for line in stderr.splitlines() if line.strip() and not line.startswith("Try `")]
    message = " ".join(" ".join(said).split()) or "it said nothing"
    rule = _failed_rule(stderr, text.splitlines())
    hint = RIGHTS if _REFUSED.search(stderr) else missing_support(stderr, rule)
    return (f'at "{rule}": {message}' if rule else message) + (f"; {hint}" if hint else "")


def _failed_rule(stderr: str, lines: list[str]) -> str:
    """A missing chain is only found at COMMIT, by iptables-legacy also a missing extension of the kernel's; then the
    rule is the one that names it."""
    place = _FAILED_LINE.search(stderr)
    number = int(place[1] or place[2]) if place else 0
    if not 0 < number <= len(lines):
        return ""
    line = lines[number - 1]
    named = _NAMED.search(stderr)
    if line != "COMMIT" or named is None:
        return line
    return next((rule for rule in lines if (named[1] or named[2]) in rule.split()), line)
