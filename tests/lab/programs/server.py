"""A server of the mesh tests: tells who it is and how it was reached, is slow or fails when told to.

/switch/STATUS makes every later answer have that status (200: as before); /delay/SECONDS waits.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUS = {"now": 200}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        _, action, value, *_ = [*self.path.split("/"), "", ""]
        if action == "switch":
            STATUS["now"] = int(value)
        if action == "delay":
            time.sleep(float(value))
        status = 200 if action == "switch" else STATUS["now"]
        peer = self.client_address[0]
        body = json.dumps({"version": os.environ["VERSION"], "peer": peer, "host": self.headers["host"]}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet: the sidecars' access logs are what is looked at."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


Server(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
