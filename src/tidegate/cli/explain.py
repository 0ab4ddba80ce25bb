"""``tidegate explain``: what becomes of one connection, and which line of YAML decides it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.explain_question import PROTOCOLS
from tidegate.cli.labs import api_server, lab_options
from tidegate.cli.manifests import PROXIED, complete_named, optional_manifests, settings, without_collector
from tidegate.cli.options import complete_workload

if TYPE_CHECKING:
    from tidegate.answer.question import Question
    from tidegate.app.diagnosis.explain import Scene, World
    from tidegate.app.offline.proxyspec import ProxySpec
    from tidegate.rules.saved import RuleSets

_LARGEST = 512 * 1024 * 1024
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
OUTCOMES = (
    *("reaches", "passthrough", "blackhole", "direct_response", "no_route", "no_cluster", "no_endpoints"),
    *("captured_by_other", "wrong_endpoints", "tls_mismatch", "hangs", "protocol_error", "rejected_by_policy"),
    *("upstream_unreachable", "no_failover", "not_intercepted", "name_not_resolved", "unknown"),
)
"""Those of ``tidegate.answer.verdict.Outcome``, which --help does without."""


def _complete_proxy(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Of the manifests, where some are given; else of what runs here."""
    complete = complete_named(*PROXIED) if ctx.params.get("paths") else complete_workload
    return complete(ctx, parameter, incomplete)


