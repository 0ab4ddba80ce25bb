"""``tidegate connections``: who talks to whom, through the proxy or around it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.labs import complete_member, lab_options
from tidegate.cli.options import output_option

if TYPE_CHECKING:
    from tidegate.capture.connections import Connection
    from tidegate.capture.conntrack import Place
    from tidegate.capture.kernel import Kernel
    from tidegate.lab.plan import Member, Plan
    from tidegate.lab.state import Folders

VERDICTS = ("through", "blocked", "unanswered", "bypassed", "uncaptured", "pooled", "sidecar", "direct")
_COLUMNS = ("WORKLOAD", "DIRECTION", "PROCESS", "FROM", "TO", "STATE", "LEGS", "ONWARD TO", "VERDICT", "RULE", "WHY")
_VERDICT = _COLUMNS.index("VERDICT")
_COLOURS = {"through": "green", "blocked": "red", "unanswered": "red", "bypassed": "yellow"}
_NOTES = {
    "blocked": "blocked: one leg, to the sidecar, and none from it: it refused, or answered by itself; "
    "`tidegate logs {workload} --explain` tells which",
    "unanswered": "unanswered: the sidecar asks onwards and nobody answers: is the address right, and does a server "
    "listen there?",
    "bypassed": "bypassed: no leg by way of the sidecar, so no routing, policy or log of the mesh applied; "
    "left alone are the sidecar's user id and what traffic.sidecar.istio.io annotations exclude",
    "uncaptured": "uncaptured: UDP goes around every sidecar, as the mesh carries TCP alone; what should be governed "
    "must use TCP",
}
_LIMIT = 64 * 1024 * 1024


@click.command(name="connections")
@click.argument("workload", required=False, shell_complete=complete_member)
@click.option("-n", "--namespace", default="", help="Only workloads of this namespace.")
@click.option(
    "--verdict", "verdicts", multiple=True, type=click.Choice(VERDICTS), help="Only these; may be given repeatedly."
)
@click.option("--port", type=int, default=0, help="Only connections to this port.")
@lab_options
@output_option
def connections(
    workload: str | None,
    namespace: str,
    verdicts: tuple[str, ...],
    port: int,
    output: str,
    **where: Any,
) -> None:
    """Show the connections of the lab's workloads, from the kernel's own tables. Needs root.

    A connection that the mesh carries has two legs: to the sidecar, and from it onwards ("through"). One leg to the
    sidecar and none onwards is "blocked": Envoy refused, or answered by itself. "unanswered": it asks onwards, and
    nobody answers. "bypassed": no leg leads to the sidecar. "pooled": the sidecar keeps it for callers to come.

    Envoy shares HTTP connections among callers, so ONWARD TO tells where requests to this destination go, not which
    connection carried one. Entries stay for up to two minutes after a connection ended. UDP is "uncaptured": it goes
    around every sidecar, lookups of names among it.

    RULE and WHY tell which packet rule decides the way of the connection's first packet, by the rules that are in
    force now; `tidegate capture trace` shows every rule on it.

    \b
    Examples:
      tidegate connections
      tidegate connections client.front --port 7000
      tidegate connections client.front --verdict uncaptured
      tidegate connections --verdict blocked --verdict bypassed -o json
    """
    from tidegate.cli import labs
    from tidegate.dump import commands, tables

    folders, plan = labs.chosen(**where)
    found = {
        member.key: [c for c in _look(plan, member, folders) if _kept(c, verdicts, port)]
        for member in _chosen(plan, workload, namespace)
    }
    if output != "short":
        click.echo(commands.structured(_plain(found), output), nl=False)
        return
    names = {member.address: member.key for member in plan.members}
    rows = [_row(key, each, names) for key, rows in found.items() for each in rows]
    if not rows:
        click.echo("No connections.", err=True)
        return
    for line, row in zip(tables.render(_COLUMNS, rows, padding=2).splitlines(), [_COLUMNS, *rows], strict=True):
        click.secho(line, fg=_COLOURS.get(row[_VERDICT]))
    _explain(found)


def _chosen(plan: "Plan", name: str | None, namespace: str) -> list["Member"]:
    from tidegate.lab.inspect import find_member

    if name:
        return [find_member(plan, f"{name}.{namespace}" if namespace and "." not in name else name)]
    return [m for w, m in plan.workloads if namespace in ("", w.namespace)]


def _look(plan: "Plan", member: "Member", folders: "Folders") -> Iterable["Connection"]:
    from tidegate.capture import connections as join
    from tidegate.capture.kernel import Kernel
    from tidegate.lab import namespaces

    sidecar = member.key in plan.proxies
    upstreams = _upstreams(member.key, folders.run) if sidecar else {}
    whose = join.Workload(frozenset({member.address}), sidecar, upstreams)
    kernel = Kernel(netns=member.netns)
    found = join.join(join.observe(kernel, namespaces.inode(member.netns)), whose)
    return _decided(found, kernel) if sidecar else found


def _decided(found: Iterable["Connection"], kernel: "Kernel") -> Iterable["Connection"]:
    """With the rule that decides; without, where the rules cannot be read."""
    from tidegate.capture import deciding
    from tidegate.capture.inforce import in_force
    from tidegate.kit.errors import TidegateError

    try:
        return deciding.explained(found, in_force(kernel), deciding.routes(kernel))
    except TidegateError as error:
        click.echo(f"which rules decide is not known: {error}", err=True)
        return found


def _upstreams(key: str, run_dir: Path) -> Mapping[int, frozenset["Place"]]:
    """Service port to endpoints, as the workload's Envoy knows them; empty when it does not answer."""
    from tidegate.cli.reach import envoy_admin
    from tidegate.dump.endpoints import by_service_port
    from tidegate.kit.errors import TidegateError

    try:
        return _places(by_service_port(envoy_admin(key, "", run_dir, "clusters?format=json", _LIMIT)))
    except TidegateError:
        return {}


def _places(found: Mapping[int, frozenset[tuple[str, int]]]) -> Mapping[int, frozenset["Place"]]:
    from tidegate.capture.conntrack import Place

    return {port: frozenset(Place(*place) for place in places) for port, places in found.items()}


def _kept(connection: "Connection", verdicts: tuple[str, ...], port: int) -> bool:
    if verdicts and connection.verdict not in verdicts:
        return False
    return not port or connection.destination.endswith(f":{port}")


def _row(key: str, found: "Connection", names: Mapping[str, str]) -> tuple[str, ...]:
    return (
        key,
        found.direction,
        found.owner or "-",
        _named(found.source, names),
        _named(found.destination, names) + ("/udp" if found.protocol == "udp" else ""),
        found.state or "-",
        str(found.legs),
        ", ".join(_named(place, names) for place in found.upstream) or "-",
        found.verdict.value,
        found.rule or "-",
        found.because or "-",
    )


def _named(place: str, names: Mapping[str, str]) -> str:
    """With the lab's name of the address, where it has one."""
    known = names.get(place.rpartition(":")[0].strip("[]"))
    return f"{place} ({known})" if known else place


def _plain(found: Mapping[str, list["Connection"]]) -> list[dict[str, Any]]:
    import msgspec

    return [{"workload": key, **msgspec.to_builtins(each)} for key, rows in found.items() for each in rows]


def _explain(found: Mapping[str, list["Connection"]]) -> None:
    """What the verdicts that call for a look mean, once each."""
    for verdict, text in _NOTES.items():
        workload = next((key for key, rows in found.items() if any(c.verdict == verdict for c in rows)), "")
        if workload:
            click.echo(text.format(workload=workload), err=True)
