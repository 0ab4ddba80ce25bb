"""Seed 003: egress traffic in depth."""

import bounds
from report import Recorder
from seeds.probes import answers, config, curl, expect, indented, table, until_listed, until_status
from stage import Ran, Stage
from steps import Listed

CLIENT = "client.entry"
HTTPBIN, SITE_A = "httpbin.org", "www.site-a.example"
SITES = (SITE_A, "www.site-b.example", "www.site-c.example")
MISMATCH = 60
"""curl's code for a certificate that is not the host's."""
MOST = 4294967295
ONE_EACH = ("-k", "-H", "connection: close")


def entry_without_resolution(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/httpbin-none.yaml"):
        _until_route(stage, HTTPBIN)
        _route_of_httpbin(stage, record)
        ran, found = config(stage, "cluster", CLIENT, "--fqdn", HTTPBIN)
        cluster = found[0]
        limits = cluster["circuitBreakers"]["thresholds"][0]
        seen = (cluster["type"], cluster["lbPolicy"], cluster["connectTimeout"], limits["maxConnections"])
        expected = f"ORIGINAL_DST, CLUSTER_PROVIDED, 10s, {MOST}"
        expect(record, ran, expected, seen == ("ORIGINAL_DST", "CLUSTER_PROVIDED", "10s", MOST), seen)
        ran = curl(stage, CLIENT, f"http://{HTTPBIN}/headers")
        expect(record, ran, "its headers", '"headers"' in ran.out)
        ran = curl(stage, CLIENT, "-H", f"Host: {HTTPBIN}", "http://10.122.24.150/")
        expected = "NONE goes to the address that was asked for, whatever the Host header says"
        expect(record, ran, expected, ran.out.startswith("first "))


def _route_of_httpbin(stage: Stage, record: Recorder) -> None:
    ran, found = config(stage, "route", CLIENT, "--name", "80")
    host = next(h for h in found[0]["virtualHosts"] if h["name"] == f"{HTTPBIN}:80")
    route = host["routes"][0]
    seen = (
        host["domains"],
        route["match"]["prefix"],
        route["route"]["cluster"],
        route["route"]["timeout"],
        route["decorator"]["operation"],
    )
    wanted = ([HTTPBIN, f"{HTTPBIN}."], "/", f"outbound|80||{HTTPBIN}", "0s", f"{HTTPBIN}:80/*")
    expect(record, ran, f"virtual host {HTTPBIN}:80", seen == wanted, seen)


def _until_route(stage: Stage, word: str, workload: str = CLIENT) -> Ran:
    return stage.until(
        lambda: stage.tidegate("proxy-config", "route", workload, "--name", "80", "-o", "json"),
        lambda ran: word in ran.out,
    )


def on_every_pod(stage: Stage, record: Recorder) -> None:
    workloads = (CLIENT, "test.dev-self", "productpage-v1.default", "reviews-v1.default", "ratings-v1.default")
    with stage.applied("s003/httpbin-none.yaml"):
        seen = []
        for workload in workloads:
            _until_route(stage, HTTPBIN, workload)
            ran, routes = config(stage, "route", workload, "--name", "80")
            clusters = config(stage, "cluster", workload, "--fqdn", HTTPBIN)[1]
            hosts = [host for host in routes[0]["virtualHosts"] if host["name"] == f"{HTTPBIN}:80"]
            seen.append((hosts, clusters))
        passed = all(one == seen[0] and one[0] and one[1] for one in seen)
        observed = f"{len(seen)} dumps, {'equal' if passed else 'different'}"
        expect(record, ran, "virtual host and cluster are equal on every workload", passed, observed)


def https_with_virtual_service(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/site-a-https.yaml", "s003/site-a-tls.yaml"):
        _sni_chain(stage, record)
        ran, found = config(stage, "cluster", CLIENT, "--fqdn", SITE_A)
        cluster = found[0]
        seen = (cluster["type"], cluster["dnsLookupFamily"], cluster["respectDnsTtl"], cluster["connectTimeout"])
        expected = "STRICT_DNS, V4_ONLY, the answers' time to live respected, 10s"
        expect(record, ran, expected, seen == ("STRICT_DNS", "V4_ONLY", True, "10s"), seen)


def _sni_chain(stage: Stage, record: Recorder) -> None:
    arguments = ("--address", "0.0.0.0", "--port", "443")
    ran, found = until_listed(stage, "listener", CLIENT, SITE_A, *arguments)
    wanted = f"0.0.0.0 443 SNI: {SITE_A} Cluster: outbound|443||{SITE_A}"
    expect(record, ran, f"among the rows: {wanted}", wanted in found)
    ran = until_status(stage, CLIENT, f"https://{SITE_A}/", "200")
    lines = stage.logged(CLIENT, f"outbound|443||{SITE_A}")[-1:]
    expect(record, ran, "HTTP 200 by that chain", ran.out == "200", evidence=lines)


def https_without_virtual_service(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/site-a-https.yaml"):
        _sni_chain(stage, record)
        for site in SITES[1:]:
            ran = until_status(stage, CLIENT, f"https://{site}/", "200")
            expect(record, ran, "another site: the answer of that site", ran.out == "200")
    with stage.applied("s003/site-a-tcp.yaml"):
        until_listed(stage, "listener", CLIENT, SITE_A, "--address", "0.0.0.0", "--port", "443")
        stage.until(lambda: _served_by(stage, SITES[1]), lambda seen: SITE_A in seen[1])
        for site in SITES:
            ran, name = _served_by(stage, site)
            expect(record, ran, f"as TCP, {site} is answered by {SITE_A}", name == SITE_A, name)
        ran = curl(stage, CLIENT, "--cacert", "/etc/ssl/certs/ca-certificates.crt", f"https://{SITES[1]}/")
        expect(record, ran, "so curl refuses the certificate (exit 60)", ran.code == MISMATCH, f"curl exit {ran.code}")


def _served_by(stage: Stage, site: str) -> tuple[Ran, str]:
    """Whose page and certificate a site's name leads to."""
    ran = curl(stage, CLIENT, "-k", "-v", f"https://{site}/")
    page = ran.out.split(" over TLS")[0].strip()
    agrees = f"CN={page}" in ran.err
    return ran, page if agrees else f"{page}, with another certificate"


def https_none(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/site-a-https-none.yaml"):
        until_listed(stage, "listener", CLIENT, f"SNI: {SITE_A}", "--address", "0.0.0.0", "--port", "443")
        _all_sites(stage, record, "each by itself, site-a by its SNI chain")
    with stage.applied("s003/site-a-tcp-none.yaml"):
        until_listed(stage, "listener", CLIENT, SITE_A, "--address", "0.0.0.0", "--port", "443")
        cluster = f"outbound|443||{SITE_A}"
        before = len(stage.access_log(CLIENT))
        _all_sites(stage, record, f"as TCP: each by itself, all by {cluster}")
        lines = stage.until(lambda: stage.logged(CLIENT, cluster, after=before), lambda seen: len(seen) >= len(SITES))
        record.check(f"{len(SITES)} connections by {cluster}", len(lines), len(lines) == len(SITES), evidence=lines)


def _all_sites(stage: Stage, record: Recorder, text: str) -> None:
    for site in SITES:
        ran, name = _served_by(stage, site)
        expect(record, ran, text, name == site, name)


def what_the_virtual_service_adds(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/site-a-https.yaml", "s003/other-sni.yaml"):
        arguments = ("--address", "0.0.0.0", "--port", "443")
        ran, found = until_listed(stage, "listener", CLIENT, SITES[1], *arguments)
        wanted = f"0.0.0.0 443 SNI: {SITES[0]},{SITES[1]} Cluster: outbound|443||{SITE_A}"
        expect(record, ran, "the chain of site-a takes site-b's name too", wanted in found)
        ran, name = stage.until(lambda: _served_by(stage, SITES[1]), lambda seen: seen[1] == SITE_A)
        expect(record, ran, f"{SITES[1]} is answered by {SITE_A}", name == SITE_A, name)


def timeout(stage: Stage, record: Recorder) -> None:
    url, shape = f"http://{HTTPBIN}/delay/5", "%{http_code} %{time_total}"
    arguments = ("-w", shape, "-o", "/dev/null", url)
    with stage.applied("s003/httpbin-none.yaml"):
        ran = curl(stage, CLIENT, *arguments)
        code, _, seconds = ran.out.partition(" ")
        expect(record, ran, "200 after 5 s and a little", code == "200" and float(seconds) >= 5.0)
        with stage.applied("s003/timeout.yaml"):
            _until_route(stage, '"3s"')
            ran = curl(stage, CLIENT, *arguments)
            code, _, seconds = ran.out.partition(" ")
            lines = stage.logged(CLIENT, "/delay/5", " UT ")[-1:]
            passed = code == "504" and "response_timeout" in lines[0] and float(seconds) < 5.0
            expect(record, ran, "504 of the sidecar, flag UT, before the server's 5 s are over", passed, evidence=lines)


def clean_up(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/httpbin-none.yaml", "s003/site-a-https.yaml"):
        until_listed(stage, "cluster", CLIENT, SITE_A)
    for host in (HTTPBIN, SITE_A):
        ran, found = stage.until(lambda: table(stage, "cluster", CLIENT, "--fqdn", host), lambda seen: not seen[1])  # noqa: B023
        expect(record, ran, "no cluster of the deleted entry", not found, indented("\n".join(found)) or "none")
    with stage.outbound_policy("REGISTRY_ONLY"):
        ran = until_status(stage, CLIENT, f"http://{HTTPBIN}/headers", "502")
        expect(record, ran, "REGISTRY_ONLY refuses it again: HTTP 502", ran.out == "502")
    until_status(stage, CLIENT, f"http://{HTTPBIN}/headers", "200")


def sni_wildcard(stage: Stage, record: Recorder) -> None:
    """The connections are dialled to site-c; where they arrive tells whether the name was taken for the route's."""
    with stage.applied("s003/site-a-https.yaml", "s003/sni-wildcard.yaml"):
        until_listed(stage, "listener", CLIENT, "*.com", "--address", "0.0.0.0", "--port", "443")
        for name, wanted in (("foo.example.com", SITE_A), ("example.com", SITE_A), ("foo.example.org", SITES[2])):
            place = ("--connect-to", f"{name}:443:10.122.24.144:443")
            ran = stage.until(
                lambda name=name, place=place: curl(stage, CLIENT, "-k", *place, f"https://{name}/"),
                lambda seen, wanted=wanted: wanted in seen.out,
            )
            expect(record, ran, f"{name} is answered by {wanted}", ran.out.startswith(f"{wanted} over TLS"))


def weighted_tls(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/site-a-https.yaml", "s003/weighted-tls.yaml"):
        until_listed(stage, "cluster", CLIENT, SITES[1])
        until_listed(stage, "listener", CLIENT, SITE_A, "--address", "0.0.0.0", "--port", "443")
        until_status(stage, CLIENT, f"https://{SITE_A}/", "200")
        _divided(stage, record, f"https://{SITE_A}/", {SITE_A: 0.5, SITES[1]: 0.5}, 100)


def weighted_tcp(stage: Stage, record: Recorder) -> None:
    with stage.applied("s003/tcp-route.yaml"):
        ran, found = until_listed(stage, "listener", CLIENT, "9100", "--address", "10.0.9.1", "--port", "9100")
        expect(record, ran, "a listener at the first address", len(found) == 1)
        url = "http://10.0.9.1:9100/"
        stage.until(lambda: answers(stage, CLIENT, f"{url}?[1-20]", *ONE_EACH), lambda seen: len(seen[1]) == 2)
        _divided(stage, record, url, {"8101": 0.25, "8102": 0.75}, 400)
        ran, seen = answers(stage, CLIENT, "http://10.0.9.2:9100/?[1-20]", *ONE_EACH)
        expect(record, ran, "the second address is its own", seen == {"8102": 20}, dict(seen))


def _divided(stage: Stage, record: Recorder, url: str, wanted: dict[str, float], count: int) -> None:
    """Each request on a connection of its own, for TCP and TLS are routed by connection."""
    ran, seen = answers(stage, CLIENT, f"{url}?[1-{count}]", *ONE_EACH)
    ranges = {name: bounds.acceptance(count, share) for name, share in wanted.items()}
    passed = set(seen) == set(wanted) and all(low <= seen[name] <= high for name, (low, high) in ranges.items())
    told = ", ".join(f"{name}: {low} to {high}" for name, (low, high) in ranges.items())
    expect(record, ran, f"n={count}; {told}", passed, dict(seen))


STEPS = (
    Listed("S003-2 An HTTP entry without resolution", entry_without_resolution, claims=("C003-3",)),
    Listed("S003-3 The same on every workload", on_every_pod, claims=("C003-2",)),
    Listed("S003-4 An HTTPS entry with a TLS route", https_with_virtual_service, claims=("C004-3",)),
    Listed("S003-5 The same without the route, then as TCP", https_without_virtual_service, claims=("C003-5",)),
    Listed("S003-6 With resolution NONE", https_none),
    Listed("S003-7 What a TLS route adds", what_the_virtual_service_adds),
    Listed("S003-8 A timeout on an external service", timeout, claims=("C003-8", "C004-15", "C004-16")),
    Listed("S003-10 Clean-up", clean_up),
    Listed("R090 A wildcard among the server names", sni_wildcard, claims=("C003-6",)),
    Listed("R091 A TLS route with weights", weighted_tls, claims=("C003-7",)),
    Listed("R092 A TCP route with weights", weighted_tcp, claims=("C003-7",)),
)
