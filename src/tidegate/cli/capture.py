"""``tidegate capture``: the packet rules in force in words, and a packet's way through them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.labs import complete_member, lab_options
from tidegate.cli.options import output_option

if TYPE_CHECKING:
    from tidegate.capture.kernel import Kernel
    from tidegate.rules.saved import Entry, Met, RuleSets, Trace
    from tidegate.rules.walk import Packet

_COLUMNS = ("FAMILY", "TABLE", "CHAIN", "#", "PACKETS", "BYTES", "RULE", "SERVES")
_WAY = ("TABLE", "CHAIN", "#", "", "RULE", "SERVES")


@click.group()
def capture() -> None:
    """Explain the packet rules that lead connections through the sidecar.

    The rules are those of a workload of the lab, of a network namespace, of this machine, or of a listing: whatever
    `iptables-save -c`, `ip6tables-save -c`, `nft list ruleset` or `nft -j list ruleset` printed, by whomever the
    rules were made. `tidegate iptables` applies and removes them.

    \b
    Examples:
      tidegate capture show client.front
      tidegate capture trace client.front --from-user 1000 --to 10.96.0.10:80
    """


def _where(command: Any) -> Any:
    """Which rules a question is about."""
    command = lab_options(output_option(command))
    command = click.option(
        "--save-file",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        help="A listing to read instead of the kernel; - is standard input.",
    )(command)
    command = click.option("--network-namespace", help="Name or path of a namespace.")(command)
    return click.argument("workload", required=False, shell_complete=complete_member)(command)


@capture.command()
@click.option("--family", type=click.Choice(["ipv4", "ipv6"]), help="Only rules for these packets.")
@click.option("--chain", "chains", multiple=True, help="Only this chain; may be given repeatedly.")
@click.option("--counted", is_flag=True, help="Only rules that a packet has met.")
@_where
def show(family: str | None, chains: tuple[str, ...], counted: bool, output: str, **where: Any) -> None:
    """List the rules in force, with their counters and what each serves.

    Rules of nat count connections: the first packet of each. Names of chains may be written as iptables
    (ISTIO_OUTPUT) or as nftables has them (istio-output).

    \b
    Examples:
      tidegate capture show client.front
      tidegate capture show client.front --chain ISTIO_OUTPUT
      iptables-save -c | tidegate capture show --save-file -
      tidegate capture show --save-file ruleset.nft -o json
    """
    from tidegate.rules.saved import entries
    from tidegate.rules.words import chain_role

    wanted = {chain_role(chain) or chain for chain in chains}
    found = [
        each
        for each in entries(_rules(where))
        if (family in (None, each.family) or each.family == "both")
        and (not wanted or (chain_role(each.chain) or each.chain) in wanted)
        and (not counted or each.packets)
    ]
    if output == "short":
        _table(found)
    else:
        _structured(found, output)


def _table(found: "list[Entry]") -> None:
    from tidegate.dump import tables

    if not found:
        click.echo("No rules.", err=True)
        return
    rows = [tuple("-" if value is None else str(value) for value in _fields(each)) for each in found]
    click.echo(tables.render(_COLUMNS, rows, padding=2), nl=False)


def _fields(entry: "Entry") -> tuple[Any, ...]:
    rule = _without_counters(entry.rule)
    return (entry.family, entry.table, entry.chain, entry.number, entry.packets, entry.bytes, rule, entry.serves)


def _without_counters(rule: str) -> str:
    """nft writes its counters into the rule; the table has columns for them."""
    import re

    return re.sub(r"\bcounter (packets \d+ bytes \d+ ?)?", "", rule)


@capture.command()
@click.option("--to", "destination", required=True, metavar="IP:PORT", help="Where the packet is sent.")
@click.option("--from-user", type=click.IntRange(0), help="User id of the process that sends it [default: 0].")
@click.option("--from-group", type=click.IntRange(0), help="Its group id [default: the user id].")
@click.option("--from", "source", default="", metavar="IP", help="Source address [default: the route's].")
@click.option("--inbound", is_flag=True, help="It comes from another host.")
@click.option("--protocol", type=click.Choice(["tcp", "udp"]), default="tcp", show_default=True)
@click.option("--interface", default="", help="It leaves, or comes in, by this one [default: the route's, or eth0].")
@click.option("-v", "--verbose", is_flag=True, help="Tell every rule that was looked at, not only those that matched.")
@_where
def trace(**given: Any) -> None:
    """Walk one packet through the rules and name the one that decides.

    The packet is the first of a connection. Without --save-file the namespace's own routes tell by which interface it
    leaves; with one, a loopback destination leaves by lo and every other by eth0: say --interface lo for an address
    of the workload's own. Conditions that are not known are told, and count as not met.

    \b
    Examples:
      tidegate capture trace client.front --from-user 1000 --to 10.96.0.10:80
      tidegate capture trace client.front --from-user 1337 --to 10.64.0.7:8080
      tidegate capture trace --save-file pod.rules --inbound --from 10.0.0.9 --to 10.64.0.7:15021
    """
    from tidegate.rules.saved import trace as told
    from tidegate.rules.walk import journey

    output, verbose, inbound = given.pop("output"), given.pop("verbose"), given.pop("inbound")
    packet = _packet(given, inbound)
    where = {
        name: given[name] for name in ("workload", "network_namespace", "save_file", "lab", "run_dir", "state_dir")
    }
    rules = _rules(where)["ipv6" if ":" in packet.destination else "ipv4"]
    found = told(journey(rules, _placed(packet, where, inbound), inbound=inbound), rules)
    if output == "short":
        _tell(found, verbose)
    else:
        _structured(found, output)


def _packet(given: dict[str, Any], inbound: bool) -> "Packet":
    from tidegate.rules.walk import Packet

    address, port = _place(given["destination"])
    user, group = given["from_user"], given["from_group"]
    if inbound and (user is not None or group is not None):
        raise click.UsageError("--inbound with --from-user: what comes from another host has no user here")
    user = None if inbound else user or 0
    return Packet(
        address,
        port,
        protocol=given["protocol"],
        source=_address("--from", given["source"]) if given["source"] else "",
        in_interface=(given["interface"] or "eth0") if inbound else "",
        out_interface="" if inbound else given["interface"],
        uid=user,
        gid=user if group is None else group,
        local=inbound,
    )


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    if not address or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise click.BadParameter(
            f"{text!r}: expected IP:PORT, such as 10.96.0.10:80 or [fd00::7]:80", param_hint="--to"
        )
    return _address("--to", address.strip("[]")), int(port)


def _address(option: str, text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an address; rules know no names", param_hint=option) from None


def _placed(packet: "Packet", where: dict[str, Any], inbound: bool) -> "Packet":
    """With the interface and the source that the namespace's routes give it, or those of any Pod."""
    import ipaddress

    import msgspec

    if inbound:
        return packet
    if where["save_file"] is None:
        from tidegate.capture.inforce import outgoing

        return outgoing(_kernel(where), packet)
    loopback = ipaddress.ip_address(packet.destination).is_loopback or packet.out_interface == "lo"
    source = packet.destination if loopback else ""
    interface = packet.out_interface or ("lo" if loopback else "eth0")
    return msgspec.structs.replace(packet, out_interface=interface, local=loopback, source=packet.source or source)


