"""Clients that ask what they are told, when they are told, and say what they got.

    told_client.py HOST PORT PLAN

PLAN is a JSON file: a list of clients, each a list of requests, one after the other on a connection that is kept while it lasts.
A request has `at` (seconds since the start) or `after` (seconds since the answer before it), `id`, `method`, `target` and
`fields` (name -> value), and may have `body` (bytes) and `leave`: seconds after which the client closes. Prints a JSON object
per request: `id`, `got` (answered, cut, closed, left, garbage), `status` and `by` (the X-From of the answer, or null).
"""

import contextlib
import json
import re
import socket
import sys
import threading
import time
from pathlib import Path

PATIENCE = 9.0
SAYING = threading.Lock()


class Left(Exception):
    """The client does not wait any longer."""


class Connection:
    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b""

    def more(self, deadline):
        """Reads; False at the end."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise Left
        self.socket.settimeout(left)
        try:
            piece = self.socket.recv(65_536)
        except TimeoutError:
            raise Left from None
        except ConnectionError:
            return False
        self.bytes += piece
        return bool(piece)

    def until(self, mark, deadline):
        while mark not in self.bytes:
            if not self.more(deadline):
                return None
        before, self.bytes = self.bytes.split(mark, 1)
        return before

    def take(self, size, deadline):
        while len(self.bytes) < size:
            if not self.more(deadline):
                return False
        self.bytes = self.bytes[size:]
        return True


def read_answer(connection, method, deadline):
    """What was got, the status and X-From; True where the connection can be used again."""
    head = connection.until(b"\r\n\r\n", deadline)
    if head is None or not head.startswith(b"HTTP/1."):
        return ("garbage" if connection.bytes or head else "closed"), None, None, False
    fields = head.decode("latin-1").lower()
    status = int(head.split()[1])
    by = re.search(r"^x-from: (\S+)", fields, re.M)
    by = by and by[1].upper()
    length = re.search(r"^content-length: (\d+)", fields, re.M)
    whole = True
    keeps = "connection: close" not in fields
    if method == "HEAD" or status in (204, 304):
        pass
    elif "transfer-encoding: chunked" in fields:
        while True:
            line = connection.until(b"\r\n", deadline)
            size = int(line.split(b";")[0], 16) if line else None
            if size is None or not connection.take(size + 2, deadline):
                whole = False
                break
            if not size:
                break
    elif length:
        whole = connection.take(int(length[1]), deadline)
    else:
        keeps = False
        while connection.more(deadline):
            pass
    return ("answered" if whole else "cut"), status, by, keeps and whole


def ask(address, requests, start):
    connection, answered = None, start
    for request in requests:
        due = answered + request["after"] if "after" in request else start + request["at"]
        time.sleep(max(0.0, due - time.monotonic()))
        body = b"b" * request.get("body", 0)
        fields = dict(request["fields"])
        if body or request["method"] == "POST":
            fields["Content-Length"] = str(len(body))
        lines = [f"{request['method']} {request['target']} HTTP/1.1", "Host: www.example"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        keeps, got = False, ("closed", None, None)
        try:
            connection = connection or Connection(address)
            deadline = time.monotonic() + request.get("leave", PATIENCE)
            connection.socket.settimeout(request.get("leave", PATIENCE))
            with contextlib.suppress(ConnectionError):  # it may have answered all the same
                connection.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            *got, keeps = read_answer(connection, request["method"], deadline)
        except (Left, TimeoutError):
            got = "left", None, None
        except ConnectionError:
            pass
        answered = time.monotonic()
        if not keeps and connection:
            connection.socket.close()
            connection = None
        with SAYING:
            print(json.dumps({"id": request["id"], "got": got[0], "status": got[1], "by": got[2]}), flush=True)
    if connection:
        time.sleep(0.05)
        connection.socket.close()


def main():
    address = sys.argv[1], int(sys.argv[2])
    start = time.monotonic() + 0.2
    clients = [
        threading.Thread(target=ask, args=(address, requests, start)) for requests in json.loads(Path(sys.argv[3]).read_text())
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


main()
