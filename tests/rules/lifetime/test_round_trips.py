"""Test how connections end, at round trips from 0 to 120 ms, captured at the client, in the middle and at the server."""

from __future__ import annotations

import pytest

from tests.ladders import check
from tests.support.sweeps import FORMS, in_turn

RESPONSE = '"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"'
PART = '"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nok"'
UNFRAMED = '"HTTP/1.1 200 OK\\r\\n\\r\\nok"'
ANNOUNCED = '"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\nok"'
PROMISE = '"HTTP/1.1 200 OK\\r\\nKeep-Alive: timeout=9\\r\\nContent-Length: 2\\r\\n\\r\\nok"'
LAST = '"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok"'
UPLOAD = '"POST /a HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 9000\\r\\n\\r\\n"'
CHALLENGE = '"HTTP/1.1 401 No\\r\\nWWW-Authenticate: NTLM TlRMTVNTUAAC\\r\\nContent-Length: 2\\r\\n\\r\\nno"'
REQUEST = '"GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'

Line = tuple[float, int, str]
"""Seconds and round trips since the SYN, as captured at the client, and the rest of the line."""

ASKED: tuple[Line, ...] = ((0, 0, ">  S  win 64240 mss 1460"), (0, 1, "<  S. win 64240 mss 1460"), (0, 1, ">  ."),
                           (0.001, 1, f">  P. {REQUEST}"))  # fmt: skip
IDLE: tuple[Line, ...] = (*ASKED, (0.011, 2, f"<  P. {RESPONSE}"), (0.011, 2, ">  ."))
LATER: tuple[Line, ...] = ((500, 0, "connection 2, start 500"), (0, 0, ">  S  win 64240 mss 1460"))

