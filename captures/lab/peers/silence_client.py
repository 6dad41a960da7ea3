"""A client that uses one pooled connection as told, gives up after its time-out, and says when a fault may begin.

    silence_client.py LIBRARY BASE TIMEOUT STEPS

LIBRARY: requests, urllib3 or http.client. STEPS is JSON, a list of: {"get": PATH} (with "rest": seconds for which the body is
not read), {"post": PATH, "size": N}, {"rest": S}, {"connect": true} (http.client only), {"tell": S}: says "tell" on stdout, at
once and waits for a line (0), or so many seconds later; {"beat": S}: GETs a small page on connections of their own, so often,
until the end. A failure ends its connection, is said on stderr, and the steps go on.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

LIBRARY, BASE, TIMEOUT = sys.argv[1], sys.argv[2], float(sys.argv[3])


class Requests:
    def __init__(self):
        import requests

        self.errors = requests.RequestException
        self.session = requests.Session()
        self.session.trust_env = False

    def ask(self, method, path, body, rest):
        with self.session.request(method, BASE + path, data=body, timeout=TIMEOUT, stream=True) as response:
            time.sleep(rest)
            for _ in response.iter_content(65_536):
                pass


class Urllib3:
    def __init__(self):
        import urllib3

        self.errors = urllib3.exceptions.HTTPError
        self.pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT)

    def ask(self, method, path, body, rest):
        response = self.pool.request(method, BASE + path, body=body, preload_content=False)
        time.sleep(rest)
        for _ in response.stream(65_536):
            pass
        response.release_conn()


class Plain:
    errors = (OSError, http.client.HTTPException)

    def __init__(self):
        self.connection = http.client.HTTPConnection(urlsplit(BASE).hostname, urlsplit(BASE).port or 80, timeout=TIMEOUT)

    def ask(self, method, path, body, rest):
        try:
            self.connection.request(method, path, body=body)
            response = self.connection.getresponse()
            time.sleep(rest)
            while response.read(65_536):
                pass
        except self.errors:
            self.connection.close()
            raise


def tell():
    print("tell", flush=True)
    sys.stdin.readline()


def beat(seconds):
    while True:
        time.sleep(seconds)
        try:
            Plain().ask("GET", "/size/40", None, 0)
        except OSError as error:
            print("beat:", error, file=sys.stderr)


def main():
    client = {"requests": Requests, "urllib3": Urllib3, "http.client": Plain}[LIBRARY]()
    for step in json.loads(sys.argv[4]):
        if "rest" in step and "get" not in step:
            time.sleep(step["rest"])
        elif "connect" in step:
            client.connection.connect()
        elif "beat" in step:
            threading.Thread(target=beat, args=(step["beat"],), daemon=True).start()
        elif step.get("tell"):
            threading.Timer(step["tell"], tell).start()
        elif "tell" in step:
            tell()
        else:
            method = "GET" if "get" in step else "POST"
            body = b"u" * step["size"] if method == "POST" else None
            try:
                client.ask(method, step.get("get") or step["post"], body, step.get("rest", 0))
            except client.errors as error:
                print(type(error).__name__, error, file=sys.stderr)


main()
