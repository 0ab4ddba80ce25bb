"""Seed 004: managing external services. S004-10 to -13, -18 and -19 are the main job's steps 3 and 4."""

import collections
import json
import re

import bounds
from report import Recorder
from seeds import refusals
from seeds.probes import config, curl, expect, indented, status, table, traced, until_listed, until_status
from stage import Ran, Stage
from steps import Listed

CLIENT, APP, OTHER = "client.entry", "client.app", "other.app"
API = "api.external.com"
NGINX = "http://nginx.ext.example/"
NGINX_CLUSTER = "outbound|80||nginx.ext.example"
MOST = 4294967295
SLOW_SECONDS = 2.0
_PAGE = re.compile(r"Nginx (\d+) ~~")


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
        until_listed(stage, "listener", CLIENT, "full.ext.example", "--port", "443")
        ran, found = config(stage, "listener", CLIENT, "--port", "443")
        chain = found[0]["filterChains"][0]
        names = [item["name"] for item in chain["filters"]]
        passed = chain["filterChainMatch"]["serverNames"] == ["full.ext.example"]
        passed = passed and names == ["envoy.filters.network.tcp_proxy"]
        expect(record, ran, "HTTPS: a tcp_proxy chain with serverNames, no HTTP", passed, f"{names}")
        until_listed(stage, "route", CLIENT, API, "--name", "80")
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


def timed(stage: Stage, count: int, *arguments: str) -> tuple[Ran, dict[str, int]]:
    """Many requests at once: how many were answered 200 or 555, at once or after the delay."""
    shape = ("-Z", "--parallel-max", "100", "-o", "/dev/null", "-w", "%{http_code} %{time_total}\\n")
    ran = curl(stage, CLIENT, *shape, *arguments, f"{NGINX}?n=[1-{count}]")
    found: collections.Counter[str] = collections.Counter()
    for line in ran.out.splitlines():
        code, seconds = line.split()
        found[f"{code} {'slow' if float(seconds) >= SLOW_SECONDS else 'fast'}"] += 1
    return ran, dict(sorted(found.items()))


def shares(record: Recorder, ran: Ran, seen: dict[str, int], wanted: dict[str, float]) -> None:
    """Each share within its exact binomial bounds, and nothing else seen."""
    count = sum(seen.values())
    ranges = {name: bounds.acceptance(count, share) for name, share in wanted.items()}
    passed = set(seen) <= set(wanted) and all(low <= seen.get(name, 0) <= high for name, (low, high) in ranges.items())
    told = ", ".join(f"{name}: {low} to {high}" for name, (low, high) in ranges.items())
    expect(record, ran, f"n={count}; {told} (each false alarm below {bounds.FALSE_ALARM})", passed, seen)


def faults_on_a_header(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/faults.yaml"):
        _until_route(stage, "fault-injection")
        ran, seen = timed(stage, 1000, "-H", "X-Testing: true")
        wanted = {"200 fast": 0.95 * 0.95, "200 slow": 0.05 * 0.95, "555 fast": 0.05 * 0.95, "555 slow": 0.05 * 0.05}
        shares(record, ran, seen, wanted)
        ran, seen = timed(stage, 200)
        expect(record, ran, "without the header none", seen == {"200 fast": 200}, seen)
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
        count = bounds.draws_to_see_all(2, 0.5)
        ran = curl(stage, CLIENT, f"{NGINX}?[1-{count}]")
        seen = collections.Counter(_PAGE.findall(ran.out))
        passed = set(seen) == {"2501", "2502"} and seen.total() == count
        expect(record, ran, f"n={count}: 2501 and 2502 only", passed, dict(seen))


def fault_loop(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/workloads.yaml", "s004/faults-for-all.yaml"):
        _until_route(stage, "fault-injection")
        ran, seen = timed(stage, 1000)
        shares(record, ran, seen, {"200 fast": 0.64, "200 slow": 0.16, "555 fast": 0.16, "555 slow": 0.04})


STEPS = (
    Listed("S004-1 Read the policies", read_the_policies),
    Listed("S004-3 Override by a Sidecar", override_by_sidecar),
    Listed("S004-4 ALLOW_ANY passes", allow_any),
    Listed("S004-2, S004-5 REGISTRY_ONLY refuses, by protocol", refusals.matrix),
    Listed("S004-6 The full form of a ServiceEntry", full_form),
    Listed("S004-7 The resolutions", resolutions),
    Listed("S004-8 What an HTTPS and an HTTP entry become", generated_objects),
    Listed("S004-9 A VirtualService and a DestinationRule for it", customizing),
    Listed("S004-14 Faults of 5 % and 5 % on a header", faults_on_a_header),
    Listed("S004-11, S004-15 Pool and outlier settings as Envoy has them", pool_and_outliers),
    Listed("S004-15 Ejection, and connections of ten requests", ejection),
    Listed("S004-16 WorkloadEntries chosen by a selector", workload_entries),
    Listed("S004-17 Faults of 20 % and 20 % on everything", fault_loop),
)