def _tell(found: "Trace", verbose: bool) -> None:
    from tidegate.dump import tables

    doubt = ", unless what is not known here decides otherwise" if found.unknown else ""
    click.secho(f"{found.verdict}: the packet {found.outcome}{doubt}", bold=True)
    click.echo(f"because of {found.reason}" if found.deciding else f"because {found.reason}")
    for each in found.unknown:
        click.echo(f"not known, taken as not met: {each}", err=True)
    shown = found.rules if verbose else [each for each in found.rules if each.matched]
    if shown:
        click.echo()
        click.echo(tables.render(_WAY, [_step(each, found) for each in shown], padding=2), nl=False)


def _step(each: "Met", found: "Trace") -> tuple[str, ...]:
    mark = "decides" if each == found.deciding else "matched" if each.matched else "?" if each.unknown else "-"
    return (each.table, each.chain, str(each.number), mark, _without_counters(each.rule), each.serves)


def _structured(value: Any, output: str) -> None:
    import msgspec

    from tidegate.dump import commands

    click.echo(commands.structured(msgspec.to_builtins(value), output), nl=False)


# Where the rules come from


def _rules(where: dict[str, Any]) -> "RuleSets":
    named = [name for name in ("workload", "network_namespace", "save_file") if where[name] is not None]
    if len(named) > 1:
        raise click.UsageError("a workload, --network-namespace and --save-file exclude one another: give one")
    if where["save_file"] is not None:
        from tidegate.rules.saved import read_saved, unshown

        found = read_saved(_text(where["save_file"]))
        if lacking := unshown(found):
            click.echo(f"warning: {lacking}", err=True)
        return {"ipv4": _empty("ipv4"), "ipv6": _empty("ipv6"), **found}
    from tidegate.capture.inforce import in_force

    return in_force(_kernel(where))


def _empty(family: Any) -> Any:
    from tidegate.rules.model import RuleSet

    return RuleSet(family)


def _text(path: Path) -> str:
    from tidegate.kit.errors import TidegateError
    from tidegate.rules.saved import MAX_BYTES

    try:
        if str(path) == "-":
            return sys.stdin.read(MAX_BYTES + 1)
        with path.open(errors="replace") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TidegateError(f"--save-file {path}: {error.strerror}") from None


def _kernel(where: dict[str, Any]) -> "Kernel":
    import os

    from tidegate.capture.kernel import CaptureError, Kernel

    if os.geteuid() != 0:
        raise CaptureError("packet rules can be read by root only; use sudo, or --save-file with a listing")
    if where["workload"] is None:
        return Kernel(netns=where["network_namespace"])
    from tidegate.cli import labs
    from tidegate.lab.inspect import find_member

    _, plan = labs.chosen(where["run_dir"], where["state_dir"], where["lab"])
    return Kernel(netns=find_member(plan, where["workload"]).netns)
