"""The answer as a document: the verdict, each decision with the line that made it, and who lost.

The fields are those of schema :data:`SCHEMA`; docs/explain.md describes them. Fields are only added within a version.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from tidegate.answer.case import Case
from tidegate.answer.origins import Origins, Place, Source
from tidegate.answer.provenance import last
from tidegate.answer.question import SOMEWHERE, Asked
from tidegate.answer.tls import MTLS
from tidegate.answer.verdict import Outcome, Verdict, verdict
from tidegate.api.objects import Ref
from tidegate.explain.trace import End, Step
from tidegate.rules import words
from tidegate.rules.model import Table
from tidegate.rules.walk import Visit, Walk
from tidegate.scope.proxy import Proxy

SCHEMA = "tidegate.io/explain/v1"
_HELD_BY = {
    "listener": "Listener",
    "listener_filter": "Listener",
    "filter_chain": "Listener",
    "downstream_tls": "Listener",
    "network_filter": "Listener",
    "http_filter": "Listener",
    "virtual_host": "RouteConfiguration",
    "route": "RouteConfiguration",
    "cluster": "Cluster",
    "endpoint": "Cluster",
    "upstream_tls": "Cluster",
}


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of the parts of a report."""


class Lost(Document, frozen=True, kw_only=True):
    """A runner-up."""

    what: str
    why: str
    at: str = ""


class ReportStep(Document, frozen=True, kw_only=True):
    """One decision on the way."""

    stage: str
    name: str = ""
    path: str = ""
    """Inside the resource that holds it."""
    words: str = ""
    object: str = ""
    """``Kind/namespace/name`` of what made it so."""
    field: str = ""
    at: str = ""
    """``file:line``."""
    lost: tuple[Lost, ...] = ()
    facts: dict[str, Any] = {}


class ReportEnd(Document, frozen=True, kw_only=True):
    """One way in which it may end, with its probability."""

    kind: str
    probability: float
    why: str
    cluster: str = ""
    cluster_type: str = ""
    endpoints: tuple[str, ...] = ()
    http_status: int | None = None
    grpc_status: int | None = None
    response_flags: tuple[str, ...] = ()
    location: str = ""
    delay: str = ""
    timeout: str = ""
    retries: int = 0
    retry_on: str = ""
    upstream_tls: dict[str, Any] = {}
    far_side: dict[str, Any] = {}
    mirrors: tuple[str, ...] = ()


class Reason(Document, frozen=True, kw_only=True):
    """Why the meant service did not answer."""

    object: str
    field: str = ""
    words: str = ""
    at: str = ""


class Captured(NamedTuple):
    """The way of a connection's first packet through the packet rules."""

    walk: Walk
    tables: tuple[Table, ...]
    """Of its address family, as they are known."""


class Elsewhere(Document, frozen=True, kw_only=True):
    """The same question at another address of the name that is called."""

    address: str
    outcome: str
    verdict: str
    deciding_object: str
    at: str = ""


class Report(Document, frozen=True, kw_only=True):
    """What becomes of one connection, and which line decides it."""

    schema: str
    outcome: str
    verdict: str
    deciding_object: str
    field: str = ""
    at: str = ""
    proxy: str = ""
    to: str = ""
    address: str = ""
    protocol: str = ""
    listener: str = ""
    filter_chain: str = ""
    route: str = ""
    cluster: str = ""
    http_status: int | None = None
    response_flags: tuple[str, ...] = ()
    steps: tuple[ReportStep, ...] = ()
    ends: tuple[ReportEnd, ...] = ()
    reasons: tuple[Reason, ...] = ()
    unknown: tuple[str, ...] = ()
    """What could not be judged; the answer holds if it lets the connection pass."""
    assumed: tuple[str, ...] = ()
    """What the answer takes for granted, since nothing at hand tells it."""
    other_addresses: tuple[Elsewhere, ...] = ()
    """Of a name with several addresses, those at which something else becomes of the connection."""


def elsewhere(found: Report, others: Iterable[tuple[str, Report]]) -> Report:
    """The answer with what differs at further addresses."""
    differing = (
        Elsewhere(address=ip, outcome=o.outcome, verdict=o.verdict, deciding_object=o.deciding_object, at=o.at)
        for ip, o in others
        if (o.outcome, o.cluster) != (found.outcome, found.cluster)
    )
    return msgspec.structs.replace(found, other_addresses=tuple(differing))


