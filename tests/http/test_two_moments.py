"""An exchange has a row in `exchanges` as soon as it has ended, and one in `closes` when it is known what followed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.http.talk import HANDSHAKE
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline.feeding import tables
from wiredoctor.analysis import Analysis, Tables
from wiredoctor.capture import open_capture
from wiredoctor.spill import Folder
from wiredoctor.tables import closes

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor import http

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


class Timed(Analysis):
    """An analysis that remembers in which frame each exchange came: (table, exchange, frame)."""

    came: list[tuple[str, int, int]]

    def _tables(self, heard: http.Heard, connections: pl.DataFrame, segments: pl.DataFrame | pl.LazyFrame | None) -> Tables:
        made = super()._tables(heard, connections, segments)
        for name in ("exchanges", "closes"):
            rows = made[name].lazy().collect()
            self.came.extend((name, exchange, self.frames) for exchange in rows["exchange"].to_list())
        return made


def capture(text: str, folder: Path) -> Path:
    path = folder / "talk.pcap"
    path.write_bytes(to_pcap(ladder_packets(text)))
    return path


def test_a_row_comes_with_the_last_packet_of_the_response(tmp_path: Path) -> None:
    with open_capture(capture(HANDSHAKE + TALK, tmp_path)) as file:
        analysis = Timed(file, {}, Folder())
        analysis.came = []
        analysis.run(1, lambda done: None, lambda found: found)
    assert analysis.came == [("exchanges", 0, 5), ("closes", 0, 7), ("exchanges", 1, 8), ("closes", 1, 11)]


@pytest.mark.parametrize("epoch", [1, 4, 100])
def test_each_row_says_what_was_known_at_its_time(tmp_path: Path, epoch: int) -> None:
    """Without a handshake, the ACK of the response is what tells the round trip to the client."""
    seen = tables(capture(TALK, tmp_path), epoch, messages=False)
    assert seen["finished"]["rtt_client"].to_list() == [None, 1_000_000]
    assert closes(seen["exchanges"])["rtt_client"].to_list() == [1_000_000, 1_000_000]
    assert seen["finished"]["final_at"].to_list() == [10_000_000, 490_000_000]
    assert closes(seen["exchanges"])["final_at"][0] == 480_000_000


def test_a_response_that_breaks_off_ends_when_the_close_is_decided(tmp_path: Path) -> None:
    """Nothing tells before that whether more of it will come."""
    cut = TALK.replace("Content-Length: 5", "Content-Length: 9")
    first = "\n".join([*cut.splitlines()[:3], "    0.031 < F.", "    0.032 > .", "    5.000 > ."])
    with open_capture(capture(HANDSHAKE + first, tmp_path)) as file:
        analysis = Timed(file, {}, Folder())
        analysis.came = []
        analysis.run(1, lambda done: None, lambda found: found)
    assert analysis.came == [("exchanges", 0, 8), ("closes", 0, 8)]