@click.command(name="explain")
@optional_manifests
@click.option(
    "--from",
    "source",
    default="",
    metavar="NAME[.NS]",
    shell_complete=_complete_proxy,
    help="The workload that calls, or with --inbound the one that is called.",
)
@click.option("--proxy-spec", type=_FILE, help="File that describes the proxy, where nothing else does.")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="HOST[:PORT]|IP:PORT|URL",
    shell_complete=complete_named("Service"),
    help="What is called [default port: that of the protocol, 80 or 443].",
)
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS),
    default=None,
    help="What the client speaks [default: by the port: https on 443, else http].",
)
@click.option("--ip", default="", help="The address that the client dials, where the name alone does not tell it.")
@click.option("--sni", default="", help="Server name in the client's TLS [default: the host].")
@click.option("--host", default="", help="Host header, or :authority [default: what is called].")
@click.option("--path", default="/", show_default=True, help="Path of the request.")
@click.option("--method", default="", help="Method of the request [default: GET].")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header of the request; repeatable.")
@click.option("--http-version", type=click.Choice(["1.0", "1.1", "2"]), help="Of the request [default: as usual].")
@click.option("--server-first", is_flag=True, help="The server speaks first, as MySQL and SMTP servers do.")
@click.option(
    "--from-user",
    type=click.IntRange(0, 2**32 - 1),
    help="User id of the calling process [default: what its Pod says, else 1000].",
)
@click.option("--inbound", is_flag=True, help="The connection comes to the workload; --to is HOST:PORT of its own.")
@click.option("--source-ip", default="", help="Where an inbound connection comes from.")
@click.option(
    "--caller",
    default="",
    metavar="NAME.NS",
    shell_complete=_complete_proxy,
    help="The workload that calls, for --inbound: tells its address and, with a sidecar, its identity.",
)
@click.option("--principal", default="", help="The caller's identity in mutual TLS, spiffe://...; for --inbound.")
@click.option(
    "--config-dump",
    default="",
    metavar="FILE|-|http://HOST:PORT",
    help="Any Envoy's /config_dump, istiod's proxies included, or its admin port, instead of what tidegate would send.",
)
@click.option("--running", is_flag=True, help="What the proxy's Envoy runs now, instead of what it should be sent.")
@click.option(
    "--iptables",
    type=_FILE,
    help="Output of iptables-save in the workload's namespace, instead of the rules that its annotations ask for.",
)
@click.option(
    "--certificates/--no-certificates",
    default=None,
    help="Whether workloads have certificates [default: yes with -f, no on this machine's mesh].",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="KUBECONFIG",
    help="API server to read, without -f [default: that of the lab which is up].",
)
@click.option(
    "--with",
    "applied",
    multiple=True,
    metavar="DIR|FILE|-",
    help="What would be if these manifests were applied: the answer before and after; repeatable.",
)
@click.option(
    "--without",
    "deleted",
    multiple=True,
    metavar="KIND/[NS/]NAME",
    help="What would be if this object were deleted; repeatable, also beside --with.",
)
@click.option(
    "--expect",
    "expected",
    multiple=True,
    type=click.Choice(OUTCOMES),
    metavar="OUTCOME",
    help="Exit with code 3 where the outcome is another one; repeatable, any of them will do.",
)
@lab_options
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@without_collector()
def explain(output: str, **given: Any) -> None:
    """Tell what becomes of one connection: the verdict, each decision, the line that made it, and who lost.

    The world is read from manifests (-f), or from the API server. The configuration is what tidegate would send to
    the proxy, or any Envoy's own (--config-dump, --running). Nothing is connected to, nothing is changed.

    \b
    Examples:
      tidegate explain --from client.entry --to example.org:443
      tidegate explain -f mesh/ --from client.entry --to cache-b.example.net:6379 --protocol tcp
      tidegate explain -f mesh/ --from cart.shop --to reviews:9080 --path /v2 --header x-canary=true
      tidegate explain -f mesh/ --config-dump dump.json --from cart.shop --to api.example.com:443 --ip 203.0.113.20
      tidegate explain -f mesh/ --from mysql-0.db --inbound --to 10.1.2.3:3306 --server-first -o json
      tidegate explain -f mesh/ --from reviews.shop --inbound --to reviews:9080 --caller cart.shop
      tidegate explain --from client.entry --to example.org:443 --with new-entry.yaml --without se/entry/old
      tidegate explain -f mesh/ --from cart.shop --to https://api.example.com/v1/orders --expect reaches

    \b
    Outcomes, told in docs/explain.md:
      reaches, passthrough, blackhole, direct_response, no_route, no_cluster, no_endpoints, captured_by_other,
      wrong_endpoints, tls_mismatch, hangs, protocol_error, rejected_by_policy, upstream_unreachable,
      no_failover, not_intercepted, name_not_resolved, unknown

    Exit code 0: answered. 1: there is no answer. 2: wrong usage. 3: answered, and not as --expect says.
    """
    from tidegate.app.diagnosis import explain as explaining
    from tidegate.cli.explain_question import question
    from tidegate.cli.explain_text import answer, compared

    asked, asks_change = question(given), given["applied"] or given["deleted"]
    _agree(given, bool(asks_change))
    dump, world = _dump(given["config_dump"]), _world(given)
    asked = _called_by(asked, world)
    report = explaining.explain(_scene(given, world, dump), asked)
    if not asks_change:
        _show(output, report, answer(report))
    else:
        from tidegate.answer.comparison import compare

        before, report = report, explaining.explain(_scene(given, _after(given, world), None), asked)
        found = compare(before, report)
        _show(output, found, compared(found))
    if given["expected"] and report.outcome not in given["expected"]:
        click.echo(f"error: the outcome is {report.outcome}, expected: {', '.join(given['expected'])}", err=True)
        click.get_current_context().exit(3)


def _agree(given: dict[str, Any], asks_change: bool) -> None:
    """Refuse options that take the answer from different places."""
    if asks_change and (given["config_dump"] or given["running"]):
        raise click.UsageError("--with and --without: what an Envoy runs does not tell what it would be sent then")
    if given["config_dump"] and given["running"]:
        raise click.UsageError("--config-dump and --running: give one of them")


def _called_by(asked: "Question", world: "World") -> "Question":
    """The question with the workload that --caller means, which may be called by its Deployment's name."""
    if not asked.caller:
        return asked
    import msgspec

    from tidegate.app.offline import proxyspec

    caller = proxyspec.choose(world.offline.hub.world, asked.caller)
    return msgspec.structs.replace(asked, caller=f"{caller.name}.{caller.namespace}")


