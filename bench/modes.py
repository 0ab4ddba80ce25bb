"""What capture costs: latency and connections a second by mode and backend, and the time it takes to apply rules.

A Pod with its sidecar and another host, each in a network namespace, with nginx on both and wrk as the caller. The
ways are measured one after the other, round after round, every other round backwards; each is compared with ``none`` of
its own round, and the median of these ratios told with the smallest and the largest. ``none`` is without Envoy and
rules, ``envoy`` by Envoy without rules, so that what the rules add can be told from what Envoy costs. Needs root, wrk
and nginx, and some three minutes.
"""

import argparse
import contextlib
import functools
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.packets.sidecar import sidecar
from tests.packets.wire import Network
from tidegate.capture.backend import Backend
from tidegate.capture.install import install, uninstall
from tidegate.capture.kernel import Binary, Kernel
from tidegate.rules.options import ALL, CaptureOptions, Surroundings

Row = dict[str, Any]
Found = dict[tuple[str, str, str], list[dict[str, float]]]
"""Way, direction and kind to the figures of each round."""

APPLIED = 10
"""Times that each rule set is applied."""
DIRECT_IN, DIRECT_OUT = 8081, 8082
"""Ports at which Envoy takes connections without packet rules."""
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_TEMPORARY = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
_NGINX = (
    "daemon off; master_process off; pid nginx.pid; error_log stderr crit; events {{ worker_connections 8192; }}"
    "http {{ access_log off; {temporary} keepalive_requests 1000000000;"
    " server {{ listen 9080 backlog=4096; location / {{ return 200 'ok'; }} }} }}"
)


class Way(NamedTuple):
    """How a connection gets to the application."""

    name: str
    mode: str
    """Of the sidecar that runs meanwhile."""
    backend: Backend | None = None
    """None: there are no rules."""


WAYS = (
    Way("none", "REDIRECT"),
    Way("envoy", "REDIRECT"),
    Way("REDIRECT iptables", "REDIRECT", "iptables"),
    Way("REDIRECT nftables", "REDIRECT", "nftables"),
    Way("TPROXY iptables", "TPROXY", "iptables"),
    Way("TPROXY nftables", "TPROXY", "nftables"),
)
HERE = Surroundings()


def options_of(mode: Any) -> CaptureOptions:
    ports = ("15020", "15021", "15090")
    return CaptureOptions(
        inbound_interception_mode=mode, inbound_ports=ALL, local_exclude_ports=ports, service_cidr=ALL
    )


# Traffic


@contextlib.contextmanager
def nginx(netns: str, folder: Path) -> Iterator[None]:
    own = folder / netns
    own.mkdir()
    (own / "nginx.conf").write_text(_NGINX.format(temporary=_TEMPORARY))
    command = [*inside(netns), "nginx", "-p", f"{own}/", "-c", "nginx.conf", "-e", "stderr"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def inside(netns: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{netns}", "--"]


def targets(network: Network, way: Way) -> dict[str, tuple[str, str]]:
    """Direction to who calls and what."""
    places = network.places
    into, out = (f"{places.pod}:9080", f"{places.service}:80")
    if way.name == "none":
        out = f"{places.other}:9080"
    elif way.name == "envoy":
        into, out = f"{places.pod}:{DIRECT_IN}", f"{places.pod}:{DIRECT_OUT}"
    return {"inbound": (network.far, into), "outbound": (network.pod, out)}


def explicit(network: Network, config: Row) -> None:
    """Ports of Envoy's own, each carried on to where captured connections are."""
    places, static = network.places, config["static_resources"]
    for port, host in ((DIRECT_IN, places.pod), (DIRECT_OUT, places.other)):
        name = f"direct_{port}"
        endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(host, 9080)}}]}
        assignment = {"cluster_name": name, "endpoints": [endpoint]}
        static["clusters"].append({"name": name, "type": "STATIC", "load_assignment": assignment})
        kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
        proxy = {"name": "tcp", "typed_config": {"@type": kind, "stat_prefix": name, "cluster": name}}
        chain = {"filters": [proxy]}
        static["listeners"].append({"name": name, "address": _address("0.0.0.0", port), "filter_chains": [chain]})


def _address(host: str, port: int) -> Row:
    return {"socket_address": {"address": host, "port_value": port}}


def wrk(netns: str, place: str, seconds: float, *, kept: bool) -> dict[str, float]:
    """What one connection after the other, or requests over kept ones, were like; as an ordinary user.

    What went wrong because the machine was busy is measured again, twice at most.
    """
    told: dict[str, float] | str = ""
    for _ in range(3):
        told = _wrk(netns, place, seconds, kept)
        if isinstance(told, dict):
            return told
    raise SystemExit(f"wrk to {place} says:\n{told}")


