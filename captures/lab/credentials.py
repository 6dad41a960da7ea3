"""Record clients that send their credentials only after a challenge, for every request."""

from __future__ import annotations

import sys

from scenario import PEERS, Connection, Exchange, Find, Lab, get, nginx, recording, site

PAGE = get("/a.txt", 300)
CHALLENGED = Exchange("GET", "/a.txt", 401, 172)
ASKED_TO_CLOSE = Find("no-connection-reuse", "asked", "client", note=True)


def _protected(lab: Lab, when: str) -> None:
    site(lab, a=300)
    users = lab.file("users", "reader:{PLAIN}secret\n")
    nginx(lab, f'server_tokens off; auth_basic "reports"; auth_basic_user_file {users};')
    lab.client.run(sys.executable, str(PEERS / "urllib_basic.py"), when, "5", "http://10.9.0.2/a.txt")


@recording(
    title="Python's urllib waits for a challenge before each of five requests",
    at="client",
    software=("nginx", "python"),
    connections=tuple(Connection((exchange,), closed_by=None) for exchange in (CHALLENGED, PAGE) * 5),
    finds=(Find("repeated-auth-challenge", None, "client", measured=True, note=True), ASKED_TO_CLOSE),
    must_not={"premature-close": "the client asked for the close", "keep-alive-disabled": "the client asked for the close"},
)
def urllib_challenged(lab: Lab) -> None:
    """Five GETs by one opener with HTTPBasicAuthHandler and HTTPPasswordMgrWithDefaultRealm from nginx with auth_basic.
    urllib says Connection: close with every request."""
    _protected(lab, "asked")


@recording(
    title="Python's urllib sends credentials with each of five requests",
    at="client",
    software=("nginx", "python"),
    connections=(Connection((PAGE,), closed_by=None, repeat=5),),
    finds=(ASKED_TO_CLOSE,),
    must_not={"repeated-auth-challenge": "there is no challenge"},
)
def urllib_credentials_first(lab: Lab) -> None:
    """The fix for urllib-challenged: HTTPPasswordMgrWithPriorAuth."""
    _protected(lab, "first")
