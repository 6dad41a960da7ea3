"""A player that has enough: viewer.py URL SIZE PAUSE reads SIZE bytes at a time, and pauses for PAUSE seconds in between."""

import socket
import sys
import time
from urllib.parse import urlsplit

url, size, pause = urlsplit(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
connection = socket.socket()
connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
connection.connect((url.hostname, url.port))
connection.sendall(f"GET {url.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
while connection.recv(size, socket.MSG_WAITALL):
    time.sleep(pause)
connection.close()
