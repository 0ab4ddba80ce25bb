"""Seed 000: a Redis port and a Service that has the same number."""

import re

from report import Recorder
from seeds import another, era, refusals
from seeds.probes import (
    KEYS,
    NOAUTH,
    config,
    connections,
    curl,
    expect,
    forget_connections,
    indented,
    legs,
    redirected,
    rules,
    table,
    traced,
    typed,
    until_listed,
)
from stage import Stage
from steps import Listed

TEST = "test.dev-self"
NODES = ("10.0.0.6", "10.0.0.7", "10.0.0.8")
MOST = 4294967295
SERVICE = "s000/some-http-svc.yaml"
RULES = (
    "-A PREROUTING -p tcp -j ISTIO_INBOUND",
    "-A OUTPUT -j ISTIO_OUTPUT",
    "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
    "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
)
RESP = "*2\r\n$4\r\nkeys\r\n$1\r\n*\r\n"
"""The same question as a Redis client puts it."""
RETRIES = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"


def ports(stage: Stage, record: Recorder) -> None:
    ran = stage.inside("ratings-v1.default", "ss", "-tln")
    heard = {line.split()[3] for line in ran.out.splitlines()[1:]}
    wanted = {
        *(f"0.0.0.0:{port}" for port in (9080, 15090, 15001, 15006, 15020, 15021)),
        "127.0.0.1:15000",
    }
    expect(record, ran, "the application's port, 15000 (loopback), 15001, 15006, 15020, 15021, 15090", wanted <= heard)


def nat_table(stage: Stage, record: Recorder) -> None:
    ran, found = rules(stage, TEST)
    owners = {word for line in found for word in re.findall(r"-owner (\d+)", line)}
    passed = all(rule in found for rule in RULES) and owners == {"1337"}
    expected = "Istio's four chains; 15001 outbound, 15006 inbound; owner rules of 1337 alone"
    expect(record, ran, expected, passed, indented("\n".join(found), 30))


def incident(stage: Stage, record: Recorder) -> None:
    with stage.applied(SERVICE):
        until_listed(stage, "listener", TEST, "0.0.0.0 7000", "--port", "7000")
        for port in (7000, 7003):
            ran, lines = connections(stage, TEST, NODES[0], port)
            passed = ran.out.strip() == NOAUTH and any("PassthroughCluster" in line for line in lines)
            expect(record, ran, "Redis's own answer, by PassthroughCluster", passed, evidence=lines)
        ran, found = table(stage, "listener", TEST, "--port", "7003")
        expect(record, ran, "no listener for 7003: 0.0.0.0:15001 itself lets it pass", not found, f"{len(found)} rows")


def incident_with_http10(stage: Stage, record: Recorder) -> None:
    """Istio's PILOT_HTTP10 is the control plane's, so a lab of its own has it; the packet is the same."""
    with another.lab(stage, "http10", PILOT_HTTP10="true") as told:
        ran, found = until_listed(told, "listener", TEST, "0.0.0.0 7000", "--port", "7000")
        wanted = "0.0.0.0 7000 Trans: raw_buffer; App: HTTP Route: 7000"
        expect(record, ran, "HTTP/1.0 is among what is taken for HTTP: `App: HTTP` in short", wanted in found)
        ran, lines = connections(told, TEST, NODES[0], 7000)
        passed = ran.out.startswith("HTTP/1.1 400 ") and "connection: close" in ran.out
        passed = passed and " 400 DPE http1.codec_error " in lines[0]
        expect(record, ran, "HTTP/1.1 400, connection: close, from Envoy: flag DPE", passed, evidence=lines)
        for text in (RESP, "PING\r\n"):
            ran = typed(told, TEST, NODES[0], 7000, text)
            passed = ran.out.strip() in (NOAUTH, "+PONG")
            expect(record, ran, f"what a Redis client sends reaches Redis all the same: {text!r}", passed)


def incident_of_old(stage: Stage, record: Recorder) -> None:
    """tidegate has no listener without a default chain: an Envoy with a hand-written configuration has."""
    with era.envoy(stage, "redis6", "s000/era.yaml", 17000):
        ran = typed(stage, "redis6", "127.0.0.1", 17000)
        passed = ran.out.startswith("HTTP/1.1 400 ") and "connection: close" in ran.out
        expect(record, ran, "HTTP/1.1 400, connection: close, from Envoy", passed)


