"""Test data that is sent repeatedly: the facts recorded at each copy, and when its row is written."""

from __future__ import annotations

import struct

import pytest

from tests.core.tcp_talk import Talk, open_talk
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.tcp.retransmission_stalls import MAX_SACKED, note_sack
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER, Segment
from wiredoctor.core.tcp.unacknowledged import UNACKNOWLEDGED
from wiredoctor.core.tcp.waits import Waits

MS = MILLISECOND


def cutoffs() -> Cutoffs:
    found = Cutoffs()
    found.min_copies = 3
    return found


def taken(talk: Talk) -> list[dict[str, int]]:
    """The rows that are written by now."""
    cells = [number for (number,) in struct.iter_unpack("<q", b"".join(talk.tcp.repetitions.rows.take()))]
    size = len(UNACKNOWLEDGED)
    return [dict(zip(UNACKNOWLEDGED, cells[i : i + size], strict=True)) for i in range(0, len(cells), size)]


def at_end(talk: Talk) -> list[dict[str, int]]:
    """The rows that are written when the connection is over."""
    talk.tcp.repetitions.end(talk.connection, talk.packet.clock)
    return taken(talk)


def repeated(talk: Talk, *times: float, size: int = 100, first: int = 1_001) -> Talk:
    """The client sends these bytes at these times (ms)."""
    for time in times:
        talk.client(time, "P.", first, 5_001, size)
    return talk


def test_a_row_at_the_end() -> None:
    (row,) = at_end(repeated(open_talk(cutoffs()), 20, 220, 640))
    assert (row["copies"], row["length"], row["fin"], row["acknowledged_before"]) == (3, 100, 0, 0)
    assert [row[f"{which}_frame"] for which in ("first", "second", "last")] == [4, 5, 6]
    assert [row[f"{which}_time"] for which in ("first", "second", "last")] == [20 * MS, 220 * MS, 640 * MS]
    assert (row["heard_frame"], row["heard_time"], row["peer_frame"]) == (2, 10 * MS, NEVER)
    assert (row["acknowledged_frame"], row["role"], row["handshake"], row["window_closed"]) == (NEVER, 0, 1, 0)


def test_two_copies_have_no_row() -> None:
    assert at_end(repeated(open_talk(cutoffs()), 20, 220)) == []


def test_an_ack_ends_it() -> None:
    talk = repeated(open_talk(cutoffs()), 20, 220, 640)
    talk.server(650, ".", 5_001, 1_101)
    (row,) = taken(talk)
    assert (row["acknowledged_frame"], row["frame"]) == (7, 7)
    assert at_end(talk) == []


def test_an_ack_of_earlier_data_does_not() -> None:
    talk = open_talk(cutoffs())
    talk.client(19, "P.", 1_001, 5_001, 50)
    repeated(talk, 20, 220, 640, first=1_051)
    talk.server(650, ".", 5_001, 1_051)
    repeated(talk, 700, 900, first=1_051)
    (row,) = at_end(talk)
    assert (row["copies"], row["first_frame"], row["peer_frame"], row["largest_acknowledged"]) == (3, 5, 8, 50)


@pytest.mark.parametrize(("ack", "later", "misses"), [(500, 900, 1), (1_000, None, 0), (None, None, 0), (None, 900, 1)])
def test_a_receiver_that_repeats_misses_small_acks_only_if_it_repeats_after_one(
    ack: float | None, later: float | None, misses: int
) -> None:
    """Its repeated data was acknowledged together with data at first, and perhaps later by an ACK without data."""
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 50)
    talk.server(31, ".", 5_001, 1_051, 1_400)
    talk.client(220, "P.", 1_001, 5_001, 50)
    talk.server(300, ".", 5_001, 1_051, 1_400)
    talk.client(420, "P.", 1_001, 5_001, 50)
    if ack is not None:
        talk.server(ack, ".", 6_401, 1_051)
    if later is not None:
        talk.client(later, "P.", 1_001, 5_001, 50)
    talk.server(1_700, ".", 5_001, 1_051, 1_400)
    rows = {row["direction"]: row for row in at_end(talk)}
    assert rows[1]["peer_repeats"] == misses


def test_who_never_acknowledged_anything_was_not_captured() -> None:
    talk = Talk(cutoffs())
    repeated(talk, 20, 220, 640, 1_480)
    assert at_end(talk) == []


def test_a_copy_that_was_acknowledged_before() -> None:
    talk = repeated(open_talk(cutoffs()), 20)
    talk.server(31, ".", 5_001, 1_101)
    repeated(talk, 220, 640, 1_480)
    (row,) = at_end(talk)
    assert (row["acknowledged_before"], row["copies"], row["first_frame"], row["second_frame"]) == (1, 4, 4, 6)


