"""Seed 004: managing external services. S004-10 to -13, -18 and -19 are the main job's steps 3 and 4."""

import collections
import json
import re
import uuid

import bounds
import yaml
from report import Recorder
from seeds import deployed, egress, entries, refusals, resilience
from seeds.probes import config, curl, expect, indented, status, table, traced, until_listed, until_status
from stage import Stage
from steps import Listed

CLIENT, APP, OTHER = "client.entry", "client.app", "other.app"
API = "api.external.com"
NGINX = "http://nginx.ext.example/"
NGINX_CLUSTER = "outbound|80||nginx.ext.example"
MOST = 4294967295
LEAST_REQUEST_BYTES = len("type.googleapis.com/envoy.config.route.v3.RouteConfiguration")
"""A discovery request is longer than its type's name; an HTTP/2 ping's answer, which asks for nothing, is shorter."""
FIRST = ("--connect-to", "::10.122.24.150:80")
"""curl's option for a host that no name server knows."""
DELAY_SECONDS = 2.0
TURN_SECONDS = 1.0
"""The longest turn of Envoy's event loop that is still fair; seen: a few milliseconds."""
_PAGE = re.compile(r"Nginx (\d+) ~~")
_LOGGED = re.compile(r'" (?P<code>\d{3}) (?P<flags>\S+) ')
"""Status and response flags in a line of the access log."""


def read_the_policies(stage: Stage, record: Recorder) -> None:
    ran = stage.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "jsonpath={.data.mesh}")
    found = [line.strip() for line in ran.out.splitlines() if not line.startswith("#")]
    wanted = {"outboundTrafficPolicy:", "mode: ALLOW_ANY", "accessLogFile: /dev/stdout"}
    expect(record, ran, ", ".join(sorted(wanted)), wanted <= set(found), indented("\n".join(filter(None, found))))
    with stage.applied("s004/sidecar.yaml"):
        ran = stage.kubectl("get", "sidecar", "-n", "app", "client", "-o", "yaml")
        expect(record, ran, "the Sidecar's outboundTrafficPolicy", "outboundTrafficPolicy:" in ran.out)


