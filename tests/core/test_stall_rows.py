"""The event rows of TCP: releases, recoveries, closures, runs."""

from __future__ import annotations

import struct

import pytest

from tests.core.tcp_talk import Talk, open_talk
from tests.support.sweeps import WHOLE
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.rows.stall_rows import CLOSURES, RECOVERIES, RUNS
from wiredoctor.core.tcp.nagle import MAX_CLAIMS
from wiredoctor.core.tcp.releases import RELEASES, SORTS
from wiredoctor.core.tcp.segment import MILLISECOND

COLUMNS = {"releases": RELEASES, "recoveries": RECOVERIES, "closures": CLOSURES, "runs": RUNS}
MS = MILLISECOND


def cutoffs() -> Cutoffs:
    """Those of the rules, about."""
    found = Cutoffs()
    found.min_ack_delay, found.max_quick_ack, found.min_lateness = 30 * MS, 5 * MS, 5 * MS
    found.min_stall, found.min_run, found.max_run = 50 * MS, 4, 100
    return found


def rows(talk: Talk, table: str) -> list[dict[str, int]]:
    """The rows of an event table."""
    columns = COLUMNS[table]
    written = talk.tcp.releases.rows if table == "releases" else getattr(talk.tcp.stall_rows, table)
    cells = [number for (number,) in struct.iter_unpack("<q", b"".join(written.take()))]
    return [dict(zip(columns, cells[i : i + len(columns)], strict=True)) for i in range(0, len(cells), len(columns))]


def released(ack_time: float, **more: int) -> list[dict[str, int]]:
    """D at 20 ms, its ACK, and S 1 ms after it. The round trips are 1 and 10 ms."""
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100, http=1, ends_head=1)
    talk.server(ack_time, ".", 5_001, 1_101)
    talk.client(ack_time + 1, "P.", 1_101, 5_001, 50, http=1, **more)
    return rows(talk, "releases")


def test_a_small_segment_that_waited_for_a_delayed_ack() -> None:
    (row,) = released(70, ends_message=1)
    assert SORTS[row["sort"]] == "waited"
    assert (row["previous_data_frame"], row["previous_ack_frame"], row["frame"]) == (4, 5, 6)
    assert (row["previous_ack_delay"], row["previous_ack_bytes"], row["rtt_own"], row["rtt_peer"]) == (
        40 * MS, 100, 1 * MS, 10 * MS,
    )  # fmt: skip
    assert (row["previous_data_ends_head"], row["previous_data_small"], row["small_start"], row["role"]) == (1, 1, 1, 0)


def test_the_first_piece_of_a_longer_body_waits_for_later_gaps() -> None:
    assert released(70) == []


def test_after_a_prompt_ack_it_is_counter_evidence() -> None:
    (row,) = released(32)
    assert (SORTS[row["sort"]], row["previous_ack_delay"]) == ("prompt", 2 * MS)


def test_between_prompt_and_delayed_there_is_no_row() -> None:
    assert released(45) == []


def test_who_owes_nothing_waits_for_nothing() -> None:
    assert released(70, incomplete=0) == []


@pytest.mark.parametrize("disturbance", ["data", "retransmission", "not next", "more in flight"])
def test_what_disturbs_a_release(disturbance: str) -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100, http=1)
    if disturbance == "data":
        talk.server(30, "P.", 5_001, 1_001, 10)
    if disturbance == "retransmission":
        talk.client(40, "P.", 1_001, 5_001, 100)
    talk.server(70, ".", 5_001, 1_051 if disturbance == "more in flight" else 1_101)
    if disturbance == "not next":
        talk.client(70.5, ".", 1_101, 5_001)
    talk.client(71, "P.", 1_101, 5_001, 50, http=1)
    assert rows(talk, "releases") == []


@WHOLE
@pytest.mark.parametrize(("window", "waited"), [(500, 0), (1_459, 0), (1_460, 1)])
def test_a_full_segment_waits_for_room_and_not_for_an_ack_that_leaves_none(window: int, waited: int) -> None:
    """The program of the server reads a millisecond after its kernel has sent the delayed ACK."""
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 1_460, http=1)
    talk.server(70, ".", 5_001, 2_461, window=window)
    talk.server(71, ".", 5_001, 2_461, window=60_000)
    talk.client(72, "P.", 2_461, 5_001, 1_460, http=1)
    assert [SORTS[row["sort"]] for row in rows(talk, "releases")] == ["waited"] * waited


def test_data_that_came_late_was_not_the_last_in_flight() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100, http=1)
    talk.client(21, "P.", 1_201, 5_001, 100, http=1)
    talk.client(22, "P.", 1_101, 5_001, 100, http=1)
    talk.server(70, ".", 5_001, 1_201)
    talk.client(71, "P.", 1_301, 5_001, 50, http=1)
    assert rows(talk, "releases") == []