@pytest.mark.parametrize("goes_on", ["data", "ack"])
def test_a_sender_that_goes_on_has_the_ack(goes_on: str) -> None:
    talk = repeated(open_talk(cutoffs()), 20)
    talk.server(31, ".", 5_001, 1_101)
    repeated(talk, 220, 640, 1_480)
    if goes_on == "data":
        talk.client(1_500, "P.", 1_101, 5_001, 10)
    else:
        talk.server(1_500, "P.", 5_001, 1_101, 10)
        talk.client(1_501, ".", 1_101, 5_011)
    assert at_end(talk) == []


def test_a_fin() -> None:
    talk = open_talk(cutoffs())
    for time in (20, 220, 640):
        talk.client(time, "F.", 1_001, 5_001)
    (row,) = at_end(talk)
    assert (row["fin"], row["length"], row["copies"], row["first_frame"], row["own_close_frame"]) == (1, 0, 3, 4, 4)


def test_rest_before_the_first_copy() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 50)
    talk.server(31, "P.", 5_001, 1_051, 70)
    repeated(talk, 8_000, 8_200, 8_600, first=1_051)
    (row,) = at_end(talk)
    assert row["rest"] == (8_000 - 31) * MS


def test_rest_before_the_message_that_is_answered() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 50)
    talk.server(31, "P.", 5_001, 1_051, 70)
    talk.client(8_000, "P.", 1_051, 5_071, 50)
    for time in (8_011, 8_211, 8_611):
        talk.server(time, "P.", 5_071, 1_101, 100)
    (row,) = at_end(talk)
    assert row["rest"] == (8_000 - 31) * MS


@pytest.mark.parametrize(
    ("sizes", "smallest"), [((1_460, 1_460), 1_460), ((1_460, 700), 700), ((2_920, 1_460), 1_460), ((3_000, 1_460), 80)]
)
def test_the_smallest_segment_on_the_wire(sizes: tuple[int, int], smallest: int) -> None:
    """A super-segment of the sender's offload is full segments, and a rest."""
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, sizes[0])
    talk.client(20, "P.", 1_001 + sizes[0], 5_001, sizes[1])
    repeated(talk, 220, 640, size=1_460)
    (row,) = at_end(talk)
    assert row["smallest_unacknowledged"] == smallest


def test_an_rst_without_ack_flag_and_its_number() -> None:
    talk = repeated(open_talk(cutoffs()), 20, 220, 640)
    talk.server(650, "R", 5_001)
    (row,) = at_end(talk)
    assert (row["peer_rst_unknown"], row["peer_close_frame"], row["peer_close_rst"]) == (1, 7, 1)
    talk = repeated(open_talk(cutoffs()), 20, 220, 640)
    talk.server(650, "R", 5_002)
    assert at_end(talk)[0]["peer_rst_unknown"] == 0


def test_early_rows_are_written_three_seconds_after_the_fourth_copy() -> None:
    talk = open_talk(cutoffs())
    repetitions = talk.tcp.repetitions
    repetitions.is_early = True
    repeated(talk, 20, 220, 640, 1_480)
    assert repetitions.due() == 4_480 * MS
    repetitions.pass_time(4_480 * MS - 1)
    assert taken(talk) == []
    repetitions.pass_time(4_480 * MS)
    (row,) = taken(talk)
    assert (row["copies"], row["time"]) == (4, 4_480 * MS)
    assert [row["copies"] for row in at_end(talk)] == [4]


def test_what_was_acknowledged_by_then_has_no_early_row() -> None:
    talk = open_talk(cutoffs())
    talk.tcp.repetitions.is_early = True
    repeated(talk, 20, 220, 640, 1_480)
    talk.server(1_491, ".", 5_001, 1_101)
    assert len(taken(talk)) == 1
    talk.tcp.repetitions.pass_time(9_000 * MS)
    assert taken(talk) == []


def test_data_that_never_came() -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.server(40, ".", 5_001, 1_101)
    talk.client(3_020, "F.", 1_101, 5_001)
    talk.server(3_040, ".", 9_001, 1_102)
    (row,) = at_end(talk)
    assert (row["copies"], row["length"], row["acknowledged_frame"], row["role"]) == (0, 4_000, NEVER, 1)
    assert [row[f"{which}_frame"] for which in ("first", "last", "peer_close")] == [7, 7, 6]
    assert row["rest"] == 3_000 * MS


@pytest.mark.parametrize("comes", [True, False])
def test_data_that_comes_in_the_end_or_was_acknowledged(comes: bool) -> None:
    talk = open_talk(cutoffs())
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.server(40, ".", 6_001, 1_101)
    if comes:
        talk.server(240, ".", 5_001, 1_101, 1_000)
    else:
        talk.client(240, ".", 1_101, 6_001)
    talk.client(3_020, "F.", 1_101, 6_001)
    talk.server(3_040, ".", 6_001, 1_102)
    assert at_end(talk) == []


def sack(waits: Waits, *blocks: tuple[int, int], cut: int = 0) -> list[int]:
    """The ranges that are known after an ACK of 1,000 with these blocks; offset 0 is sequence number 1,000."""
    packet, segment = Packet(), Segment()
    edges = [edge for block in blocks for edge in block]
    packet.block = bytes([*bytes(20), 1, 1, 5, 2 + 8 * len(blocks)]) + struct.pack(f">{len(edges)}I", *edges)
    packet.tcp, packet.payload, packet.end = 0, len(packet.block), len(packet.block) - cut
    packet.acknowledgment, segment.ack = 1_000, 0
    note_sack(waits, packet, segment)
    return waits.sacked


