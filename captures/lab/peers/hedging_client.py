"""A client that sends a request to a second server if the first one is slow: hedging_client.py HOST REQUESTS SECONDS PORT PORT

It uses the response that comes first, and closes the other connection.
"""

import select
import socket
import sys


def ask(host, port, number):
    """Opens a connection and sends the request; returns the socket."""
    connection = socket.create_connection((host, port), timeout=20)
    connection.sendall(f"GET /item/{number} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
    return connection


def main():
    host, requests, seconds, *ports = sys.argv[1:]
    for number in range(int(requests)):
        asked = [ask(host, int(ports[0]), number)]
        if not select.select(asked, [], [], float(seconds))[0]:
            asked.append(ask(host, int(ports[1]), number))
        first = select.select(asked, [], [], 20)[0][0]
        first.recv(65536)
        for connection in asked:
            connection.close()


main()