def incident_registry_only(stage: Stage, record: Recorder) -> None:
    with stage.applied(SERVICE), stage.outbound_policy("REGISTRY_ONLY"):
        until_listed(stage, "listener", TEST, "Non-HTTP", "--port", "7000")
        ran, lines = stage.until(lambda: connections(stage, TEST, NODES[0], 7000), lambda seen: not seen[0].out)
        passed = not ran.out and any(" UH " in line and "BlackHoleCluster" in line for line in lines)
        expect(record, ran, "connected, closed without a byte", passed, f"{len(ran.out)} bytes", evidence=lines)
        forget_connections(stage, TEST)
        connections(stage, TEST, NODES[0], 7000)
        seen, found = legs(stage, TEST, 7000)
        passed = len(found) == 1 and redirected(found) == found
        expect(record, seen, "S000-4: one tracked connection, answered from 15001", passed)
    until_passing(stage)


def until_passing(stage: Stage) -> None:
    stage.until(lambda: typed(stage, TEST, NODES[0], 7001), lambda ran: ran.out.strip() == NOAUTH)


def shadowing(stage: Stage, record: Recorder) -> None:
    with stage.applied("s000/shadow.yaml"):
        until_listed(stage, "listener", TEST, "elsewhere.ext.example", "--port", "7000")
        ran, lines = connections(stage, TEST, NODES[2], 7000)
        passed = any('"10.0.0.7:7000" outbound|7000||elsewhere.ext.example' in line for line in lines)
        expect(record, ran, "meant for 10.0.0.8, taken to the entry's 10.0.0.7", passed, evidence=lines)


def two_legs(stage: Stage, record: Recorder) -> None:
    forget_connections(stage, TEST)
    typed(stage, TEST, NODES[0], 7003)
    ran, found = legs(stage, TEST, 7003)
    passed = len(found) == 2 and len(redirected(found)) == 1
    sources = {match for line in found for match in re.findall(r"sport=(\d+) dport=7003 src", line)}
    expected = "two: one answered from 15001, and the sidecar's own with another source port"
    expect(record, ran, expected, passed and len(sources) == 2)


def by_listener(stage: Stage, record: Recorder) -> None:
    with stage.applied(SERVICE):
        ran, found = until_listed(stage, "listener", TEST, "Route: 7000", "--port", "7000")
        wanted = {
            "0.0.0.0 7000 Trans: raw_buffer; App: http/1.1,h2c Route: 7000",
            "0.0.0.0 7000 ALL PassthroughCluster",
        }
        expect(record, ran, "the HTTP chain, and everything else to PassthroughCluster", set(found) == wanted)
        services = stage.kubectl("get", "services", "-A")
        shown = [line for line in services.out.splitlines() if "7000" in line]
        expect(record, services, "the Service that made it", len(shown) == 1, "\n".join(shown))


def ten_services(stage: Stage, record: Recorder) -> None:
    with stage.applied("s000/ten-services.yaml"):
        stage.until(
            lambda: config(stage, "route", TEST, "--name", "8001"),
            lambda seen: bool(seen[1]) and _named(seen[1]) >= 10,
        )
        _one_route(stage, record)
        _told_apart(stage, record)


def _named(routes: list[dict[str, list[object]]]) -> int:
    return sum(1 for host in routes[0]["virtualHosts"] if ".svc.cluster.local:8001" in str(host))


def _one_route(stage: Stage, record: Recorder) -> None:
    ran, found = config(stage, "route", TEST, "--name", "8001")
    hosts = {host["name"]: host for host in found[0]["virtualHosts"]}
    host = hosts["merchant-center.open.svc.cluster.local:8001"]
    name = "merchant-center.open"
    domains = [f"{name}.svc.cluster.local", f"{name}.svc.cluster.local.", name, f"{name}.svc", "10.96.60.59"]
    retry = host["routes"][0]["route"]["retryPolicy"]
    passed = len(found) == 1 and sorted(host["domains"]) == sorted(domains) and retry["retryOn"] == RETRIES
    expect(record, ran, "one virtual host for each Service: its names and its VIP", passed, ", ".join(host["domains"]))
    ran, rows = table(stage, "listener", TEST, "--port", "8001")
    expect(record, ran, "one listener for all ten", {row.split()[0] for row in rows} == {"0.0.0.0"})


