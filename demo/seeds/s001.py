"""Seed 001: interception and routing, step by step."""

import re
import uuid
from dataclasses import dataclass

from report import Recorder
from seeds import tproxy
from seeds.probes import config, curl, expect, indented, table
from stage import Ran, Stage
from steps import Listed

POD, PEER, CLIENT = "ratings-v1.default", "reviews-v1.default", "client.entry"
PORT = 9080
CHAINS = ("ISTIO_INBOUND", "ISTIO_OUTPUT", "PREROUTING", "ISTIO_IN_REDIRECT", "ISTIO_REDIRECT")

Counts = dict[str, int]


def address(stage: Stage, workload: str) -> str:
    name, _, namespace = workload.partition(".")
    return stage.kubectl("get", "pod", name, "-n", namespace, "-o", "jsonpath={.status.podIP}").out.strip()


def counters(stage: Stage, workload: str) -> tuple[Ran, Counts]:
    """Packets by rule: ISTIO_OUTPUT's as 1 to 9, ISTIO_INBOUND's by port, and one number for each chain."""
    ran = stage.inside(workload, "iptables", "-t", "nat", "-L", "-v", "-n", "-x")
    found: Counts = {}
    chain, number = "", 0
    for line in ran.out.splitlines():
        words = line.split()
        if line.startswith("Chain"):
            chain, number = words[1], 0
        elif words and words[0].isdigit():
            number += 1
            port = re.search(r"dpt:(\d+)", line)
            label = port.group(1) if chain == "ISTIO_INBOUND" and port else str(number)
            found[f"{chain} {label}"] = int(words[0])
    return ran, found


def moved(before: Counts, after: Counts) -> Counts:
    return {name: after[name] - count for name, count in before.items() if after[name] != count}


def rules_with_counters(stage: Stage, record: Recorder) -> None:
    before = counters(stage, POD)[1]
    place = address(stage, POD)
    for port, path in ((15020, "/healthz/ready"), (15021, "/healthz/ready"), (15090, "/stats/prometheus")):
        stage.inside("redis6", "curl", "-s", "-o", "/dev/null", "--max-time", "10", f"http://{place}:{port}{path}")
    ran, after = counters(stage, POD)
    seen = moved(before, after)
    inbound = {name: count for name, count in seen.items() if name.startswith(("ISTIO_IN", "PREROUTING"))}
    wanted = {"PREROUTING 1": 3, "ISTIO_INBOUND 15020": 1, "ISTIO_INBOUND 15021": 1, "ISTIO_INBOUND 15090": 1}
    expect(record, ran, "three probes: PREROUTING +3, and +1 at the RETURN of each port", inbound == wanted, seen)
    sizes = stage.inside(POD, "iptables", "-t", "nat", "-L", "PREROUTING", "-v", "-n", "-x")
    packets, size = (int(word) for word in sizes.out.splitlines()[2].split()[:2])
    expect(record, sizes, "60 bytes for each: the first packet of a connection", size == 60 * packets)
    _only_nat(stage, record)


def _only_nat(stage: Stage, record: Recorder) -> None:
    ran = stage.inside(POD, "iptables-save")
    tables = {
        line[1:]
        for part in ran.out.split("COMMIT")
        for line in part.splitlines()
        if line.startswith("*") and re.search(r"^-A", part, re.MULTILINE)
    }
    expect(record, ran, "rules in the nat table alone", tables == {"nat"}, ", ".join(sorted(tables)))


@dataclass(frozen=True)
class Probe:
    """A row of the truth table: who asks what, and which counters move."""

    who: str
    url: str
    wanted: Counts
    text: str
    group: bool = False
    """Asked with the proxy's group under another user."""


