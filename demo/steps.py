"""The steps: what is applied, what is run, what is expected."""

import collections
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import bounds
from report import Recorder
from stage import Ran, Stage

CLIENT = "client.entry"
PAGES = ("2501", "2502", "2601")
NGINX = "http://nginx.ext.example/"
REVIEWS = 30
_PAGE = re.compile(r"Nginx (\d+) ~~")
_HTTP_PROBE = "http://httpbin.org/headers"
_TLS_PROBE = "https://www.site-a.example/"
_TLS_REFUSED = 35
"""curl's code for a connection that ends within the TLS handshake."""


@dataclass(frozen=True)
class Listed:
    title: str
    run: Callable[[Stage, Recorder], None]
    claims: tuple[str, ...] = ()
    """Claims of the reference scenarios which it shows, such as C000-1."""


def curl(stage: Stage, *arguments: str) -> Ran:
    return stage.run(CLIENT, "curl", "-s", "--max-time", "60", *arguments)


def status_of(stage: Stage, url: str, *arguments: str) -> Ran:
    """curl printing the HTTP status alone; -k, for the demo's TLS server signed its certificate itself."""
    return curl(stage, "-k", "-o", "/dev/null", "-w", "%{http_code}", *arguments, url)


def traced(stage: Stage, url: str, *arguments: str) -> tuple[Ran, list[str]]:
    """A request with an id of its own, and the client's access-log lines that have it."""
    request = str(uuid.uuid4())
    ran = status_of(stage, url, "-H", f"x-request-id: {request}", *arguments)
    return ran, stage.logged(CLIENT, request)


def pages(text: str) -> collections.Counter[str]:
    """How often each nginx answered."""
    return collections.Counter(_PAGE.findall(text))


def many(stage: Stage, count: int, *arguments: str) -> Ran:
    """``count`` requests, one after the other, by one curl."""
    return curl(stage, *arguments, f"{NGINX}?n=[1-{count}]")


def unknown_destination(stage: Stage, record: Recorder) -> None:
    """S000-8, S002-6: an unregistered destination is reached through PassthroughCluster."""
    stage.until(lambda: status_of(stage, _HTTP_PROBE), lambda ran: ran.out == "200")
    ran, lines = traced(stage, _HTTP_PROBE)
    passed = ran.out == "200" and any("PassthroughCluster" in line for line in lines)
    record.check("HTTP 200 by PassthroughCluster", f"HTTP {ran.out}", passed, command=ran.line, evidence=lines)
    before = len(stage.access_log(CLIENT))
    ran = status_of(stage, _TLS_PROBE)
    lines = stage.logged(CLIENT, "PassthroughCluster", "10.122.24.140:443", after=before)
    passed = ran.out == "200" and bool(lines)
    record.check("HTTP 200 inside the server's own TLS", f"HTTP {ran.out}", passed, command=ran.line, evidence=lines)


def registry_only(stage: Stage, record: Recorder) -> None:
    """S002-2, S004-5: what is not registered is refused, by protocol; switched live, and back."""
    with stage.outbound_policy("REGISTRY_ONLY"):
        stage.until(lambda: status_of(stage, _HTTP_PROBE), lambda ran: ran.out == "502")
        _refused_http(stage, record)
        _refused_tcp(stage, record)
        _refused_tls(stage, record)
    record.applied("kubectl replace configmap istio -n istio-system (outboundTrafficPolicy.mode as it was)")
    ran = stage.until(lambda: status_of(stage, _HTTP_PROBE), lambda ran: ran.out == "200")
    record.check("HTTP 200 again, without a restart", f"HTTP {ran.out}", ran.out == "200", command=ran.line)


def _refused_http(stage: Stage, record: Recorder) -> None:
    ran, lines = traced(stage, _HTTP_PROBE)
    passed = ran.out == "502" and any("direct_response" in line and "block_all" in line for line in lines)
    record.check("HTTP 502 from block_all", f"HTTP {ran.out}", passed, command=ran.line, evidence=lines)


def _refused_tcp(stage: Stage, record: Recorder) -> None:
    before = len(stage.access_log(CLIENT))
    ran = stage.run(CLIENT, "nc", "-v", "-w", "5", "echo.ext.example", "9000", stdin="hello\n")
    connected = "succeeded" in ran.err or "open" in ran.err
    lines = stage.logged(CLIENT, "BlackHoleCluster", "10.122.24.142:9000", after=before)
    passed = connected and not ran.out and any(" UH " in line for line in lines)
    observed = f"{'connected' if connected else 'not connected'}, {len(ran.out)} bytes back"
    record.check("connected, closed without a byte", observed, passed, command=ran.line, evidence=lines)


