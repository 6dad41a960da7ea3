"""Use a server by long polls, as its own client does: python long_polls.py WAY HOST PORT."""

from __future__ import annotations

import http.client
import json
import re
import sys
import threading
import time
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

SECONDS = 9.0
BIND = "http://jabber.org/protocol/httpbind"


class Poller:
    """A connection that is opened again when it was lost."""

    def __init__(self, host: str, port: int) -> None:
        self.where = host, port
        self.connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: str | None = None, fields: dict[str, str] | None = None) -> bytes:
        """Return the body of the response; empty if there was none."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.where, timeout=8)
        try:
            self.connection.request(method, path, body, fields or {})
            return self.connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            print(method, path, repr(error), file=sys.stderr)
            self.connection.close()
            self.connection = None
            time.sleep(0.3)
            return b""


def bosh(host: str, port: int) -> None:
    """XMPP over HTTP (XEP-0124): a poll is always open, and what is said takes a second connection."""
    polls, says = Poller(host, port), Poller(host, port)
    fields = {"Content-Type": "text/xml; charset=utf-8"}
    rid = 1_000
    opened = polls.ask(
        "POST", "/http-bind",
        f"<body rid='{rid}' to='localhost' wait='3' hold='1' ver='1.6' xmlns='{BIND}' xml:lang='en'/>", fields,
    ).decode()  # fmt: skip
    if (found := re.search(r"sid=['\"]([^'\"]+)", opened)) is None:
        return
    sid, lock = found.group(1), threading.Lock()
    end = time.monotonic() + SECONDS

    def stanza(poller: Poller, content: str) -> bytes:
        nonlocal rid
        with lock:
            rid += 1
            text = f"<body rid='{rid}' sid='{sid}' xmlns='{BIND}'>{content}</body>"
        return poller.ask("POST", "/http-bind", text, fields)

    stanza(polls, f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>{b64encode(b'lab').decode()}</auth>")

    def poll() -> None:
        while time.monotonic() < end:
            stanza(polls, "")

    thread = threading.Thread(target=poll)
    thread.start()
    while time.monotonic() < end:
        time.sleep(1.3)
        stanza(says, "<iq type='get' id='p' xmlns='jabber:client'><ping xmlns='urn:xmpp:ping'/></iq>")
    thread.join()


def shell(host: str, port: int) -> None:
    """Shell In A Box: a POST waits for output while others carry keys."""
    polls, keys = Poller(host, port), Poller(host, port)
    fields = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    size = {"width": "80", "height": "24"}
    polls.ask("GET", "/")
    session = json.loads(polls.ask("POST", "/?", urlencode(size | {"rooturl": f"http://{host}:{port}/"}), fields) or b"{}").get(
        "session"
    )
    end = time.monotonic() + SECONDS

    def poll() -> None:
        while time.monotonic() < end:
            polls.ask("POST", "/?", urlencode(size | {"session": session}), fields)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    for typed in "echo one; sleep 2; seq 500\n" * 2:
        if time.monotonic() > end:
            break
        keys.ask("POST", "/?", urlencode(size | {"session": session, "keys": f"{ord(typed):02X}"}), fields)
        time.sleep(0.15)
    thread.join(1)


def events(host: str, port: int) -> None:
    """Syncthing's page: a poll for events is always open, and its state is asked for now and then."""
    polls, asks = Poller(host, port), Poller(host, port)
    key = {"X-API-Key": "lab"}
    end = time.monotonic() + SECONDS

    def poll() -> None:
        since = 0
        while time.monotonic() < end:
            got: list[dict[str, Any]] = (
                json.loads(polls.ask("GET", f"/rest/events?since={since}&timeout=3", None, key) or b"[]") or []
            )
            since = got[-1]["id"] if got else since

    thread = threading.Thread(target=poll)
    thread.start()
    while time.monotonic() < end:
        for path in ("/rest/system/status", "/rest/system/connections", "/rest/config"):
            asks.ask("GET", path, None, key)
        time.sleep(1.5)
    thread.join()


if __name__ == "__main__":
    {"bosh": bosh, "shell": shell, "events": events}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