def truth_table(stage: Stage, record: Recorder) -> None:
    pod, peer = address(stage, POD), address(stage, PEER)
    vip = stage.kubectl("get", "service", "ratings", "-o", "jsonpath={.spec.clusterIP}").out
    direct = "straight to the application"
    for probe in (
        Probe(POD, f"http://127.0.0.1:{PORT}/", {"ISTIO_OUTPUT 3": 1}, f"rule 3: {direct}"),
        Probe(POD, f"http://{pod}:{PORT}/", {"ISTIO_OUTPUT 3": 1}, f"rule 3: {direct}"),
        Probe(
            POD,
            f"http://{peer}:{PORT}/",
            {"ISTIO_OUTPUT 9": 1, "ISTIO_OUTPUT 4": 1},
            "rule 9 to the sidecar, rule 4 from it to the other Pod",
        ),
        Probe(
            CLIENT,
            f"http://{pod}:{PORT}/",
            {"PREROUTING 1": 1, "ISTIO_IN_REDIRECT 1": 1, "ISTIO_OUTPUT 1": 1},
            "PREROUTING to 15006, rule 1 from there to the application",
        ),
        Probe(
            POD,
            f"http://{vip}:{PORT}/",
            {"ISTIO_OUTPUT 9": 1, "ISTIO_OUTPUT 2": 1, "ISTIO_OUTPUT 1": 1},
            "path 16: rule 9, rule 2 to 15006, rule 1 to the application",
        ),
        Probe(
            POD,
            f"http://{peer}:{PORT}/",
            {"ISTIO_OUTPUT 7": 1},
            "gid 1337 under another uid, rule 7: straight out",
            group=True,
        ),
    ):
        _try(stage, record, probe)


def _try(stage: Stage, record: Recorder, probe: Probe) -> None:
    """New connections each time: what the sidecars keep open is closed before."""
    for workload in {POD, probe.who}:
        _drop_kept_connections(stage, workload)
    before = counters(stage, POD)[1]
    if probe.group:
        user = ("setpriv", "--reuid=1000", "--regid=1337", "--clear-groups")
        ran = stage.inside(probe.who, *user, "curl", "-s", "--max-time", "10", probe.url)
    else:
        ran = curl(stage, probe.who, probe.url)
    seen = moved(before, counters(stage, POD)[1])
    passed = '"service"' in ran.out and all(seen.get(name, 0) == count for name, count in probe.wanted.items())
    others = {name for name in seen if name.startswith("ISTIO_OUTPUT")} - set(probe.wanted)
    passed = passed and not others
    expect(record, ran, probe.text, passed, ", ".join(f"{name}: +{count}" for name, count in sorted(seen.items())))


def _drop_kept_connections(stage: Stage, workload: str) -> None:
    stage.inside(workload, "ss", "-K", "-t", "sport", "=", f":{PORT}", "or", "dport", "=", f":{PORT}")


def without_rule_one(stage: Stage, record: Recorder) -> None:
    """The proxy's request to its own Pod comes back to it, again and again, until the client gives up."""
    first = ("-s", "127.0.0.6/32", "-o", "lo", "-j", "RETURN")
    stage.inside(POD, "iptables", "-t", "nat", "-D", "ISTIO_OUTPUT", *first)
    record.applied("iptables -t nat -D ISTIO_OUTPUT " + " ".join(first))
    try:
        _drop_kept_connections(stage, POD)
        before = stage.inside(POD, "iptables", "-t", "nat", "-L", "ISTIO_IN_REDIRECT", "-v", "-n", "-x").out
        ran = curl(stage, CLIENT, "--max-time", "1", "-o", "/dev/null", f"http://{address(stage, POD)}:{PORT}/")
        after = stage.inside(POD, "iptables", "-t", "nat", "-L", "ISTIO_IN_REDIRECT", "-v", "-n", "-x").out
    finally:
        stage.inside(POD, "iptables", "-t", "nat", "-I", "ISTIO_OUTPUT", "1", *first)
        _drop_kept_connections(stage, POD)
    times = int(after.splitlines()[2].split()[0]) - int(before.splitlines()[2].split()[0])
    expected = "one request enters 15006 more than ten times"
    expect(record, ran, expected, times > 10, f"{times} times, curl exit {ran.code}")
    ran = stage.until(
        lambda: curl(stage, CLIENT, f"http://{address(stage, POD)}:{PORT}/"), lambda r: "service" in r.out
    )
    expect(record, ran, "with the rule again, the application answers", '"service"' in ran.out)