def _told_apart(stage: Stage, record: Recorder) -> None:
    shown = stage.kubectl(
        "get",
        "services",
        "-A",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name} "
        "{.metadata.namespace} {.spec.clusterIP} {.spec.ports[*].port}\n{end}",
    )
    services = [line.split() for line in shown.out.splitlines() if "8001" in line.split()[3:]]
    places = [place for name, space, vip, *_ in services for place in (f"{name}.{space}", vip)]
    ran = curl(stage, TEST, *(f"http://{place}:8001/?[1-5]" for place in places))
    answered = [line.split()[0] for line in ran.out.splitlines()]
    by_place = [answered[i : i + 5] for i in range(0, len(answered), 5)]
    alone = all(len(set(seen)) == 1 for seen in by_place)
    pairs = all(by_place[i] == by_place[i + 1] for i in range(0, len(by_place) - 1, 2))
    passed = len(places) == 20 and len(by_place) == 20 and alone and pairs and len(set(answered)) == 10
    observed = f"{len(answered)} answers for {len(places)} names and VIPs, {len(set(answered))} different backends"
    expect(record, ran, "each of ten by name and by VIP, 5 of 5 from its own backend", passed, observed)


def which_mode(stage: Stage, record: Recorder) -> None:
    ran = stage.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "yaml")
    found = [line for line in ran.out.splitlines() if re.search(r"\bmode:", line)]
    expect(record, ran, "mode: ALLOW_ANY", [line.strip() for line in found] == ["mode: ALLOW_ANY"], "\n".join(found))


def entry_with_addresses(stage: Stage, record: Recorder) -> None:
    with stage.applied(SERVICE, "s000/redis-entry.yaml"):
        ran, found = until_listed(stage, "listener", TEST, "outbound|7000||redis", "--address", NODES[0])
        wanted = [f"10.0.0.6 {port} ALL Cluster: outbound|{port}||redis" for port in (7000, 7001, 7002, 7003)]
        expect(record, ran, "a listener of its own for each port", found == wanted)
        _original_destination(stage, record)
        for node in NODES:
            ran, lines = connections(stage, TEST, node, 7000)
            passed = ran.out.strip() == NOAUTH and any(f'"{node}:7000" outbound|7000||redis' in x for x in lines)
            expect(record, ran, "Redis's answer, at the address that was asked for", passed, evidence=lines)


def _original_destination(stage: Stage, record: Recorder) -> None:
    ran, found = config(stage, "cluster", TEST, "--fqdn", "redis", "--port", "7000")
    cluster = found[0]
    limits = cluster["circuitBreakers"]["thresholds"][0]
    thresholds = [limits[name] for name in ("maxConnections", "maxPendingRequests", "maxRequests", "maxRetries")]
    shown = f"{cluster['type']}, {cluster['lbPolicy']}, {cluster['connectTimeout']}, {thresholds}"
    expected = f"ORIGINAL_DST, CLUSTER_PROVIDED, 10s, four thresholds of {MOST}"
    expect(record, ran, expected, shown == f"ORIGINAL_DST, CLUSTER_PROVIDED, 10s, {[MOST] * 4}", shown)


def entry_with_a_range(stage: Stage, record: Recorder) -> None:
    with stage.applied(SERVICE, "s000/redis-range.yaml"):
        ran, found = until_listed(stage, "listener", TEST, "outbound|7000||redis", "--port", "7000")
        wanted = "0.0.0.0 7000 Addr: 10.0.0.0/24 Cluster: outbound|7000||redis"
        expect(record, ran, f"among the rows of 0.0.0.0:7000: {wanted}", wanted in found)
        ran, lines = connections(stage, TEST, NODES[1], 7000)
        passed = ran.out.strip() == NOAUTH and any("outbound|7000||redis" in line for line in lines)
        expect(record, ran, "Redis's answer", passed, evidence=lines)


def excluded_range(stage: Stage, record: Recorder) -> None:
    ran, found = rules(stage, "excluded.dev-self")
    output = [line for line in found if line.startswith("-A ISTIO_OUTPUT ")]
    wanted = [
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        "-A ISTIO_OUTPUT -d 10.0.0.0/24 -j RETURN",
        "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
    ]
    expect(
        record,
        ran,
        "RETURN for the range, between loopback's and the redirect",
        output[-3:] == wanted,
        indented("\n".join(output[-3:])),
    )
    _around(stage, record, "excluded.dev-self")