def report(case: Case, asked: Asked, origins: Origins, place: Place, captured: Captured | None = None) -> Report:
    """The whole answer.

    captured: the way of the first packet through the packet rules, where they are known.
    """
    found, end = verdict(case), case.end
    chain = last(end.steps, "filter_chain")
    listener, route = last(end.steps, "listener"), last(end.steps, "route")
    steps = (*_before(asked, captured), *_steps(end.steps, origins, place))
    field = found.field or _field(found.deciding, steps)
    return Report(
        schema=SCHEMA,
        outcome=found.outcome.value,
        verdict=_line(found, end),
        deciding_object=str(found.deciding),
        field=field,
        at=place(found.deciding, field),
        proxy=case.proxy.name,
        to=_called(asked),
        address=asked.connection.ip,
        protocol=asked.question.protocol,
        listener=listener.name if listener else "",
        filter_chain=chain.name or chain.path if chain else "",
        route=route.name or route.path if route else "",
        cluster=end.cluster,
        http_status=end.http_status,
        response_flags=end.response_flags,
        steps=steps,
        ends=tuple(map(_end, case.trace.ends)),
        reasons=tuple(
            Reason(object=str(r.ref), field=r.field, words=r.words, at=place(r.ref, r.field)) for r in found.reasons
        ),
        unknown=tuple(f"{each.where}: {each.why}" for each in case.trace.unknown),
        assumed=tuple(_assumed(asked)),
    )


def _assumed(asked: Asked) -> Iterator[str]:
    if asked.connection.ip == SOMEWHERE and not asked.known_address:
        yield f"{SOMEWHERE} stands for the address of {asked.question.to}, which only DNS knows; --ip gives it"


def _field(deciding: Ref, steps: Iterable[ReportStep]) -> str:
    """The part of the deciding object that the last step of its making comes from, where it is a part."""
    fields = [each.field for each in steps if each.object == str(deciding) and "." in each.field]
    return fields[-1] if fields else ""


def bypassed(asked: Asked, proxy: str, captured: Captured, deciding: Source | None, place: Place) -> Report:
    """The answer for a connection that packet rules never bring to the proxy."""
    rule = captured.walk.deciding
    where = f"{rule.chain} rule {rule.number}" if rule is not None else "the chain's policy"
    if captured.walk.verdict == "drop":
        said = f"is dropped by {where}"
    else:
        passes = f"{where} lets it go" if rule is not None else "no packet rule takes it, so that it goes"
        said = f"is not intercepted: {passes} straight to {_target(asked)}"
    why = f" ({_serves(rule, captured.tables)})" if rule is not None else ""
    found = _untouched(asked, proxy, said + why, deciding or Source(_workload(proxy)), place)
    return msgspec.structs.replace(found, steps=tuple(_before(asked, captured)))


def unproxied(asked: Asked, proxy: str, source: Source, why: str, place: Place) -> Report:
    """The answer for a connection of a workload that no proxy stands before."""
    words = f"is not intercepted: {why}; it goes straight to {_target(asked)}"
    return _untouched(asked, proxy, words, source, place)


def refused(found: Report, by: Ref | None, place: Place) -> Report:
    """The answer for a connection past the proxy, where whoever it comes to takes mutual TLS only."""
    if by is None:
        return found
    reason = Reason(object=str(by), field=MTLS, words="demands mutual TLS of every caller", at=place(by, MTLS))
    verdict = f"{found.verdict}, where {by} demands mutual TLS: it is refused"
    return msgspec.structs.replace(found, verdict=verdict, reasons=(reason,))


def _called(asked: Asked) -> str:
    return _socket(asked.question.to, asked.question.port)


def _target(asked: Asked) -> str:
    return _socket(asked.connection.ip, asked.connection.port)