def _refused_tls(stage: Stage, record: Recorder) -> None:
    before = len(stage.access_log(CLIENT))
    ran = status_of(stage, _TLS_PROBE)
    lines = stage.logged(CLIENT, "BlackHoleCluster", "10.122.24.140:443", after=before)
    passed = ran.code == _TLS_REFUSED and bool(lines)
    record.check("curl exit 35", f"curl exit {ran.code}", passed, command=ran.line, evidence=lines)


def static_endpoints(stage: Stage, record: Recorder) -> None:
    """S004-10 to S004-13: three static endpoints behind one name whose hosts-file address is wrong."""
    with stage.applied("static-endpoints.yaml"):
        stage.until(lambda: status_of(stage, NGINX), lambda ran: ran.out == "200")
        ran = stage.run(CLIENT, "getent", "hosts", "nginx.ext.example")
        record.check(
            "the name's address is the wrong one", ran.out.strip(), "172.29.1.201" in ran.out, command=ran.line
        )
        ran, lines = traced(stage, NGINX)
        passed = ran.out == "200" and any("outbound|80||nginx.ext.example" in line for line in lines)
        record.check("HTTP 200 all the same", f"HTTP {ran.out}", passed, command=ran.line, evidence=lines)
        _rotation(stage, record)
        _stickiness(stage, record)
        _endpoint_table(stage, record)


def _rotation(stage: Stage, record: Recorder) -> None:
    """Without x-user there is no hash, so each request takes a random place on the ring."""
    count = bounds.draws_to_see_all(3, 0.2)
    ran = many(stage, count, "-H", "x-canary: true")
    seen = pages(ran.out)
    passed = set(seen) == set(PAGES) and sum(seen.values()) == count
    bound = f"n={count}; one with a fifth of the ring or more is missed with probability below {bounds.FALSE_ALARM}"
    record.check(f"all three answer ({bound})", _counts(seen), passed, command=ran.line)


def _stickiness(stage: Stage, record: Recorder) -> None:
    ran = many(stage, 20, "-H", "x-user: alice")
    seen = pages(ran.out)
    record.check("20 of 20 from one server", _counts(seen), sorted(seen.values()) == [20], command=ran.line)


def _endpoint_table(stage: Stage, record: Recorder) -> None:
    ran = stage.tidegate("proxy-config", "endpoint", CLIENT, "--cluster", "outbound|80||nginx.ext.example")
    rows = [line.split() for line in ran.out.splitlines()[1:]]
    wanted = [[f"10.122.24.139:{port}", "HEALTHY", "OK"] for port in (8091, 8092, 8093)]
    passed = sorted(row[:3] for row in rows) == wanted
    observed = "\n             ".join(ran.out.splitlines())
    record.check("three endpoints, HEALTHY, OK", observed, passed, command=ran.line)


def canary(stage: Stage, record: Recorder) -> None:
    """S004-18, S004-19: WorkloadEntries chosen by selector, split by weight, then by header."""
    with stage.applied("workload-entries.yaml"):
        with stage.applied("canary-weight.yaml"):
            _by_weight(stage, record)
        with stage.applied("canary-header.yaml"):
            _by_header(stage, record)


def _by_weight(stage: Stage, record: Recorder) -> None:
    _until_routed(stage, "by-weight")
    count = 2000
    low, high = bounds.acceptance(count, 0.05)
    ran = many(stage, count)
    seen = pages(ran.out)
    passed = sum(seen.values()) == count and low <= seen["2601"] <= high and seen["2501"] > 0 and seen["2502"] > 0
    expected = (
        f"2601 in 5 % of n={count}: {low} to {high} times (exact binomial, false alarm below {bounds.FALSE_ALARM})"
    )
    record.check(expected, _counts(seen), passed, command=ran.line)


def _by_header(stage: Stage, record: Recorder) -> None:
    lines = _until_routed(stage, "stable")
    ran = many(stage, 100)
    seen = pages(ran.out)
    passed = sum(seen.values()) == 100 and seen["2601"] == 0
    record.check("without the header never 2601", _counts(seen), passed, command=ran.line, evidence=lines)
    ran = many(stage, 20, "-H", "x-canary: true")
    seen = pages(ran.out)
    lines = traced(stage, NGINX, "-H", "x-canary: true")[1]
    passed = seen == {"2601": 20} and any("outbound|80|v26|nginx.ext.example" in line for line in lines)
    record.check("with it 20 of 20 from 2601", _counts(seen), passed, command=ran.line, evidence=lines)


