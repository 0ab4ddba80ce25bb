"""Answers on its ports, and tells each caller where it arrived and from where it is seen to come.

Argument: a JSON object. ``said_by`` stands in every answer; ``family`` is 4 or 6; ``transparent`` takes what was for
other addresses. Ports of ``tcp`` say it as soon as
somebody comes, those of ``http`` in answer to any request, and those of ``dns`` as the TXT record of any name, over UDP
(at address ``dns_address``) and TCP. A line on standard input is answered by a line that counts what arrived.
"""

import encodings.idna  # noqa: F401 (socket needs it, and is not allowed to load it later)
import json
import selectors
import socket
import sys
from collections import Counter

import dns.message
import dns.rrset

GIVEN = json.loads(sys.argv[1])
V6 = GIVEN["family"] == 6
FAMILY = socket.AF_INET6 if V6 else socket.AF_INET
EVERY = "::" if V6 else "0.0.0.0"
TRANSPARENT_V4, TRANSPARENT_V6 = (socket.SOL_IP, 19), (socket.IPPROTO_IPV6, 75)
chosen = selectors.DefaultSelector()
counted: Counter[str] = Counter()


def listener(port, kind, address=EVERY, both=False):
    made = socket.socket(FAMILY, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if V6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    if GIVEN.get("transparent"):
        made.setsockopt(*(TRANSPARENT_V6 if V6 else TRANSPARENT_V4), 1)
    made.bind((address, port))
    if kind == socket.SOCK_STREAM:
        made.listen(4096)
    made.setblocking(False)
    return made


def told(peer, port):
    return json.dumps({"by": GIVEN["said_by"], "port": port, "peer": list(peer[:2])}).encode()


def accept(server, port, speaks):
    for _ in range(256):
        try:
            connection, peer = server.accept()
        except BlockingIOError:
            return
        counted[str(port)] += 1
        try:
            if speaks == "tcp":
                connection.sendall(told(peer, port) + b"\n")
        except OSError:
            connection.close()
            continue
        chosen.register(connection, selectors.EVENT_READ, (speaks, port))


def hear(connection, port, speaks):
    """Further bytes: an echo, a request or a query."""
    try:
        data = connection.recv(4096)
        if data:
            connection.sendall(answers(speaks, data, connection.getpeername(), port))
            return
    except OSError:
        pass
    chosen.unregister(connection)
    connection.close()


def answers(speaks, data, peer, port):
    if speaks == "http":
        body = told(peer, port)
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    if speaks == "dns":
        reply = named(data[2:], peer, port)
        return len(reply).to_bytes(2, "big") + reply
    return data


def named(query, peer, port):
    reply = dns.message.make_response(dns.message.from_wire(query))
    text = json.dumps(told(peer, port).decode())
    reply.answer.append(dns.rrset.from_text(reply.question[0].name, 5, "IN", "TXT", text))
    return reply.to_wire()


def datagram(server, port):
    data, peer = server.recvfrom(4096)
    counted[f"udp {port}"] += 1
    server.sendto(named(data, peer, port), peer)


def main():
    for speaks in ("tcp", "http", "dns"):
        for port in GIVEN.get(speaks, ()):
            made = listener(port, socket.SOCK_STREAM, both=speaks == "http")  # Envoy asks the agent over IPv4
            chosen.register(made, selectors.EVENT_READ, ("accept", port, speaks))
    for port in GIVEN.get("dns", ()):
        # An answer must come from where it was asked, which a socket of every address does not ensure.
        served = listener(port, socket.SOCK_DGRAM, GIVEN["dns_address"])
        chosen.register(served, selectors.EVENT_READ, ("datagram", port))
    chosen.register(sys.stdin, selectors.EVENT_READ, ("count",))
    print("ready", flush=True)
    while True:
        for key, _ in chosen.select():
            act, *given = key.data
            if act == "count":
                if not sys.stdin.readline():
                    return
                print(json.dumps(counted), flush=True)
            elif act == "accept":
                accept(key.fileobj, *given)
            elif act == "datagram":
                datagram(key.fileobj, *given)
            else:
                hear(key.fileobj, given[0], act)


main()
