"""Seed 002: ServiceEntry and the outbound policy."""

import re

from report import Recorder
from seeds.probes import config, curl, expect, rules, status, traced, until_status
from stage import Stage
from steps import Listed

CLIENT = "client.entry"
HTTP, TLS, OTHER_TLS = "http://httpbin.org/headers", "https://www.site-d.example/", "https://www.site-a.example/"
REGISTRY_ONLY = "REGISTRY_ONLY"
TLS_REFUSED = 35
"""curl's code for a connection that ends within the TLS handshake."""


def read_the_mode(stage: Stage, record: Recorder) -> None:
    ran = stage.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "jsonpath={.data.mesh}")
    found = [line.strip() for line in ran.out.splitlines() if "mode: ALLOW_ANY" in line]
    expect(record, ran, "mode: ALLOW_ANY", found == ["mode: ALLOW_ANY"], "\n".join(found))
    with stage.outbound_policy(REGISTRY_ONLY):
        until_status(stage, CLIENT, HTTP, "502")
        with stage.mesh(outboundTrafficPolicy={}):
            ran = until_status(stage, CLIENT, HTTP, "200")
            expect(
                record, ran, "where the mesh configuration says nothing, HTTP 200: it is the default", ran.out == "200"
            )
        until_status(stage, CLIENT, HTTP, "502")
    until_status(stage, CLIENT, HTTP, "200")


def switch(stage: Stage, record: Recorder) -> None:
    pids = _envoys(stage)
    with stage.outbound_policy(REGISTRY_ONLY):
        ran = until_status(stage, CLIENT, HTTP, "502")
        expect(record, ran, "HTTP 502", ran.out == "502")
        ran = stage.until(lambda: status(stage, CLIENT, OTHER_TLS), lambda seen: seen.code == TLS_REFUSED)
        expect(record, ran, f"curl exit {TLS_REFUSED}", ran.code == TLS_REFUSED, f"curl exit {ran.code}")
    ran = until_status(stage, CLIENT, HTTP, "200")
    expect(record, ran, "HTTP 200 when it is ALLOW_ANY again", ran.out == "200")
    ran = until_status(stage, CLIENT, OTHER_TLS, "200")
    expect(record, ran, "and HTTPS too, by the same Envoy", ran.out == "200" and _envoys(stage) == pids)


def _envoys(stage: Stage) -> str:
    """The process that has the port for what goes out."""
    shown = stage.inside(CLIENT, "ss", "-tlnp", "sport", "=", ":15001").out
    return ",".join(sorted(set(re.findall(r"pid=(\d+)", shown))))


def client(stage: Stage, record: Recorder) -> None:
    arguments = ("-n", "entry", "-l", "app=client", "-o", "jsonpath={.items..metadata.name}")
    ran = stage.kubectl("get", "pod", *arguments)
    expect(record, ran, "client", ran.out == "client")
    ran = stage.kubectl("get", "pod", "-n", "entry", "-l", "app=client")
    expect(record, ran, "READY 2/2, Running", "2/2" in ran.out and "Running" in ran.out)


def external_http(stage: Stage, record: Recorder) -> None:
    with stage.outbound_policy(REGISTRY_ONLY):
        ran = until_status(stage, CLIENT, HTTP, "502", "-I")
        expect(record, ran, "before: HTTP 502", ran.out == "502")
        with stage.applied("s002/httpbin.yaml"):
            until_status(stage, CLIENT, HTTP, "200")
            ran = curl(stage, CLIENT, "-D", "-", "-o", "/dev/null", HTTP)
            passed = ran.out.startswith("HTTP/1.1 200") and "server: envoy" in ran.out
            expect(
                record,
                ran,
                "200, server: envoy, x-envoy-upstream-service-time",
                passed and "x-envoy-upstream-service-time:" in ran.out,
            )
            ran, found = config(stage, "cluster", CLIENT, "--fqdn", "httpbin.org")
            names = [(cluster["name"], cluster["type"]) for cluster in found]
            expect(record, ran, "STRICT_DNS", names == [("outbound|80||httpbin.org", "STRICT_DNS")], names)
    until_status(stage, CLIENT, HTTP, "200")