def inbound_listener(stage: Stage, record: Recorder) -> None:
    ran, found = table(stage, "listener", "reviews-v1.default", "--port", "15006")
    wanted = [
        "0.0.0.0 15006 Addr: *:15006 Non-HTTP/Non-TCP",
        "0.0.0.0 15006 Trans: raw_buffer; App: http/1.1,h2c InboundPassthroughCluster",
        "0.0.0.0 15006 Trans: raw_buffer InboundPassthroughCluster",
        "0.0.0.0 15006 Trans: raw_buffer; Addr: *:9080 Cluster: inbound|9080||",
    ]
    expect(record, ran, "the four plaintext rows (those for mutual TLS need identities)", found == wanted)
    for kind in ("listener", "cluster"):
        arguments = ("--port", "15006") if kind == "listener" else ("--direction", "inbound")
        ran, other = config(stage, kind, "reviews-v2.default", *arguments)
        passed = bool(other) and other == config(stage, kind, "reviews-v1.default", *arguments)[1]
        expect(record, ran, "what v2 has is equal to what v1 has", passed, "equal" if passed else "different")


def inbound_json(stage: Stage, record: Recorder) -> None:
    ran, found = config(stage, "listener", "reviews-v1.default", "--port", "15006")
    listener = found[0]
    chain = next(c for c in listener["filterChains"] if c.get("filterChainMatch", {}).get("destinationPort") == PORT)
    manager = chain["filters"][-1]["typedConfig"]
    host = manager["routeConfig"]["virtualHosts"][0]
    route = host["routes"][0]
    seen = (
        listener["name"],
        listener["trafficDirection"],
        manager["statPrefix"],
        manager["routeConfig"]["name"],
        host["name"],
        host["domains"],
        route["name"],
        route["match"]["prefix"],
        route["route"]["cluster"],
        route["route"]["timeout"],
        route["decorator"]["operation"],
    )
    wanted = (
        "virtualInbound",
        "INBOUND",
        "inbound_0.0.0.0_9080;",
        "inbound|9080||",
        "inbound|http|9080",
        ["*"],
        "default",
        "/",
        "inbound|9080||",
        "0s",
        "reviews.default.svc.cluster.local:9080/*",
    )
    expected = "virtualInbound's HTTP chain for 9080, its inline route and decorator"
    expect(record, ran, expected, seen == wanted, seen)


def inbound_cluster(stage: Stage, record: Recorder) -> None:
    arguments = ("--port", str(PORT), "--direction", "inbound")
    ran, found = config(stage, "cluster", "reviews-v1.default", *arguments)
    cluster = found[0]
    services = cluster["metadata"]["filterMetadata"]["istio"]["services"]
    seen = (
        cluster["name"],
        cluster["type"],
        cluster["lbPolicy"],
        cluster["upstreamBindConfig"]["sourceAddress"],
        [service["host"] for service in services],
    )
    wanted = (
        "inbound|9080||",
        "ORIGINAL_DST",
        "CLUSTER_PROVIDED",
        {"address": "127.0.0.6", "portValue": 0},
        ["reviews.default.svc.cluster.local"],
    )
    expect(record, ran, "ORIGINAL_DST, bound to 127.0.0.6:0", seen == wanted, seen)
    ran = curl(stage, CLIENT, "http://reviews.default:9080/")
    passed = '"peer": "127.0.0.6"' in ran.out
    expect(record, ran, "the application sees 127.0.0.6", passed)


def outbound_route(stage: Stage, record: Recorder) -> None:
    ran, found = config(stage, "route", "reviews-v1.default", "--name", str(PORT))
    name = "ratings.default.svc.cluster.local"
    host = next(h for h in found[0]["virtualHosts"] if h["name"] == f"{name}:{PORT}")
    vip = stage.kubectl("get", "service", "ratings", "-o", "jsonpath={.spec.clusterIP}").out
    names = [name, f"{name}.", "ratings", "ratings.default", "ratings.default.svc", vip]
    route = host["routes"][0]
    retry = route["route"]["retryPolicy"]
    seen = (
        sorted(host["domains"]),
        route["route"]["cluster"],
        route["route"]["timeout"],
        retry["numRetries"],
        host["includeRequestAttemptCount"],
        route["decorator"]["operation"],
    )
    wanted = (sorted(names), f"outbound|{PORT}||{name}", "0s", 2, True, f"{name}:{PORT}/*")
    expect(record, ran, "every name of ratings and its VIP, two retries, the decorator", seen == wanted, seen)
    for domain in names:
        ran = curl(stage, "reviews-v1.default", "-H", f"Host: {domain}", f"http://{vip}:{PORT}/")
        expect(record, ran, f"Host: {domain} leads to ratings", '"service": "ratings"' in ran.out)


