"""retransmission-stall on rows made by hand: who waited, how sure it is, and both edges of each limit."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.rules.frames import MS, S, events, found, rows
from wiredoctor.testing.expectations import check


def recoveries(**changes: Any) -> pl.DataFrame:
    """A response segment, lost behind the capture point and sent again after 210 ms; the client is 10 ms away."""
    row = {
        "frame": 9, "time": 240 * MS, "connection": 0, "direction": 0, "role": 0, "http": True, "handshake": True,
        "rtt_own": 10 * MS, "rtt_peer": 0, "pure_ack": True, "acked_bytes": 100, "ends_stall": True, "stall_frame": 5,
        "stall_time": 20 * MS, "retransmission_count": 1, "first_retransmission_frame": 8, "first_retransmission_time": 230 * MS,
        "retransmitted_frame": 8,
        "retransmitted_time": 230 * MS, "retransmitted_bytes": 100,
    }  # fmt: skip
    return events("recoveries", row | changes)


def stalls(**changes: Any) -> list[dict[str, Any]]:
    """What the rule finds in this row."""
    return found("retransmission-stall", recoveries(**changes))


def test_a_stall() -> None:
    [stall] = stalls()
    assert (stall["kind"], stall["side"], stall["delay"], stall["confidence"]) == ("timeout", None, 210 * MS, "high")
    assert [e["frame"] for e in stall["evidence"]] == [5, 8, 9]
    assert (stall["start"], stall["end"]) == (20 * MS, 230 * MS)


def test_an_earlier_try_is_evidence() -> None:
    [stall] = stalls(first_retransmission_frame=6, first_retransmission_time=120 * MS, retransmission_count=2)
    assert [e["frame"] for e in stall["evidence"]] == [5, 6, 8, 9]
    assert "2 times" in stall["again"]


@pytest.mark.parametrize(("gap", "speaks"), [(150 * MS - 1, False), (150 * MS, True)])
def test_edges_of_the_gap(gap: int, speaks: bool) -> None:
    assert bool(stalls(stall_time=230 * MS - gap)) is speaks


@pytest.mark.parametrize(("after", "speaks"), [(5 * S, True), (5 * S + 1, False)])
def test_edges_of_the_answer(after: int, speaks: bool) -> None:
    assert bool(stalls(time=230 * MS + after)) is speaks


@pytest.mark.parametrize(("acks", "tries", "kind"), [(2, 1, "timeout"), (3, 1, "fast"), (3, 2, "timeout")])
def test_kinds(acks: int, tries: int, kind: str) -> None:
    far = {"rtt_own": 10 * MS, "rtt_peer": 50 * MS}
    assert [s["kind"] for s in stalls(stall_duplicate_acks=acks, retransmission_count=tries, **far)] == [kind]


@pytest.mark.parametrize(
    ("rtt_peer", "kind"), [(43 * MS - MS // 2, "fast"), (43 * MS - MS // 2 - 1, "timeout"), (None, "fast"), (0, "timeout")]
)
def test_a_timer_is_later_than_duplicate_acks(rtt_peer: int | None, kind: str) -> None:
    """210 ms are four round trips of 52.5 ms."""
    [stall] = stalls(stall_duplicate_acks=9, rtt_own=10 * MS, rtt_peer=rtt_peer)
    assert stall["kind"] == kind


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        pytest.param({"dsack": True}, False, id="D-SACK, and nothing was due"),
        pytest.param({"dsack": True, "message_incomplete": True}, True, id="D-SACK, and an answer was due"),
        pytest.param(
            {"dsack": True, "message_incomplete": True, "http": False}, False, id="D-SACK, and nobody knows what was due"
        ),
        pytest.param({"time": 238 * MS}, False, id="too early to be the answer"),
        pytest.param({"time": 239 * MS}, True, id="just late enough"),
        pytest.param({"time": 238 * MS, "message_incomplete": True}, False, id="too early, and no answer yet"),
        pytest.param(
            {"time": 238 * MS, "message_incomplete": True, "new_bytes": 50}, True, id="too early, but it brings the answer"
        ),
        pytest.param({"time": 238 * MS, "rtt_own": None}, True, id="the round trip is unknown"),
    ],
)
def test_somebody_waited(changes: dict[str, Any], speaks: bool) -> None:
    assert bool(stalls(**changes)) is speaks


@pytest.mark.parametrize(
    ("changes", "confidence"),
    [
        ({}, "high"),
        ({"handshake": False}, "medium"),
        ({"rtt_own": None}, "medium"),
        ({"acked_unseen": 5}, "low"),
        ({"opens_gap": True}, "low"),
    ],
)
def test_confidence(changes: dict[str, Any], confidence: str) -> None:
    assert [s["confidence"] for s in stalls(**changes)] == [confidence]


def test_what_was_lost() -> None:
    assert stalls()[0]["lost"] == "a segment of the response, or its acknowledgment, was lost"
    assert stalls(role=1)[0]["lost"] == "a segment of the request, or its acknowledgment, was lost"
    assert stalls(http=False)[0]["lost"].startswith("a segment of the data")
    assert "lost before the capture point" in stalls(retransmitted_late=True)[0]["lost"]


def test_a_full_listen_queue_is_named_first_if_the_syn_ack_was_repeated() -> None:
    again = pl.lit(value=True).alias("syn_ack_again")
    [stall] = found("retransmission-stall", recoveries(role=1).with_columns(again))
    assert "listen queue" in stall["lost"]
    assert stall["queue"]
    assert not stalls(role=1)[0]["queue"]
    [of_response] = found("retransmission-stall", recoveries().with_columns(again))
    assert not of_response["queue"]


@pytest.mark.parametrize(("echo", "expected"), [("0.241", "retransmission-stall, kind timeout, delay 0.210"), ("0.031", "")])
def test_an_ack_that_echoes_the_copy_answers_it_however_soon_it_comes(echo: str, expected: str) -> None:
    """The handshake took 30 ms because the server was busy, so the round trip seems longer than the 2 ms of this ACK."""
    check(f"""
  0.000  >  S    win 64240 mss 1460 ts
  0.030  <  S.   win 64240 mss 1460 ts
  0.030  >  .    ts
  0.031  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" ts
  0.241  >  P.   1:28 "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" ts
  0.243  <  .    ack 28 ts echo {echo}
  0.900  <  P.   "HTTP/1.1 204 No Content\\r\\n\\r\\n" ack 28 ts
  0.901  >  .    ts
  => {expected or "nothing"}
