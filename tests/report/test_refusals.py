"""What refused requests cost, in the headline: waits for Retry-After, calls that failed after all tries, early 413."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.analysis import analyze_bytes
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.refusals import refusal_clauses
from wiredoctor.report.unexplained import rejections, unexplained
from wiredoctor.testing import capture


def ladder(*exchanges: tuple[float, str, str, str]) -> str:
    """Connections with one exchange each: start in s, request target, field of the request, and head of the response."""
    lines: list[str] = []
    for number, (start, target, field, response) in enumerate(exchanges, 1):
        lines += [
            f"connection {number}, start {start}, client 10.0.0.9:{4000 + number}, server 10.0.0.2:80",
            "  0.000  >  S",
            "  0.000  <  S.",
            "  0.000  >  .",
            rf'  0.001  >  P.  "POST {target} HTTP/1.1\r\nHost: a\r\n{field}Content-Length: 0\r\n\r\n"',
            rf'  0.002  <  P.  "HTTP/1.1 {response}\r\nContent-Length: 0\r\n\r\n"',
            "  0.003  >  F.",
            "  0.004  <  F.",
            "  0.004  >  .",
        ]
    return "\n".join(lines) + "\n"


BUSY, WAIT, DONE = "503 Busy", r"429 Slow\r\nRetry-After: 2", "200 OK"
TRIES = [rf"X-Stainless-Retry-Count: {tried}\r\n" for tried in range(3)]
TWICE = ((0, "/a", "", WAIT), (2.002, "/a", "", WAIT), (4.1, "/a", "", DONE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ladder(*TWICE), ["clients waited 4.1 s before they asked again (Retry-After: 2 s, twice)"]),
        (ladder(*TWICE[:2]), ["clients waited 2 s before they asked again (Retry-After: 2 s, once)"]),
        (ladder((0, "/a", "", WAIT), (1.9, "/a", "", DONE)), []),
        (ladder((0, "/a", "", WAIT), (3.3, "/a", "", DONE)), []),
        (ladder((0, "/a", "", WAIT), (2.1, "/b", "", DONE)), []),
        (
            ladder((0, "/a", TRIES[0], BUSY), (0.1, "/a", TRIES[0], DONE), (1, "/a", TRIES[1], BUSY)),
            ["1 of 2 calls failed: the last try got 503, too"],
        ),
        (ladder((0, "/a", TRIES[0], BUSY), (1, "/a", TRIES[1], DONE)), []),
        (ladder((0, "/a", TRIES[1], BUSY), (1, "/a", TRIES[2], BUSY)), []),
        (ladder((0, "/a", "", BUSY), (1, "/a", "", BUSY)), []),
    ],
    ids=["waited twice", "still waits", "too soon", "too late", "another", "gave up", "succeeded", "began before", "no count"],
)
def test_waits_and_calls(text: str, expected: list[str], tmp_path: Path) -> None:
    report = analyze_bytes(tmp_path / "refused.pcap", capture(text))
    assert [clause for clauses in refusal_clauses(report).values() for clause in clauses] == expected
    reach = find_coverage(report)
    assert (unexplained(reach) + rejections(reach))[1:] == expected


def test_a_413_before_the_body(tmp_path: Path) -> None:
    text = r"""
connection 1, client 10.0.0.9:4001, server 10.0.0.2:80
  0.000  >  S
  0.000  <  S.
  0.000  >  .
  0.001  >  P.  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n0123456789"
  0.002  <  P.  "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n"
  0.003  >  P.  "01234567890123456789012345678901234567890123456789"
  0.004  <  .
"""
    report = analyze_bytes(tmp_path / "large.pcap", capture(text))
    assert refusal_clauses(report)[413] == ["it was sent when 10 of 60 bytes of the request's body had arrived"]


def test_a_gateway_answered_itself(tmp_path: Path) -> None:
    """The gateway forwards one request, and refuses two: the third one while it asks a server for something else."""
    lines: list[str] = []
    requests = (("/a", 0.0, "200 OK"), ("/a", 1.0, "429 Slow"), ("/a", 2.0, "429 Slow"), ("/b", 2.0003, "200 OK"))
    for number, (target, start, response) in enumerate(requests):
        client, server = ("10.0.0.2", "10.0.0.4:80") if target == "/b" else ("10.0.0.1", "10.0.0.2:80")
        lines += _exchange(2 * number + 1, start, f"{client}:{4001 + number}", server, target, response)
    lines += _exchange(2, 0.0005, "10.0.0.2:5001", "10.0.0.3:80", "/a", "200 OK")
    report = analyze_bytes(tmp_path / "limited.pcap", capture("\n".join(lines) + "\n"))
    assert refusal_clauses(report)[429] == ["a gateway made 1 of them itself, and asked no server"]


def _exchange(number: int, start: float, client: str, server: str, target: str, response: str) -> list[str]:
    """Return the lines of a connection whose request lasts for a millisecond, longer if it is answered by another one."""
    wait = 0.002 if number == 1 else 0.001
    return [
        f"connection {number}, start {start}, client {client}, server {server}",
        "  0.000  >  S",
        "  0.000  <  S.",
        "  0.000  >  .",
        rf'  0.0001  >  P.  "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"',
        rf'  {wait}  <  P.  "HTTP/1.1 {response}\r\nContent-Length: 0\r\n\r\n"',
        "  0.003  >  F.",
        "  0.004  <  F.",
        "  0.004  >  .",
    ]
