"""``tidegate describe``: what holds for a workload or a service, and which objects say so."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tidegate.cli import labs
from tidegate.cli.labs import lab_options
from tidegate.cli.options import complete_workload, output_option

if TYPE_CHECKING:
    from tidegate.app.diagnosis import describe as facts
    from tidegate.app.diagnosis.reading import Reading

F = TypeVar("F", bound=Callable[..., Any])

_ALIASES = {"pod": "workload", "po": "workload", "svc": "service"}
_SYNCZ_LIMIT = 64 * 1024 * 1024


class _Aliased(click.Group):
    """Takes istioctl's and kubectl's words too."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))


@click.group(name="describe", cls=_Aliased)
def describe() -> None:
    """Tell what holds for a workload or a service: which objects decide, what matches, and what is likely wrong.

    The objects are read from the API server; nothing is changed.

    \b
    Examples:
      tidegate describe workload client.front
      tidegate describe service reviews.shop --from front
    """


def _store_options(command: F) -> F:
    command = lab_options(command)
    command = click.option("--domain", default="cluster.local", show_default=True, help="Domain of service names.")(
        command
    )
    command = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="KUBECONFIG",
        help="How to reach the API server [default: that of the lab which is up].",
    )(command)
    return click.option("-n", "--namespace", default="", help="Namespace [default: the only one, or default].")(command)


@describe.command(name="workload")
@click.argument("name", shell_complete=complete_workload)
@click.option(
    "--xds-address",
    help="Debug address of the control plane [default: that of the run folder's, else http://127.0.0.1:15014].",
)
@_store_options
@output_option
def workload(name: str, namespace: str, xds_address: str | None, output: str, **where: Any) -> None:
    """What holds for NAME[.NAMESPACE], a Pod or WorkloadEntry.

    Its ports, the services that it belongs to, their DestinationRule with the subsets that it is and is not of,
    their VirtualServices, the Sidecar that holds, and whether its proxy runs what it was told.

    \b
    Examples:
      tidegate describe workload client.front
      tidegate describe workload v1 -n shop -o yaml
    """
    from tidegate.app.diagnosis import describe as facts

    given = _read(**where)
    found = facts.find_workload(given, name, namespace)
    sync = _sync(f"{found.ref.name}.{found.namespace}", xds_address)
    _print(facts.describe_workload(given, found, sync), output, _workload_words)


