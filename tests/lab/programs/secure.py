"""An HTTPS server of the gateway tests: tells the server name that it was asked for. ``secure.py PORT CERTIFICATE``."""

import http.server
import json
import ssl
import sys
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"version": "partner", "sni": NAMES.get("last"), "host": self.headers["host"]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that speaks no TLS: expected."""


NAMES: dict[str, str | None] = {}


def noted(_socket: ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
    NAMES["last"] = name


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
context.sni_callback = noted  # type: ignore[assignment]
server = Server(("0.0.0.0", int(sys.argv[1])), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
