"""Native nftables: our tables written, verified and taken away, each in one transaction."""

from collections.abc import Iterable, Sequence

from tidegate.capture.apply import Outcome
from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.owners import numeric_placed
from tidegate.rules.capture_rules import Placed
from tidegate.rules.native import NativeTable, change, translated
from tidegate.rules.native_read import NativeListingError, native_difference, parse_listing


def apply_native(placed: Iterable[Placed], kernel: Kernel, *, force: bool = False) -> Outcome:
    """Make our tables hold the rules, in one transaction, and verify that they do.

    Applying what is there already changes nothing; tables of others are left alone. When the kernel refuses the
    transaction nothing has changed; when it understood something else, what was there is put back. Raises CaptureError.
    """
    return _become(translated(numeric_placed(placed)), kernel, force)


def remove_native(kernel: Kernel) -> Outcome:
    """Take our tables away; fine when there are none, or no nft."""
    return _become((), kernel) if kernel.has_nft() else Outcome(changed=False)


def verify_native(placed: Iterable[Placed], kernel: Kernel) -> list[str]:
    """Where the kernel does not hold the rules, one readable line for each finding."""
    return native_difference(translated(numeric_placed(placed)), read_native(kernel))


def read_native(kernel: Kernel) -> tuple[NativeTable, ...]:
    """Our tables as the kernel holds them."""
    try:
        return parse_listing(kernel.nft("-j", "list", "ruleset", "inet"))
    except NativeListingError as error:
        raise CaptureError(str(error)) from error


def planned_native(placed: Iterable[Placed], kernel: Kernel) -> list[str]:
    """The transaction that :func:`apply_native` would run; empty when nothing has to change."""
    wanted, actual = translated(numeric_placed(placed)), read_native(kernel)
    return change(wanted, actual) if native_difference(wanted, actual) else []


def _become(wanted: tuple[NativeTable, ...], kernel: Kernel, force: bool = False) -> Outcome:
    actual = read_native(kernel)
    found = tuple(native_difference(wanted, actual))
    if not found and not force:
        return Outcome(changed=False)
    before = "".join(kernel.nft("list", "table", "inet", table.name) for table in actual)
    try:
        kernel.nft("-f", "-", text="\n".join(change(wanted, actual)) + "\n")
    except CaptureError as error:
        raise CaptureError(f"{error}; nothing was changed") from error
    remaining = native_difference(wanted, read_native(kernel))
    if remaining:
        _put_back(kernel, {table.name for table in (*wanted, *actual)}, before, remaining)
    return Outcome(changed=True, found=found)


def _put_back(kernel: Kernel, names: set[str], before: str, remaining: Sequence[str]) -> None:
    cause = "the kernel does not hold the rules that were written: " + "; ".join(remaining)
    emptied = "".join(f"add table inet {name}\ndelete table inet {name}\n" for name in sorted(names))
    try:
        kernel.nft("-f", "-", text=emptied + before)
    except CaptureError as error:
        raise CaptureError(f"{cause}; putting back what was there failed too: {error}") from error
    raise CaptureError(f"{cause}; what was there was put back")
