"""What explain says of a connection against what Envoy, the far side and the client say of it."""

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from tests.equivalence.live import copies, worlds
from tests.equivalence.live.caller import EVERY_NAME, EVERY_NAME6
from tests.equivalence.live.far import DEAD, SLOW, SPEAKS_FIRST
from tests.equivalence.live.stage import ADDRESS, ADDRESS6, CHOSEN, NAMESPACE, POD, Json, Seen, Stage, own, place
from tests.equivalence.test_explain_envoy import on_the_wire, status_of
from tidegate.answer.question import Question, ask, at
from tidegate.answer.report import Report, ReportEnd
from tidegate.app.diagnosis.explain import Scene, explain, scene
from tidegate.app.offline.manifests import parse
from tidegate.app.offline.proxyspec import choose
from tidegate.app.offline.world import Settings, build
from tidegate.explain.connection import Connection, HttpRequest
from tidegate.kit import nametable

STRANGER = {False: EVERY_NAME, True: EVERY_NAME6}
"""By whether it is an address of IPv6."""
LONG, SHORT = 5.0, 0.7
"""Seconds for an answer, and for none where none is expected."""
LOOKED_AT = ("x-user", "x-team", "x-new")
"""Headers that the far side logs."""
_OF_THE_FAR_SIDE = frozenset({"DC", "UPE", "UC", "URX", "UF", "UR"})
"""Response flags by which Envoy tells what a far side did, or a client that went away."""
_LOCAL = frozenset({"direct_response", "redirect", "no_virtual_host", "no_route", "protocol_error", "denied"})


class Case(NamedTuple):
    """One connection of a world, and everything that was said about it."""

    question: Question
    ours: Report
    live: Report
    """From the dump of the Envoy that ran."""
    seen: Seen
    wrong: str
    """What does not agree; "" where all does."""


class World:
    """The documents of one world as the control plane and explain take them."""

    def __init__(self, documents: list[Json], log: str) -> None:
        self.documents = documents
        self.given = parse(worlds.as_yaml(worlds.logging_to(documents, log)), "world.yaml")
        both = not _labelled(documents, worlds.ONE_FAMILY)
        self.offline = build(self.given, Settings(variables={"ISTIO_DUAL_STACK": str(both).lower()}))
        self.spec = choose(self.offline.hub.world, f"{POD}.{NAMESPACE}")
        self.own = self.scene()
        self.dump = self.own.compiled.config_dump()

    def names(self) -> dict[str, nametable.NameInfo]:
        """What the control plane tells the agent of names."""
        view = self.own.compiled.view
        bodies = ((name, view.get(nametable.TYPE_URL, name)) for name in view.names(nametable.TYPE_URL))
        return {k: v for name, each in bodies if each for k, v in nametable.decode(name, each.body).items()}

    def scene(self, foreign: Any = None) -> Scene:
        certified = _labelled(self.documents, worlds.CERTIFIED)
        return scene(self.offline, self.given, self.spec, foreign=foreign, certificates=certified)


def _labelled(documents: list[Json], label: tuple[str, str]) -> bool:
    return any(label in each["metadata"].get("labels", {}).items() for each in documents)


def judged(stage: Stage, documents: list[Json], questions: list[Question], first: int) -> list[Case]:
    """Let Envoy run the world and open the connections; ids count from ``first``."""
    world = World(documents, str(stage.near_log))
    running = world.scene(stage.play(world.own.compiled, world.dump, world.own.rules))
    questions = _resolved_by(stage, world, questions)
    ours = [explain(world.own, each) for each in questions]
    live = [explain(running, each) for each in questions]
    asked = enumerate(zip(questions, ours, strict=True), first)
    orders = [order(world, q, o, f"j{n}", stage.caller_certificate) for n, (q, o) in asked]
    by_order = {o["id"]: report for o, report in zip(orders, ours, strict=True)}
    stage.forget()
    seen = stage.call(orders, lambda o: _logged(by_order[o["id"]]))
    found = []
    for question, report, other, asked in zip(questions, ours, live, orders, strict=True):
        what = seen[asked["id"]]
        found.append(Case(question, report, other, what, _wrong(report, other, what, asked)))
    return found