def test_all_blocks_of_a_sack_count_and_those_before() -> None:
    waits = Waits()
    assert sack(waits, (2_000, 2_100), (1_500, 1_600)) == [1_000, 1_100, 500, 600]
    assert sack(waits, (3_000, 3_100), (2_000, 2_100)) == [1_000, 1_100, 500, 600, 2_000, 2_100]
    # a block that grows joins two others
    assert sack(waits, (1_600, 2_050)) == [2_000, 2_100, 500, 1_100]
    assert sack(waits, (1_700, 1_800)) == [2_000, 2_100, 500, 1_100]


def test_only_the_newest_ranges_of_sacks_are_kept() -> None:
    waits = Waits()
    for number in range(2 * MAX_SACKED):
        sack(waits, (2_000 + 100 * number, 2_050 + 100 * number))
    assert len(waits.sacked) == 2 * MAX_SACKED
    assert waits.sacked[-2:] == [1_000 + 100 * (2 * MAX_SACKED - 1), 1_050 + 100 * (2 * MAX_SACKED - 1)]


def test_a_block_that_was_not_captured_does_not_count() -> None:
    assert sack(Waits(), (2_000, 2_100), (1_500, 1_600), cut=4) == [1_000, 1_100]


def probed(talk: Talk, *times: float, length: int = 0) -> Talk:
    """The client sends a keep-alive probe at each of these times (ms)."""
    for time in times:
        talk.client(time, ".", 1_100, 5_001, length)
    return talk


def test_probes_of_a_connection_on_which_no_message_is_due() -> None:
    talk = repeated(open_talk(cutoffs()), 20)
    talk.server(31, ".", 5_001, 1_101)
    probed(talk, 15_000, 30_000, 45_000)
    assert at_end(talk) == []


@pytest.mark.parametrize("length", [0, 1])
def test_probes_without_an_answer(length: int) -> None:
    """Windows sends a byte in each probe."""
    talk = repeated(open_talk(cutoffs()), 20)
    talk.server(31, ".", 5_001, 1_101)
    probed(talk, 15_000, 30_000, 45_000, length=length)
    waits = talk.connection.first.waits
    assert waits is not None
    assert waits.probing is not None
    waits.probing.is_owed = True
    (row,) = at_end(talk)
    assert (row["keep_alive"], row["length"], row["copies"], row["first_frame"], row["last_frame"]) == (1, 0, 3, 6, 8)
    assert (row["heard_frame"], row["rest"], row["acknowledged_before"]) == (5, (15_000 - 31) * MS, 0)


def test_an_answer_to_a_probe_starts_the_count_again() -> None:
    talk = repeated(open_talk(cutoffs()), 20)
    talk.server(31, ".", 5_001, 1_101)
    probed(talk, 15_000, 30_000, 45_000)
    talk.server(45_010, ".", 5_001, 1_101)
    waits = talk.connection.first.waits
    assert waits is not None
    assert waits.probing is None


@pytest.mark.parametrize(("flags", "seq", "written"), [("R", 5_001, True), ("R", 5_002, False), ("R.", 5_001, False)])
def test_an_rst_of_a_host_that_does_not_know_the_connection(flags: str, seq: int, *, written: bool) -> None:
    """It has no ACK flag, and its sequence number is the acknowledgment number of the data."""
    talk = repeated(open_talk(cutoffs()), 400_000)
    talk.server(400_010, flags, seq, 1_001 if "." in flags else 0)
    rows = at_end(talk)
    assert [(row["copies"], row["first_frame"], row["peer_rst_unknown"]) for row in rows] == [(1, 4, 1)] * written


@pytest.mark.parametrize(("server_speaks", "answers"), [(False, 0), (True, 1)])
def test_whether_the_data_may_be_an_answer(*, server_speaks: bool, answers: int) -> None:
    talk = open_talk(cutoffs())
    talk.server(15, "P.", 5_001, 1_001, 10)
    talk.client(20, "P.", 1_001, 5_011, 50)
    talk.server(31, ".", 5_011, 1_051)
    if server_speaks:
        talk.server(40, "P.", 5_011, 1_051, 20)
    repeated(talk, 8_000, 8_200, 8_600, first=1_051)
    (row,) = at_end(talk)
    assert row["answers"] == answers


@pytest.mark.parametrize(("fin", "follows"), [(1_101, 1), (1_102, 0), (None, 0)])
def test_whether_a_fin_follows_the_data(fin: int | None, follows: int) -> None:
    talk = repeated(open_talk(cutoffs()), 20, 220, 640)
    if fin is not None:
        talk.client(5_000, "F.", fin, 5_001)
    row = at_end(talk)[0]
    assert row["fin_follows"] == follows
