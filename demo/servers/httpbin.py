"""A stand-in for httpbin: /headers tells the request's headers, /delay/N answers after N seconds."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST = 30


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # header and body in one packet, else each answer waits for a delayed acknowledgement

    def do_GET(self) -> None:
        first, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        if first == "delay" and rest.isdecimal():
            time.sleep(min(int(rest), LONGEST))
        elif first != "headers":
            self.send_error(404)
            return
        body = json.dumps({"headers": dict(self.headers), "peer": self.client_address[0]}).encode() + b"\n"
        try:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client did not wait


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    Server(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