def _complete_service(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of the API server's Services and hosts of its ServiceEntries, for shell completion."""
    from tidegate.app.diagnosis.reading import service_names
    from tidegate.kit.errors import TidegateError

    given = ctx.params
    try:
        places = [given.get(name) for name in ("kubeconfig", "run_dir", "state_dir", "lab")]
        found = service_names(labs.api_server(*places))
    except TidegateError:
        return []
    return [name for name in found if name.startswith(incomplete)]


@describe.command(name="service")
@click.argument("name", shell_complete=_complete_service)
@click.option("--from", "viewer", default="", help="Namespace whose proxies are asked about [default: the service's].")
@_store_options
@output_option
def service(name: str, namespace: str, viewer: str, output: str, **where: Any) -> None:
    """What holds for NAME[.NAMESPACE], or for a host name of a ServiceEntry.

    What defines it, where a client's proxy serves its ports, who decides about it (DestinationRule and
    VirtualServices, with those that are overruled), and its endpoints.

    \b
    Examples:
      tidegate describe service reviews.shop
      tidegate describe service redis.example --from front
      tidegate describe service reviews -n shop -o json
    """
    from tidegate.app.diagnosis import describe as facts

    given = _read(**where)
    found = facts.find_service(given, name, namespace)
    _print(facts.describe_service(given, found, viewer), output, _service_words)


def _read(domain: str, **where: Any) -> "Reading":
    from tidegate.app.diagnosis.reading import read

    given = read(labs.api_server(**where), domain)
    for text in given.unreadable:
        click.echo(f"left out: {text}", err=True)
    return given


def _sync(proxy: str, address: str | None) -> dict[str, str]:
    """Type to state of one proxy; empty when it is not connected or no control plane answers."""
    from tidegate.cli import reach
    from tidegate.kit.errors import TidegateError

    try:
        rows = json.loads(reach.discovery("/debug/syncz", address, _SYNCZ_LIMIT))
    except (TidegateError, ValueError):
        return {}
    found = next((row for row in rows if row.get("proxy") == proxy), None)
    resources = (found or {}).get("resources") or {}
    return {url.rpartition(".")[2]: str(each.get("state", "")) for url, each in resources.items()}


def _print(found: Any, output: str, words: Callable[[Any], Iterator[str]]) -> None:
    import msgspec

    from tidegate.dump import commands

    if output != "short":
        click.echo(commands.structured(msgspec.to_builtins(found), output), nl=False)
        return
    for line in words(found):
        click.echo(line)
    for text in found.warnings:
        click.secho(f"WARNING: {text}", fg="yellow")


def _workload_words(found: "facts.WorkloadDescription") -> Iterator[str]:
    yield f"Workload: {found.object} ({'ready' if found.ready else 'not ready'})"
    yield f"   Addresses: {', '.join(found.addresses)}"
    yield f"   Service account: {found.service_account or '-'}"
    yield f"   Labels: {_labels(found.labels)}"
    yield f"   Sidecar: {found.sidecar or '(none: everything that is visible is imported)'}"
    yield f"   Proxy: {', '.join(f'{kind} {state}' for kind, state in found.sync.items()) or '(not connected)'}"
    for each in found.services:
        yield "--------------------"
        yield from _facts(each, "of this workload", "not of this workload")


def _service_words(found: "facts.ServiceDescription") -> Iterator[str]:
    yield f"As proxies of namespace {found.seen_from} see it:"
    yield from _facts(found.service, "with endpoints", "without endpoints")
    if found.overruled:
        yield f"   Overruled definitions: {', '.join(found.overruled)}"
    if found.service.alias_of:
        return
    yield f"   Endpoints: {len(found.endpoints) or '(none)'}"
    for each in found.endpoints:
        named = f" {each.workload}" if each.workload else ""
        yield f"      {each.address}:{each.port} ({each.port_name or '-'}) {each.health}{named}"


def _facts(found: "facts.ServiceFacts", matching: str, other: str) -> Iterator[str]:
    yield f"Service: {', '.join(found.objects)}"
    yield f"   Host: {found.host} ({found.resolution}{f' of {found.alias_of}' if found.alias_of else ''})"
    yield f"   Addresses: {', '.join(found.addresses) or '(none)'}"
    for port in found.ports:
        target = f" targets workload port {port.target}" if port.target else ""
        place = f"; in {port.place}" if port.place else ""
        yield f"   Port: {port.name or '-'} {port.number}/{port.protocol or 'auto'}{target}{place}"
    if found.alias_of:
        yield "   Another name: HTTP requests to it are routed as those to that host, by its rules, to its endpoints;"
        yield f"   what it resolves to is left to DNS. See `tidegate describe service {found.alias_of}`"
        return
    yield from _rule(found.destination_rule, matching, other)
    for routing in found.virtual_services:
        yield f"   {routing.object} for {', '.join(routing.hosts)}{'' if routing.holds else ' (overruled)'}"
        yield from (f"      {rule}" for rule in routing.rules)
    if not found.virtual_services:
        yield "   No VirtualService: requests go to the service as they are"


def _rule(rule: "facts.RuleFacts | None", matching: str, other: str) -> Iterator[str]:
    if rule is None:
        yield "   No DestinationRule: the mesh's defaults hold"
        return
    yield f"   {rule.object} for {rule.host}"
    if rule.policies:
        yield f"      Traffic policy: {', '.join(rule.policies)}"
    for title, chosen in ((matching, True), (other, False)):
        names = [f"{s.name} ({_labels(s.labels)}: {s.endpoints})" for s in rule.subsets if s.matching is chosen]
        if names:
            yield f"      Subsets {title}: {', '.join(names)}"


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items()) or "(none)"
