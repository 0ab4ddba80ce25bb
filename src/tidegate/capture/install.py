"""Everything that captures one workload's traffic: rules of one backend, and what they lean on in routing."""

from tidegate.capture.apply import Outcome, apply, removal, remove, verify
from tidegate.capture.backend import Backend, others_with_rules
from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.native import apply_native, planned_native, remove_native, verify_native
from tidegate.capture.routing import add_routing, needs_tproxy_route, remove_routing, remove_tproxy_route
from tidegate.rules.capture_rules import placed_rules, rule_set
from tidegate.rules.model import RuleSet
from tidegate.rules.options import CaptureOptions, Surroundings


def install(
    options: CaptureOptions,
    surroundings: Surroundings,
    kernel: Kernel | None = None,
    backend: Backend = "iptables",
    *,
    force: bool = False,
) -> Outcome:
    """Apply the rules of the options, with TPROXY's routing and IPv6's pass-through address where they need them.

    Applying twice changes nothing the second time; ``force`` writes the rules again although they are there. Rules of
    a mesh that another backend holds go once the new ones stand, so that nothing escapes in between. Raises
    CaptureError with everything put back.
    """
    kernel = kernel or Kernel()
    undo = add_routing(options, surroundings, kernel)
    try:
        outcome = _applied(options, surroundings, kernel, backend, force)
    except CaptureError:
        undo()
        raise
    superseded = _supersede(options, surroundings, kernel, backend)
    if not needs_tproxy_route(options):
        remove_tproxy_route(options, kernel)
    return Outcome(outcome.changed or bool(superseded), (*outcome.found, *superseded), outcome.bypasses)


def verified(
    options: CaptureOptions, surroundings: Surroundings, kernel: Kernel, backend: Backend = "iptables"
) -> list[str]:
    """Where the kernel differs from what ``install`` would leave, one readable line for each finding."""
    if backend == "nftables":
        found = verify_native(placed_rules(options, surroundings), kernel)
    else:
        found = verify(_sets(options, surroundings), kernel)
    others = (_name(other) for other in others_with_rules(kernel, backend))
    return [*found, *(f"rules of a mesh are held by {name} too: applying these takes them away" for name in others)]


def uninstall(
    options: CaptureOptions, surroundings: Surroundings | None = None, kernel: Kernel | None = None
) -> Outcome:
    """Take away what ``install`` with the same options put there, of every backend; fine when there is nothing."""
    kernel = kernel or Kernel()
    surroundings = surroundings or Surroundings(ipv6=True)
    sets = _sets(options, surroundings)
    changed = remove(sets, kernel).changed
    for other in list(others_with_rules(kernel, "iptables")):
        changed |= (remove_native(kernel) if other is None else remove(sets, other)).changed
    remove_routing(options, surroundings, kernel)
    remove_tproxy_route(options, kernel)
    return Outcome(changed)


def planned_removal(options: CaptureOptions, kernel: Kernel) -> list[str]:
    """What ``uninstall`` would have iptables-restore and nft read, with the program's name before each part."""
    sets = _sets(options, Surroundings(ipv6=True))
    lines: list[str] = []
    for kind in (kernel, *others_with_rules(kernel, "iptables")):
        if kind is None:
            lines += ["# nft -f", *planned_native((), kernel)]
            continue
        for family, _, text in removal(sets, kind).steps:
            lines += [f"# {kind.program(family, 'restore').rpartition('/')[2]} --noflush", *text.splitlines()]
    return lines


def _applied(
    options: CaptureOptions, surroundings: Surroundings, kernel: Kernel, backend: Backend, force: bool
) -> Outcome:
    if backend == "nftables":
        return apply_native(placed_rules(options, surroundings), kernel, force=force)
    return apply(_sets(options, surroundings), kernel, force=force)


def _supersede(
    options: CaptureOptions, surroundings: Surroundings, kernel: Kernel, backend: Backend
) -> tuple[str, ...]:
    """Take away a mesh's rules that other backends hold, and tell whose."""
    gone: list[str] = []
    for other in list(others_with_rules(kernel, backend)):
        try:
            if other is None:
                remove_native(kernel)
            else:
                remove(_sets(options, surroundings), other)
        except CaptureError as error:
            held = f"those of {_name(other)} could not be removed"
            raise CaptureError(f"the new rules stand, but {held}: {error}") from error
        gone.append(f"rules held by {_name(other)} were replaced")
    return tuple(gone)


def _name(other: Kernel | None) -> str:
    """Of what :func:`others_with_rules` found."""
    return "native nftables" if other is None else f"iptables-{other.binary}"


def _sets(options: CaptureOptions, surroundings: Surroundings) -> tuple[RuleSet, RuleSet]:
    return rule_set(options, surroundings), rule_set(options, surroundings, "ipv6")
