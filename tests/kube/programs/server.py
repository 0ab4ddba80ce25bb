"""server.py HOST PORT: tells each request what came; ends as an application should, once its requests are answered.

``/slow`` says so and takes two seconds; after ``/break`` the path ``/ok`` fails, until ``/mend``.
"""

import http.server
import json
import signal
import sys
import threading
import time

healthy = threading.Event()
healthy.set()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in ("/break", "/mend"):
            (healthy.clear if self.path == "/break" else healthy.set)()
        if self.path == "/slow":
            print("slow", flush=True)
            time.sleep(2)
        told = {"path": self.path, "peer": self.client_address[0], "headers": dict(self.headers)}
        body = json.dumps(told).encode()
        self.send_response(200 if self.path != "/ok" or healthy.is_set() else 500)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes would fill the log."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the requests at hand


if __name__ == "__main__":
    server = Server((sys.argv[1], int(sys.argv[2])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()
