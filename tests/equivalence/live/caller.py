"""Runs inside a network namespace: opens connections as it is told on standard input, tells what came back.

Arguments: the user to be, and an address at which to answer every query for an address, or none.
Needs nothing but Python itself.
"""

import asyncio
import base64
import concurrent.futures.thread  # noqa: F401 - the folder of modules is not open to every user
import encodings.idna  # noqa: F401
import json
import os
import re
import socket
import ssl
import sys
from typing import Any

EVERY_NAME, EVERY_NAME6 = "198.18.0.7", "2001:db8:ffff::7"
"""The addresses of every name: everything leads to the far side."""
ADDRESSES = {b"\x00\x01": socket.inet_aton(EVERY_NAME), b"\x00\x1c": socket.inet_pton(socket.AF_INET6, EVERY_NAME6)}
"""By the type of the query: A and AAAA."""
MOST = 65536


async def call(order: dict[str, Any]) -> dict[str, Any]:
    """One connection; ``end``: answered, closed, reset, refused, silent or tls, then why."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET6 if ":" in order["ip"] else socket.AF_INET)
    sock.setblocking(False)
    told: dict[str, Any] = {"id": order["id"], "port": 0, "got": "", "end": ""}
    got, writer = bytearray(), None
    try:
        async with asyncio.timeout(order["patience"]):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((order["source"], order["chosen"]))
            await loop.sock_connect(sock, (order["ip"], order["port"]))
            told["port"] = sock.getsockname()[1]
            reader, writer = await asyncio.open_connection(sock=sock, **secured(order))
            writer.write(base64.b64decode(order["data"]))
            await answer(reader, order["kind"], got)
            told["end"] = "answered" if got else "closed"
    except TimeoutError:
        told["end"] = "silent"
    except ssl.SSLError as error:
        told["end"] = f"tls {error.reason}"
    except ConnectionRefusedError:
        told["end"] = "refused"
    except OSError as error:
        told["end"] = f"reset {type(error).__name__}"
    finally:
        if writer is not None:
            writer.transport.abort()
        sock.close()
    return {**told, "got": base64.b64encode(bytes(got[:2000])).decode()}


def secured(order: dict[str, Any]) -> dict[str, Any]:
    if order["tls"] is None:
        return {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if order["tls"]["certificate"]:
        context.load_cert_chain(*order["tls"]["certificate"])
    if order["tls"]["alpn"]:
        context.set_alpn_protocols(order["tls"]["alpn"])
    return {"ssl": context, "server_hostname": order["tls"]["sni"], "ssl_handshake_timeout": 60}


async def resolve(name: str) -> list[str]:
    """The addresses that the system's resolver gives a program."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, 0, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    return list(dict.fromkeys(each[4][0] for each in found))


async def answer(reader: asyncio.StreamReader, kind: str, got: bytearray) -> None:
    """Read one whole answer, or until the other side ends it."""
    while not whole(bytes(got), kind):
        more = await reader.read(MOST)
        if not more:
            return
        got += more


def whole(got: bytes, kind: str) -> bool:
    if kind == "http2":
        return stream_ended(got)
    if kind == "http1" and got.startswith(b"HTTP/1."):
        head, end, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        return bool(end and length and len(body) >= int(length[1]))
    return bool(got) and kind != "http1"


def stream_ended(got: bytes) -> bool:
    """The request's stream was ended or reset, or the connection given up (RFC 9113, section 6)."""
    while len(got) >= 9:
        size, kind, flags = 9 + int.from_bytes(got[:3], "big"), got[3], got[4]
        if len(got) < size:
            return False
        if kind in (3, 7) or (kind in (0, 1) and flags & 1):
            return True
        got = got[size:]
    return False


class Names(asyncio.DatagramProtocol):
    """Answers A and AAAA with one address each, and everything else with nothing."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        end = data.index(0, 12) + 5
        kind = data[end - 4 : end - 2]
        address = ADDRESSES.get(kind, b"")
        head = data[:2] + b"\x85\x80\x00\x01" + (b"\x00\x01" if address else b"\x00\x00") + bytes(4)
        record = b"\xc0\x0c" + kind + b"\x00\x01\x00\x00\x00\x3c" + len(address).to_bytes(2, "big") + address
        self.transport.sendto(head + data[12:end] + (record if address else b""), peer)


async def main() -> None:
    loop = asyncio.get_running_loop()
    if len(sys.argv) > 2:
        await loop.create_datagram_endpoint(Names, local_addr=(sys.argv[2], 53))
    if sys.argv[1] != "0":
        os.setgroups([])
        os.setgid(int(sys.argv[1]))
        os.setuid(int(sys.argv[1]))
    lines = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    while line := await lines.readline():
        asked = json.loads(line)
        if isinstance(asked, dict):
            names = asked["resolve"]
            told: Any = dict(zip(names, await asyncio.gather(*map(resolve, names)), strict=True))
        else:
            told = await asyncio.gather(*map(call, asked))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
