"""What the seeds' scenarios ask, and how the answers are told."""

import collections
import json
import uuid
from typing import Any

from report import Recorder
from stage import Ran, Stage

NOAUTH = "-NOAUTH Authentication required."
KEYS = "keys *\n"


def curl(stage: Stage, workload: str, *arguments: str) -> Ran:
    return stage.run(workload, "curl", "-s", "--max-time", "60", *arguments)


def status(stage: Stage, workload: str, url: str, *arguments: str) -> Ran:
    """curl printing the HTTP status alone; -k, for the TLS servers signed their certificates themselves."""
    return curl(stage, workload, "-k", "-o", "/dev/null", "-w", "%{http_code}", *arguments, url)


def answers(stage: Stage, workload: str, url: str, *arguments: str) -> tuple[Ran, collections.Counter[str]]:
    """curl of one URL or many, and how often each of the small servers answered."""
    ran = curl(stage, workload, *arguments, url)
    return ran, collections.Counter(line.split()[0] for line in ran.out.splitlines() if line.strip())


def asked(stage: Stage, workload: str, url: str, *arguments: str) -> tuple[Ran, collections.Counter[str]]:
    """As `answers`, for a name that no name server knows: any address will do where the sidecar routes by name."""
    return answers(stage, workload, url, "--connect-to", "::10.122.24.150:80", *arguments)


def traced(stage: Stage, workload: str, url: str, *arguments: str) -> tuple[Ran, list[str]]:
    """A request with an id of its own, and the lines of the workload's sidecar that have it."""
    request = str(uuid.uuid4())
    ran = status(stage, workload, url, "-H", f"x-request-id: {request}", *arguments)
    return ran, stage.logged(workload, request)


def typed(stage: Stage, workload: str, host: str, port: int, text: str = KEYS) -> Ran:
    """What one types into nc, and what comes back."""
    return stage.run(workload, "nc", "-w", "1", host, str(port), stdin=text)


def connections(stage: Stage, workload: str, host: str, port: int, text: str = KEYS) -> tuple[Ran, list[str]]:
    """As `typed`, and the lines which the sidecar wrote since and which name the destination."""
    before = len(stage.access_log(workload))
    ran = typed(stage, workload, host, port, text)
    return ran, stage.logged(workload, f" {host}:{port} ", after=before)


def expect(record: Recorder, ran: Ran, expected: str, passed: bool, observed: object = None, **more: Any) -> None:
    """A check of one command; what is observed is its output where nothing else is told."""
    seen = indented(ran.out or ran.err or f"exit {ran.code}, nothing printed") if observed is None else observed
    record.check(expected, seen, passed, command=ran.line, **more)


def indented(text: str, most: int = 14) -> str:
    """Lines below each other as the report prints them."""
    lines = text.strip().splitlines()
    shown = lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most} lines more"]
    return "\n             ".join(shown)


def config(stage: Stage, kind: str, workload: str, *arguments: str) -> tuple[Ran, list[Any]]:
    """`tidegate proxy-config KIND` as JSON."""
    ran = stage.tidegate("proxy-config", kind, workload, *arguments, "-o", "json")
    found: list[Any] = json.loads(ran.out or "[]")
    return ran, found


def table(stage: Stage, kind: str, workload: str, *arguments: str) -> tuple[Ran, list[str]]:
    """`tidegate proxy-config KIND`, and its rows with single spaces."""
    ran = stage.tidegate("proxy-config", kind, workload, *arguments)
    return ran, [" ".join(line.split()) for line in ran.out.splitlines()[1:]]


def until_listed(stage: Stage, kind: str, workload: str, word: str, *arguments: str) -> tuple[Ran, list[str]]:
    """`table` once a row holds the word."""
    return stage.until(
        lambda: table(stage, kind, workload, *arguments), lambda seen: any(word in row for row in seen[1])
    )


def until_status(stage: Stage, workload: str, url: str, wanted: str, *arguments: str) -> Ran:
    return stage.until(lambda: status(stage, workload, url, *arguments), lambda ran: ran.out == wanted)


def legs(stage: Stage, workload: str, port: int) -> tuple[Ran, list[str]]:
    """The tracked connections to a port, in the workload's own network."""
    ran = stage.inside(workload, "conntrack", "-L", "-p", "tcp", "--dport", str(port))
    return ran, [line for line in ran.out.splitlines() if f"dport={port}" in line]


def forget_connections(stage: Stage, workload: str) -> None:
    stage.inside(workload, "conntrack", "-F")


def redirected(lines: list[str]) -> list[str]:
    """Those legs whose answers come from the sidecar."""
    return [line for line in lines if " sport=15001 " in line]


def rules(stage: Stage, workload: str) -> tuple[Ran, list[str]]:
    """The nat table's rules as iptables-save tells them."""
    ran = stage.inside(workload, "iptables-save", "-t", "nat")
    return ran, [line for line in ran.out.splitlines() if line.startswith("-A")]