def override_by_sidecar(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/sidecar.yaml"):
        until_status(stage, APP, "http://httpbin.org/headers", "502")
        ran, found = table(stage, "listener", APP)
        outbound = {row.split()[1] for row in found} - {"15006", "15021", "15090"}
        expect(record, ran, "outbound: 80 and 15001 only", outbound == {"80", "15001"}, ", ".join(sorted(outbound)))
        ran, routes = config(stage, "route", APP, "--name", "80")
        names = [host["name"] for host in routes[0]["virtualHosts"]]
        passed = names == ["frontend.app.svc.cluster.local:80", "block_all"]
        expect(record, ran, "route 80: the Services of app, and block_all", passed, ", ".join(names))
        _under_the_sidecar(stage, record)
    until_status(stage, APP, "http://httpbin.org/headers", "200")


def _under_the_sidecar(stage: Stage, record: Recorder) -> None:
    for workload, url, wanted in (
        (APP, "http://frontend/", "200"),
        (APP, "http://httpbin.org/headers", "502"),
        (OTHER, "http://httpbin.org/headers", "200"),
    ):
        ran = status(stage, workload, url)
        expect(record, ran, f"{workload}: HTTP {wanted}", ran.out == wanted)
    ran = stage.run(APP, "nc", "-w", "5", "echo.ext.example", "9000", stdin="hello\n")
    lines = stage.logged(APP, "BlackHoleCluster", "10.122.24.142:9000")[-1:]
    expect(record, ran, "another port: closed without a byte", not ran.out, evidence=lines)


def allow_any(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/alt-service.yaml"):
        ran, found = stage.until(lambda: config(stage, "route", APP, "--name", "8080"), lambda seen: bool(seen[1]))
        host = found[0]["virtualHosts"][-1]
        route = host["routes"][0]
        seen = (
            host["name"],
            host["domains"],
            len(host["routes"]),
            route["name"],
            route["match"]["prefix"],
            route["route"]["cluster"],
            route["route"]["timeout"],
        )
        wanted = ("allow_any", ["*"], 1, "allow_any", "/", "PassthroughCluster", "0s")
        expect(record, ran, "the last virtual host: allow_any to PassthroughCluster", seen == wanted, seen)
        ran, lines = traced(stage, APP, "http://httpbin.org:8080/headers")
        expect(record, ran, "HTTP 200", ran.out == "200" and lines[0].endswith("allow_any"), evidence=lines)
        ran = stage.tidegate("proxy-config", "route", APP, "--name", "8080", "-o", "yaml")
        same = yaml.safe_load(ran.out) == found
        expect(record, ran, "as YAML the same", same, indented(ran.out, 8))
    _no_choice(stage, record)


def _no_choice(stage: Stage, record: Recorder) -> None:
    """The name has two addresses; a connection goes to the one that was dialled."""
    for place, name in (("10.122.24.150", "first"), ("10.122.24.151", "second")):
        ran = curl(stage, CLIENT, "--connect-to", f"two.ext.example:80:{place}:80", "http://two.ext.example/?[1-20]")
        seen = collections.Counter(line.split()[0] for line in ran.out.splitlines())
        expect(record, ran, f"no load balancing: 20 of 20 from {name}", seen == {name: 20}, dict(seen))


def full_form(stage: Stage, record: Recorder) -> None:
    name = "full.ext.example"
    for file, kind in (("s004/full-form-endpoints.yaml", "STRICT_DNS"), ("s004/full-form-selector.yaml", "EDS")):
        with stage.applied(file):
            until_listed(stage, "cluster", CLIENT, kind, "--fqdn", name)
            ran, found = config(stage, "cluster", CLIENT, "--fqdn", name)
            seen = [(cluster["name"], cluster["type"]) for cluster in found]
            expect(record, ran, f"accepted; {kind}", seen == [(f"outbound|443||{name}", kind)], seen)
    ran = stage.rejected("s004/full-form-both.yaml")
    passed = ran.code != 0 and "only one of workloadselector or endpoints" in ran.err.lower()
    expect(record, ran, "both at once: refused", passed)


def resolutions(stage: Stage, record: Recorder) -> None:
    wanted = {
        "none.ext.example": "ORIGINAL_DST",
        "static.ext.example": "EDS",
        "two.ext.example": "STRICT_DNS",
        "first.ext.example": "LOGICAL_DNS",
    }
    with stage.applied("s004/resolutions.yaml"):
        for name, kind in wanted.items():
            until_listed(stage, "cluster", CLIENT, name)
            ran, found = config(stage, "cluster", CLIENT, "--fqdn", name)
            expect(record, ran, kind, [cluster["type"] for cluster in found] == [kind], found[0]["type"])
        for name, hosts in (("two.ext.example", 2), ("first.ext.example", 1)):
            ran, rows = stage.until(
                lambda name=name: table(stage, "endpoint", CLIENT, "--cluster", f"outbound|80||{name}"),
                lambda seen: bool(seen[1]),
            )
            expect(record, ran, f"endpoints in use, of two answers: {hosts}", len(rows) == hosts)
        _who_answers(stage, record)


def _who_answers(stage: Stage, record: Recorder) -> None:
    count = bounds.draws_to_see_all(2, 0.4)
    for url, wanted in (
        (f"http://two.ext.example/?[1-{count}]", {"first", "second"}),
        (f"http://static.ext.example:8200/?[1-{count}]", {"first"}),
    ):
        ran = curl(stage, CLIENT, "--resolve", "static.ext.example:8200:10.122.24.150", url)
        seen = collections.Counter(line.split()[0] for line in ran.out.splitlines())
        expect(record, ran, f"n={count}: {', '.join(sorted(wanted))}", set(seen) == wanted, dict(seen))
    ran = curl(stage, CLIENT, "-H", "Host: first.ext.example", f"http://10.122.24.150/?[1-{count}]")
    seen = collections.Counter(line.split()[0] for line in ran.out.splitlines())
    expect(record, ran, f"DNS_ROUND_ROBIN: n={count}, all from one", list(seen.values()) == [count], dict(seen))


def generated_objects(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/full-form-endpoints.yaml", "s004/small-api.yaml"):
        shared = ("--address", "0.0.0.0", "--port", "443")
        until_listed(stage, "listener", CLIENT, "full.ext.example", *shared)
        ran, found = config(stage, "listener", CLIENT, *shared)
        chain = found[0]["filterChains"][0]
        names = [item["name"] for item in chain["filters"]]
        passed = chain["filterChainMatch"]["serverNames"] == ["full.ext.example"]
        passed = passed and names == ["envoy.filters.network.tcp_proxy"]
        expect(record, ran, "HTTPS: a tcp_proxy chain with serverNames, no HTTP", passed, f"{names}")
        until_listed(stage, "route", CLIENT, API, "--name", "80")
        ran, rows = table(stage, "listener", CLIENT, "--port", "80")
        places = {row.split()[0] for row in rows}
        expect(record, ran, "no further listener for port 80", places == {"0.0.0.0"}, ", ".join(sorted(places)))
        ran, found = config(stage, "route", CLIENT, "--name", "80")
        hosts = [host["name"] for host in found[0]["virtualHosts"]]
        passed = {f"{API}:80", "client.entry.svc.cluster.local:80"} <= set(hosts)
        expect(record, ran, "HTTP: one more virtual host of the shared route 80", passed, ", ".join(hosts))
        ran, found = config(stage, "cluster", CLIENT, "--fqdn", "full.ext.example")
        named = found[0]["loadAssignment"]["clusterName"]
        expect(record, ran, "load assignment named as its cluster", named == found[0]["name"], named)


def customizing(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/small-api.yaml", "s004/custom-routing.yaml"):
        until_listed(stage, "cluster", CLIENT, "canary", "--fqdn", API)
        ran, found = config(stage, "cluster", CLIENT, "--fqdn", API)
        by_name = {cluster["name"]: cluster for cluster in found}
        stable, canary = by_name[f"outbound|80|stable|{API}"], by_name[f"outbound|80|canary|{API}"]
        limits = stable["circuitBreakers"]["thresholds"][0]["maxConnections"]
        seen = (canary.get("lbPolicy"), stable.get("lbPolicy", "ROUND_ROBIN"), limits)
        expect(
            record,
            ran,
            "canary LEAST_REQUEST; stable ROUND_ROBIN, 100 connections",
            seen == ("LEAST_REQUEST", "ROUND_ROBIN", 100),
            seen,
        )
        stage.until(lambda: curl(stage, CLIENT, f"http://{API}/"), lambda ran: ran.out.startswith("v1 "))
        for arguments, wanted in ((("-H", "x-env: canary"), "v2"), ((), "v1")):
            ran = curl(stage, CLIENT, *arguments, f"http://{API}/?[1-20]")
            counted = collections.Counter(line.split()[0] for line in ran.out.splitlines())
            expect(record, ran, f"20 of 20 from {wanted}", counted == {wanted: 20}, dict(counted))


def drawn(stage: Stage, record: Recorder, count: int, wanted: dict[str, float], *arguments: str) -> None:
    """Many requests at once: each sort of answer within its exact binomial bounds, and nothing else seen.

    The sidecar's log tells which requests were delayed, for a client's clock cannot: Envoy's timers count from the
    start of a turn of its event loop, so a delay ends a little early, and a busy machine makes other answers late.
    """
    tag = uuid.uuid4().hex
    shape = ("-Z", "--parallel-immediate", "--parallel-max", "100", "-o", "/dev/null", "-w", "%{url} %{time_total}\\n")
    ran = curl(stage, CLIENT, *shape, *arguments, f"{NGINX}?{tag}=[1-{count}]")
    taken = dict(line.rpartition("=")[2].split() for line in ran.out.splitlines())
    lines = stage.until(lambda: stage.logged(CLIENT, tag), lambda seen: len(seen) >= count)
    seen = collections.Counter(match.expand(r"\g<code> \g<flags>") for match in map(_LOGGED.search, lines) if match)
    ranges = {name: bounds.acceptance(count, share) for name, share in wanted.items()}
    passed = seen.total() == count == len(taken) and set(seen) <= set(wanted)
    passed = passed and all(low <= seen[name] <= high for name, (low, high) in ranges.items())
    told = ", ".join(f"{name}: {low} to {high}" for name, (low, high) in ranges.items())
    expected = f"n={count}; status and flags {told} (each false alarm below {bounds.FALSE_ALARM})"
    record.check(expected, dict(sorted(seen.items())), passed, command=ran.line, evidence=_delayed(lines)[:1])
    waits = [float(taken.get(_number(line), 0)) for line in _delayed(lines)]
    if waits:
        enough = min(waits) >= DELAY_SECONDS - TURN_SECONDS
        record.check(f"each delayed one took {DELAY_SECONDS} s, less a turn of the loop", f"{min(waits)} s", enough)


def _delayed(lines: list[str]) -> list[str]:
    return [line for line in lines if (match := _LOGGED.search(line)) and "DI" in match["flags"]]


def _number(line: str) -> str:
    """Which of the requests it was."""
    return line.partition("=")[2].partition(" ")[0]


def faults_on_a_header(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/faults.yaml"):
        _until_route(stage, "fault-injection")
        wanted = {"200 -": 0.95 * 0.95, "200 DI": 0.05 * 0.95, "555 FI": 0.05 * 0.95, "555 DI,FI": 0.05 * 0.05}
        drawn(stage, record, 1000, wanted, "-H", "X-Testing: true")
        drawn(stage, record, 200, {"200 -": 1.0})
        _aborted(stage, record)


def _aborted(stage: Stage, record: Recorder) -> None:
    count = bounds.draws_to_see_all(1, 0.05)
    ran = curl(stage, CLIENT, "-Z", "--parallel-max", "100", "-H", "x-testing: true", f"{NGINX}?n=[1-{count}]")
    aborted = ran.out.count("fault filter abort")
    lines = stage.logged(CLIENT, " 555 ", "FI", "fault_filter_abort")[-1:]
    expect(record, ran, f"n={count}: aborted ones say: fault filter abort", aborted > 0, aborted, evidence=lines)


def _until_route(stage: Stage, name: str) -> None:
    stage.until(
        lambda: stage.tidegate("proxy-config", "route", CLIENT, "--name", "80", "-o", "json"),
        lambda ran: f'"{name}"' in ran.out,
    )


def pool_and_outliers(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/policy.yaml"):
        until_listed(stage, "cluster", CLIENT, "nginx-external", "--fqdn", "nginx.ext.example")
        ran, found = config(stage, "cluster", CLIENT, "--fqdn", "nginx.ext.example")
        cluster = found[0]
        limits = cluster["circuitBreakers"]["thresholds"][0]
        outlier = cluster["outlierDetection"]
        alive = cluster["upstreamConnectionOptions"]["tcpKeepalive"]
        seen = (
            limits["maxConnections"],
            limits["maxRequests"],
            limits["maxPendingRequests"],
            limits["maxRetries"],
            cluster["connectTimeout"],
            alive["keepaliveTime"],
            alive["keepaliveInterval"],
            outlier["consecutive5xx"],
            outlier["interval"],
            outlier["baseEjectionTime"],
            outlier["maxEjectionPercent"],
            cluster["commonLbConfig"]["healthyPanicThreshold"]["value"],
            cluster["lbPolicy"],
            '"maxRequestsPerConnection": 10' in json.dumps(cluster),
        )
        wanted = (10000, 1000, MOST, MOST, "0.010s", 7200, 75, 5, "120s", "60s", 50, 40, "RING_HASH", True)
        expect(record, ran, f"{wanted}", seen == wanted, seen)


def ejection(stage: Stage, record: Recorder) -> None:
    cluster = "outbound|80||failing.ext.example"
    with stage.applied("s004/failing.yaml"):
        until_listed(stage, "route", CLIENT, "failing.ext.example", "--name", "80")
        ran = curl(stage, CLIENT, "--connect-to", "::10.122.24.150:80", "http://failing.ext.example/?[1-100]")
        used = {line.split()[-1] for line in ran.out.splitlines()}
        counted = collections.Counter(line.split()[0] for line in ran.out.splitlines())
        expect(
            record,
            ran,
            "100 answers over 10 connections or more",
            len(used) >= 10 and counted.total() == 100,
            f"{dict(counted)} over {len(used)} connections",
        )
        ran, rows = stage.until(
            lambda: table(stage, "endpoint", CLIENT, "--cluster", cluster),
            lambda seen: any("FAILED" in row for row in seen[1]),
        )
        failed = [row for row in rows if " FAILED " in row]
        passed = len(rows) == 3 and len(failed) == 1 and ":8131 " not in failed[0]
        expect(record, ran, "one of the two failing ones ejected, the other kept by the limit of 50 %", passed)


def workload_entries(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/workloads.yaml"):
        ran, rows = stage.until(
            lambda: table(stage, "endpoint", CLIENT, "--cluster", NGINX_CLUSTER), lambda seen: len(seen[1]) == 2
        )
        wanted = [f"10.122.24.139:{port} HEALTHY OK {NGINX_CLUSTER}" for port in (8091, 8092)]
        expected = "one port by the entry's targetPort, one by the WorkloadEntry's own"
        expect(record, ran, expected, sorted(rows) == wanted)
        shown = stage.kubectl("get", "serviceentry,workloadentry,destinationrule", "-n", "entry")
        passed = '["nginx.ext.example"]' in shown.out and shown.out.count("10.122.24.139") == 2
        expect(record, shown, "the printer columns: hosts, location, resolution, addresses", passed)
        until_status(stage, CLIENT, NGINX, "200")
        count = 400
        low, high = bounds.acceptance(count, 0.5)
        ran = curl(stage, CLIENT, f"{NGINX}?[1-{count}]")
        seen = collections.Counter(_PAGE.findall(ran.out))
        passed = set(seen) == {"2501", "2502"} and seen.total() == count and low <= seen["2501"] <= high
        expected = f"n={count}, RANDOM: 2501 and 2502 only, 2501 {low} to {high} times"
        expect(record, ran, expected, passed, dict(seen))


def fault_loop(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/workloads.yaml", "s004/faults-for-all.yaml"):
        _until_route(stage, "fault-injection")
        drawn(stage, record, 1000, {"200 -": 0.64, "200 DI": 0.16, "555 FI": 0.16, "555 DI,FI": 0.04})


def asks_nobody(stage: Stage, record: Recorder) -> None:
    """All that Envoy asks of the control plane goes over one connection, whose bytes are counted."""
    for mode, wanted in (("ALLOW_ANY", "200"), ("REGISTRY_ONLY", "502")):
        with stage.outbound_policy(mode):
            until_status(stage, CLIENT, "http://one.ext.example/", wanted)
            before = _asked_bytes(stage)
            shape = ("-o", "/dev/null", "-w", "%{http_code} ")
            ran = curl(stage, CLIENT, *FIRST, *shape, "http://host[1-20].ext.example/")
            seen = collections.Counter(ran.out.split())
            stage.run(CLIENT, "nc", "-w", "1", "echo.ext.example", "9000", stdin="hello\n")
            after = _asked_bytes(stage)
            passed = seen == {wanted: 20} and 0 <= after - before < LEAST_REQUEST_BYTES and before > 0
            expected = f"{mode}: 20 unknown hosts decided ({wanted}), and nothing asked of the control plane"
            expect(record, ran, expected, passed, f"{dict(seen)}; {before} bytes sent before, {after} after")


def _asked_bytes(stage: Stage) -> int:
    """What Envoy has sent to the control plane, once it has answered all that it was sent."""
    pattern = "cluster.xds-grpc.upstream_cx_tx_bytes_total: "

    def look() -> int:
        shown = stage.inside(CLIENT, "curl", "-s", "http://127.0.0.1:15000/stats").out
        return next(int(line.removeprefix(pattern)) for line in shown.splitlines() if line.startswith(pattern))

    seen = [look()]
    stage.until(lambda: seen.append(look()), lambda _: seen[-1] == seen[-2])
    return seen[-1]


STEPS = (
    Listed("S004-1 Read the policies", read_the_policies),
    Listed("S004-3 Override by a Sidecar", override_by_sidecar, claims=("C004-34",)),
    Listed("S004-4 ALLOW_ANY passes", allow_any, claims=("C004-1", "C004-3", "C004-5")),
    Listed(
        "S004-2, S004-5 REGISTRY_ONLY refuses, by protocol",
        refusals.matrix,
        claims=("C001-11", "C004-2", "C004-3", "C004-8", "C004-9", "C004-13"),
    ),
    Listed("S004-6 The full form of a ServiceEntry", full_form),
    Listed("S004-7 The resolutions", resolutions, claims=("C004-33",)),
    Listed("S004-8 What an HTTPS and an HTTP entry become", generated_objects, claims=("C004-17",)),
    Listed("S004-9 A VirtualService and a DestinationRule for it", customizing, claims=("C004-16",)),
    Listed("S004-14 Faults of 5 % and 5 % on a header", faults_on_a_header, claims=("C004-16",)),
    Listed("S004-11, S004-15 Pool and outlier settings as Envoy has them", pool_and_outliers),
    Listed("S004-15 Ejection, and connections of ten requests", ejection, claims=("C004-16", "C004-31")),
    Listed("S004-16 WorkloadEntries chosen by a selector", workload_entries, claims=("C004-23",)),
    Listed("S004-17 Faults of 20 % and 20 % on everything", fault_loop, claims=("C004-22",)),
    Listed("C004-7 An unknown host asks nobody", asks_nobody, claims=("C004-7", "C004-8")),
    *entries.STEPS,
    *resilience.STEPS,
    Listed("S004-10, S003-1 The client as a Deployment in a namespace of its own", deployed.client),
    *egress.STEPS,
)
