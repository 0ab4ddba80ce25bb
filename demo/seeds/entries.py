"""Seed 004 further: what entries, workloads and Sidecars can say, feature by feature (the rows of docs/seeds.md)."""

import collections
import json

import bounds
from report import Recorder
from seeds.probes import answers, asked, config, expect, table, typed, until_listed, until_status
from stage import Ran, Stage
from steps import Listed

CLIENT, APP, OTHER = "client.entry", "client.app", "other.app"
OUTSIDE = "http://httpbin.org/headers"
NOAUTH = "-NOAUTH Authentication required."
VERSIONS = ("v1", "v1beta1", "v1alpha3")


def api_versions(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/versions.yaml"):
        seen = []
        for version in VERSIONS:
            until_listed(stage, "cluster", CLIENT, f"{version}.ext.example")
            ran, found = config(stage, "cluster", CLIENT, "--fqdn", f"{version}.ext.example")
            seen.append(_without_name(found, version))
        passed = bool(seen[0]) and all(one == seen[0] for one in seen)
        expect(record, ran, "written in each version, one and the same cluster", passed, "equal" if passed else seen)
        for version in VERSIONS:
            ran = stage.kubectl("get", f"serviceentries.{version}.networking.istio.io", "-n", "entry", "-o", "name")
            passed = {f"serviceentry.networking.istio.io/{name}" for name in VERSIONS} <= set(ran.out.split())
            expect(record, ran, f"read as {version}: all three", passed)


def _without_name(clusters: list[object], version: str) -> object:
    """The dump without the entry's own name, which is its version."""
    return json.loads(json.dumps(clusters).replace(f"{version}.ext", "X.ext"))


def one_port(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/mixed-port.yaml"):
        stage.until(lambda: answers(stage, CLIENT, "http://web.app:8300/"), lambda seen: set(seen[1]) == {"8101"})
        ran, found = table(stage, "listener", CLIENT, "--port", "8300")
        places = {row.split()[0] for row in found}
        expected = "HTTP at 0.0.0.0, the two others at the addresses of their Services"
        expect(record, ran, expected, len(places) == 3 and "0.0.0.0" in places)
        for name, wanted in (("web", "8101"), ("any", "8102")):
            ran, seen = answers(stage, CLIENT, f"http://{name}.app:8300/?[1-10]")
            expect(record, ran, f"10 of 10 from {wanted}", seen == {wanted: 10}, dict(seen))
        ran = typed(stage, CLIENT, "raw.app", 8300)
        expect(record, ran, "TCP on the same port: Redis's answer", ran.out.strip() == NOAUTH)


def sidecar_defaults(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/sidecar-namespace.yaml"):
        for workload, wanted in ((APP, "502"), (OTHER, "502"), (CLIENT, "200")):
            ran = until_status(stage, workload, OUTSIDE, wanted)
            expect(record, ran, f"{workload}: HTTP {wanted}", ran.out == wanted)
    with stage.applied("s004/sidecar-root.yaml"):
        for workload in (APP, CLIENT, "reviews-v1.default"):
            ran = until_status(stage, workload, OUTSIDE, "502")
            expect(record, ran, f"{workload}: HTTP 502", ran.out == "502")
    for workload in (APP, OTHER, CLIENT, "reviews-v1.default"):
        until_status(stage, workload, OUTSIDE, "200")


def egress_proxy(stage: Stage, record: Recorder) -> None:
    request = "GET / HTTP/1.0\r\n\r\n"
    with stage.applied("s004/egress-proxy.yaml"):
        ran = stage.until(
            lambda: typed(stage, APP, "echo.ext.example", 9000, request), lambda seen: "8101 " in seen.out
        )
        lines = stage.logged(APP, "outbound|80||frontend.app.svc.cluster.local", "10.122.24.142:9000")[-1:]
        expected = "bytes for the echo server arrive at the Service frontend"
        expect(record, ran, expected, "8101 " in ran.out and bool(lines), evidence=lines)
        ran, seen = answers(stage, APP, "http://httpbin.org/")
        expect(record, ran, "and so does an HTTP request", seen == {"8101": 1})
    stage.until(lambda: typed(stage, APP, "echo.ext.example", 9000), lambda seen: seen.out == "keys *\n")


def scaling(stage: Stage, record: Recorder) -> None:
    cluster = "outbound|8400||scaled.app.svc.cluster.local"
    with stage.applied("s004/scaled-one.yaml"):
        for file, wanted in (("two", 2), ("one", 1)):
            stage.apply(f"s004/scaled-{file}.yaml")
            ran, found = stage.until(
                lambda: table(stage, "endpoint", CLIENT, "--cluster", cluster),
                lambda seen, wanted=wanted: len(seen[1]) == wanted,
            )
            expect(record, ran, f"endpoints: {wanted}", len(found) == wanted)
            ran, seen = answers(stage, CLIENT, f"http://scaled.app:8400/?[1-{bounds.draws_to_see_all(2, 0.4)}]")
            expect(record, ran, f"servers that answer: {wanted}", len(seen) == wanted, dict(seen))


def changing_answer(stage: Stage, record: Recorder) -> None:
    url, name = "http://moving.ext.example/", "moving.app.svc.cluster.local"
    with stage.applied("s004/moving-name.yaml"):
        # an Envoy that is told that there is no such name asks again after a minute
        stage.until(lambda: stage.run(CLIENT, "getent", "hosts", name), lambda seen: seen.code == 0)
        _followed(stage, record, url)


def _followed(stage: Stage, record: Recorder, url: str) -> None:
    with stage.applied("s004/moving-one.yaml"):
        ran, seen = stage.until(lambda: asked(stage, CLIENT, url), lambda seen: set(seen[1]) == {"first"})
        expect(record, ran, "the server that the name stands for", set(seen) == {"first"}, dict(seen))
        stage.apply("s004/moving-two.yaml")
        ran, seen = stage.until(lambda: asked(stage, CLIENT, url), lambda seen: set(seen[1]) == {"second"})
        expect(
            record,
            ran,
            "and after the name server's answer changed, the other one",
            set(seen) == {"second"},
            dict(seen),
        )


def endpoints_instead_of_the_host(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/dns-endpoints.yaml"):
        ran = stage.run(CLIENT, "getent", "hosts", "nowhere.ext.example")
        expect(record, ran, "no name server knows the host", ran.code != 0 and not ran.out, f"exit {ran.code}")
        url = f"http://nowhere.ext.example/?[1-{bounds.draws_to_see_all(2, 0.4)}]"
        ran, seen = stage.until(lambda: asked(stage, CLIENT, url), lambda seen: len(seen[1]) == 2)
        expect(
            record, ran, "both addresses of the endpoint's name answer", set(seen) == {"first", "second"}, dict(seen)
        )


def selection(stage: Stage, record: Recorder) -> None:
    cluster = "outbound|80||nginx.ext.example"
    with stage.applied("s004/foreign-workload.yaml", "s004/workloads.yaml"):
        ran, found = stage.until(
            lambda: table(stage, "endpoint", CLIENT, "--cluster", cluster), lambda seen: len(seen[1]) >= 2
        )
        ports = sorted(row.split()[0] for row in found)
        expected = "the two of its own namespace, not the third, of another"
        expect(record, ran, expected, ports == ["10.122.24.139:8091", "10.122.24.139:8092"])
    with stage.applied("s004/pod-selector.yaml"):
        pod = stage.kubectl("get", "pod", "ratings-v1", "-o", "jsonpath={.status.podIP}").out
        arguments = ("--cluster", "outbound|80||ratings.ext.example")
        ran, found = until_listed(stage, "endpoint", CLIENT, "9080", *arguments)
        expect(record, ran, "a Pod that is selected: its address", [row.split()[0] for row in found] == [f"{pod}:9080"])
        ran, _ = asked(stage, CLIENT, "http://ratings.ext.example/")
        expect(record, ran, "the Pod's program answers", '"service": "ratings"' in ran.out)


def workload_fields(stage: Stage, record: Recorder) -> None:
    arguments = ("--cluster", "outbound|80||weighed.ext.example")
    with stage.applied("s004/weights.yaml"):
        until_listed(stage, "endpoint", CLIENT, "8092", *arguments)
        ran, found = config(stage, "endpoint", CLIENT, *arguments)
        hosts = {host["address"]["socketAddress"]["portValue"]: host for host in found[0]["hostStatuses"]}
        seen = {port: (host["weight"], host["locality"]) for port, host in sorted(hosts.items())}
        place = {"region": "us-west1", "zone": "zone1"}
        expected = "weights 3 and 1 (the default), region us-west1, zone zone1"
        expect(record, ran, expected, seen == {8091: (3, place), 8092: (1, place)}, seen)
        ran, _ = stage.until(lambda: asked(stage, CLIENT, "http://weighed.ext.example/?[1-400]"), _whole)
        counted = collections.Counter(word for word in ran.out.split() if word in ("2501", "2502"))
        passed = counted.total() == 400 and abs(counted["2501"] - 300) <= 2
        expect(record, ran, "of 400 requests in turn 300 go to the one of weight 3", passed, dict(counted))


def _whole(seen: tuple[Ran, object]) -> bool:
    return seen[0].out.count("Nginx") == 400


def visibility(stage: Stage, record: Recorder) -> None:
    name = "private.ext.example"
    with stage.applied("s004/export-to.yaml", "s004/small-api.yaml"):
        ran, found = until_listed(stage, "cluster", APP, name, "--fqdn", name)
        expect(record, ran, 'exportTo ".": seen in its own namespace', len(found) == 1)
        until_listed(stage, "cluster", CLIENT, "api.external.com")
        ran, found = table(stage, "cluster", CLIENT, "--fqdn", name)
        expect(record, ran, "and in no other one", not found, f"{len(found)} rows")


def wildcard_host(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/wildcard-host.yaml"):
        until_listed(stage, "route", CLIENT, "wild.example", "--name", "80")
        for host in ("a.wild.example", "b.c.wild.example"):
            before = len(stage.access_log(CLIENT))
            ran, seen = asked(stage, CLIENT, f"http://{host}/")
            lines = stage.logged(CLIENT, f'"{host}"', after=before)
            passed = seen == {"first": 1} and "outbound|80||*.wild.example" in lines[0]
            expect(record, ran, "to the address that was dialled, by the entry's cluster", passed, evidence=lines)


def resolved_when_asked_for(stage: Stage, record: Recorder) -> None:
    """The connections are dialled to an address where nothing answers HTTP."""
    with stage.applied("s004/dynamic-dns.yaml"):
        until_listed(stage, "route", CLIENT, "dyn.example", "--name", "80")
        ran, found = config(stage, "cluster", CLIENT, "--fqdn", "*.dyn.example")
        kinds = [cluster.get("clusterType", {}).get("name") for cluster in found]
        expect(record, ran, "a dynamic forward proxy", kinds == ["envoy.clusters.dynamic_forward_proxy"], kinds)
        for name, wanted in (("one.dyn.example", "first"), ("two.dyn.example", "second")):
            url, place = f"http://{name}/?[1-10]", ("--connect-to", "::10.122.24.142:80")
            ran, seen = answers(stage, CLIENT, url, *place)
            expect(record, ran, f"{name}: 10 of 10 from {wanted}", seen == {wanted: 10}, dict(seen))


STEPS = (
    Listed("R006 One object in each API version", api_versions),
    Listed("R046 HTTP, TCP and an undeclared protocol on one port", one_port),
    Listed("R054 Sidecars that are defaults: of a namespace, of the mesh", sidecar_defaults),
    Listed("R055 An egress proxy for what is not registered", egress_proxy),
    Listed("R060 Endpoints that come and go", scaling),
    Listed("R061 An answer of the name server that changes", changing_answer),
    Listed("R064 Endpoints' names in place of the host's", endpoints_instead_of_the_host, claims=("C003-10",)),
    Listed("R097 Whom an entry selects: WorkloadEntries of its namespace, and Pods", selection, claims=("C004-27",)),
    Listed("R102, R103 Weight and locality of a WorkloadEntry", workload_fields, claims=("C004-28",)),
    Listed("R093 exportTo", visibility),
    Listed("R098 A host with a wildcard", wildcard_host),
    Listed("S004-7 DYNAMIC_DNS: names that are resolved when they are asked for", resolved_when_asked_for),
)
