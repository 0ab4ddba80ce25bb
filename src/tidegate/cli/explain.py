"""``tidegate explain``: what becomes of one connection, and which line of YAML decides it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.labs import api_server, lab_options
from tidegate.cli.manifests import optional_manifests, settings
from tidegate.cli.options import complete_workload

if TYPE_CHECKING:
    from tidegate.answer.comparison import Comparison
    from tidegate.answer.question import Question
    from tidegate.answer.report import Report, ReportEnd, ReportStep
    from tidegate.app.diagnosis.explain import Scene, World
    from tidegate.rules.saved import RuleSets

PROTOCOLS = ("http", "https", "http2", "grpc", "tls", "tcp", "udp")
_LARGEST = 512 * 1024 * 1024
_MOST_LOST = 6
"""Runners-up that the text shows of one step; JSON and YAML have all of them."""
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_GOOD = ("reaches",)
_NEUTRAL = ("passthrough", "direct_response")


@click.command(name="explain")
@optional_manifests
@click.option(
    "--from",
    "source",
    default="",
    metavar="NAME[.NS]",
    shell_complete=complete_workload,
    help="The workload that calls, or with --inbound the one that is called.",
)
@click.option("--proxy-spec", type=_FILE, help="File that describes the proxy, where nothing else does.")
@click.option("--to", "target", required=True, metavar="HOST:PORT|IP:PORT", help="What is called.")
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
@click.option("--from-user", type=int, help="User id of the calling process [default: what its Pod says, else 1000].")
@click.option("--inbound", is_flag=True, help="The connection comes to the workload; --to is HOST:PORT of its own.")
@click.option("--source-ip", default="", help="Where an inbound connection comes from.")
@click.option(
    "--caller",
    default="",
    metavar="NAME.NS",
    shell_complete=complete_workload,
    help="The workload that calls, for --inbound: tells its address and, with a sidecar, its identity.",
)
@click.option("--principal", default="", help="The caller's identity in mutual TLS, spiffe://...; for --inbound.")
@click.option(
    "--config-dump",
    type=_FILE,
    help="Any Envoy's /config_dump, istiod's proxies included, instead of what tidegate would send.",
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
@lab_options
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
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
    Outcomes: reaches, passthrough, blackhole, direct_response, no_route, no_cluster, no_endpoints, captured_by_other,
    wrong_endpoints, tls_mismatch, hangs, protocol_error, rejected_by_policy, upstream_unreachable, no_failover,
    not_intercepted, name_not_resolved: see docs/explain.md.
    """
    from tidegate.app.diagnosis import explain as explaining

    question, asks_change = _question(given), given["applied"] or given["deleted"]
    if asks_change and (given["config_dump"] is not None or given["running"]):
        raise click.UsageError("--with and --without: what an Envoy runs does not tell what it would be sent then")
    world = _world(given)
    report = explaining.explain(_scene(given, world), question)
    if not asks_change:
        _show(output, report, _text(report))
        return
    from tidegate.answer.comparison import compare

    found = compare(report, explaining.explain(_scene(given, _after(given, world)), question))
    _show(output, found, _compared(found))


def _show(output: str, document: Any, text: Iterable[str]) -> None:
    if output == "text":
        for line in text:
            click.echo(line)
        return
    import msgspec

    from tidegate.dump.commands import structured

    click.echo(structured(msgspec.to_builtins(document), output), nl=False)


# What is asked


def _question(given: dict[str, Any]) -> "Question":
    from tidegate.answer.question import Protocol, Question

    host, port = _target(given["target"])
    protocol: Protocol = given["protocol"] or ("https" if port == 443 else "http")
    return Question(
        to=host,
        port=port,
        protocol=protocol,
        ip=given["ip"],
        sni=given["sni"],
        host=given["host"],
        path=given["path"],
        method=given["method"],
        headers=tuple(_header(text) for text in given["headers"]),
        http_version=given["http_version"] or "",
        server_first=given["server_first"],
        direction="inbound" if given["inbound"] else "outbound",
        source_ip=given["source_ip"],
        principal=given["principal"],
        caller=given["caller"],
        user=given["from_user"],
    )