def test_a_tail_loss_probe_and_its_answer() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100, http=1)
    talk.client(240, "P.", 1_101, 5_001, 50, http=1)
    talk.server(251, ".", 5_001, 1_151)
    probe, answer = rows(talk, "releases")
    assert (SORTS[probe["sort"]], probe["frame"]) == ("probe", 5)
    assert (SORTS[answer["sort"]], answer["frame"], answer["probe_frame"]) == ("answers_probe", 6, 5)


@pytest.mark.parametrize("ack", [None, 21.5, 20.4])
def test_small_segments_without_waiting_prove_nagle_off(ack: float | None) -> None:
    """Captures swap close neighbors: an ACK within a millisecond may have been there before."""
    talk = open_talk(cutoffs())
    talk.client(19, "P.", 1_001, 5_001, 100)
    talk.client(20, "P.", 1_101, 5_001, 100)
    if ack is not None:
        talk.server(ack, ".", 5_001, 1_101)
    talk.client(100, ".", 1_201, 5_001)
    assert talk.tcp.events.nagle_off == (ack != 20.4)


def test_a_retransmission_that_ends_a_time_without_progress() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.client(21, "P.", 1_101, 5_001, 100)
    talk.server(31, ".", 5_001, 1_001, window=60_000)
    talk.client(230, "P.", 1_001, 5_001, 100)
    talk.client(630, "P.", 1_001, 5_001, 100)
    talk.server(640, ".", 5_001, 1_201)
    (row,) = rows(talk, "recoveries")
    assert (row["frame"], row["direction"], row["stall_frame"], row["stall_duplicate_acks"]) == (9, 1, 5, 1)
    assert (row["retransmission_count"], row["first_retransmission_frame"], row["retransmitted_frame"]) == (2, 7, 8)
    assert (row["stall_time"], row["retransmitted_time"], row["retransmitted_late"]) == (21 * MS, 630 * MS, 0)


def test_a_late_first_copy_ends_one_too() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_101, 5_001, 100)
    talk.client(230, "P.", 1_001, 5_001, 100)
    talk.server(240, ".", 5_001, 1_201)
    (row,) = rows(talk, "recoveries")
    assert (row["retransmitted_frame"], row["retransmitted_late"]) == (5, 1)


@pytest.mark.parametrize(("again", "written"), [(50, 0), (230, 1)])
def test_a_short_time_without_progress_is_none(again: float, written: int) -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.client(again, "P.", 1_001, 5_001, 100)
    talk.server(again + 10, ".", 5_001, 1_101)
    assert len(rows(talk, "recoveries")) == written


def test_a_retransmission_of_what_nobody_waits_for_ends_nothing() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.client(21, "P.", 1_101, 5_001, 100)
    talk.server(31, ".", 5_001, 1_101)
    talk.client(230, "P.", 1_001, 5_001, 100)
    talk.server(240, ".", 5_001, 1_201)
    assert rows(talk, "recoveries") == []


def closed_window(opened: float, window: int = 0, length: int = 1_460) -> list[dict[str, int]]:
    """The server's window closes at 30 ms and opens; the client probes it, and sends 5 ms after it opened."""
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 1_000)
    talk.server(30, ".", 5_001, 2_001, window=window)
    talk.client(opened - 1, ".", 2_000, 5_001)
    talk.server(opened, ".", 5_001, 2_001, window=9_000)
    talk.client(opened + 5, "P.", 2_001, 5_001, length)
    talk.client(opened + 6, "P.", 2_001 + length, 5_001, length)
    return rows(talk, "closures")


def test_the_first_data_after_a_closed_window() -> None:
    (row,) = closed_window(100)
    assert (row["closed_frame"], row["window_probe_frame"], row["opened_frame"], row["frame"]) == (5, 6, 7, 8)
    assert (row["closed_window"], row["window_probes"], row["closed_time"], row["opened_time"]) == (0, 1, 30 * MS, 100 * MS)


def test_a_window_of_less_than_one_mss_holds_a_full_segment_back() -> None:
    (row,) = closed_window(100, window=1_000)
    assert row["closed_window"] == 1_000
    assert closed_window(100, window=1_000, length=900) == []
    assert closed_window(100, window=1_500) == []


def test_a_window_that_is_closed_for_a_moment() -> None:
    assert closed_window(49) == []


def run(times: list[float], length: int = 10, answered: bool = False, message: int = 7) -> list[dict[str, int]]:
    """Small segments of the client; the last belongs to `message`."""
    talk = open_talk(cutoffs())
    seq = 1_001
    for i, time in enumerate(times):
        if answered:
            talk.server(time - 0.5, "P.", 5_001 + i, seq, 1)
        talk.client(time, "P.", seq, 5_001, length, message=message if i == len(times) - 1 else 7)
        seq += length
    return rows(talk, "runs")


def test_a_run_of_small_segments() -> None:
    (row,) = run([20, 21, 22, 23])
    assert (row["small_run"], row["small_run_bytes"], row["small_run_frame"], row["small_run_time"]) == (4, 40, 4, 20 * MS)


