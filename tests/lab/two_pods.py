"""Two Pods on one wire, for tests of packet rules: who listens, who asks, and what the kernel holds."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.capture.kernel import Kernel

P, Q, P6, Q6 = "10.67.0.2", "10.67.0.3", "fd67::2", "fd67::3"
"""Addresses of the Pod and of the other one, which is also the way to everywhere else."""

SERVER = """
import selectors, socket, sys
chosen = selectors.DefaultSelector()
for port in map(int, sys.argv[1].split(",")):
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.IPPROTO_IPV6, 75, 1)
    server.setsockopt(socket.SOL_IP, 19, 1)
    server.bind(("::", port))
    server.listen(512)
    chosen.register(server, selectors.EVENT_READ, port)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        connection, _ = key.fileobj.accept()
        connection.sendall(str(key.data).encode())
        connection.close()
"""
CLIENT = """
import encodings.idna, os, socket, sys
host, port, source, uid, gid = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
with socket.create_connection((host, int(port)), timeout=5, source_address=(source, 0) if source else None) as peer:
    print(peer.recv(16).decode())
"""
FLOOD = """
import collections, encodings.idna, os, select, socket, sys
host, port, uid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setuid(uid)
seen = collections.Counter()
while not select.select([0], [], [], 0)[0]:
    try:
        with socket.create_connection((host, port), timeout=5) as peer:
            seen[peer.recv(16).decode()] += 1
    except OSError as error:
        seen[type(error).__name__] += 1
    if seen.total() == 20:
        print("ready", flush=True)
print(dict(seen))
"""


@dataclass(frozen=True)
class Pair:
    """The namespaces of both."""

    pod: str
    other: str


@contextlib.contextmanager
def two_pods(prefix: str) -> Iterator[Pair]:
    """Both with their addresses of both families; gone afterwards."""
    pair = Pair(f"{prefix}{os.getpid()}p", f"{prefix}{os.getpid()}q")
    try:
        for name in (pair.pod, pair.other):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", pair.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", pair.other)
        for name, four, six in ((pair.pod, P, P6), (pair.other, Q, Q6)):
            ip("-n", name, "addr", "add", f"{four}/24", "dev", "eth0")
            ip("-n", name, "addr", "add", f"{six}/64", "dev", "eth0", "nodad")
            ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", pair.pod, "route", "add", "default", "via", Q)
        yield pair
    finally:
        for name in (pair.pod, pair.other):
            subprocess.run(["ip", "netns", "del", name], check=False)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def started(name: str, *command: str) -> "subprocess.Popen[str]":
    """A program in a namespace, once it says that it is ready."""
    made = subprocess.Popen(
        ["ip", "netns", "exec", name, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdout is not None and made.stdout.readline() == "ready\n"
    return made


def ended(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


@contextlib.contextmanager
def serving(pair: Pair, ports: str = "9080,15001,15006,15020", others: str = "9080") -> Iterator[None]:
    """Each port, of both Pods, answers with its number."""
    with contextlib.ExitStack() as stack:
        for name, listened in ((pair.pod, ports), (pair.other, others)):
            stack.callback(ended, started(name, sys.executable, "-c", SERVER, listened))
        yield


def ask(name: str, host: str, port: int = 9080, source: str = "", owner: tuple[int, int] = (0, 0)) -> str:
    """The port at which a connection arrives."""
    arguments = (host, str(port), source, str(owner[0]), str(owner[1]))
    command = ["ip", "netns", "exec", name, sys.executable, "-c", CLIENT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def flooded(pair: Pair) -> Iterator[None]:
    """Connections in both directions and families without a pause; all must arrive at the proxy's ports."""
    ways = ((pair.other, P, "0"), (pair.other, P6, "0"), (pair.pod, Q, "1000"), (pair.pod, Q6, "1000"))
    with contextlib.ExitStack() as stack:
        floods = {}
        for where, host, uid in ways:
            flood = started(where, sys.executable, "-c", FLOOD, host, "9080", uid)
            stack.callback(ended, flood)
            floods[flood] = "15006" if uid == "0" else "15001"
        yield
        for flood, port in floods.items():
            seen = flood.communicate(timeout=30)[0].strip()  # which closes its input, and so ends it
            assert seen.startswith(f"{{'{port}': ") and "," not in seen, seen


def tables(kernel: Kernel) -> str:
    """What iptables-save prints, without comments and counters."""
    text = kernel.run([kernel.program("ipv4", "save")])
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(line.partition(" [")[0] if line.startswith(":") else line for line in lines)
