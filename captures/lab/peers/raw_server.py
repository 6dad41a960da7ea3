"""A server that writes exactly what it is told, send by send, so that its faults are the ones wanted.

    raw_server.py PORT ANSWERS [nodelay] [early] [probes]

ANSWERS is a JSON file: a list of answers, one per request of a connection, the last one repeated. An answer is a list of
steps: a text is one send, a number is a pause in seconds, {"do": "close"} closes the connection, {"do": "reset"} resets it and
{"do": "forget"} drops it without a word, as after a restart. `early`: answers as soon as the head of a request is read, and
never reads its body. `probes`: sends keep-alive probes to a client that has been silent for a second.
"""

import contextlib
import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path

TCP_REPAIR = 19
"""linux/tcp.h: a connection that is closed while under repair ends without FIN or RST (needs CAP_NET_ADMIN)."""


def request(reader):
    """Reads one request, head and body; False when the client has closed."""
    length = 0
    line = reader.readline()
    if not line:
        return False
    while line not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        line = reader.readline()
    if "early" not in sys.argv[3:]:
        reader.read(length)
    return True


def play(connection, steps):
    """Plays an answer; True when the connection stays open."""
    for step in steps:
        if isinstance(step, str):
            connection.sendall(step.encode("latin-1"))
        elif isinstance(step, dict):
            if step["do"] == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if step["do"] == "forget":
                connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            return False
        else:
            time.sleep(step)
    return True


def serve(connection, answers):
    reader = connection.makefile("rb")
    number = 0
    with connection, contextlib.suppress(OSError):
        while request(reader):
            steps = answers[min(number, len(answers) - 1)]
            number += 1
            if not play(connection, steps):
                break
        reader.close()


def main():
    port, answers = int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            connection, _ = listener.accept()
            if "nodelay" in sys.argv[3:]:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if "probes" in sys.argv[3:]:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
            threading.Thread(target=serve, args=(connection, answers), daemon=True).start()


main()
