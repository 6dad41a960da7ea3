"""Pools of requests, httpx or reqwest (as pyreqwest) that ask again when an idle limit ends.

    threaded_pools.py LIBRARY BASE CONNECTIONS SECONDS AIM SPREAD BUSY

One session per thread. AIM is the rest in seconds, which is followed: later where the connection was still there (`X-Port`),
earlier where it was not. BUSY: another session keeps the server busy for so many milliseconds now and then. Says counts as JSON.
"""

import json
import random
import sys
import threading
import time
from datetime import timedelta

LIBRARY, BASE, (CONNECTIONS, SECONDS, AIM, SPREAD, BUSY) = sys.argv[1], sys.argv[2], map(float, sys.argv[3:])
STEP = 0.001
counts = {"answered": 0, "lost": 0, "aim": AIM}
deadline = time.monotonic() + SECONDS

if LIBRARY == "requests":
    import requests

    FAILURES = requests.ConnectionError

    def opened():
        return requests.Session()
elif LIBRARY == "reqwest":
    from pyreqwest import exceptions
    from pyreqwest.client import SyncClientBuilder

    FAILURES = exceptions.RequestError

    class Session:
        """reqwest in the manner of requests."""

        def __init__(self):
            self.client = SyncClientBuilder().build()

        def get(self, url, timeout):
            response = self.client.get(url).timeout(timedelta(seconds=timeout)).build().send()
            response.bytes()
            return response

    opened = Session
else:
    import httpx

    FAILURES = httpx.TransportError

    def opened():
        return httpx.Client(limits=httpx.Limits(max_connections=1, keepalive_expiry=60), trust_env=False)


def ask_again():
    session, port = opened(), None
    while time.monotonic() < deadline:
        try:
            answer = session.get(f"{BASE}/bytes/20", timeout=5)
        except FAILURES:
            counts["lost"] += 1
            counts["aim"] -= STEP
            continue
        counts["answered"] += 1
        counts["aim"] += 0 if port is None else STEP if answer.headers["X-Port"] == port else -STEP
        port = answer.headers["X-Port"]
        time.sleep(max(0.0, counts["aim"] + random.uniform(-SPREAD, SPREAD)))


def keep_busy():
    session = opened()
    while time.monotonic() < deadline:
        session.get(f"{BASE}/work/{int(BUSY)}", timeout=5)
        time.sleep(random.uniform(0.01, 0.1))


threads = [threading.Thread(target=ask_again) for _ in range(int(CONNECTIONS))]
threads += [threading.Thread(target=keep_busy)] if BUSY else []
for thread in threads:
    thread.start()
    time.sleep(0.002)
for thread in threads:
    thread.join()
print(json.dumps(counts))
