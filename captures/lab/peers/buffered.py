"""A sender with a send buffer of a fixed size (SO_SNDBUF), of which the kernel keeps twice that with its overhead.

    buffered.py serve PORT SIZE BUFFER       answers each request of a connection with a body of SIZE bytes
    buffered.py post HOST PORT SIZE BUFFER   sends one request with such a body, and reads the response

Its congestion control is CUBIC, the default of Linux.
"""

import contextlib
import socket
import sys


def head_of(connection):
    """Return what comes up to the end of a head; less where the peer has closed."""
    read = b""
    while not read.endswith(b"\r\n\r\n") and (byte := connection.recv(1)):
        read += byte
    return read


def limit(connection, buffer):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


def serve(port, size, buffer):
    with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            connection, _ = listener.accept()
            limit(connection, buffer)
            with connection, contextlib.suppress(OSError):
                while head_of(connection):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size)


def post(host, port, size, buffer):
    with socket.create_connection((host, port), timeout=20) as connection:
        limit(connection, buffer)
        connection.sendall(b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size)
        head_of(connection)


if sys.argv[1] == "serve":
    serve(*map(int, sys.argv[2:]))
else:
    post(sys.argv[2], *map(int, sys.argv[3:]))