ENDS: dict[str, tuple[tuple[Line, ...], *tuple[str, ...]]] = {
    "race": (
        (*IDLE, (5.0108, 2, f">  P. {REQUEST}"), (5.011, 2, "<  F. 41:41(0) ack 29"), (5.011, 3, "<  R  41:41(0)")),
        "keep-alive-race, side client, kind race",
    ),
    "stale-pool": (
        (*IDLE, (5.011, 2, "<  F."), (5.011, 2, ">  ."), (7, 2, f">  P. {REQUEST}"), (7, 3, "<  R  42:42(0)")),
        "keep-alive-race, side client, kind stale-pool",
    ),
    "forgotten": (
        (*IDLE, (300, 2, f">  P. {REQUEST}"), (300, 3, "<  R  41:41(0)")),
        "keep-alive-race, side client, kind forgotten, confidence high",
    ),
    "premature": ((*IDLE, (0.012, 2, "<  F."), (0.012, 2, ">  F.")), "premature-close, side server, confidence high"),
    "idle": ((*IDLE, (5.011, 2, "<  F."), (5.011, 2, ">  F.")), "idle-close, side server"),
    "the client closes": ((*IDLE, (0.012, 2, ">  F."), (0.012, 3, "<  F."), (0.012, 3, ">  .")), "nothing"),
    "FINs cross": (
        (*IDLE, (0.5, 2, ">  F."), (0.5001, 2, "<  F. 41:41(0) ack 29"), (0.5001, 2, ">  ."), (0.5, 3, "<  .")),
        "nothing",
    ),
    "no response": ((*ASKED, (0.2, 2, "<  F."), (0.2, 2, ">  F.")), "no-response, side server"),
    "truncated": ((*ASKED, (0.011, 2, f"<  P. {PART}"), (0.2, 2, "<  F."), (0.2, 2, ">  F.")), "truncated-response, side server"),
    "challenge": (
        (*ASKED, (0.011, 2, f"<  P. {CHALLENGE}"), (0.2, 2, "<  F."), (0.2, 2, ">  F.")),
        "auth-connection-closed, side server",
    ),
    "gives up": ((*ASKED, (2.001, 1, ">  R.")), "client-abort, side client, confidence high"),
    "refuses": (
        (
            *ASKED,
            (0.101, 1, ">  F."),
            (0.101, 2, "<  ."),
            (0.4, 2, f"<  P. {RESPONSE}"),
            (0.4, 2, ">  R  30:30(0)"),
            (0.4001, 2, "<  F."),
        ),
        "client-abort, side client, confidence high",
    ),
    "half-closes": (
        (
            *ASKED,
            (0.0011, 1, ">  F."),
            (0.0011, 2, "<  ."),
            (0.4, 2, f"<  P. {RESPONSE}"),
            (0.4, 2, ">  ."),
            (0.4001, 2, "<  F."),
            (0.4001, 2, ">  ."),
        ),
        "nothing",
    ),
    "left waiting": (
        (*ASKED, (0.011, 2, f"<  P. {UNFRAMED}"), (0.011, 2, ">  ."), (3.011, 2, "<  F."), (3.011, 2, ">  F.")),
        "missing-framing, side server, kind left-waiting, delay 3.0",
    ),
    "closed": (
        (*ASKED, (0.011, 2, f"<  P. {UNFRAMED}"), (0.012, 2, "<  F."), (0.012, 2, ">  F.")),
        "missing-framing, kind closed",
    ),
    "announced": (
        (*ASKED, (0.011, 2, f"<  P. {ANNOUNCED}"), (0.012, 2, "<  F."), (0.012, 2, ">  F.")),
        "close-delimited, side server",
    ),
    "a broken promise": (
        (*ASKED, (0.011, 2, f"<  P. {PROMISE}"), (3.011, 2, "<  F."), (3.011, 2, ">  F.")),
        "idle-timeout-broken-promise, side server, kind once, confidence medium",
    ),
    "a kept promise": (
        (*ASKED, (0.011, 2, f"<  P. {PROMISE}"), (9.011, 2, "<  F."), (9.011, 2, ">  F.")),
        "idle-close, side server",
    ),
    "lingers": (
        (*ASKED, (0.011, 2, f"<  P. {LAST}"), (0.011, 2, ">  ."), (5.012, 2, "<  F."), (5.012, 2, ">  F.")),
        "lingering-close, side server, confidence high",
    ),
    "closes in time": (
        (*ASKED, (0.011, 2, f"<  P. {LAST}"), (0.011, 2, ">  ."), (5.010, 2, ">  F."), (5.010, 3, "<  .")),
        "nothing",
    ),
    "lingers until the client closes": (
        (*ASKED, (0.011, 2, f"<  P. {LAST}"), (0.011, 2, ">  ."), (5.012, 2, ">  F."), (5.012, 3, "<  F."), (5.012, 3, ">  .")),
        "lingering-close, side server, confidence high",
    ),
    "lingers before the end of the body": (
        (*ASKED, (0.011, 2, f"<  P. {ANNOUNCED}"), (5.011, 2, "<  F."), (5.011, 2, ">  F.")),
        "lingering-close, side server, kind close-delimited, delay 5.0",
        "close-delimited, side server",
    ),
    "a reset upload": (
        (
            *ASKED[:3],
            (0.001, 1, f">  P. {UPLOAD} + b*1000"),
            (0.0015, 2, f"<  P. {LAST}"),
            (0.0016, 2, "<  R."),
            (0.0014, 2, ">  P. b*1000 ack 1"),
        ),
        "reset-destroys-response, side server, confidence high",
    ),
    "an upload that is reset after a FIN": (
        (
            *ASKED[:3],
            (0.001, 1, f">  P. {UPLOAD} + b*1000"),
            (0.0015, 2, f"<  P. {LAST} ack 1052"),
            (0.0016, 2, "<  F. ack 1052"),
            (0.0018, 2, ">  P. b*1000 ack 1"),
            (0.0018, 3, "<  R  61:61(0)"),
        ),
        "reset-destroys-response, side server, confidence high",
    ),
}


def ladder(lines: tuple[Line, ...], rtt: float, *expected: str) -> str:
    """The text of a ladder: a connection, and one that shows that the capture goes on."""
    told = [rest if rest.startswith("connection") else f"{at + trips * rtt:.6f}  {rest}" for at, trips, rest in (*lines, *LATER)]
    return "\n".join([*told, *(f"=> {one}" for one in expected)])


PLACES = [(0, "client"), *((rtt, at) for rtt in (0.001, 0.02, 0.12) for at in ("client", "middle", "server"))]


@FORMS
@pytest.mark.parametrize(("name", "rtt", "at"), in_turn(ENDS, PLACES))
def test_how_it_ends(name: str, rtt: float, at: str) -> None:
    lines, *expected = ENDS[name]
    check(ladder(lines, rtt, *expected), at)
