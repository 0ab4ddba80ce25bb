"""Asks again and again over one connection and prints each change of the answer's status, with when it came.

Runs in a workload: ``poller.py HOST PORT``. A line is ``STATUS NANOSECONDS``, of the clock that all processes of the
machine share (CLOCK_MONOTONIC), read when the answer was there.
"""

import socket
import sys
import time

PAUSE = 0.001
"""Seconds between an answer and the next question."""


def answer(connection: socket.socket) -> int:
    """The status of one answer, read to the end of its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(fields.get(b"content-length", b"0")) - len(body)
    while left > 0:
        left -= len(_more(connection))
    return int(head.split(b" ", 2)[1])


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the connection was closed")
    return data


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    question = f"GET / HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
    last = 0
    with socket.create_connection((host, port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            connection.sendall(question)
            status = answer(connection)
            if status != last:
                print(status, time.monotonic_ns(), flush=True)
                last = status
            time.sleep(PAUSE)


main()