""")


def late(**changes: Any) -> list[dict[str, Any]]:
    """A response that was late, not lost: the ACK of its first copy comes 1.01 s after it, and the client is 10 ms away."""
    row = {
        "frame": 9, "time": 1_030 * MS, "connection": 0, "role": 0, "http": True, "handshake": True, "rtt_own": 10 * MS,
        "rtt_peer": 0, "stall_frame": 5, "stall_time": 20 * MS, "retransmission_count": 1, "first_retransmission_frame": 8,
        "first_retransmission_time": 230 * MS, "retransmitted_frame": 8, "retransmitted_time": 230 * MS,
        "retransmitted_bytes": 100, "spurious": True,
    }  # fmt: skip
    return found("retransmission-stall", rows("recoveries", row | changes))


def test_late() -> None:
    [stall] = late()
    assert (stall["kind"], stall["side"], stall["delay"], stall["confidence"]) == ("late", None, S, "high")
    assert (stall["start"], stall["end"]) == (20 * MS, 1_030 * MS)
    assert late(time=1_030 * MS - 1) == []
    assert late(http=False) == []


@pytest.mark.parametrize(
    ("since", "changes", "speaks"),
    [
        (5 * S, {}, True),
        (5 * S + 1, {}, False),
        (6 * S, {"peer_message_incomplete": True}, True),
        (6 * S + 1, {"peer_message_incomplete": True}, False),  # the timer, which doubles, would have been due again
    ],
)
def test_the_sender_still_waits_for_the_ack(since: int, changes: dict[str, Any], speaks: bool) -> None:
    """The last retransmission came 6 s after the last progress."""
    told = late(retransmission_count=5, retransmitted_time=20 * MS + 6 * S, time=20 * MS + 6 * S + since, **changes)
    assert bool(told) is speaks


def test_no_ack_reaches_the_sender() -> None:
    """It retransmits after 1 s, and continues 30 ms later."""
    given = {"acks_lost": True, "retransmitted_time": 1_020 * MS, "time": 1_050 * MS}
    [stall] = late(role=1, **given)
    assert (stall["kind"], stall["side"], stall["delay"], stall["confidence"]) == ("acks-lost", None, 1_020 * MS, "medium")
    assert (stall["sender"], stall["receiver"]) == ("server", "client")
    [stall] = late(role=0, acked_unseen=1, **given)
    assert (stall["sender"], stall["receiver"], stall["confidence"]) == ("client", "server", "low")
    assert late(**given | {"retransmitted_time": 1_020 * MS - 1}) == []
    assert late(**given, http=False) == []


def test_late_by_a_d_sack() -> None:
    """The receiver owed a response, and the first retransmission was late, too: by 500 ms."""
    by_d_sack = {"dsack": True, "message_incomplete": True, "first_retransmission_time": 520 * MS, "retransmitted_time": 520 * MS}
    assert [stall["kind"] for stall in late(**by_d_sack)] == ["late"]
    assert late(**by_d_sack | {"first_retransmission_time": 520 * MS + 1}) == []
    assert late(**by_d_sack | {"message_incomplete": False}) == []
