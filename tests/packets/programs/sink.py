"""Listens where packets may end, and tells each caller where it meant to go and from where it is seen to come.

Argument: a JSON object. ``tcp`` and ``udp`` are ports; ``family`` is 4 or 6; datagrams are taken at
address ``name_server``. ``proxy`` makes it stand in for Envoy:
ports 15001 and 15006 find the original destination, and what comes to 15006 is handed to the application from
127.0.0.6 (::6), or from the caller's own address with ``tproxy``. A line on standard input is answered by a line that
counts what arrived.
"""

import encodings.idna  # noqa: F401 (socket needs it, and is not allowed to load it later)
import json
import os
import selectors
import socket
import struct
import sys
from collections import Counter

GIVEN = json.loads(sys.argv[1])
V6 = GIVEN["family"] == 6
FAMILY = socket.AF_INET6 if V6 else socket.AF_INET
LEVEL = socket.IPPROTO_IPV6 if V6 else socket.IPPROTO_IP
ORIGINAL_DST = 80
TRANSPARENT = 75 if V6 else 19
PASSTHROUGH = "::6" if V6 else "127.0.0.6"
MARK = 1337
TPROXY, PROXY = GIVEN.get("tproxy", False), GIVEN.get("proxy", False)
chosen = selectors.DefaultSelector()
counted: Counter[str] = Counter()


def listener(port, kind):
    made = socket.socket(FAMILY, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if V6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if TPROXY and port == 15006:
        made.setsockopt(LEVEL, TRANSPARENT, 1)
    # A datagram's answer must come from where it was asked, which a socket of every address does not ensure.
    every = "::" if V6 else "0.0.0.0"
    made.bind((GIVEN["name_server"] if kind == socket.SOCK_DGRAM else every, port))
    if kind == socket.SOCK_STREAM:
        made.listen(4096)
    made.setblocking(False)
    return made


def original(connection, port):
    """Address and port that the caller asked for."""
    if not PROXY or port not in (15001, 15006):
        return connection.getsockname()[:2]
    raw = connection.getsockopt(LEVEL, ORIGINAL_DST, 28)
    address = raw[8:24] if V6 else raw[4:8]
    return socket.inet_ntop(FAMILY, address), struct.unpack("!H", raw[2:4])[0]


def onward(wanted, peer):
    """What the application says when the proxy asks it."""
    with socket.socket(FAMILY, socket.SOCK_STREAM) as asking:
        asking.settimeout(2)
        if TPROXY:
            asking.setsockopt(LEVEL, TRANSPARENT, 1)
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        asking.bind((peer if TPROXY else PASSTHROUGH, 0))
        asking.connect(tuple(wanted))
        return json.loads(asking.makefile().readline())


def accept(server, port):
    for _ in range(256):
        try:
            connection, peer = server.accept()
        except BlockingIOError:
            return
        try:
            wanted = original(connection, port)
        except OSError as error:
            wanted = (f"unknown: {error}", 0)
        counted[f"{port} {wanted[0]} {wanted[1]}"] += 1
        told = {"port": port, "original": list(wanted), "peer": peer[0]}
        try:
            if PROXY and port == 15006:
                told["application"] = onward(wanted, peer[0])
            connection.sendall(json.dumps(told).encode() + b"\n")
        except (OSError, ValueError):
            connection.close()
            continue
        chosen.register(connection, selectors.EVENT_READ, ("echo", port))


def echo(connection):
    try:
        data = connection.recv(4096)
        if data:
            connection.sendall(data)
            return
    except OSError:
        pass
    chosen.unregister(connection)
    connection.close()


def answer(server, port):
    data, peer = server.recvfrom(4096)
    counted[f"udp {port}"] += 1
    server.sendto(json.dumps({"port": port, "asked": data.decode(), "peer": peer[0]}).encode(), peer)


def main():
    if "gid" in GIVEN:
        os.setgroups([])
        os.setgid(GIVEN["gid"])
    for kind, name, act in ((socket.SOCK_STREAM, "tcp", "accept"), (socket.SOCK_DGRAM, "udp", "answer")):
        for port in GIVEN.get(name, ()):
            chosen.register(listener(port, kind), selectors.EVENT_READ, (act, port))
    chosen.register(sys.stdin, selectors.EVENT_READ, ("count", 0))
    print("ready", flush=True)
    while True:
        for key, _ in chosen.select():
            act, port = key.data
            if act == "count":
                if not sys.stdin.readline():
                    return
                print(json.dumps(counted), flush=True)
            elif act == "echo":
                echo(key.fileobj)
            else:
                {"accept": accept, "answer": answer}[act](key.fileobj, port)


main()
