"""Makes connections as it is told by lines of JSON, as any user and from any address; answers each by a line."""

import encodings.idna  # noqa: F401 (socket needs it, and is not allowed to load it later)
import errno
import json
import os
import selectors
import socket
import struct
import sys

held = {}
RESET = struct.pack("ii", 1, 0)
AT_ONCE = 256
SECONDS = 3


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def once(given):
    """One connection or datagram, and what the other end says."""
    kind = socket.SOCK_DGRAM if given.get("protocol") == "udp" else socket.SOCK_STREAM
    with socket.socket(family(given["host"]), kind) as asking:
        asking.settimeout(SECONDS)
        if given.get("source"):
            asking.bind((given["source"], 0))
        asking.connect((given["host"], given["port"]))
        own = asking.getsockname()[:2]
        if kind == socket.SOCK_DGRAM:
            asking.send(b"name")
            said = asking.recv(4096)
        else:
            said = asking.makefile().readline()
    return {**json.loads(said), "own": list(own)}


def as_owner(given):
    """In a process of its own, whose user and group are what rules look at."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(given["gid"])
            os.setuid(given["uid"])
            said = once(given)
        except OSError as error:
            said = {"error": str(error)}
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said)


def hold(given):
    """A connection that stays."""
    made = socket.create_connection((given["host"], given["port"]), SECONDS)
    reading = made.makefile()
    held[given["name"]] = made, reading
    return json.loads(reading.readline())


def ping(given):
    made, reading = held[given["name"]]
    made.sendall(b"still there\n")
    return {"said": reading.readline().strip()}


def churn(given):
    """Short connections, many at once, each ended by a reset so that its port is free again."""
    chosen, left, places = selectors.DefaultSelector(), given["count"], given["places"]
    failed = 0
    while left or chosen.get_map():
        while left and len(chosen.get_map()) < AT_ONCE:
            left -= 1
            host, port = places[left % len(places)]
            made = socket.socket(family(host), socket.SOCK_STREAM)
            made.setblocking(False)
            if made.connect_ex((host, port)) not in (0, errno.EINPROGRESS):
                raise OSError(f"{host} {port}")
            chosen.register(made, selectors.EVENT_WRITE)
        for key, _ in chosen.select(SECONDS):
            made = key.fileobj
            failed += made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
            chosen.unregister(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            made.close()
    return {"failed": failed}


def main():
    print("ready", flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        act = {"once": as_owner, "hold": hold, "ping": ping, "churn": churn}[given["act"]]
        try:
            said = act(given)
        except OSError as error:
            said = {"error": str(error)}
        print(json.dumps(said), flush=True)


main()