def _around(stage: Stage, record: Recorder, workload: str) -> None:
    """All four Redis ports answer, past the sidecar: one tracked connection each, and no line in its log."""
    forget_connections(stage, workload)
    before = len(stage.access_log(workload))
    answers = [typed(stage, workload, NODES[0], port) for port in (7000, 7001, 7002, 7003)]
    tracked = [line for port in (7000, 7001, 7002, 7003) for line in legs(stage, workload, port)[1]]
    after = len(stage.access_log(workload)) - before
    passed = all(ran.out.strip() == NOAUTH for ran in answers) and len(tracked) == 4
    observed = (
        f"{len(answers)} answers, {len(redirected(tracked))} of {len(tracked)} connections redirected, "
        f"{after} log lines"
    )
    clean = not redirected(tracked) and after == 0
    expect(record, answers[0], "answers on all four ports, nothing seen by the sidecar", passed and clean, observed)


def empty_include_list(stage: Stage, record: Recorder) -> None:
    ran, found = rules(stage, "nothing.dev-self")
    into = [line for line in found if line.endswith("-j ISTIO_REDIRECT")]
    expect(record, ran, "no rule that redirects what goes out", not into and bool(found), f"{len(into)} rules")
    _around(stage, record, "nothing.dev-self")
    ran = stage.tidegate("proxy-config", "listener", "nothing.dev-self", "--no-verbose")
    same = stage.tidegate("proxy-config", "listener", TEST, "--no-verbose")
    expect(record, ran, "the listeners of every other sidecar, unused", ran.out == same.out)


def escapes(stage: Stage, record: Recorder) -> None:
    """REGISTRY_ONLY binds what is redirected: TCP of other users than the proxy's, to ranges that are not excluded."""
    as_proxy = ("setpriv", "--reuid=1337", "--regid=1337", "--clear-groups")
    with stage.outbound_policy("REGISTRY_ONLY"):
        ran = stage.until(lambda: typed(stage, TEST, NODES[0], 7001), lambda seen: not seen.out)
        expect(record, ran, "an application's TCP: closed without a byte", not ran.out, f"{len(ran.out)} bytes")
        ran = stage.inside(TEST, *as_proxy, "nc", "-w", "1", NODES[0], "7001", stdin=KEYS)
        expect(record, ran, "with the proxy's user id: it escapes", ran.out.strip() == NOAUTH)
        ran = typed(stage, "excluded.dev-self", NODES[0], 7001)
        expect(record, ran, "to an excluded range: it escapes", ran.out.strip() == NOAUTH)
        refusals.udp(stage, record, TEST)
    until_passing(stage)


def without_sidecar(stage: Stage, record: Recorder) -> None:
    ran, found = rules(stage, "plain.dev-self")
    expect(record, ran, "no packet rules", not found, f"{len(found)} rules")
    pod = stage.kubectl("get", "pod", "plain", "-n", "dev-self")
    expect(record, pod, "READY 1/1", "1/1" in pod.out)
    with stage.applied(SERVICE):
        ran = typed(stage, "plain.dev-self", NODES[0], 7000)
        expect(record, ran, "Redis's answer", ran.out.strip() == NOAUTH)


def service_in_front(stage: Stage, record: Recorder) -> None:
    for endpoints in ("s000/redis-endpoints.yaml", "s000/redis-slice.yaml"):
        with stage.applied(SERVICE, "s000/redis-service.yaml", endpoints):
            _behind_service(stage, record)


