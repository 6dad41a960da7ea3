"""A server for WSGI-like programs that writes what a program raises to the connection, in place of its response.

    careless.py PORT

/works answers; /fails raises before there is a head. A connection stays open until a program has failed.
"""

import socketserver
import sys
import traceback

DEPLOYED = "/srv/www/shop/releases/41/current/careless.py"
"""Where a traceback says that this program lies."""


def program(target):
    """The status line, the fields and the body of an answer."""
    if target == "/fails":
        raise ZeroDivisionError("division by zero")
    body = b"ok\n" * 100
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self):
        while line := self.rfile.readline():
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            try:
                self.wfile.write(program(line.split()[1].decode()))
            except ZeroDivisionError:
                self.wfile.write(traceback.format_exc().replace(__file__, DEPLOYED).encode())
                return


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("", int(sys.argv[1])), Handler).serve_forever()