def outbound_endpoint(stage: Stage, record: Recorder) -> None:
    cluster = f"outbound|{PORT}||ratings.default.svc.cluster.local"
    ran, found = config(stage, "endpoint", "reviews-v1.default", "--cluster", cluster)
    host = found[0]["hostStatuses"][0]
    place = host["address"]["socketAddress"]
    limits = [threshold["maxConnections"] for threshold in found[0]["circuitBreakers"]["thresholds"]]
    seen = (
        len(found[0]["hostStatuses"]),
        place["address"],
        place["portValue"],
        host["healthStatus"]["edsHealthStatus"],
        host["weight"],
        limits,
        found[0]["addedViaApi"],
    )
    wanted = (1, address(stage, POD), PORT, "HEALTHY", 1, [4294967295, 1024], True)
    expected = "one endpoint, HEALTHY, weight 1; limits of DEFAULT and HIGH priority"
    expect(record, ran, expected, seen == wanted, seen)


def end_to_end(stage: Stage, record: Recorder) -> None:
    """reviews asks ratings: one line at each sidecar, and the rules of both hops."""
    reviews = "reviews-v2.default"
    _drop_kept_connections(stage, POD)
    _drop_kept_connections(stage, reviews)
    here, there = counters(stage, reviews)[1], counters(stage, POD)[1]
    request = str(uuid.uuid4())
    ran = curl(stage, reviews, "-H", f"x-request-id: {request}", "http://ratings.default.svc.cluster.local:9080/")
    out, into = stage.logged(reviews, request), stage.logged(POD, request)
    place = f"{address(stage, POD)}:{PORT}"
    passed = len(out) == 1 and f'"{place}" outbound|9080||ratings.default' in out[0] and len(into) == 1
    passed = passed and f'"{place}" inbound|9080|| 127.0.0.6:' in into[0]
    expect(
        record,
        ran,
        "one outbound line at reviews, one inbound line at ratings, one x-request-id",
        passed,
        f"{len(out)} outbound, {len(into)} inbound",
        evidence=out + into,
    )
    first, second = moved(here, counters(stage, reviews)[1]), moved(there, counters(stage, POD)[1])
    passed = first.get("ISTIO_REDIRECT 1") == 1 and first.get("ISTIO_OUTPUT 4") == 1
    passed = passed and second.get("ISTIO_IN_REDIRECT 1") == 1 and second.get("ISTIO_OUTPUT 1") == 1
    expected = "+1 at each hop: redirected to 15001, out by rule 4; redirected to 15006, in by rule 1"
    record.check(expected, f"reviews {first}; ratings {second}", passed)


def unknown_inbound_port(stage: Stage, record: Recorder) -> None:
    """C001-15: a port that no Service names reaches the application all the same."""
    place = address(stage, POD)
    command = stage.in_network(POD, "/usr/bin/python3", "-m", "http.server", "7070", "--directory", "/var/empty")
    with stage.running(command):
        url = f"http://{place}:7070/nowhere"
        ran = stage.until(
            lambda: curl(stage, CLIENT, "-w", "%{http_code}", "-o", "/dev/null", url), lambda seen: seen.out == "404"
        )
        lines = stage.logged(POD, "InboundPassthroughCluster", "/nowhere", "404")[-1:]
        passed = ran.out == "404" and "127.0.0.6:" in lines[0]
        expect(
            record, ran, "the program's own 404, by InboundPassthroughCluster from 127.0.0.6", passed, evidence=lines
        )


def guards(stage: Stage, record: Recorder) -> None:
    """R039: the proxy's own two ports, asked directly, lead nowhere."""
    for port in (15001, 15006):
        ran = stage.inside(CLIENT, "curl", "-s", "--max-time", "10", f"http://{address(stage, POD)}:{port}/")
        expect(record, ran, f"{port}: connected and closed, no answer", ran.code in (52, 56), f"curl exit {ran.code}")


