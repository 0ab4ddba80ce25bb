"""A workload and another host on one wire, in network namespaces, with programs that answer where packets end."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"
PROXY = 1337
ANSWER_SECONDS = 30
UNDECLARED = 9084
"""A port of the workload's that no Service names."""
NAME = "web.shop.svc.cluster.local"
"""What the workload's own name server knows."""


@dataclass(frozen=True)
class Places:
    """Addresses of one family: the workload's own, another host's, and those that lead to the other host."""

    pod: str
    other: str
    service: str
    """Of a Service whose endpoint is the other host's port 9080."""
    own_service: str
    """Of a Service whose endpoint is the workload itself."""
    empty_service: str
    """Of one without endpoints."""
    outside: str
    excluded: str
    excluded_range: str
    resolver: str
    loopback: str
    passthrough: str
    prefix: int


PLACES = {
    "ipv4": Places(
        pod="10.66.0.2",
        other="10.66.0.3",
        service="10.96.0.10",
        own_service="10.96.0.11",
        empty_service="10.96.0.12",
        outside="203.0.113.9",
        excluded="192.0.2.9",
        excluded_range="192.0.2.0/24",
        resolver="10.96.0.53",
        loopback="127.0.0.1",
        passthrough="127.0.0.6",
        prefix=24,
    ),
    "ipv6": Places(
        pod="fd66::2",
        other="fd66::3",
        service="fd96::10",
        own_service="fd96::11",
        empty_service="fd96::12",
        outside="2001:db8:1::9",
        excluded="2001:db8:2::9",
        excluded_range="2001:db8:2::/64",
        resolver="fd96::53",
        loopback="::1",
        passthrough="::6",
        prefix=64,
    ),
}


class Program:
    """A program in a namespace, asked by lines."""

    def __init__(self, netns: str, name: str, *arguments: str) -> None:
        entering = ["nsenter", f"--net=/run/netns/{netns}", "--"]
        command = [*entering, sys.executable, str(PROGRAMS / f"{name}.py"), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        assert self._line() == "ready"

    def ask(self, given: Any = "") -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        assert ready, f"{self._process.args} did not answer within {ANSWER_SECONDS} s"
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Network:
    """Both namespaces, and in each a program that calls."""

    def __init__(self, family: str, stack: ExitStack) -> None:
        self.family, self.places, self._stack = family, PLACES[family], stack
        self.pod, self.far = f"tgpkt{os.getpid()}p", f"tgpkt{os.getpid()}q"
        for name in (self.pod, self.far):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
        self._connect()
        self.inside, self.outside = self.started(self.pod, "caller"), self.started(self.far, "caller")
        self.inside.ready()
        self.outside.ready()

    def started(self, netns: str, name: str, **given: Any) -> Program:
        made = Program(netns, name, json.dumps(given))
        self._stack.callback(made.close)
        return made

    def _connect(self) -> None:
        places = self.places
        ip("-n", self.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.far)
        for name, own in ((self.pod, [places.pod]), (self.far, self._far())):
            set_kernel(name, "net/ipv4/ip_local_port_range", "1024 65535")
            set_kernel(name, "net/ipv6/conf/all/accept_ra", "0")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "addrgenmode", "none", "up")
            for address in own:
                extra = ("nodad",) if ":" in address else ()
                ip("-n", name, "addr", "add", f"{address}/{places.prefix}", "dev", "eth0", *extra)
        ip("-n", self.pod, "route", "add", "default", "via", places.other)

    def _far(self) -> list[str]:
        """The other host has every address but the workload's: what is let go arrives there."""
        places = self.places
        services = [places.service, places.own_service, places.empty_service]
        return [places.other, *services, places.outside, places.excluded, places.resolver]


class Wire(Network):
    """With servers on both sides, and the workload's name server; its proxy is not among them."""

    def __init__(self, family: str, stack: ExitStack) -> None:
        super().__init__(family, stack)
        places, shape = self.places, {"family": 6 if family == "ipv6" else 4}
        own = {"address": places.loopback, "knows": NAME, "means": places.service}
        self.names = self.started(self.pod, "names", **own, resolver=places.resolver, group=PROXY)
        here = {**shape, "tcp": [9080, 9082, UNDECLARED], "http": [15008, 15020]}
        far = {**shape, "tcp": [80, 443, 9080, 9083], "dns": [53], "dns_address": places.resolver}
        self.application = self.started(self.pod, "sink", said_by="application", **here)
        self.others = self.started(self.far, "sink", said_by="other", **far)
        for program in (self.names, self.application, self.others):
            program.ready()


@contextmanager
def wire(family: str) -> Iterator[Wire]:
    with ExitStack() as stack:
        yield Wire(family, stack)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def set_kernel(netns: str, name: str, value: str) -> None:
    command = ["nsenter", f"--net=/run/netns/{netns}", "--", "tee", f"/proc/sys/{name}"]
    subprocess.run(command, input=value, text=True, check=True, stdout=subprocess.DEVNULL)