def _until_routed(stage: Stage, route: str) -> list[str]:
    """Requests until one went by this route; its log line."""

    def table() -> Ran:
        return stage.tidegate("proxy-config", "route", CLIENT, "--name", "80", "-o", "json")

    stage.until(table, lambda ran: f'"{route}"' in ran.out)
    return traced(stage, NGINX)[1]


def timeout(stage: Stage, record: Recorder) -> None:
    """S003-8: a route's timeout on an external service."""
    url = "http://httpbin.org/delay/5"
    with stage.applied("httpbin.yaml", "timeout.yaml"):
        _until_routed_to(stage, "httpbin.org", "3s")
        ran, lines = traced(stage, url, "-w", "%{http_code} %{time_total}")
        code, _, seconds = ran.out.partition(" ")
        in_time = bool(seconds) and float(seconds) < 5.0
        passed = code == "504" and in_time and any(" UT " in line for line in lines)
        expected = "504 of the sidecar after 3 s, flag UT, before the server's 5 s are over"
        record.check(expected, ran.out + " s", passed, command=ran.line, evidence=lines)


def _until_routed_to(stage: Stage, host: str, words: str) -> None:
    def table() -> Ran:
        return stage.tidegate("proxy-config", "route", CLIENT, "--name", "80", "-o", "json")

    stage.until(table, lambda ran: host in ran.out and f'"{words}"' in ran.out)


def bookinfo(stage: Stage, record: Recorder) -> None:
    """S001-7, S001-8, S001-10: through both sidecars, and over the versions in turn."""
    url = "http://productpage.default:9080/productpage"
    stage.until(lambda: status_of(stage, url), lambda ran: ran.out == "200")
    _end_to_end(stage, record, url)
    with stage.applied("round-robin.yaml"):
        _over_the_versions(stage, record)


def _end_to_end(stage: Stage, record: Recorder, url: str) -> None:
    request = str(uuid.uuid4())
    ran = curl(stage, "-H", f"x-request-id: {request}", url)
    page = json.loads(ran.out or "{}")
    peers = {part.get("peer") for part in (page, page.get("details") or {}, page.get("reviews") or {})}
    record.check("each program sees 127.0.0.6", ", ".join(map(str, peers)), peers == {"127.0.0.6"}, command=ran.line)
    out = stage.logged(CLIENT, request)
    into = stage.logged("productpage-v1.default", request, "inbound|9080||")
    passed = len(out) == 1 and "outbound|9080||productpage.default.svc.cluster.local" in out[0] and len(into) == 1
    observed = f"{len(out)} outbound at the client, {len(into)} inbound at productpage"
    record.check("one line at each sidecar, with one x-request-id", observed, passed, evidence=out + into)


def _over_the_versions(stage: Stage, record: Recorder) -> None:
    """One connection stays on one worker of Envoy, whose round robin is strict."""

    def ask() -> Ran:
        return curl(stage, f"http://reviews.default:9080/reviews/[1-{REVIEWS}]")

    ran = stage.until(ask, lambda ran: in_turn(versions(ran.out)))
    seen = versions(ran.out)
    counted = dict(sorted(collections.Counter(seen).items()))
    expected = f"v1, v2, v3 in turn, {REVIEWS // 3} times each"
    record.check(expected, f"{counted}, {' '.join(seen[:6])} …", in_turn(seen), command=ran.line)


def versions(text: str) -> list[str]:
    """Which version answered, line by line."""
    return [str(json.loads(line).get("version")) for line in text.splitlines() if line.startswith("{")]


def in_turn(seen: list[str]) -> bool:
    """Whether three versions came one after the other, always in the same order."""
    return len(seen) == REVIEWS and len(set(seen[:3])) == 3 and seen == seen[:3] * (REVIEWS // 3)


def _counts(seen: collections.Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(seen.items())) or "no page"


STEPS = (
    Listed("An unknown destination under ALLOW_ANY", unknown_destination, claims=("C000-2", "C004-1")),
    Listed("REGISTRY_ONLY, switched live", registry_only),
    Listed("A ServiceEntry with three static endpoints", static_endpoints, claims=("C004-18", "C004-20", "C004-21")),
    Listed("WorkloadEntries: canary by weight 5/95 and by header", canary, claims=("C004-24",)),
    Listed("A timeout of 3 s", timeout, claims=("C003-8",)),
    Listed("Bookinfo through both sidecars", bookinfo, claims=("C001-8",)),
)
