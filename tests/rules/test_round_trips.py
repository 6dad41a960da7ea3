"""Waits and streams at round trips from none to 120 ms, captured at the client, in the middle and at the server."""

from __future__ import annotations

import pytest

from tests.ladders import check
from tests.support.sweeps import FORMS, in_turn, sweep
from wiredoctor.testing import POINTS

Line = tuple[float, int, str]
"""Seconds and round trips since the SYN, as captured at the client, and the rest of the line."""

REQUEST = '"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'
HEAD = '"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n"'
ANSWER = '"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello"'
LARGE = '"HTTP/1.1 200 OK\\r\\nContent-Length: 4339\\r\\n\\r\\n" + x*1419'
LONGER = LARGE.replace("4339", "4344")
EXPECTING = '"POST /u HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\nExpect: 100-continue\\r\\n\\r\\n"'
STREAM = '"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n<html>"'


def asked(request: str = REQUEST, window: int = 64240) -> tuple[Line, ...]:
    return (
        (0, 0, f">  S  win {window} mss 1460"), (0, 1, "<  S. win 64240 mss 1460"), (0, 1, ">  ."),
        (0.001, 1, f">  P. {request}"),
    )  # fmt: skip


WAITS: dict[str, tuple[tuple[Line, ...], str]] = {
    "a head whose body waits for a delayed ACK": (
        (*asked(), (0.011, 2, f"<  P. {HEAD}"), (0.051, 2, ">  ."), (0.0511, 3, '<  P. "hello"')),
        "nagle-delayed-ack, side server, kind head-body-split, delay 0.040",
    ),
    "the same of a request": (
        (*asked('"POST /u HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\n"'), (0.041, 2, "<  ."),
         (0.0411, 2, '>  P. "hello"'), (0.051, 3, f"<  P. {ANSWER}"), (0.051, 3, ">  .")),
        "nagle-delayed-ack, side client, kind head-body-split, delay 0.040",
    ),
    "a head whose ACK comes at once": (
        (*asked(), (0.011, 2, f"<  P. {HEAD}"), (0.011, 2, ">  ."), (0.051, 3, '<  P. "hello"'), (0.051, 3, ">  .")),
        "nothing",
    ),
    "a full segment that waits for a delayed ACK": (
        (*asked(), (0.011, 2, f"<  P. {LARGE}"), (0.211, 2, ">  ."), (0.2111, 3, "<  P. x*1460"), (0.4111, 3, ">  ."),
         (0.4112, 4, "<  P. x*1460"), (0.4112, 4, ">  .")),
        "delayed-ack-stall, side server, delay 0.200\n=> delayed-ack-stall, side server, delay 0.200",
    ),
    "a client that does not read": (
        (*asked(window=4380), (0.011, 2, f"<  .  {LONGER}"), (0.011, 2, "<  .  1461:2921(1460)"),
         (0.011, 2, "<  P. 2921:4381(1460)"), (0.011, 2, ">  .  ack 4381 win 0"),
         (0.511, 2, ">  .  ack 4381 win 4380"), (0.511, 3, '<  P. "hello"'),
         (0.511, 3, ">  .")),
        "zero-window-stall, side client, delay 0.500",
    ),
    "a body that waits for 100 Continue": (
        (*asked(EXPECTING), (0.001, 2, "<  ."), (1.001, 1, '>  P. "hello"'), (1.011, 2, f"<  P. {ANSWER}"), (1.011, 2, ">  .")),
        "expect-continue-stall, side client, delay 1.0",
    ),
    "a server that thinks": (
        (*asked(), (0.001, 2, "<  ."), (2.001, 2, f"<  P. {ANSWER}"), (2.001, 2, ">  .")),
        "slow-response, side server, delay 2.0",
    ),
    "a server that thinks for less than a second": (
        (*asked(), (0.001, 2, "<  ."), (0.991, 2, f"<  P. {ANSWER}"), (0.991, 2, ">  .")),
        "nothing",
    ),
    "an answer that is lost behind the capture point": (
        (*asked(), (0.002, 2, "<  ."), (0.002, 2, f"<  P. 1:44 {ANSWER}"), (0.502, 2, f"<  P. 1:44 {ANSWER}"),
         (0.502, 2, ">  .  ack 44")),
        "retransmission-stall, kind timeout, delay 0.500",
    ),
    "a stream without chunks": (
        (*asked(), (0.011, 2, f"<  P. {STREAM}"), (0.011, 2, ">  ."), (0.611, 2, '<  P. "</html>"'), (0.611, 2, ">  ."),
         (0.612, 2, "<  F."), (0.612, 2, ">  F.")),
        "unchunked-streaming, side server",
    ),
    "the same in one burst": (
        (*asked(), (0.011, 2, f"<  P. {STREAM}"), (0.011, 2, '<  P. "</html>"'), (0.011, 2, ">  ."), (0.012, 2, "<  F."),
         (0.012, 2, ">  F.")),
        "close-delimited, side server",
    ),
    "a server that writes in crumbs": (
        (*asked(), *((0.011 + n / 10_000, 2, f"<  P. {text}") for n, text in enumerate((
            '"HTTP/1.1 200 OK\\r\\n"', '"Server: a\\r\\n"', '"Date: b\\r\\n"', '"X-A: 1\\r\\n"', '"X-B: 2\\r\\n"',
            '"Content-Length: 10\\r\\n"', '"\\r\\n"', '"hello"', '"world"',
        ))), (0.013, 2, ">  .")),
        "tinygrams, side server",
    ),
}  # fmt: skip


@FORMS
@pytest.mark.parametrize("rtt", sweep([0, 0.001, 0.02, 0.12], {0.02}.__contains__))
@pytest.mark.parametrize(("name", "at"), in_turn(WAITS, POINTS))
def test_what_is_waited_for(name: str, rtt: float, at: str) -> None:
    lines, expected = WAITS[name]
    told = [f"{time + trips * rtt:.6f}  {rest}" for time, trips, rest in lines]
    check("\n".join([*told, f"=> {expected}"]), at)