def _behind_service(stage: Stage, record: Recorder) -> None:
    cluster = "outbound|7000||rediscluster.dev-self.svc.cluster.local"
    ran, found = stage.until(
        lambda: table(stage, "endpoint", TEST, "--cluster", cluster), lambda seen: len(seen[1]) == len(NODES)
    )
    wanted = sorted(f"{node}:7000 HEALTHY OK {cluster}" for node in NODES)
    expect(record, ran, "the three nodes", sorted(found) == wanted)
    ran, found = table(stage, "listener", TEST, "--address", "10.96.59.159", "--port", "7000")
    expect(record, ran, "a listener at the ClusterIP", found == [f"10.96.59.159 7000 ALL Cluster: {cluster}"])
    ran = typed(stage, TEST, "rediscluster.dev-self", 7000)
    lines = stage.logged(TEST, cluster)[-1:]
    expect(record, ran, "Redis's answer through the Service", ran.out.strip() == NOAUTH, evidence=lines)
    ran, lines = connections(stage, TEST, NODES[0], 7000)
    passed = bool(lines) and not any(cluster in line for line in lines)
    expect(
        record, ran, "by a node's own address the Service is not used: programs have to change", passed, evidence=lines
    )


def special_clusters(stage: Stage, record: Recorder) -> None:
    ran, found = config(stage, "cluster", TEST)
    named = {cluster["name"]: cluster for cluster in found}
    hole, through = named["BlackHoleCluster"], named["PassthroughCluster"]
    passed = hole["type"] == "STATIC" and "loadAssignment" not in hole and hole["connectTimeout"] == "10s"
    passed = passed and through["type"] == "ORIGINAL_DST" and through["lbPolicy"] == "CLUSTER_PROVIDED"
    limits = through["circuitBreakers"]["thresholds"][0]
    passed = passed and sorted(value for value in limits.values() if value is not True) == [MOST] * 4
    observed = f"BlackHoleCluster {hole['type']}; PassthroughCluster {through['type']}, {limits}"
    expect(record, ran, "STATIC without endpoints; ORIGINAL_DST with the highest limits", passed, observed)


def plain_http_on_a_taken_port(stage: Stage, record: Recorder) -> None:
    with stage.applied("s000/ten-services.yaml"):
        until_listed(stage, "listener", TEST, "Route: 8001", "--port", "8001")
        ran, lines = traced(stage, TEST, "http://one.ext.example/", "--connect-to", "::10.122.24.150:80")
        passed = ran.out == "200" and any("PassthroughCluster" in line and "allow_any" in line for line in lines)
        expect(record, ran, "HTTP 200 by the catch-all virtual host allow_any", passed, evidence=lines)


STEPS = (
    Listed("S000-1 The ports of a Pod with a sidecar", ports),
    Listed("S000-2 Its nat table", nat_table, claims=("C000-1",)),
    Listed("S000-3 (a) The incident does not recur under ALLOW_ANY", incident, claims=("C000-2", "C000-8")),
    Listed("S000-3 (c) The incident as it was, on an Envoy by itself", incident_of_old, claims=("C000-17",)),
    Listed(
        "S000-3 (d), S000-4 The same under REGISTRY_ONLY: closed, one tracked connection",
        incident_registry_only,
        claims=("C000-4", "C000-15"),
    ),
    Listed("S000-3 (e) What still shadows: a TCP entry without addresses", shadowing),
    Listed("S000-4 An allowed connection is tracked twice", two_legs, claims=("C000-15",)),
    Listed("S000-5 Diagnosis by listener", by_listener),
    Listed("S000-6 Ten Services on port 8001", ten_services, claims=("C000-6",)),
    Listed("S000-7 Which outbound mode?", which_mode),
    Listed(
        "S000-8 A ServiceEntry with addresses, resolution NONE",
        entry_with_addresses,
        claims=("C000-3", "C000-9", "C000-10", "C004-19"),
    ),
    Listed("S000-8 The same with a range", entry_with_a_range),
    Listed("S000-9 An excluded range", excluded_range, claims=("C000-11",)),
    Listed(
        "S000-10 A Service in front of the nodes: Endpoints, then an EndpointSlice",
        service_in_front,
        claims=("C000-12",),
    ),
    Listed("S000-11 An empty include list", empty_include_list),
    Listed("S000-12 No sidecar", without_sidecar),
    Listed("S000-13 The two special clusters", special_clusters, claims=("C000-13", "C004-1", "C004-9")),
    Listed(
        "C000-5 Plain HTTP to an outside host, on a port with an HTTP listener",
        plain_http_on_a_taken_port,
        claims=("C000-5",),
    ),
    Listed("C000-14 What escapes REGISTRY_ONLY", escapes, claims=("C000-14", "C001-11")),
    Listed("S000-3 (b) The incident with PILOT_HTTP10", incident_with_http10, claims=("C000-17",)),
)