def _resolved_by(stage: Stage, world: World, questions: list[Question]) -> list[Question]:
    """The questions about names, each at an address that the application is told; explain has to know the same."""
    names = list(dict.fromkeys(each.to for each in questions if not each.ip))
    if not names:
        return questions
    table = world.names()
    stage.answer_names({name: (info.ips, info.registry) for name, info in table.items()})
    told, families = stage.resolve(names), worlds.families(world.documents)
    found = []
    for number, each in enumerate(questions):
        if not each.ip:
            compiled = world.own.compiled
            asked = ask(compiled.world, compiled.proxy, each, world.own.names)
            server = world.own.names
            known = server(each.to) if server is not None else None
            ours = {asked.connection.ip, *asked.others} if known is not None else {EVERY_NAME, EVERY_NAME6}
            assert set(told[each.to]) == ours - {""}, f"{each.to} is {told[each.to]}, explain says {asked.resolved}"
            dialled = [ip for ip in told[each.to] if (":" in ip) in families] or [STRANGER[min(families)]]
            each = at(each, dialled[number % len(dialled)])
        found.append(each)
    return found


def _logged(report: Report) -> bool | None:
    """Whether the sidecar logs it: not what never comes to it, and not every end of a connection that says nothing."""
    if not report.ends:
        return False
    return None if report.ends[0].kind in ("waits", "dropped", "closed", "no_listener", "tls_error") else True


# The bytes of a connection


def order(world: World, question: Question, report: Report, name: str, certificate: tuple[str, ...]) -> Json:
    """certificate: files of the certificate and the key of a caller that shows one."""
    connection = ask(world.own.compiled.world, world.own.compiled.proxy, question).connection
    tls, quiet = connection.tls, _quiet(report, connection)
    offered = [each for each in tls.alpn if each != "h2"] if tls else []
    return {
        "id": name,
        "ip": connection.ip,
        "port": connection.port,
        "direction": question.direction,
        "source": question.source_ip if question.direction == "inbound" else "",
        "from": question.source_ip if question.direction == "inbound" else _source(connection.ip),
        "chosen": CHOSEN[int(name[1:]) % len(CHOSEN)],
        "tls": {"sni": tls.sni, "alpn": offered, "certificate": certificate if tls.mutual else ()} if tls else None,
        "kind": _kind(connection),
        "data": base64.b64encode(_data(connection, name)).decode(),
        "patience": SHORT if quiet else LONG,
        "silent": quiet,
        "first": connection.server_first,
        "copies": copies.least(world.own.config, report),
    }


def _source(ip: str) -> str:
    """Where the application's own connections to an address come from."""
    if ":" in ip:
        return "::1" if ip == "::1" else ADDRESS6
    return "127.0.0.1" if ip.startswith("127.") else ADDRESS


def _quiet(report: Report, connection: Connection) -> bool:
    """Whether nothing is expected to come back: the client is silent, and so is the other side."""
    if not connection.server_first or connection.http:
        slow = connection.http is not None and any(_never(each) and not _timed(each) for each in report.ends)
        return slow or any(each.kind in ("waits", "dropped") for each in report.ends)
    reached = {port for each in report.ends for port in _ports(each)}
    return not (reached or {connection.port}) & set(SPEAKS_FIRST) or not report.cluster


def _ports(end: ReportEnd) -> set[int]:
    return {int(address.rpartition(":")[2]) for address in end.endpoints} if end.kind == "forwarded" else set()


def _never(end: ReportEnd) -> bool:
    """Whether requests come to where they are not answered."""
    return _ports(end) == {SLOW}


def _timed(end: ReportEnd) -> bool:
    """Whether the proxy gives up on a request by itself."""
    return end.timeout not in ("", "0s") and end.far_side.get("protocol") != "tcp"


def _kind(connection: Connection) -> str:
    if connection.http is None:
        return "silence" if connection.server_first else "bytes"
    return "http2" if connection.http.version == "2" and not connection.tls else "http1"


def _data(connection: Connection, name: str) -> bytes:
    request = connection.http
    if request is None:
        return b"" if connection.server_first else b"\x00\x01\x02 binary \r\n\r\n"
    if _kind(connection) == "http2":
        return _http2(request, name)
    return on_the_wire(
        msgspec.structs.replace(request, version=request.version if request.version != "2" else "1.1"), name
    )


def _http2(request: HttpRequest, name: str) -> bytes:
    """Preface, empty settings and one request whose headers are literals (RFC 9113; RFC 7541, section 6.2.2)."""
    pseudo = (
        (":method", request.method),
        (":scheme", "http"),
        (":authority", request.authority),
        (":path", request.path),
    )
    pairs = (*pseudo, *request.headers, ("x-id", name))
    block = b"".join(b"\x00" + _literal(key) + _literal(value) for key, value in pairs)
    head = len(block).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01"
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + head + block


