"""Python's http.server, which serves one connection at a time unless it has threads: one_at_a_time.py PORT [threads]"""

import http.server
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b'{"stock": 3}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


kind = http.server.ThreadingHTTPServer if "threads" in sys.argv else http.server.HTTPServer
kind(("", int(sys.argv[1])), Handler).serve_forever()
