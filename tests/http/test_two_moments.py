"""Test that an exchange gets a row of `exchanges` as soon as it has ended, and one of `closes` once it is known what followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http.talk import HANDSHAKE
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline.feeding import open_capture, read_in_steps, tables
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.loop import Core
from wiredoctor.engine.opening import open_capture_records
from wiredoctor.engine.row_tables import take_tables
from wiredoctor.limits import LimitsReached
from wiredoctor.tables import AT_THE_CLOSE

OK = r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TALK = f"""
    0.020 > P. "GET /1 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    0.030 < P. "{OK}"
    0.031 > .
    0.500 > P. "GET /2 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    0.510 < P. "{OK}"
    0.511 > .
    0.900 > F.
    0.901 < F.
"""
"""Frames 4 to 6 and 7 to 9 are an exchange each, 10 and 11 close the connection."""


def arrivals(path: Path) -> list[tuple[str, int, int]]:
    """Return after which frame each exchange came, packet by packet: (table, exchange, frame)."""
    came: list[tuple[str, int, int]] = []
    with open_capture(path) as capture:
        core = Core(open_capture_records(capture), Cutoffs(), LimitsReached(), False, False)
        for _ in read_in_steps(core, capture, 1):
            taken, _, _ = take_tables(core)
            for name in ("exchanges", "closes"):
                exchanges = taken[name].select(["exchange"])["exchange"].to_list()
                came += [(name, exchange, core.records.frame) for exchange in exchanges]
    return came


def capture(text: str, folder: Path) -> Path:
    path = folder / "talk.pcap"
    path.write_bytes(to_pcap(ladder_packets(text)))
    return path


def test_a_row_comes_with_the_last_packet_of_the_response(tmp_path: Path) -> None:
    came = arrivals(capture(HANDSHAKE + TALK, tmp_path))
    assert came == [("exchanges", 0, 5), ("closes", 0, 7), ("exchanges", 1, 8), ("closes", 1, 11)]


@pytest.mark.parametrize("epoch", [1, 4, 100])
def test_each_row_says_what_was_known_at_its_time(tmp_path: Path, epoch: int) -> None:
    """Without a handshake, the ACK of the response is what tells the round trip to the client."""
    seen = tables(capture(TALK, tmp_path), epoch, messages=False)
    assert seen["finished"]["rtt_client"].to_list() == [None, 1_000_000]
    assert AT_THE_CLOSE.of(seen["exchanges"])["rtt_client"].to_list() == [1_000_000, 1_000_000]
    assert seen["finished"]["final_at"].to_list() == [10_000_000, 490_000_000]
    assert AT_THE_CLOSE.of(seen["exchanges"])["final_at"][0] == 480_000_000


def test_a_response_that_breaks_off_ends_when_the_close_is_decided(tmp_path: Path) -> None:
    """Nothing tells before that whether more of it will come."""
    cut = TALK.replace("Content-Length: 5", "Content-Length: 9")
    first = "\n".join([*cut.splitlines()[:3], "    0.031 < F.", "    0.032 > .", "    5.000 > ."])
    came = arrivals(capture(HANDSHAKE + first, tmp_path))
    assert came == [("exchanges", 0, 8), ("closes", 0, 8)]


@pytest.mark.parametrize(("last", "probes"), [("R.", 2), ("F.", 0)])
def test_keep_alive_probes_without_an_answer_before_a_reset(tmp_path: Path, last: str, probes: int) -> None:
    """The client answers the first of three probes. A FIN does not follow from probes."""
    text = f"""
    0.020 > P. "GET /1 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    0.030 < P. "{OK}"
    0.031 > .
    1.030 < . 43:43
    1.031 > .
    2.031 < . 43:43
    3.031 < . 43:43
    4.031 < {last}
    """
    [closed] = AT_THE_CLOSE.of(tables(capture(HANDSHAKE + text, tmp_path), 4, messages=False)["exchanges"]).iter_rows(named=True)
    assert (closed["server_close_frame"], closed["server_unanswered_probes"]) == (11, probes)
