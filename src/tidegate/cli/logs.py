"""``tidegate logs``: a proxy's access log, as it is or in words."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.labs import complete_member, lab_options

if TYPE_CHECKING:
    from tidegate.dump.accesslog import Line


@click.command(name="logs")
@click.argument("workload", required=False, shell_complete=complete_member)
@click.option("-n", "--namespace", default="", help="Namespace of the workload.")
@click.option("--explain", is_flag=True, help="Say what flags, details and clusters mean, and where to look next.")
@click.option("--errors", is_flag=True, help="Only what went wrong: lines with a flag, or a code from 400 on.")
@click.option("--tail", type=click.IntRange(0), default=None, help="Only this many of the last lines.")
@click.option("-f", "-F", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Read this access log instead.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@lab_options
def logs(
    workload: str | None,
    namespace: str,
    explain: bool,
    errors: bool,
    tail: int | None,
    follow: bool,
    file: Path | None,
    output: str,
    **where: Any,
) -> None:
    """Print the access log of a workload's proxy; with --explain in words.

    Istio's default formats are understood, text and JSON. -o json prints one object for each line that is of the
    access log; as text, other lines (Envoy's own messages) are printed as they are.

    \b
    Examples:
      tidegate logs client.front --explain
      tidegate logs client -n front --errors --explain -f
      kubectl logs web-0 -c istio-proxy > web.log; tidegate logs --file web.log --explain
    """
    if follow and tail is not None:
        raise click.UsageError("--follow begins with the whole log; give it or --tail")
    name = f"{workload}.{namespace}" if workload and namespace and "." not in workload else workload
    path, known = (file, name or "WORKLOAD") if file else _of_lab(name, **where)
    lines = _lines(path, follow)
    for text in _kept(lines, errors, tail):
        _show(text, known, explain, output)


def _of_lab(name: str | None, **where: Any) -> tuple[Path, str]:
    """The log's file, and the workload's full name."""
    from tidegate.cli import labs
    from tidegate.lab.inspect import find_member, log_file

    if not name:
        raise click.UsageError("name a workload (NAME or NAME.NAMESPACE), or give --file")
    folders, plan = labs.chosen(**where)
    return log_file(plan, folders.lab(plan.spec.name), name, "proxy"), find_member(plan, name).key


def _lines(path: Path, follow: bool) -> Iterator[str]:
    """Whole lines; of one without end its parts, each of the length that is read at most."""
    from tidegate.dump.accesslog import MAX_LINE
    from tidegate.lab.inspect import read_log

    rest = b""
    for chunk in read_log(path, follow):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
        if len(rest) > MAX_LINE:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")


def _kept(lines: Iterable[str], errors: bool, tail: int | None) -> Iterable[str]:
    from tidegate.dump import accesslog

    if errors:
        lines = (text for text in lines if (line := accesslog.parse(text)) is not None and line.failed)
    return lines if tail is None else deque(lines, maxlen=tail)


def _show(text: str, workload: str, explain: bool, output: str) -> None:
    from tidegate.dump import accesslog

    line = accesslog.parse(text)
    if output == "json":
        if line is not None:
            _print_json(line, workload, explain)
    elif line is None or not explain:
        click.secho(text, fg="red" if line is not None and line.failed else None)
    else:
        _print_words(line, workload)


def _print_json(line: "Line", workload: str, explain: bool) -> None:
    import msgspec

    from tidegate.dump import logwords

    found: dict[str, Any] = msgspec.to_builtins(line)
    if explain:
        found["explained"] = [note._asdict() for note in logwords.explain(line, workload)]
    click.echo(msgspec.json.encode(found).decode())


def _print_words(line: "Line", workload: str) -> None:
    from tidegate.dump import logwords

    click.secho(_summary(line), fg="red" if line.failed else "green", bold=True)
    told = {""}
    for note in logwords.explain(line, workload):
        click.echo(f"  {click.style(note.code, bold=True)}: {note.meaning}")
        if line.failed and note.next not in told:
            click.secho(f"    look at {note.next}", fg="cyan")
        told.add(note.next)


def _summary(line: "Line") -> str:
    """The request in one line: when, what, from whom, to whom, how it ended."""
    what = f"{line.method} {line.authority}{line.path} {line.protocol}" if line.method else "TCP connection"
    where = line.upstream_host or line.downstream_local_address
    ended = str(line.response_code) if line.response_code else f"{line.bytes_received} bytes in, {line.bytes_sent} out"
    side = "in" if line.inbound else "out"
    flags = f" {line.response_flags}" if line.response_flags else ""
    return f"{line.start_time} {side} {what} to {where or '-'}: {ended}{flags}, {line.duration} ms"
