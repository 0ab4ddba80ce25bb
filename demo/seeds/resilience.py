"""Seed 004 further: time-outs, limits, retries, balancing and ejection, feature by feature (rows of docs/seeds.md)."""

import collections
import re

import bounds
from report import Recorder
from seeds.probes import asked, config, curl, expect, forget_connections, table, until_listed
from stage import Ran, Stage
from steps import Listed

CLIENT = "client.entry"
THREE = {"8101", "8102", "8103"}
NOWHERE = "10.64.192.250"


def connect_timeout(stage: Stage, record: Recorder) -> None:
    """R066, R073: 10 ms for each of three attempts; the default of 10 s is in the dump of any other cluster."""
    name = "unreachable.ext.example"
    with stage.applied("s004/unreachable.yaml", "s004/small-api.yaml"):
        for host, wanted in ((name, "0.010s"), ("api.external.com", "10s")):
            until_listed(stage, "cluster", CLIENT, host)
            ran, found = config(stage, "cluster", CLIENT, "--fqdn", host)
            expect(
                record,
                ran,
                f"connectTimeout {wanted}",
                found[0]["connectTimeout"] == wanted,
                found[0]["connectTimeout"],
            )
        until_listed(stage, "route", CLIENT, name, "--name", "80")
        forget_connections(stage, CLIENT)
        ran, _ = asked(stage, CLIENT, f"http://{name}/", "-w", " %{http_code}")
        lines = stage.logged(CLIENT, f'"{name}"', "UF")[-1:]
        passed = ran.out.endswith(" 503") and "connection_timeout" in lines[0]
        expect(record, ran, "HTTP 503, flag UF, connection_timeout", passed, evidence=lines)
        ran = stage.inside(CLIENT, "conntrack", "-L", "-p", "tcp", "--orig-dst", NOWHERE)
        attempts = set(re.findall(r"sport=(\d+) dport=80 \[", ran.out))
        expect(record, ran, "three connections were tried", len(attempts) == 3, f"{len(attempts)} tracked")


def limits(stage: Stage, record: Recorder) -> None:
    name = "limited.ext.example"
    with stage.applied("s004/limits.yaml"):
        until_listed(stage, "route", CLIENT, name, "--name", "80")
        shape = ("-Z", "--parallel-immediate", "-o", "/dev/null", "-w", "%{http_code}\\n")
        ran, _ = asked(stage, CLIENT, f"http://{name}/delay/1?[1-10]", *shape)
        seen = collections.Counter(ran.out.split())
        lines = stage.logged(CLIENT, f'"{name}"', " 503 UO ")[-1:]
        passed = set(seen) == {"200", "503"} and bool(lines)
        expected = "some of ten at once overflow: 503, flag UO; the others are answered"
        expect(record, ran, expected, passed, dict(seen), evidence=lines)


def retries(stage: Stage, record: Recorder) -> None:
    name = "retried.ext.example"
    with stage.applied("s004/retries.yaml"):
        until_listed(stage, "route", CLIENT, "retried.entry", "--name", "80")
        ran, _ = asked(stage, CLIENT, f"http://{name}/headers?[1-40]", "-w", "%{http_code}\\n")
        codes = collections.Counter(re.findall(r"^\d{3}$", ran.out, re.MULTILINE))
        attempts = collections.Counter(re.findall(r'"x-envoy-attempt-count": "(\d+)"', ran.out, re.IGNORECASE))
        passed = codes == {"200": 40} and attempts.total() == 40 and len(attempts) > 1
        expected = "40 of 40 answered 200 though one of two servers always fails; some arrive as a later attempt"
        expect(record, ran, expected, passed, f"{dict(codes)}, attempts {dict(sorted(attempts.items()))}")


def balancers(stage: Stage, record: Recorder) -> None:
    count = 600
    low, high = bounds.acceptance(count, 1 / 3)
    with stage.applied("s004/balancers.yaml"):
        for name, policy in (("turns", "ROUND_ROBIN"), ("random", "RANDOM"), ("least", "LEAST_REQUEST")):
            until_listed(stage, "route", CLIENT, f"{name}.ext.example", "--name", "80")
            ran, found = config(stage, "cluster", CLIENT, "--fqdn", f"{name}.ext.example")
            seen = found[0].get("lbPolicy", "ROUND_ROBIN")
            expect(record, ran, policy, seen == policy, seen)
            ran, counted = asked(stage, CLIENT, f"http://{name}.ext.example/?[1-{count}]")
            passed = set(counted) == THREE and all(low <= times <= high for times in counted.values())
            expect(
                record, ran, f"n={count}: each of three {low} to {high} times", passed, dict(sorted(counted.items()))
            )
        ran, _ = asked(stage, CLIENT, "http://turns.ext.example/?[1-30]")
        order = [line.split()[0] for line in ran.out.splitlines()]
        passed = len(set(order[:3])) == 3 and order == order[:3] * 10
        expect(record, ran, "ROUND_ROBIN: one connection's requests in turn", passed, " ".join(order[:6]) + " …")


