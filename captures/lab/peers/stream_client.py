"""Reads streams at the same time, each on a connection of its own, and says when their events came.

    stream_client.py ADDRESS PORT ID:SECONDS ...    prints {ID: [time, ...]} (CLOCK_MONOTONIC)

SECONDS: after which it asks.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import zlib


def read(address: str, port: int, name: str, after: float, times: dict[str, list[float]]) -> None:
    """Reads one stream."""
    time.sleep(after)
    connection = http.client.HTTPConnection(address, port, timeout=40)
    connection.request("GET", f"/{name}", headers={"Accept-Encoding": "gzip, deflate", "User-Agent": "stream-client/1"})
    response = connection.getresponse()
    end = b"\n" if "json" in response.headers["Content-Type"] else b"\n\n"
    coded = response.headers.get("Content-Encoding")
    inflate = zlib.decompressobj(47) if coded else None
    rest, found = b"", list[float]()
    while data := response.read1(65_536):
        rest += inflate.decompress(data) if inflate else data
        now = time.monotonic()
        *events, rest = rest.split(end)
        found += [now] * len(events)
    times[name] = found


def main() -> None:
    """Entry point."""
    address, port, times = sys.argv[1], int(sys.argv[2]), dict[str, list[float]]()
    threads = list[threading.Thread]()
    for word in sys.argv[3:]:
        name, _, after = word.partition(":")
        threads.append(threading.Thread(target=read, args=(address, port, name, float(after), times)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(times))


if __name__ == "__main__":
    main()