def _literal(text: str) -> bytes:
    """A string as it is, behind its length with a prefix of seven bits (RFC 7541, sections 5.1 and 5.2)."""
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    more = len(data) - 127
    assert more < 1 << 14
    rest = bytes((more,)) if more < 128 else bytes((more % 128 + 128, more // 128))
    return b"\x7f" + rest + data


# The comparison


def _wrong(ours: Report, live: Report, seen: Seen, asked: Json) -> str:
    if _essence(ours) != _essence(live):
        return "explain says another thing of the dump of the Envoy that runs it"
    if not ours.ends:
        return _bypassed(ours, seen, asked)
    reasons = []
    for end in ours.ends:
        why = disagreement(end, seen, asked)
        if not why:
            return ""
        reasons.append(f"{end.kind}: {why}")
    return "; ".join(reasons)


def _essence(report: Report) -> Any:
    ends = []
    for end in report.ends:
        told = msgspec.to_builtins(end)
        told["endpoints"] = sorted(set(map(_resolved, end.endpoints)))
        ends.append({key: value for key, value in told.items() if key not in ("why", "cluster_type", "clusterType")})
    return report.listener, report.filter_chain, report.cluster, sorted(map(repr, ends))


def _resolved(address: str) -> str:
    """Names lead to one address of each family here: which one Envoy takes is not looked at."""
    host, _, port = address.rpartition(":")
    literal = re.fullmatch(r"[0-9.]+|\[.*\]", host) and host.strip("[]") not in (EVERY_NAME, EVERY_NAME6)
    return address if literal else f"(every name):{port}"


def _bypassed(report: Report, seen: Seen, asked: Json) -> str:
    if seen.near:
        return "packet rules are said to let it pass, and the sidecar has logged it"
    wanted = place(asked["ip"], asked["port"])
    if seen.told["end"] != "refused" and seen.far.get("dst") != wanted:
        return f"packet rules are said to let it pass, and {wanted} has not seen it"
    return ""


def disagreement(end: ReportEnd, seen: Seen, asked: Json) -> str:
    """Why an end is not what happened; "" where it is."""
    return next((f"{text}" for text in _disagreements(end, seen, asked)), "")


def _disagreements(end: ReportEnd, seen: Seen, asked: Json) -> Iterator[str]:
    flags = set((seen.near.get("flags") or "-").split(",")) - {"-"}
    if end.kind in ("waits", "dropped"):
        if seen.told["end"] != "silent":
            yield f"nothing should come back, but the connection is {seen.told['end']}"
        return
    if seen.told["end"] == "silent" and not asked["first"] and not asked["silent"]:
        yield "nothing came back"
    if end.kind == "forwarded":
        yield from _forwarded(end, seen, flags, asked)
        return
    # bytes are proxied by opening the connection onwards at once: of one that is refused no byte arrives there
    opened = end.kind in ("denied", "tls_error") and not end.http_status
    if seen.far and not (opened and not seen.far["received"]):
        yield f"it reached {seen.far['dst']}"
    if end.kind == "unknown":
        yield "explain does not know"
    if end.kind not in ("denied", "closed", "tls_error", "no_listener") or end.http_status:
        wanted = set(end.response_flags)
        if flags - {"DC"} != wanted and not (end.kind == "no_filter_chain" and not seen.near):
            yield f"flags {sorted(flags)} instead of {sorted(wanted)}"
    yield from _answered(end, seen.near)
    if end.kind == "redirect" and (where := _location(seen)) not in (None, end.location):
        yield f"location {where} instead of {end.location}"


def _answered(end: ReportEnd, near: Json) -> Iterator[str]:
    """By the proxy itself: the status, and the one of gRPC."""
    status, wanted = int(near.get("status") or 0), end.http_status if end.grpc_status is None else 200
    if wanted and status != wanted:
        yield f"status {status} instead of {wanted}"
    if end.grpc_status is not None and str(near.get("grpc")) != str(end.grpc_status):
        yield f"gRPC status {near.get('grpc')} instead of {end.grpc_status}"


def _forwarded(end: ReportEnd, seen: Seen, flags: set[str], asked: Json) -> Iterator[str]:
    near, distant, far = seen.near, seen.far, end.far_side
    if near.get("cluster") != end.cluster:
        yield f"cluster {near.get('cluster')} instead of {end.cluster}"
    if flags - _OF_THE_FAR_SIDE - ({"UT"} if _timed(end) else set()):
        yield f"flags {sorted(flags)}"
    if _never(end) and asked["kind"].startswith("http"):
        yield from _unanswered(end, seen, flags)
    endpoints = set(map(_resolved, end.endpoints))
    if _resolved(near.get("host") or "") not in endpoints:
        yield f"upstream host {near.get('host')} instead of {', '.join(sorted(endpoints))}"
    if not asked["source"] and own(near.get("host") or ""):
        return  # to itself: what its inbound side does is another connection
    if not distant:
        if "UF" not in flags and "UT" not in flags:
            yield "nobody has seen it"
        yield from _tried(end, near)
        return
    if distant["dst"] != near.get("host"):
        yield f"{distant['dst']} has seen it, the log says {near.get('host')}"
    yield from _content(end, far, distant, asked)
    if not asked["copies"] <= len(seen.copies) <= copies.most(end):
        yield f"{len(seen.copies)} copies of the request were seen, {end.mirrors or 'none'} are said"


def _unanswered(end: ReportEnd, seen: Seen, flags: set[str]) -> Iterator[str]:
    """The far side takes a request and never answers it."""
    if not _timed(end) and seen.told["end"] != "silent":
        yield f"there is no time-out, but the connection is {seen.told['end']}"
    if _timed(end) and "UT" not in flags:
        yield f"flags {sorted(flags)} where the time-out of {end.timeout} ends it"


def _tried(end: ReportEnd, near: Json) -> Iterator[str]:
    """How often a request was sent to where nobody listens."""
    retried = {"connect-failure", "5xx", "gateway-error"} & set(end.retry_on.split(","))
    wanted = end.retries + 1 if retried else 1
    counted = _ports(end) == {DEAD} and end.far_side.get("authority") and not _timed(end)
    if counted and str(near.get("attempts")) != str(wanted):
        yield f"{near.get('attempts')} attempts instead of {wanted}"


def _content(end: ReportEnd, far: Json, distant: Json, asked: Json) -> Iterator[str]:
    """What the far side saw: server name, the caller's address, authority, path and headers."""
    outer = end.upstream_tls.get("mode", "none") != "none"
    own = asked["tls"]["sni"] if far.get("client_tls") and asked["tls"] else ""
    sni = end.upstream_tls.get("sni", "") if outer else own
    deaf = int(distant["dst"].rpartition(":")[2]) in SPEAKS_FIRST  # talks before it listens, so that it reads no TLS
    if not deaf and (distant["sni"] or "") != sni.lower():
        yield f"server name {distant['sni']} instead of {sni or 'none'}"
    source = far.get("source", "")
    if source and distant["peer"].rpartition(":")[0].strip("[]") != source:
        yield f"the far side is called from {distant['peer']} instead of {source}"
    if distant["kind"] == "request" and far.get("protocol") != "tcp":
        saw = (distant["authority"] or "", distant["path"])
        wanted = (far.get("authority", ""), far.get("path", ""))
        if saw != wanted:
            yield f"the far side sees {saw} instead of {wanted}"
        for name in LOOKED_AT:
            value = next((value for key, value in far.get("headers", ()) if key == name), "")
            if (distant[name] or "") != value:
                yield f"the far side sees {name} {distant[name]!r} instead of {value!r}"


def _location(seen: Seen) -> str | None:
    """Where an answer redirects to; None where it is not readable here."""
    answer = base64.b64decode(seen.told["got"])
    if status_of(answer) is None:
        return None
    found = re.search(rb"\r\nlocation: ([^\r]*)\r\n", answer)
    return found[1].decode() if found else ""


# The smallest world


def smallest(documents: list[Json], fails: Callable[[list[Json]], bool], goes_on: Callable[[], bool]) -> list[Json]:
    """Leave out documents, then parts of them, as long as it still fails and there is time."""
    changed = True
    while changed and goes_on():
        changed = False
        for candidate in _smaller(documents):
            if not goes_on():
                break
            if fails(candidate):
                documents, changed = candidate, True
                break
    return documents


def _smaller(documents: list[Json]) -> Iterator[list[Json]]:
    for number, each in enumerate(documents):
        rest = [*documents[:number], *documents[number + 1 :]]
        if each["kind"] not in ("ConfigMap", "Secret") and each["metadata"]["name"] != POD:
            yield rest
    for number, each in enumerate(documents):
        if each["kind"] not in ("ConfigMap", "Pod", "Secret"):
            for spec in _parts(each["spec"]):
                yield [*documents[:number], {**each, "spec": spec}, *documents[number + 1 :]]


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
        for key, inner in value.items():
            yield from ({**value, key: less} for less in _parts(inner))
    elif isinstance(value, list):
        for number in range(len(value)):
            yield [*value[:number], *value[number + 1 :]]
        for number, inner in enumerate(value):
            yield from ([*value[:number], less, *value[number + 1 :]] for less in _parts(inner))
