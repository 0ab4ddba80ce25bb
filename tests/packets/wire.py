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
ANSWER_SECONDS = 10
SINK_PORTS = (15001, 15006, 15053)
APPLICATION_PORTS = (9080, 9082, 15008, 15020, 15021, 15090)
FAR_PORTS = (53, 80, 443, 9080, 9083)


@dataclass(frozen=True)
class Places:
    """Addresses of one family: the workload's own, another host's, and those that lead to the other host."""

    pod: str
    other: str
    service: str
    outside: str
    excluded: str
    excluded_range: str
    resolver: str
    loopback: str
    passthrough: str
    prefix: int


PLACES = {
    "ipv4": Places(
        "10.66.0.2",
        "10.66.0.3",
        "10.96.0.10",
        "203.0.113.9",
        "192.0.2.9",
        "192.0.2.0/24",
        "10.96.0.53",
        "127.0.0.1",
        "127.0.0.6",
        24,
    ),
    "ipv6": Places(
        "fd66::2",
        "fd66::3",
        "fd96::10",
        "2001:db8:1::9",
        "2001:db8:2::9",
        "2001:db8:2::/64",
        "fd96::53",
        "::1",
        "::6",
        64,
    ),
}


class Program:
    """A program in a namespace, asked by lines."""

    def __init__(self, netns: str, name: str, *arguments: str) -> None:
        entering = ["nsenter", f"--net=/run/netns/{netns}", "--"]
        command = [*entering, sys.executable, str(PROGRAMS / f"{name}.py"), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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


class Wire:
    """Both namespaces and their programs."""

    def __init__(self, family: str, *, tproxy: bool, stack: ExitStack) -> None:
        self.family, self.places = family, PLACES[family]
        self.pod, self.far = f"tgpkt{os.getpid()}p", f"tgpkt{os.getpid()}q"
        for name in (self.pod, self.far):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
        self._connect()
        shape = {"family": 6 if family == "ipv6" else 4}

        def started(netns: str, name: str, *arguments: str) -> Program:
            made = Program(netns, name, *arguments)
            stack.callback(made.close)
            return made

        proxy = {**shape, "proxy": True, "tproxy": tproxy, "gid": PROXY, "tcp": SINK_PORTS, "udp": [15053]}
        proxy["name_server"] = self.places.loopback
        self.proxy = started(self.pod, "sink", json.dumps(proxy))
        self.application = started(self.pod, "sink", json.dumps({**shape, "tcp": APPLICATION_PORTS}))
        far = {**shape, "tcp": FAR_PORTS, "udp": [53], "name_server": self.places.resolver}
        self.others = started(self.far, "sink", json.dumps(far))
        self.inside, self.outside = started(self.pod, "caller"), started(self.far, "caller")

    def _connect(self) -> None:
        places = self.places
        _ip("-n", self.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.far)
        for name, own in ((self.pod, [places.pod]), (self.far, self._far())):
            _set(name, "net/ipv4/ip_local_port_range", "1024 65535")
            _set(name, "net/ipv6/conf/all/accept_ra", "0")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "eth0", "addrgenmode", "none", "up")
            for address in own:
                extra = ("nodad",) if ":" in address else ()
                _ip("-n", name, "addr", "add", f"{address}/{places.prefix}", "dev", "eth0", *extra)
        _ip("-n", self.pod, "route", "add", "default", "via", places.other)

    def _far(self) -> list[str]:
        places = self.places
        return [places.other, places.service, places.outside, places.excluded, places.resolver]


@contextmanager
def wire(family: str, *, tproxy: bool) -> Iterator[Wire]:
    with ExitStack() as stack:
        yield Wire(family, tproxy=tproxy, stack=stack)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _set(netns: str, name: str, value: str) -> None:
    command = ["nsenter", f"--net=/run/netns/{netns}", "--", "tee", f"/proc/sys/{name}"]
    subprocess.run(command, input=value, text=True, check=True, stdout=subprocess.DEVNULL)
