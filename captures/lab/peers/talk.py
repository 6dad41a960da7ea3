"""A conversation over WebSocket with the library websockets: talk.py URL COUNT."""

import sys
import time

from websockets.sync.client import connect

with connect(sys.argv[1], proxy=None) as socket:
    for number in range(int(sys.argv[2])):
        socket.send(f"message {number}")
        socket.recv()
        time.sleep(0.03)