def _show(output: str, document: Any, text: Iterable[str]) -> None:
    if output == "text":
        for line in text:
            click.echo(line)
        return
    import msgspec

    from tidegate.dump.commands import structured

    click.echo(structured(msgspec.to_builtins(document), output), nl=False)


# Where the answer is taken from


def _after(given: dict[str, Any], world: "World") -> "World":
    """The world as the change would leave it; what is newly wrong with it is told."""
    from tidegate.app.diagnosis.change import changed
    from tidegate.cli.compile import tell

    after = changed(world, given["applied"], given["deleted"])
    known = {str(each) for each in world.offline.findings}
    tell(tuple(each for each in after.offline.findings if str(each) not in known))
    return after


def _scene(given: dict[str, Any], world: "World", dump: bytes | None) -> "Scene":
    from tidegate.app.diagnosis import explain as explaining

    spec = _spec(given, world, dump)
    certificates = given["certificates"]
    return explaining.scene(
        world.offline,
        world.manifests,
        spec,
        foreign=dump if dump is not None else _running(given, f"{spec.name}.{spec.namespace}"),
        rules=_rules(given["iptables"]),
        certificates=bool(given["paths"]) if certificates is None else certificates,
    )


def _spec(given: dict[str, Any], world: "World", dump: bytes | None) -> "ProxySpec":
    """The proxy as a file describes it, as the objects do, or as its dump does where there are no objects."""
    from tidegate.app.offline import proxyspec

    file: Path | None = given["proxy_spec"]
    if file is not None:
        return proxyspec.read(file, given["source"])
    if dump is None or world.manifests.documents:
        return proxyspec.choose(world.offline.hub.world, given["source"])
    return proxyspec.of_dump(dump, given["source"])


def _world(given: dict[str, Any]) -> "World":
    from tidegate.app.diagnosis import explain as explaining

    chosen = {name: given[name] for name in ("mesh_config", "namespace", "domain", "variables")}
    if given["paths"]:
        from tidegate.cli.compile import tell

        world = explaining.from_manifests(given["paths"], settings(**chosen))
        tell(world.offline.findings, certificates=given["certificates"] is not False)
        return world
    server = _server(given)
    return explaining.from_store(server, settings(**chosen)) if server else explaining.empty(settings(**chosen))


def _server(given: dict[str, Any]) -> Path | None:
    """The API server; None where a dump is to be explained without any."""
    from tidegate.kit.errors import TidegateError

    if given["config_dump"] and given["proxy_spec"] is not None:
        return None
    try:
        return api_server(**{name: given[name] for name in ("kubeconfig", "run_dir", "state_dir", "lab")})
    except TidegateError as error:
        if given["config_dump"]:
            click.echo("note: no objects are known: what made the configuration is told as far as it says it", err=True)
            return None
        raise TidegateError(f"{error}; or give manifests with -f, or a cluster with --kubeconfig") from error


def _dump(source: str) -> bytes | None:
    """The text of --config-dump."""
    from tidegate.cli.proxy_config.source import DUMP_PATH
    from tidegate.cli.reach import envoy_at, read_file

    if source.startswith(("http://", "https://")):
        return envoy_at(source, DUMP_PATH, _LARGEST)
    return read_file(Path(source), _LARGEST) if source else None


def _running(given: dict[str, Any], name: str) -> bytes | None:
    from tidegate.cli.proxy_config.source import read

    return read(None, name, "", given["run_dir"]) if given["running"] else None


def _rules(file: Path | None) -> "RuleSets | None":
    if file is None:
        return None
    from tidegate.cli.reach import read_file
    from tidegate.rules.saved import read_saved

    return read_saved(read_file(file, _LARGEST).decode(errors="replace"))