def no_http(stage: Stage, record: Recorder) -> None:
    place, before = address(stage, POD), len(stage.access_log(POD))
    ran = stage.inside("redis6", "nc", "-w", "1", place, str(PORT), stdin="keys *\n")
    lines = stage.logged(POD, " 400 DPE ", after=before)[-1:]
    passed = ran.out.startswith("HTTP/1.1 400 ") and "connection: close" in ran.out
    passed = passed and " http1.codec_error " in lines[0]
    expect(record, ran, "HTTP/1.1 400 of the sidecar, flag DPE, http1.codec_error", passed, evidence=lines)


def http10(stage: Stage, record: Recorder) -> None:
    """productpage's sidecar has ISTIO_META_HTTP10 by its annotation proxy.istio.io/config, that of ratings has not."""
    for workload, wanted in (("productpage-v1.default", "200"), (POD, "426")):
        url = f"http://{address(stage, workload)}:{PORT}/"
        ran = stage.inside("redis6", "curl", "-s", "-0", "-o", "/dev/null", "-w", "%{http_code}", url)
        expect(record, ran, f"HTTP/1.0 to {workload}: {wanted}", ran.out == wanted)


def metrics(stage: Stage, record: Recorder) -> None:
    for port in (15090, 15020):
        url = f"http://{address(stage, POD)}:{port}/stats/prometheus"
        ran = stage.inside("redis6", "curl", "-s", "--max-time", "10", url)
        found = [line for line in ran.out.splitlines() if line.startswith("envoy_cluster_membership_total{")]
        shown = f"{len(ran.out.splitlines())} lines; {found[0] if found else 'not that'}"
        expect(record, ran, f"{port}: Envoy's metrics as Prometheus reads them", bool(found), shown)


def processes(stage: Stage, record: Recorder) -> None:
    pids = stage.inside(POD, "ip", "netns", "pids", stage.in_network(POD)[3]).out.split()
    shown = stage.inside(POD, "ps", "-ww", "-o", "uid,ppid,args", "-p", ",".join(pids))
    node = f"sidecar~{address(stage, POD)}~{POD}~default.svc.cluster.local"
    bootstrap = config(stage, "bootstrap", POD)[0].out
    envoy = [line for line in shown.out.splitlines() if "--config-path" in line and line.split()[0] == "1337"]
    agent = [line for line in shown.out.splitlines() if " agent --name " in line]
    passed = len(envoy) == len(agent) == 1 and envoy[0].split()[1] == _pid_of_agent(stage, pids)
    observed = indented("\n".join(line[:120] for line in (*agent, *envoy)))
    expect(
        record,
        shown,
        f"Envoy with uid 1337, child of its agent, node id {node}",
        passed and node in bootstrap,
        observed,
    )


def _pid_of_agent(stage: Stage, pids: list[str]) -> str:
    shown = stage.inside(POD, "ps", "-ww", "-o", "pid,args", "-p", ",".join(pids))
    return next((line.split()[0] for line in shown.out.splitlines() if " agent --name " in line), "none")


STEPS = (
    Listed("S001-2 The processes of a sidecar", processes),
    Listed("S001-3 Rules with counters", rules_with_counters, claims=("C001-1",)),
    Listed(
        "S001-4 The nine rules by their counters",
        truth_table,
        claims=("C000-1", "C001-1", "C001-2", "C001-4", "C001-5"),
    ),
    Listed("S001-4 Without rule 1 the inbound path loops", without_rule_one, claims=("C001-3",)),
    Listed("S001-5 The inbound listener", inbound_listener, claims=("C001-7", "C001-12")),
    Listed("S001-6 Its JSON", inbound_json, claims=("C001-7",)),
    Listed("S001-7 The inbound cluster", inbound_cluster),
    Listed("S001-8 The outbound route", outbound_route, claims=("C001-9",)),
    Listed("S001-9 The outbound endpoint", outbound_endpoint),
    Listed("S001-10 From end to end", end_to_end, claims=("C001-8",)),
    Listed("C001-15 A port that no Service names", unknown_inbound_port, claims=("C001-1", "C001-15")),
    Listed("R039 The proxy's own ports, asked directly", guards),
    Listed("S001-11 Inbound capture by TPROXY", tproxy.transparent, claims=("C000-16", "C001-6", "C001-14")),
    Listed("R122 Bytes that are no HTTP, on an HTTP port", no_http, claims=("C000-17",)),
    Listed("S000-3 HTTP/1.0 by ISTIO_META_HTTP10", http10),
    Listed("R125 Both Prometheus endpoints", metrics),
)
