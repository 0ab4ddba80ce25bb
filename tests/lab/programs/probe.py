"""Asks from inside a workload: a JSON question on each line of standard input, a JSON answer on each of output.

``{"do": "get", "url", "headers", "count", "keep"}`` -> a list of ``{"status", "body", "headers"}`` or ``{"error"}``;
``{"do": "tcp", "host", "port", "send"}`` -> ``{"connected", "received", "ended"}``;
``{"do": "load", "url", "clients"}`` asks without pause until ``{"do": "stop"}`` -> ``{"statuses", "errors"}``.
"""

import collections
import http.client
import json
import socket
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

SECONDS = 20.0
SILENCE = 1.0


def one(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> dict[str, Any]:
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        return {"status": response.status, "body": body, "headers": {k.lower(): v for k, v in response.getheaders()}}
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return {"status": 0, "error": f"{type(error).__name__}: {error}"}


def get(ask: dict[str, Any]) -> list[dict[str, Any]]:
    url = urlsplit(ask["url"])
    connection = http.client.HTTPConnection(url.netloc, timeout=SECONDS)
    answers = []
    for _ in range(ask.get("count", 1)):
        answers.append(one(connection, url.path or "/", ask.get("headers", {})))
        if not ask.get("keep", True):
            connection.close()
    connection.close()
    return answers


def tcp(ask: dict[str, Any]) -> dict[str, Any]:
    """Connect, send, and read until the other side closes or says nothing more."""
    try:
        connection = socket.create_connection((ask["host"], ask["port"]), SECONDS)
    except OSError as error:
        return {"connected": False, "received": "", "ended": str(error)}
    received = b""
    with connection:
        connection.settimeout(SILENCE)
        try:
            connection.sendall(ask.get("send", "").encode())
            while data := connection.recv(65536):
                received += data
            ended = "closed"
        except TimeoutError:
            ended = "open"
        except OSError as error:
            ended = type(error).__name__
    return {"connected": True, "received": received.decode(), "ended": ended}


class Load:
    """Clients that ask one request after the other."""

    def __init__(self, url: str, clients: int) -> None:
        self.url, self.stopping = urlsplit(url), threading.Event()
        self.statuses: collections.Counter[str] = collections.Counter()
        self.errors: list[str] = []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.url.netloc, timeout=SECONDS)
        while not self.stopping.wait(0.005):
            answer = one(connection, self.url.path or "/", {})
            self.statuses[str(answer["status"])] += 1
            if "error" in answer:
                self.errors.append(answer["error"])
        connection.close()

    def stop(self) -> dict[str, Any]:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return {"statuses": dict(self.statuses), "errors": self.errors[:20]}


def main() -> None:
    load: Load | None = None
    for line in sys.stdin:
        ask = json.loads(line)
        answer: Any = None
        if ask["do"] == "get":
            answer = get(ask)
        elif ask["do"] == "tcp":
            answer = tcp(ask)
        elif ask["do"] == "load":
            load = Load(ask["url"], ask["clients"])
        elif ask["do"] == "stop" and load is not None:
            answer = load.stop()
        print(json.dumps(answer), flush=True)


main()