def test_a_shorter_run_counts_where_another_message_begins() -> None:
    assert run([20, 21, 22]) == []
    (row,) = run([20, 21, 22], message=9)
    assert (row["small_run"], row["message"], row["previous_data_message"]) == (3, 9, 7)


def test_what_ends_a_run() -> None:
    assert run([20, 21, 42, 43]) == []
    assert run([20, 21, 22, 23], answered=True) == []
    assert run([20, 21, 22, 23], length=1_460) == []


def test_a_cutoff_that_nothing_reaches_writes_no_row() -> None:
    talk = open_talk()
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.server(70, ".", 5_001, 1_101)
    talk.client(71, "P.", 1_101, 5_001, 50)
    assert rows(talk, "releases") == []


def test_times_decades_apart_fit_64_bits() -> None:
    """Records are read with times of at most 2**61 ns before and after the first."""
    talk, far = open_talk(cutoffs()), float((1 << 61) // MS)
    seq = 1_001
    for _ in range(3):
        talk.client(-far, "P.", seq, 5_001, 100)
        talk.server(far, ".", 5_001, seq + 100)
        talk.client(-far, "P.", seq + 100, 5_001, 100)
        talk.client(far, "P.", seq + 200, 5_001, 100)
        talk.client(far, "P.", seq, 5_001, 100)
        talk.server(-far, ".", 5_001, seq + 300)
        seq += 300
    found = [value for table in COLUMNS for row in rows(talk, table) for value in row.values()]
    assert found
    assert talk.segment.rtt_own >= 0


def test_a_retransmission_shows_that_it_was_no_probe() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100, http=1)
    talk.client(240, "P.", 1_101, 5_001, 50, http=1)
    talk.client(245, "P.", 1_001, 5_001, 100, http=1)
    talk.server(251, ".", 5_001, 1_151)
    assert [SORTS[row["sort"]] for row in rows(talk, "releases")] == ["probe"]


def test_a_claim_outlives_an_earlier_one_that_was_acknowledged() -> None:
    """The ACK of the first segment was late by less than a millisecond, that of the second never came."""
    talk = open_talk(cutoffs())
    for i in range(3):
        talk.client(20 + i / 10, "P.", 1_001 + 100 * i, 5_001, 100)
    talk.server(20.3, ".", 5_001, 1_101)
    talk.client(21.15, ".", 1_301, 5_001)
    assert not talk.tcp.events.nagle_off
    talk.client(21.25, ".", 1_301, 5_001)
    assert talk.tcp.events.nagle_off


def test_claims_are_bounded_while_the_clock_stands_still() -> None:
    talk = open_talk(cutoffs())
    for i in range(MAX_CLAIMS + 50):
        talk.client(20, "P.", 1_001 + i, 5_001, 1)
    waits = talk.connection.first.waits
    assert waits is not None
    assert waits.nagle is not None
    assert len(waits.nagle.later_claims or []) == MAX_CLAIMS
    # all that are known are acknowledged in time, each before the next: one ACK of two would prove the claim
    for i in range(MAX_CLAIMS + 50):
        talk.server(20.5, ".", 5_001, 1_002 + i)
    talk.client(30, ".", 1_001 + MAX_CLAIMS + 50, 5_001)
    assert not talk.tcp.events.nagle_off


def test_new_progress_begins_a_new_stall() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.client(230, "P.", 1_001, 5_001, 100)
    talk.client(240, "P.", 1_101, 5_001, 100)
    talk.client(500, "P.", 1_001, 5_001, 100)
    talk.server(510, ".", 5_001, 1_201)
    (row,) = rows(talk, "recoveries")
    assert (row["stall_frame"], row["retransmission_count"], row["first_retransmission_frame"]) == (6, 1, 7)


@pytest.mark.parametrize(("apart", "counted"), [(0.5, 1), (2, 2)])
def test_a_doubled_duplicate_ack_counts_once(apart: float, counted: int) -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.server(31, ".", 5_001, 1_001, window=60_000, ip_id=77)
    talk.server(31 + apart, ".", 5_001, 1_001, window=60_000, ip_id=77)
    talk.client(230, "P.", 1_001, 5_001, 100)
    talk.server(240, ".", 5_001, 1_101)
    (row,) = rows(talk, "recoveries")
    assert row["stall_duplicate_acks"] == counted


def test_a_window_closed_for_exactly_the_cutoff_counts() -> None:
    assert len(closed_window(50)) == 1


def test_a_keep_alive_probe_does_not_end_a_run() -> None:
    talk = open_talk(cutoffs())
    for i in range(4):
        talk.client(20 + i, "P.", 1_001 + 10 * i, 5_001, 10)
        talk.server(20.5 + i, ".", 5_000, 1_011 + 10 * i, 1)
    assert len(rows(talk, "runs")) == 1
