"""Test a stream whose pauses Nagle's algorithm hides: each small chunk leaves when the ACK of the one before arrives."""

from __future__ import annotations

import pytest

from tests.ladders import check

STREAM, GAVE_UP = "kind stream, severity note", "kind gave-up, severity warning"


def ladder(expected: str, *, chunks: int, size: int, every: float, quiet: float) -> str:
    """A client 100 ms away reads chunks of `size` bytes, one every `every` seconds, and closes `quiet` seconds after the last."""
    lines = [
        "  0.000  >  S",
        "  0.100  <  S.",
        "  0.100  >  .",
        r'  0.101  >  P.  "GET /live HTTP/1.1\r\nHost: a\r\n\r\n"',
        r'  0.201  <  P.  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"',
        "  0.201  >  .",
    ]
    for number in range(1, chunks + 1):
        at = f"{0.201 + every * number:.3f}"
        lines += [rf'  {at}  <  P.  "{size:x}\r\n" + x*{size} + "\r\n"', f"  {at}  >  ."]
    lines.append(f"  {0.201 + every * chunks + quiet:.3f}  >  F.")
    return "\n".join([*lines, f"  => client-abort, {expected}", ""])


@pytest.mark.parametrize(
    ("chunks", "size", "every", "quiet", "expected"),
    [
        pytest.param(22, 400, 0.1, 0.05, STREAM, id="400 bytes per round trip, until the client leaves"),
        pytest.param(19, 400, 0.12, 0.05, GAVE_UP, id="too few chunks"),
        pytest.param(22, 400, 0.088, 0.06, GAVE_UP, id="too short: slow start sends little, too"),
        pytest.param(22, 1100, 0.1, 0.05, GAVE_UP, id="full segments: the path may be as slow"),
        pytest.param(44, 600, 0.05, 0.05, GAVE_UP, id="more than a segment per round trip"),
        pytest.param(22, 400, 0.1, 1.2, GAVE_UP, id="the stream had stopped"),
    ],
)
def test_a_stream_without_pauses(chunks: int, size: int, every: float, quiet: float, expected: str) -> None:
    check(ladder(expected, chunks=chunks, size=size, every=every, quiet=quiet), "client")
