"""What the bookinfo programs share: a JSON server, and calls that carry the request's tracing headers on."""

import json
import os
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9080
SECONDS = 5.0
FORWARDED = ("x-request-id", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "traceparent", "end-user")

Headers = dict[str, str]
Page = dict[str, object]


def call(service: str, path: str, headers: Headers) -> object:
    """GET another service's JSON; a failure is part of the page, as a page with a missing part is."""
    request = urllib.request.Request(f"http://{service}:{PORT}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return json.load(response)
    except (OSError, ValueError) as error:
        return {"error": str(error)}


def serve(service: str, page: Callable[[Headers], Page]) -> None:
    """Answer every GET with ``page``, the program's version and the peer's address as this program sees it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # header and body in one packet, else each answer waits for a delayed acknowledgement

        def do_GET(self) -> None:
            carried = {name: value for name in FORWARDED if (value := self.headers.get(name))}
            answer = {"service": service, "version": os.environ.get("VERSION", "v1"), "peer": self.client_address[0]}
            body = json.dumps(answer | page(carried)).encode() + b"\n"
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    Server(("0.0.0.0", PORT), Handler).serve_forever()
