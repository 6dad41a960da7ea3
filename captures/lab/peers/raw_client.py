"""A client that writes exactly what it is told, send by send, and leaves Nagle's algorithm on unless told otherwise.

    raw_client.py HOST PORT CONNECTIONS [nodelay] [together]

CONNECTIONS is JSON: a list of connections, one after the other (`together`: all at once, each opened after the pause that is its
first step), each a list of steps: a text is one send, a number is a
pause in seconds, {"read": ["GET", "HEAD"]} reads a response to each of these methods, {"buffer": 4096} sets the size of
the receive buffer, {"do": "reset"} lets it end with an RST, {"do": "shutdown"} sends a FIN and goes on to receive, {"do":
"wait"} waits until the server closes or resets. At the end of its steps, and when the server will not have what it writes, the
client closes.
"""

import contextlib
import http.client
import io
import json
import socket
import struct
import sys
import threading
import time


class Stream(io.BufferedReader):
    """One buffer for all responses of a connection: pipelined ones arrive together."""

    def close(self):
        """http.client closes what it has read to the end; the connection is ours to close."""

    def makefile(self, *_):
        return self


def play(address, steps):
    with socket.create_connection(address, timeout=20) as connection:
        if "nodelay" in sys.argv[4:]:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = Stream(socket.SocketIO(connection, "r"))
        for step in steps:
            if isinstance(step, str):
                try:
                    connection.sendall(step.encode("latin-1"))
                except (BrokenPipeError, ConnectionResetError):
                    return
            elif isinstance(step, dict) and "read" in step:
                for method in step["read"]:
                    response = http.client.HTTPResponse(stream, method=method)
                    response.begin()
                    response.read()
            elif isinstance(step, dict) and "buffer" in step:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, step["buffer"])
            elif step == {"do": "shutdown"}:
                connection.shutdown(socket.SHUT_WR)
            elif step == {"do": "reset"}:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif isinstance(step, dict):
                with contextlib.suppress(ConnectionResetError):
                    stream.read()
            else:
                time.sleep(step)


def begin(address, pause, *steps):
    """Opens a connection after a pause."""
    time.sleep(pause)
    play(address, steps)


def main():
    address = sys.argv[1], int(sys.argv[2])
    connections = json.loads(sys.argv[3])
    if "together" in sys.argv[4:]:
        threads = [threading.Thread(target=begin, args=(address, *steps)) for steps in connections]
        for thread in threads:
            thread.start()
        return
    for steps in connections:
        play(address, steps)


main()