def _socket(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _untouched(asked: Asked, proxy: str, words: str, source: Source, place: Place) -> Report:
    return Report(
        schema=SCHEMA,
        outcome=Outcome.NOT_INTERCEPTED,
        verdict=words,
        deciding_object=str(source.ref),
        field=source.field,
        at=place(source.ref, source.field),
        proxy=proxy,
        to=_called(asked),
        address=asked.connection.ip,
        protocol=asked.question.protocol,
        steps=tuple(_before(asked, None)),
    )


def unresolved(asked: Asked, proxy: Proxy, place: Place, near: Iterable[str] = ()) -> Report:
    """The answer for a name that nobody resolves. near: declared hosts of a like name."""
    service = asked.intent.services[0] if asked.intent.services else None
    deciding = service.sources[0] if service is not None else _workload(proxy.name)
    why = f"{deciding} declares it and gives it no address" if service is not None else "nothing declares it"
    if service is not None and service.headless:
        why = f"{deciding} is headless, and no member of it is ready"
    if service is None and (listed := ", ".join(near)):
        why += f" for namespace {proxy.kind.namespace}; there is {listed}"
    if service is not None and (service.addresses or service.auto_addresses):
        why = f"{deciding} gives it an address, which only a proxy that answers DNS tells (ISTIO_META_DNS_CAPTURE)"
    return Report(
        schema=SCHEMA,
        outcome=Outcome.NAME_NOT_RESOLVED,
        verdict=f"never begins: {asked.question.to} is not resolved; {why}",
        deciding_object=str(deciding),
        at=place(deciding, "spec.addresses"),
        proxy=proxy.name,
        to=_called(asked),
        protocol=asked.question.protocol,
        steps=tuple(_before(asked, None)),
    )


def _workload(proxy: str) -> Ref:
    """The workload of ``name.namespace`` as an object."""
    name, _, namespace = proxy.partition(".")
    return Ref("Pod", namespace, name)


def _line(found: Verdict, end: End) -> str:
    likely = f" ({end.probability:.0%} of the time)" if end.probability < 1 else ""
    return found.words + likely


def _before(asked: Asked, captured: Captured | None) -> Iterator[ReportStep]:
    yield ReportStep(stage="name", name=asked.question.to, words=asked.resolved)
    if captured is None:
        return
    walk = captured.walk
    rule = words.speaking(walk)
    why = f"{_serves(rule, captured.tables)} ({rule.rule.specification})" if rule else _silence(walk)
    yield ReportStep(
        stage="packet_rules",
        name=rule.place if rule else "",
        words=f"{words.outcome(walk)}: {why}",
        lost=tuple(_passed(walk.visits, walk.deciding)),
    )


def _serves(visit: Visit, tables: tuple[Table, ...]) -> str:
    """What a rule is there for."""
    return words.purpose(visit.rule, next((each for each in tables if each.name == visit.table), Table(visit.table)))


def _silence(walk: Walk) -> str:
    return "no rule matches" if walk.visits else "there are no rules that it would meet"


def _passed(visits: Iterable[Visit], deciding: Visit | None) -> Iterator[Lost]:
    """Rules that were looked at and did not match; jumps that only led on are left out."""
    for visit in visits:
        if visit.matched or visit is deciding or not visit.rule.target:
            continue
        why = f"{visit.undecided} is not known here" if visit.undecided else "does not match"
        yield Lost(what=f"{visit.chain} rule {visit.number}: {visit.rule.specification}", why=why)


def _steps(steps: Iterable[Step], origins: Origins, place: Place) -> Iterator[ReportStep]:
    holders: dict[str, str] = {}
    routed: Source | None = None
    for step in steps:
        holder = _HELD_BY.get(step.stage, "")
        if step.kind == holder or step.stage in ("listener", "cluster"):
            holders[holder] = step.name
        if "routeConfiguration" in step.facts:
            holders["RouteConfiguration"] = str(step.facts["routeConfiguration"])
        name = holders.get(holder, "")
        source = routed if step.facts.get("perRoute") else origins.of(step, holder, name)
        routed = source if step.stage == "route" else routed
        yield ReportStep(
            stage=step.stage,
            name=step.name,
            path=step.path,
            words=step.why,
            object=str(source.ref) if source else "",
            field=source.field if source else "",
            at=place(source.ref, source.field) if source else "",
            lost=(*_rejected(step), *_losers(step, origins, holder, name, place)),
            facts=step.facts,
        )


def _rejected(step: Step) -> Iterator[Lost]:
    return (Lost(what=each.what, why=each.why) for each in step.rejected)


def _losers(step: Step, origins: Origins, holder: str, name: str, place: Place) -> Iterator[Lost]:
    """Objects that lost when the resource was made; told with the step that stands for the resource."""
    if step.stage not in ("listener", "virtual_host", "cluster"):
        return
    for each in origins.decisions(holder, name):
        if step.stage == "virtual_host" and step.name.partition(":")[0] not in each.subject:
            continue
        for loser in each.losers:
            yield Lost(what=str(loser), why=f"{each.subject}: {each.rule} ({each.winner} won)", at=place(loser, ""))


def _end(end: End) -> ReportEnd:
    return ReportEnd(
        kind=end.kind,
        probability=round(end.probability, 6),
        why=end.why,
        cluster=end.cluster,
        cluster_type=end.cluster_type,
        endpoints=tuple(each.address for each in end.endpoints),
        http_status=end.http_status,
        grpc_status=end.grpc_status,
        response_flags=end.response_flags,
        location=end.location,
        delay=end.delay,
        timeout=end.timeout,
        retries=end.retries,
        retry_on=end.retry_on,
        upstream_tls=_plain(end.upstream_tls),
        far_side=_plain(end.far_side),
        mirrors=tuple(f"{each.cluster} ({each.share:.0%})" for each in end.mirrors),
    )


def _plain(part: Any) -> dict[str, Any]:
    """The fields that say something."""
    if part is None:
        return {}
    return {key: value for key, value in msgspec.to_builtins(part).items() if value not in ("", (), [], None, False)}
