"""How ``tidegate explain`` prints an answer: the verdict first, then each decision on the way."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tidegate.answer.comparison import Comparison
    from tidegate.answer.report import Report, ReportEnd, ReportStep

_MOST_LOST = 6
"""Runners-up that the text shows of one step; JSON and YAML have all of them."""
_MOST_ENDPOINTS = 4
_GOOD = ("reaches",)
_NEUTRAL = ("passthrough", "direct_response")


def compared(found: "Comparison") -> Iterator[str]:
    """Both verdicts, how they differ, and the way that the connection would take."""
    if not found.differs:
        yield "the change does nothing to this connection:"
        yield from answer(found.after)
        return
    for word, report in (("before", found.before), ("after", found.after)):
        for number, line in enumerate(_head(report)):
            yield f"{click.style(f'{word:<6}', bold=True) if number == 0 else '      '}  {line}"
        yield from (f"          {end.probability:>7.2%}  {_end(end)}" for end in report.ends)
    yield f"differs: {', '.join(found.differs)}"
    yield ""
    yield click.style("The way after the change:", bold=True)
    yield from _rest(found.after)


def answer(report: "Report") -> Iterator[str]:
    """The whole answer, line by line."""
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
    for each in report.assumed:
        yield f"assumed: {each}"
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
        more = len(end.endpoints) - _MOST_ENDPOINTS
        listed = ", ".join(end.endpoints[:_MOST_ENDPOINTS])
        words.append(f"-> {listed}" + (f" and {more} more" if more > 0 else ""))
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