def external_https(stage: Stage, record: Recorder) -> None:
    with stage.outbound_policy(REGISTRY_ONLY), stage.applied("s002/site-d.yaml"):
        ran = until_status(stage, CLIENT, TLS, "200")
        lines = stage.logged(CLIENT, "outbound|443||www.site-d.example")[-1:]
        expect(record, ran, "HTTP 200 within its own TLS", ran.out == "200", evidence=lines)
        ran = stage.until(lambda: status(stage, CLIENT, OTHER_TLS), lambda seen: seen.code == TLS_REFUSED)
        expect(record, ran, "another site: curl exit 35", ran.code == TLS_REFUSED, f"curl exit {ran.code}")
    ran = stage.rejected("s002/no-sni-hosts.yaml")
    expect(record, ran, "a TLS match without sniHosts: refused", ran.code != 0 and "sniHosts" in ran.err)
    until_status(stage, CLIENT, OTHER_TLS, "200")


def allow_any(stage: Stage, record: Recorder) -> None:
    ran, lines = traced(stage, CLIENT, HTTP)
    passed = ran.out == "200" and "PassthroughCluster" in lines[0] and "allow_any" in lines[0]
    expect(record, ran, "HTTP 200 by the virtual host allow_any", passed, evidence=lines)
    ran = status(stage, CLIENT, OTHER_TLS)
    lines = stage.logged(CLIENT, "PassthroughCluster", "10.122.24.140:443")[-1:]
    expect(record, ran, "HTTPS works too", ran.out == "200", evidence=lines)


def bypass_by_range(stage: Stage, record: Recorder) -> None:
    """S002-7, S003-9: only the named range goes through the sidecar."""
    workload = "included.dev-self"
    ran, found = rules(stage, workload)
    into = [line for line in found if line.endswith("-j ISTIO_REDIRECT")]
    wanted = ["-A ISTIO_OUTPUT -d 10.0.0.0/24 -j ISTIO_REDIRECT"]
    expect(record, ran, "one redirect, of the included range (10.0.0.1/24 by its network)", into == wanted, into)
    before = len(stage.access_log(workload))
    ran = curl(stage, workload, HTTP)
    after = len(stage.access_log(workload)) - before
    passed = '"headers"' in ran.out and "x-envoy" not in ran.out.lower() and after == 0
    expect(record, ran, "answered, no x-envoy header echoed, no log line of the sidecar", passed)
    through = stage.run(workload, "nc", "-w", "1", "10.0.0.6", "7001", stdin="keys *\n")
    lines = stage.logged(workload, "PassthroughCluster", "10.0.0.6:7001")[-1:]
    expect(record, through, "the range itself goes through the sidecar", "NOAUTH" in through.out, evidence=lines)


def running_workloads_keep_theirs(stage: Stage, record: Recorder) -> None:
    """C002-6: the ranges count when a workload starts."""
    workload, pod = "test.dev-self", ("pod", "test", "-n", "dev-self")
    annotation = "traffic.sidecar.istio.io/includeOutboundIPRanges"
    before = rules(stage, workload)[1]
    stage.kubectl("annotate", *pod, f"{annotation}=10.0.0.0/24")
    record.applied(f"kubectl annotate {' '.join(pod)} {annotation}=10.0.0.0/24")
    try:
        ran, found = rules(stage, workload)
        expect(record, ran, "the rules of the running workload as they were", found == before and bool(found))
        ran, lines = traced(stage, workload, HTTP)
        passed = ran.out == "200" and "PassthroughCluster" in lines[0]
        expect(record, ran, "what is outside the range goes through its sidecar still", passed, evidence=lines)
    finally:
        stage.kubectl("annotate", *pod, f"{annotation}-")
    ran, found = rules(stage, "included.dev-self")
    passed = "-A ISTIO_OUTPUT -d 10.0.0.0/24 -j ISTIO_REDIRECT" in found
    expect(record, ran, "a workload that was started with it has the range", passed)


STEPS = (
    Listed("S002-1 Read the mode", read_the_mode, claims=("C002-2",)),
    Listed("S002-2 Switch to REGISTRY_ONLY and back", switch, claims=("C002-7",)),
    Listed("S002-3 The client", client),
    Listed("S002-4 An external HTTP service", external_http),
    Listed("S002-5 An external HTTPS service", external_https, claims=("C002-5",)),
    Listed("S002-6 ALLOW_ANY without a ServiceEntry", allow_any, claims=("C002-2", "C004-1", "C004-15")),
    Listed("S002-7 Bypass by range", bypass_by_range, claims=("C003-9",)),
    Listed("S002-7 Ranges count from a workload's start", running_workloads_keep_theirs, claims=("C002-6",)),
)
