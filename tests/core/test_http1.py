"""Messages of one direction: heads, framing, chunks, gaps, and faults, by ladders that the core reads alone."""

from __future__ import annotations

import tempfile
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.talk import Core, analyzed, briefs, exchanges, faults, http_of, rows
from tests.http.conversations import conversation, duplicated, packets, shuffled
from tests.http.talk import HANDSHAKE
from tests.ladders import ladder_packets, to_pcap
from tests.support.sweeps import SLOW
from wiredoctor import limits
from wiredoctor.core.http1.reader import GONE

GET = r'"GET / HTTP/1.1\r\nHost: a\r\n\r\n"'
ASK = f"0.020 > P. {GET}\n"


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (r'"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"', "200 content-length 2 complete"),
        (r'"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"', "200 content-length 2 capture-end"),
        (r'"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n"', "204 none 0 complete"),
        (r'"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"', "200 chunked 3 complete"),
        (r'"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd"', "200 chunked 3 error"),
        (r'"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabcd"', "200 close-delimited 4 capture-end"),
        (r'"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabcd"', "200 none 0 error"),
        (r'"HTTP/1.1 200 OK\nContent-Length: 1\n\nx"', "200 content-length 1 complete"),
        (r'"HTTP/1.1 200 OK\r\nYet-another: foo\n\r\nab\r\n\r\n"', "200 close-delimited 6 capture-end"),
    ],
)
def test_the_end_of_a_response(answer: str, seen: str) -> None:
    assert briefs(f"{ASK}0.030 < P. {answer}") == [f"GET / -> {seen}"]


def test_a_sized_body_that_a_fin_cuts_is_not_complete_after_a_chunked_one() -> None:
    talk = rf"""
        {ASK}
        0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        0.040 > P. {GET}
        0.050 < P. "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
        0.060 < F.
    """
    assert briefs(talk) == ["GET / -> 200 chunked 1 complete", "GET / -> 200 content-length 3 fin"]


GAP = rf"""
    {ASK}
    0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab"
    0.031 < P. "cd" uncaptured
    0.032 < P. "ef"
    0.050 > .
"""


def test_a_gap_in_a_body_is_stepped_over() -> None:
    talk = rf"""
        {GAP}
        1.100 > P. {GET}
        1.110 < P. "HTTP/1.1 204 No\r\n\r\n"
    """
    found = exchanges(talk)
    assert [(row["response_status"], row["response_body_bytes"], row["response_has_gap"], row["response_end_reason"])
            for row in found] == [(200, 4, True, "complete"), (204, 0, False, "complete")]  # fmt: skip


def test_after_a_gap_in_a_head_the_next_head_is_found() -> None:
    talk = rf"""
        {ASK}
        0.030 < P. "HTTP/1.1 200 OK\r\nContent-"
        0.031 < P. "Length: 2\r\n\r\nok" uncaptured
        0.050 > .
        0.060 > P. {GET}
        0.070 < P. "HTTP/1.1 204 No\r\n\r\n"
        0.090 > .
    """
    assert briefs(talk) == ["GET / -> 200 none 0 hole", "GET / -> 204 none 0 complete"]


def test_a_gap_ends_a_second_after_its_ack() -> None:
    """The response is complete when its gap is given up, not when the capture ends."""
    for time, is_complete in (("1.049", False), ("1.051", True)):
        core = Core()
        with tempfile.NamedTemporaryFile() as file:
            file.write(to_pcap(ladder_packets(f"{HANDSHAKE}{GAP}{time} > .")))
            file.flush()
            core.read(file.name)
        assert (http_of(core).second.message is None) == is_complete


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        (rf'{ASK}0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay"', ["excess-body in 5"]),
        (rf'{ASK}0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"', ["invalid-chunk in 5"]),
        (rf'{ASK}0.030 < P. "HTTP/1.1 200 OK\r\nServer : s\r\nContent-Length: 0\r\n\r\n"', ["space-before-colon in 5"]),
        (rf'{ASK}0.030 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n"', ["conflicting-framing in 5"]),
        (
            r'0.020 > P. "GET / HTTP/1.1\r\n\r\nbody"' + "\n" + r'0.030 < P. "HTTP/1.1 204 No\r\n\r\n"',
            ["unframed-request-body in 4"],
        ),
    ],
)
def test_faults(talk: str, expected: list[str]) -> None:
    assert faults(talk) == expected


@SLOW
@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_however_the_bytes_are_cut_repeated_and_shuffled(seed: int) -> None:
    random = Random(seed)
    spoken, flights = conversation(random)
    kind = random.choice(["cut", "shuffled", "without a handshake"])
    sent = packets(flights, handshake=kind != "without a handshake")
    if kind == "shuffled":
        sent = duplicated(shuffled(sent, random), random)
    names = list(spoken[0].seen)
    assert [{name: row[name] for name in names} for row in rows(sent)] == [s.seen for s in spoken]


def test_a_head_without_end_is_not_kept() -> None:
    lines = "".join(f'{0.02 + i / 1000} > P. "{"x" * 1000}"\n' for i in range(300))
    core = analyzed(ladder_packets(HEAD_BEGINS + lines))
    assert core.met.counts == {limits.HEAD.name: 1}
    assert core.exchanges().height == 0


HEAD_BEGINS = r"""
0.000 > S mss 1460
0.010 < S. mss 1460
0.010 > .
0.015 > P. "GET / HTTP/1.1\r\nX: "
"""


def test_state_goes_with_the_end_of_a_connection() -> None:
    core = analyzed(ladder_packets("0.000 > S\n0.010 < S.\n0.010 > .\n" + ASK + '0.030 < P. "HTTP/1.1 204 No\\r\\n\\r\\n"'))
    talk = http_of(core)
    assert (talk.first, talk.second, talk.queue.oldest, talk.queue.waiting) == (GONE, GONE, None, None)