def hashes(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/hashes.yaml"):
        for name, policy in (
            ("cookie", "RING_HASH"),
            ("source", "RING_HASH"),
            ("query", "RING_HASH"),
            ("maglev", "MAGLEV"),
        ):
            until_listed(stage, "route", CLIENT, f"{name}.ext.example", "--name", "80")
            ran, found = config(stage, "cluster", CLIENT, "--fqdn", f"{name}.ext.example")
            expect(record, ran, f"{name}: {policy}", found[0].get("lbPolicy") == policy, found[0].get("lbPolicy"))
            url = f"http://{name}.ext.example/"
            cookie = ("-H", "cookie: user=alice") if name == "cookie" else ()
            ran, seen = asked(stage, CLIENT, f"{url}?user=alice&n=[1-20]", *cookie)
            expect(record, ran, "20 of 20 from one server", sorted(seen.values()) == [20], dict(seen))
        _spread(stage, record)
        ran, _ = asked(stage, CLIENT, "http://cookie.ext.example/", "-D", "-")
        expect(record, ran, "who has no cookie gets one", "set-cookie: user=" in ran.out.lower())


def _spread(stage: Stage, record: Recorder) -> None:
    for name in ("query", "maglev"):
        count = bounds.draws_to_see_all(3, 0.2)
        ran, seen = asked(stage, CLIENT, f"http://{name}.ext.example/?user=u[1-{count}]")
        expect(record, ran, f"{count} users: over all three servers", set(seen) == THREE, dict(sorted(seen.items())))


def return_of_the_ejected(stage: Stage, record: Recorder) -> None:
    arguments = ("--cluster", "outbound|80||returning.ext.example")
    with stage.applied("s004/returning.yaml"):
        until_listed(stage, "route", CLIENT, "returning.ext.example", "--name", "80")
        for text in ("ejected at its second failure", "ejected again"):
            ran, rows = stage.until(
                lambda: _after_failures(stage, *arguments), lambda seen: _failed(seen[1]) == {"8132"}
            )
            expect(record, ran, text, _failed(rows) == {"8132"})
            ran, rows = stage.until(
                lambda: table(stage, "endpoint", CLIENT, *arguments), lambda seen: not _failed(seen[1])
            )
            expect(record, ran, "and back when its time is over", len(rows) == 2 and not _failed(rows))


def _after_failures(stage: Stage, *arguments: str) -> tuple[Ran, list[str]]:
    asked(stage, CLIENT, "http://returning.ext.example/?[1-40]")
    return table(stage, "endpoint", CLIENT, *arguments)


def _failed(rows: list[str]) -> set[str]:
    """Ports of the endpoints that are ejected."""
    return {row.split()[0].rpartition(":")[2] for row in rows if " FAILED " in row}


def panic(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/panic.yaml"):
        for name, text, wanted in (
            ("panic", "below 40 % healthy the ejections are ignored: all three answer", {"good", "bad", "worse"}),
            ("calm", "without the threshold the healthy one answers alone", {"good"}),
        ):
            url, arguments = f"http://{name}.ext.example/", ("--cluster", f"outbound|80||{name}.ext.example")
            until_listed(stage, "route", CLIENT, f"{name}.ext.example", "--name", "80")
            asked(stage, CLIENT, f"{url}?[1-60]")
            ran, rows = stage.until(
                lambda: table(stage, "endpoint", CLIENT, *arguments),  # noqa: B023
                lambda seen: _failed(seen[1]) == {"8132", "8133"},
            )
            expect(record, ran, "the two that fail are ejected", _failed(rows) == {"8132", "8133"})
            # Envoy tells its workers of changes that come close together once a second.
            ran, seen = stage.until(lambda: asked(stage, CLIENT, f"{url}?[1-60]"), lambda seen: set(seen[1]) == wanted)  # noqa: B023
            expect(record, ran, text, set(seen) == wanted and seen.total() == 60, dict(seen))


def keep_alive(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/policy.yaml"):
        until_listed(stage, "cluster", CLIENT, "nginx-external", "--fqdn", "nginx.ext.example")
        stage.until(
            lambda: curl(stage, CLIENT, "-w", " %{http_code}", "http://nginx.ext.example/"),
            lambda ran: ran.out.endswith(" 200"),
        )
        ran = stage.inside(CLIENT, "ss", "-tno", "dst", "10.122.24.139")
        expect(
            record,
            ran,
            "the sidecar's connections have a keep-alive timer of two hours",
            "timer:(keepalive,1" in ran.out,
        )


def no_endpoint(stage: Stage, record: Recorder) -> None:
    with stage.applied("s004/empty.yaml"):
        until_listed(stage, "route", CLIENT, "empty.ext.example", "--name", "80")
        ran, _ = asked(stage, CLIENT, "http://empty.ext.example/", "-w", " %{http_code}")
        lines = stage.logged(CLIENT, '"empty.ext.example"')[-1:]
        passed = ran.out == "no healthy upstream 503" and " 503 UH no_healthy_upstream " in lines[0]
        expect(record, ran, "503, flag UH, no_healthy_upstream", passed, evidence=lines)


def refresh_rate(stage: Stage, record: Recorder) -> None:
    with stage.mesh(dnsRefreshRate="7s"), stage.applied("s004/resolutions.yaml"):
        ran, found = stage.until(
            lambda: config(stage, "cluster", CLIENT, "--fqdn", "two.ext.example"),
            lambda seen: bool(seen[1]) and seen[1][0].get("dnsRefreshRate") == "7s",
        )
        seen = (found[0].get("dnsRefreshRate"), found[0].get("dnsLookupFamily")) if found else None
        expect(record, ran, "the mesh's dnsRefreshRate; V4_ONLY", seen == ("7s", "V4_ONLY"), seen)


STEPS = (
    Listed("R066, R073 A connect time-out of 10 ms, and three attempts", connect_timeout),
    Listed("R067 A limit that overflows", limits),
    Listed("R076 Retries of an external service", retries),
    Listed("R080 The load balancers", balancers),
    Listed("R082 Consistent hashing by cookie, address and query; ring and Maglev", hashes),
    Listed("R086 Return of the ejected", return_of_the_ejected, claims=("C004-31",)),
    Listed("R087 Panic below the least health", panic, claims=("C004-31",)),
    Listed("R068 TCP keep-alive", keep_alive),
    Listed("R122 A cluster without endpoints", no_endpoint),
    Listed("R065 dnsRefreshRate and dnsLookupFamily", refresh_rate),
)