def _wrk(netns: str, place: str, seconds: float, kept: bool) -> dict[str, float] | str:
    """The figures, or what wrk says where there are none."""
    command = [*inside(netns), "setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--"]
    header = [] if kept else ["-H", "Connection: close"]
    order = ["wrk", "-t", "1", "-c", "8", "-d", f"{seconds:g}s", "--latency", *header, f"http://{place}/"]
    text = subprocess.run([*command, *order], capture_output=True, text=True, check=True, timeout=60 + seconds).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    found = {name: re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", text) for name in ("50", "99")}
    if rate is None or None in found.values() or "Non-2xx" in text or "Socket errors" in text:
        return text
    times = {f"p{name}_ms": float(each[1]) * _UNITS[each[2]] for name, each in found.items() if each}
    return {"per_s": float(rate[1]), **times}


def round_of(network: Network, seconds: float, found: Found, *, backwards: bool) -> None:
    """Each way once."""
    kernel = Kernel(netns=network.pod)
    ways = WAYS[::-1] if backwards else WAYS
    for mode in dict.fromkeys(way.mode for way in ways):
        with sidecar(network, mode, functools.partial(explicit, network)):
            for way in (each for each in ways if each.mode == mode):
                options = options_of(mode)
                if way.backend:
                    install(options, HERE, kernel, way.backend)
                for direction, (caller, place) in targets(network, way).items():
                    for kind in ("requests", "connections"):
                        told = wrk(caller, place, seconds, kept=kind == "requests")
                        found.setdefault((way.name, direction, kind), []).append(told)
                uninstall(options, HERE, kernel)


def traffic(rounds: int, seconds: float) -> list[Row]:
    found: Found = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tgbench")))
        network = Network("ipv4", stack)
        for netns in (network.pod, network.far):
            stack.enter_context(nginx(netns, folder))
        for number in range(rounds):
            round_of(network, seconds, found, backwards=bool(number % 2))
    return [_row(found, key) for key in found]


def _row(found: Found, key: tuple[str, str, str]) -> Row:
    way, direction, kind = key
    figures, bare = found[key], found["none", direction, kind]
    row: Row = {"measured": kind, "direction": direction, "way": way}
    for name in figures[0]:
        ratios = [each[name] / first[name] for each, first in zip(figures, bare, strict=True) if first[name]]
        row[name] = round(statistics.median(each[name] for each in figures), 3)
        row[f"{name}_ratio"] = [round(of(ratios), 2) for of in (statistics.median, min, max)] if ratios else []
    return row


# Rules


class Counting(Kernel, frozen=True):
    """Tells how often the kernel's tables were changed."""

    changes: list[str] = []

    def run(self, command: list[str], text: str = "") -> str:
        if "restore" in command[0] or "-f" in command:
            self.changes.append(command[0])
        return super().run(command, text)


KINDS: tuple[tuple[str, Backend, Binary], ...] = (
    ("iptables-nft", "iptables", "nft"),
    ("iptables-legacy", "iptables", "legacy"),
    ("nftables", "nftables", ""),
)


def applying() -> list[Row]:
    """Of both families, REDIRECT with captured lookups: into an empty namespace, again, and away."""
    options = CaptureOptions(inbound_ports=ALL, service_cidr=ALL, redirect_dns=True, capture_all_dns=True)
    times: dict[str, dict[str, list[float]]] = {name: {"apply": [], "again": [], "remove": []} for name, *_ in KINDS}
    transactions: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        network = Network("ipv6", stack)
        around = Surroundings(ipv6=True)
        for _ in range(APPLIED):
            for name, backend, binary in KINDS:
                kernel = Counting(netns=network.pod, binary=binary, changes=[])
                acts: dict[str, Callable[[], object]] = {
                    "apply": lambda k=kernel, b=backend: install(options, around, k, b),
                    "again": lambda k=kernel, b=backend: install(options, around, k, b),
                    "remove": lambda k=kernel: uninstall(options, around, k),
                }
                for act, work in acts.items():
                    start = time.perf_counter()
                    work()
                    times[name][act].append(1000 * (time.perf_counter() - start))
                    transactions.setdefault(f"{name} {act}", len(kernel.changes))
                    kernel.changes.clear()
    return [
        {
            "measured": "rules",
            "way": name,
            **{f"{act}_ms": round(statistics.median(taken), 1) for act, taken in times[name].items()},
            **{f"{act}_transactions": transactions[f"{name} {act}"] for act in times[name]},
        }
        for name, *_ in KINDS
    ]


# All of it


def told(rows: list[Row]) -> str:
    """Ratios to no sidecar with their range, and of the backends to the first of them."""
    lines = []
    for row in rows:
        ratios = {name: each for name, each in row.items() if name.endswith("_ratio") and each}
        if ratios and row["way"] != "none":
            figures = ", ".join(
                f"{n.removesuffix('_ratio')} {m:.2f} ({lo:.2f}-{hi:.2f})" for n, (m, lo, hi) in ratios.items()
            )
            lines.append(f"{row['measured']} {row['direction']} {row['way']} / none: {figures}")
    rules = [row for row in rows if row["measured"] == "rules"]
    for row in rules[1:]:
        figures = ", ".join(f"{act} {row[act] / rules[0][act]:.2f}" for act in row if act.endswith("_ms"))
        lines.append(f"rules {row['way']} / {rules[0]['way']}: {figures}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement; there are 24 in a round")
    given = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("packet rules and network namespaces need root")
    for program in ("wrk", "nginx", "nft", "iptables-save"):
        if shutil.which(program) is None:
            print(json.dumps({"measured": "modes", "skipped": f"{program} is not installed"}))
            return
    rows = [*traffic(given.rounds, given.seconds), *applying()]
    for row in rows:
        print(json.dumps(row), flush=True)
    print(told(rows))


if __name__ == "__main__":
    main()
