"""How connections end, at round trips from none to 120 ms, captured at the client, in the middle and at the server."""

from __future__ import annotations

import pytest

from tests.ladders import check

RESPONSE = '"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"'
PART = '"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nok"'
UNFRAMED = '"HTTP/1.1 200 OK\\r\\n\\r\\nok"'
ANNOUNCED = '"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\nok"'
CHALLENGE = '"HTTP/1.1 401 No\\r\\nWWW-Authenticate: NTLM TlRMTVNTUAAC\\r\\nContent-Length: 2\\r\\n\\r\\nno"'
REQUEST = '"GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'

Line = tuple[float, int, str]
"""Seconds and round trips since the SYN, as captured at the client, and the rest of the line."""

ASKED: tuple[Line, ...] = ((0, 0, ">  S  win 64240 mss 1460"), (0, 1, "<  S. win 64240 mss 1460"), (0, 1, ">  ."),
                           (0.001, 1, f">  P. {REQUEST}"))  # fmt: skip
IDLE: tuple[Line, ...] = (*ASKED, (0.011, 2, f"<  P. {RESPONSE}"), (0.011, 2, ">  ."))
LATER: tuple[Line, ...] = ((500, 0, "connection 2, start 500"), (0, 0, ">  S  win 64240 mss 1460"))

ENDS: dict[str, tuple[tuple[Line, ...], str]] = {
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
}


def ladder(lines: tuple[Line, ...], rtt: float, expected: str) -> str:
    """The text of a ladder: a connection, and one that shows that the capture goes on."""
    told = [rest if rest.startswith("connection") else f"{at + trips * rtt:.6f}  {rest}" for at, trips, rest in (*lines, *LATER)]
    return "\n".join([*told, f"=> {expected}"])


@pytest.mark.parametrize("at", ["client", "middle", "server"])
@pytest.mark.parametrize("rtt", [0, 0.001, 0.02, 0.12])
@pytest.mark.parametrize("name", ENDS)
def test_how_it_ends(name: str, rtt: float, at: str) -> None:
    lines, expected = ENDS[name]
    check(ladder(lines, rtt, expected), at)
