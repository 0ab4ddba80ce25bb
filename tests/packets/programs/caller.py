"""Makes connections as it is told by lines of JSON, as any user and from any address; answers each by a line."""

import encodings.idna  # noqa: F401 (socket needs it, and is not allowed to load it later)
import errno
import http.client
import json
import os
import selectors
import socket
import struct
import sys
import time

import dns.message
import dns.query
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA  # another user may not be allowed to load them

held = {}
RESET = struct.pack("ii", 1, 0)
AT_ONCE = 100  # fewer than wait for accept() at most: Envoy listens with 128
SECONDS = 3


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def once(given):
    """One connection or lookup, and what the other end says."""
    speaks = given.get("speaks", "tcp")
    kind = socket.SOCK_DGRAM if speaks == "udp lookup" else socket.SOCK_STREAM
    with socket.socket(family(given["host"]), kind) as asking:
        asking.settimeout(SECONDS)
        if given.get("source"):
            asking.bind((given["source"], 0))
        asking.connect((given["host"], given["port"]))
        own = asking.getsockname()[:2]
        said = {"tcp": first_line, "http": request}.get(speaks, lookup)(asking, given)
    return {**said, "own": list(own)}


def first_line(asking, _given):
    return json.loads(asking.makefile().readline())


def request(asking, given):
    asking.sendall(f"GET {given['path']} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n".encode())
    answer = http.client.HTTPResponse(asking)
    answer.begin()
    return {"status": answer.status, "body": answer.read().decode()}


def lookup(asking, given):
    """All records of an answer as text."""
    query = dns.message.make_query(given["name"], given["type"])
    deadline = time.time() + SECONDS
    if asking.type == socket.SOCK_DGRAM:
        asking.send(query.to_wire())
        answer = dns.message.from_wire(asking.recv(4096))
    else:
        dns.query.send_tcp(asking, query, deadline)
        answer, _ = dns.query.receive_tcp(asking, deadline)
    return {"records": [record.to_text() for each in answer.answer for record in each]}


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
        except Exception as error:  # whatever it is, a line has to be said
            said = {"error": repr(error)}
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


def let_go(given):
    made, reading = held.pop(given["name"])
    reading.close()
    made.close()
    return {}


def speak_last(given):
    """Whether anything is heard before a word is said, and what is heard afterwards."""
    with socket.socket(family(given["host"]), socket.SOCK_STREAM) as asking:
        asking.settimeout(given["silence"])
        asking.connect((given["host"], given["port"]))
        try:
            early = asking.recv(4096).decode()
        except TimeoutError:
            early = ""
        asking.settimeout(SECONDS)
        asking.sendall(b"\x00now\n")
        return {"early": early, "then": early or json.loads(asking.makefile().readline())}


def strays(given):
    """Segments of no connection, sent in their order: the ports that answer by a reset until the last one does."""
    host, own, ports = given["host"], given["source"], given["ports"]
    answered = []
    with socket.socket(family(host), socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.bind((own, 0))
        raw.settimeout(SECONDS)
        for port, flags in ports:
            raw.sendto(segment(own, host, port, flags), (host, 0))
        while ports[-1][0] not in answered:
            data = raw.recv(4096)
            heard = data if ":" in host else data[(data[0] & 15) * 4 :]
            source, destination = struct.unpack_from("!HH", heard)
            if destination == STRAY and heard[13] & RST:
                answered.append(source)
    return {"answered": answered}


STRAY, RST = 4444, 4


def segment(own, host, port, flags):
    kind = family(own)
    addresses = socket.inet_pton(kind, own) + socket.inet_pton(kind, host)
    head = struct.pack("!HHIIBBHHH", STRAY, port, 1, 0, 5 << 4, flags, 1024, 0, 0)
    covered = addresses + struct.pack("!HH", 6, len(head)) + head
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:]


def churn(given):
    """Short connections, many at once, each ended by the other side: then it was taken, and none waits for that."""
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
            chosen.register(made, selectors.EVENT_READ)
        for key, _ in chosen.select(SECONDS):
            made = key.fileobj
            failed += not ended(made)
            chosen.unregister(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # its port is free again at once
            made.close()
    return {"failed": failed}


def ended(made):
    """Whether the other side has ended it without a word; a connection that never came about has not."""
    try:
        return made.recv(1) == b""
    except ConnectionResetError:
        return True
    except OSError:
        return False


ACTS = {
    "once": as_owner,
    "speak last": speak_last,
    "strays": strays,
    "hold": hold,
    "ping": ping,
    "let go": let_go,
    "churn": churn,
}


def main():
    print("ready", flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        try:
            said = ACTS[given["act"]](given)
        except OSError as error:
            said = {"error": str(error)}
        print(json.dumps(said), flush=True)


main()
