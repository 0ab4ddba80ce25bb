"""Which program writes the rules: iptables-nft or iptables-legacy, told with the reason, and what the others hold."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from tidegate.capture.kernel import RIGHTS, Binary, CaptureError, Kernel
from tidegate.capture.native import read_native
from tidegate.rules.compare import owned
from tidegate.rules.model import Family

Backend = Literal["iptables", "nftables"]
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
_KINDS: tuple[Binary, ...] = ("legacy", "nft")


class Choice(msgspec.Struct, frozen=True):
    """A kind of iptables, and why it."""

    binary: Binary
    reason: str

    @property
    def name(self) -> str:
        return f"iptables-{self.binary}" if self.binary else "iptables"


def choose(kernel: Kernel, forced: Binary = "") -> Choice:
    """The kind of iptables for this namespace: legacy where it has rules already, otherwise nft, otherwise any.

    Rules of both kinds hold at once; one kind in a namespace keeps them readable in one place. Raises CaptureError
    when there is none.
    """
    if forced:
        _kind(kernel, forced).program("ipv4", "restore")
        return Choice(forced, f"--force-iptables-binary={forced}")
    if _holds_rules(_kind(kernel, "legacy")):
        return Choice("legacy", "this namespace holds iptables-legacy rules already")
    if _kind(kernel, "nft").works("ipv4"):
        return Choice("nft", "the kernel has nf_tables and this namespace holds no iptables-legacy rules")
    if _kind(kernel, "legacy").works("ipv4"):
        return Choice("legacy", "iptables-nft is not installed, or the kernel has no nf_tables")
    if _kind(kernel, "").works("ipv4"):
        return Choice("", "it is the only iptables here")
    raise CaptureError(f"no iptables works here: {'; '.join(_failures(kernel))}{_instead(kernel)}")


def _failures(kernel: Kernel) -> list[str]:
    """What each kind that is installed fails of; that there is none."""
    installed = [kind for kind in (_kind(kernel, binary) for binary in _KINDS) if kind.has_tools("ipv4")]
    told = []
    for kind in installed or [_kind(kernel, "")]:
        try:
            kind.save("ipv4")
        except CaptureError as error:
            told.append(str(error))
    return [each for each in told if RIGHTS in each][:1] or told


def _instead(kernel: Kernel) -> str:
    """Native nftables where it works."""
    try:
        read_native(kernel)
    except CaptureError:
        return ""
    return "; native nftables works: use --native-nftables"


def others_with_rules(kernel: Kernel, used: Backend) -> Iterator[Kernel | None]:
    """Whatever else holds a mesh's rules in this namespace: kinds of iptables; None stands for native nftables."""
    if used == "iptables" and kernel.has_nft() and read_native(kernel):
        yield None
    kinds = [_kind(kernel, binary) for binary in _KINDS]
    used_kind = kernel.binary or _default_kind(kernel)
    for kind in kinds:
        if (used != "iptables" or kind.binary != used_kind) and holds_mesh_rules(kind):
            yield kind


def holds_mesh_rules(kernel: Kernel) -> bool:
    """Whether this kind of iptables holds a chain or a rule of a mesh."""
    for family in FAMILIES:
        if not kernel.works(family):
            continue
        tables = kernel.read(family).tables
        if any(chain.startswith("ISTIO_") for table in tables for chain in table.chains):
            return True
        if any(owned(rule) for table in tables for rule in table.rules):
            return True
    return False


def _kind(kernel: Kernel, binary: Binary) -> Kernel:
    return msgspec.structs.replace(kernel, binary=binary)


def _default_kind(kernel: Kernel) -> Binary:
    """What the program called iptables is."""
    try:
        said = kernel.run([kernel.program("ipv4", "save"), "-V"])
    except CaptureError:
        return ""
    return "nft" if "nf_tables" in said else "legacy"


def _holds_rules(kernel: Kernel) -> bool:
    return any(table.rules for family in FAMILIES if kernel.works(family) for table in kernel.read(family).tables)
