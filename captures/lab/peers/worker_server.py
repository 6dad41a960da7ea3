"""A server with a pool of workers: worker_server.py PORT WORKERS ITEM REPORT

A request for /report takes REPORT seconds, another one ITEM seconds. Connections are read at once; their requests wait for a
worker, in the order in which they come.
"""

import queue
import socket
import sys
import threading
import time

ITEM = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"stock": 3}'

requests = queue.Queue()


def work():
    """Answers requests, one after the other."""
    while True:
        connection, head, answered = requests.get()
        time.sleep(float(sys.argv[4] if head.startswith(b"GET /report") else sys.argv[3]))
        connection.sendall(ITEM)
        answered.set()


def read(connection):
    """Reads the requests of a connection; the next one only when a worker has answered."""
    with connection:
        while head := connection.recv(4096):
            answered = threading.Event()
            requests.put((connection, head, answered))
            answered.wait()


def main():
    for _ in range(int(sys.argv[2])):
        threading.Thread(target=work, daemon=True).start()
    with socket.create_server(("", int(sys.argv[1])), backlog=64) as listening:
        while True:
            threading.Thread(target=read, args=(listening.accept()[0],), daemon=True).start()


main()