def _target(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not host:
        raise click.UsageError(f"--to {text}: must be HOST:PORT or IP:PORT")
    return host.strip("[]"), int(port)


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--header {text}: must be NAME=VALUE")
    return name, value


# Where the answer is taken from


def _after(given: dict[str, Any], world: "World") -> "World":
    """The world as the change would leave it; what is newly wrong with it is told."""
    from tidegate.app.diagnosis.change import changed
    from tidegate.cli.compile import tell

    after = changed(world, given["applied"], given["deleted"])
    known = {str(each) for each in world.offline.findings}
    tell(tuple(each for each in after.offline.findings if str(each) not in known))
    return after


def _scene(given: dict[str, Any], world: "World") -> "Scene":
    from tidegate.app.diagnosis import explain as explaining
    from tidegate.app.offline import proxyspec

    file: Path | None = given["proxy_spec"]
    spec = proxyspec.read(file, given["source"]) if file else proxyspec.choose(world.offline.hub.world, given["source"])
    certificates = given["certificates"]
    return explaining.scene(
        world.offline,
        world.manifests,
        spec,
        foreign=_foreign(given, f"{spec.name}.{spec.namespace}"),
        rules=_rules(given["iptables"]),
        certificates=bool(given["paths"]) if certificates is None else certificates,
    )


def _world(given: dict[str, Any]) -> "World":
    from tidegate.app.diagnosis import explain as explaining

    chosen = {name: given[name] for name in ("mesh_config", "namespace", "domain", "variables")}
    if given["paths"]:
        from tidegate.cli.compile import tell

        world = explaining.from_manifests(given["paths"], settings(**chosen))
        tell(world.offline.findings)
        return world
    if given["config_dump"] is not None and given["proxy_spec"] is not None:
        return explaining.empty(settings(**chosen))
    where = {name: given[name] for name in ("kubeconfig", "run_dir", "state_dir", "lab")}
    return explaining.from_store(api_server(**where), settings(**chosen))


def _foreign(given: dict[str, Any], name: str) -> bytes | None:
    from tidegate.cli.proxy_config.source import read

    file: Path | None = given["config_dump"]
    if file is None and not given["running"]:
        return None
    return read(file, name, "", given["run_dir"])


def _rules(file: Path | None) -> "RuleSets | None":
    if file is None:
        return None
    from tidegate.cli.reach import read_file
    from tidegate.rules.saved import read_saved

    return read_saved(read_file(file, _LARGEST).decode(errors="replace"))


# The text


def _compared(found: "Comparison") -> Iterator[str]:
    """Both verdicts, how they differ, and the way that the connection would take."""
    if not found.differs:
        yield "the change does nothing to this connection:"
        yield from _text(found.after)
        return
    for word, report in (("before", found.before), ("after", found.after)):
        for number, line in enumerate(_head(report)):
            yield f"{click.style(f'{word:<6}', bold=True) if number == 0 else '      '}  {line}"
        yield from (f"          {end.probability:>7.2%}  {_end(end)}" for end in report.ends)
    yield f"differs: {', '.join(found.differs)}"
    yield ""
    yield click.style("The way after the change:", bold=True)
    yield from _rest(found.after)


def _text(report: "Report") -> Iterator[str]:
    yield from _head(report)
    yield ""
    yield from _rest(report)


def _head(report: "Report") -> Iterator[str]:
    colour = "green" if report.outcome in _GOOD else "yellow" if report.outcome in _NEUTRAL else "red"
    yield f"{click.style(report.outcome, fg=colour, bold=True)}: {report.to} {report.verdict}"
    where = f"  {report.at}" if report.at else ""
    field = f" {report.field}" if report.field else ""
    yield f"decided by {click.style(report.deciding_object, bold=True)}{field}{where}"
    for reason in report.reasons:
        yield f"because {reason.object} {reason.words}" + (f"  {reason.at}" if reason.at else "")


def _rest(report: "Report") -> Iterator[str]:
    for number, step in enumerate(report.steps, 1):
        yield from _step(number, step)
    if len(report.ends) > 1 or _tells(report):
        yield ""
        yield "Ends:"
        for end in report.ends:
            yield f"  {end.probability:>7.2%}  {_end(end)}"
    for other in report.other_addresses:
        where = f"  {other.at}" if other.at else ""
        yield f"at {other.address} instead: {click.style(other.outcome, bold=True)}: {report.to} {other.verdict}{where}"
    for each in report.unknown:
        yield click.style(f"not judged: {each}", fg="yellow")


def _tells(report: "Report") -> bool:
    return any(end.endpoints or end.timeout or end.upstream_tls for end in report.ends)


def _step(number: int, step: "ReportStep") -> Iterator[str]:
    name = f" {step.name}" if step.name else f" {step.path}" if step.path else ""
    yield f"{number:>2}. {click.style(step.stage, bold=True)}{name}: {step.words}"
    if step.object:
        field = f" {step.field}" if step.field else ""
        yield f"      from {step.object}{field}" + (f"  {step.at}" if step.at else "")
    if step.stage == "packet_rules":
        yield from _dim(f"after {len(step.lost)} rules that do not match (-o json)") if step.lost else ()
        return
    for lost in step.lost[:_MOST_LOST]:
        yield click.style(f"      not {lost.what}: {lost.why}", dim=True) + (f"  {lost.at}" if lost.at else "")
    if len(step.lost) > _MOST_LOST:
        yield from _dim(f"and {len(step.lost) - _MOST_LOST} more (-o json)")


def _dim(text: str) -> Iterator[str]:
    yield click.style(f"      {text}", dim=True)


def _end(end: "ReportEnd") -> str:
    words = [end.cluster or end.why]
    if end.endpoints:
        listed = ", ".join(end.endpoints[:4]) + (
            f" and {len(end.endpoints) - 4} more" if len(end.endpoints) > 4 else ""
        )
        words.append(f"-> {listed}")
    if end.http_status:
        words.append(f"status {end.http_status}")
    if end.response_flags:
        words.append(",".join(end.response_flags))
    tls = end.upstream_tls.get("mode")
    if tls and tls != "none":
        words.append(f"upstream TLS {tls}" + (f" as {end.upstream_tls['sni']}" if end.upstream_tls.get("sni") else ""))
    words += [f"delay {end.delay}"] if end.delay else []
    words += [f"timeout {end.timeout}"] if end.timeout and end.timeout != "0s" else []
    words += [f"{end.retries} retries"] if end.retries else []
    return "  ".join(words)
