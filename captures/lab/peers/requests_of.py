"""What the clients in Python are asked to do: PAUSE, and then METHOD BODY URL again and again.

PAUSE is in seconds, between the exchanges. BODY is "" for none, a size in bytes, or ~SIZE for one that is sent in pieces
of 1,000 bytes without saying its size before.
"""

import sys
import time


def pieces(size):
    for begin in range(0, size, 1_000):
        yield b"u" * min(1_000, size - begin)


def wanted():
    """Method, body (None, bytes, or an iterator over pieces) and URL of each request, with the pauses between them."""
    pause, *words = sys.argv[1:]
    for number in range(0, len(words), 3):
        method, body, url = words[number : number + 3]
        yield method, pieces(int(body[1:])) if body.startswith("~") else b"u" * int(body) if body else None, url
        time.sleep(float(pause))
