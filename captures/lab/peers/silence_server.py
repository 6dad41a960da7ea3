"""A threaded server of the standard library whose pages say in their path how they are made; it never closes an idle connection.

    silence_server.py PORT [SECONDS]

GET /size/N: N bytes. GET /slow/MS/N: after so long. GET /drip/COUNT/MS/N: so many chunks of N bytes, so far apart.
POST /up: reads the body, answers with 5 bytes. POST /lazy/MS: waits before it reads. SECONDS: how long it waits for data.
"""

import http.server
import socket
import sys
import time


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        kind, *numbers = self.path.strip("/").split("/")
        numbers = [int(number) for number in numbers]
        if kind == "drip":
            self.drip(*numbers)
            return
        if kind == "slow":
            time.sleep(numbers[0] / 1000)
        self.page(numbers[-1])

    def do_POST(self):
        kind, *numbers = self.path.strip("/").split("/")
        if kind == "lazy":
            time.sleep(int(numbers[0]) / 1000)
        left = int(self.headers["Content-Length"])
        while left and (piece := self.rfile.read(min(left, 65_536))):
            left -= len(piece)
        self.page(5)

    def page(self, size):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"s" * size)
        self.wfile.flush()

    def drip(self, count, pause, size):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(count):
            self.wfile.write(b"%x\r\n" % size + b"d" * size + b"\r\n")
            self.wfile.flush()
            time.sleep(pause / 1000)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def handle_error(self, *_):
        """Clients leave; that is what is being recorded."""


Pages.timeout = float(sys.argv[2]) if len(sys.argv) > 2 else None
Server(("::", int(sys.argv[1])), Pages).serve_forever()
