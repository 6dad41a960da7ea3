"""The shares of several processes come to the tables of one: each connection is followed as if there were no others."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from tests.core.feeding import Run
from tests.ladders import to_pcap
from tests.support.recordings import PATHS
from tests.support.sweeps import sweep
from tests.tcp.test_crowds import CHECK, OPEN, crowd
from wiredoctor import limits
from wiredoctor.core.capture.reasons import describe_reasons
from wiredoctor.core.tcp import tcp_analysis
from wiredoctor.core.tcp.flows import Share
from wiredoctor.engine.processes import number_connections
from wiredoctor.limits import LimitsReached
from wiredoctor.storage.spill import renumber
from wiredoctor.tables import MESSAGE_BITS, SECOND
from wiredoctor.testing.wire import ACK, FIN, SYN, Packet, Peers

SMALL = {
    limits.OPEN: OPEN, limits.CROWD_CHECK: CHECK, limits.RETENTION: SECOND // 5, limits.RETAINED_PACKETS: 30, limits.HOLES: 1,
    limits.COPIES: 8, limits.UNACKNOWLEDGED: 2, limits.FIRST_COPIES: 16, limits.AHEAD: 2_000, limits.BEHIND: 2,
    limits.PIPELINED: 2, limits.INTERIM: 1, limits.HEAD: 300, limits.TEXT: 10, limits.CHUNK_LINE: 8, limits.WAITING: 2,
    limits.DATAGRAMS: 2, limits.REMEMBERED_HEADS: 3,
}  # fmt: skip
"""Limits that recordings reach."""


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that recordings reach."""
    for limit, value in SMALL.items():
        monkeypatch.setattr(limit, "value", value)


class Written:
    """What the core writes of a capture, or of a share of its connections."""

    def __init__(self, path: Path, share: Share | None = None) -> None:
        run = Run(path, share).read()
        self.core, self.met, self.tables = run.core, run.met, run.tables()


def with_ids(rows: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """Return rows with the ids of the whole capture, and those of their messages."""
    low = 1 << MESSAGE_BITS
    for name in rows.columns:
        if name.endswith("message") and name not in ("request_message", "response_message") and rows[name].dtype == pl.Int64:
            rows = rows.with_columns((pl.lit(ids).gather(pl.col(name) // low) * low + pl.col(name) % low).alias(name))
    return renumber(rows, ids)


def join(shares: list[Written]) -> dict[str, list[str]]:
    """Return the rows of all shares, as text and sorted."""
    opened = [run.core.share.opened.getvalue() for run in shares if run.core.share is not None]
    numbers = number_connections(opened)
    parts = [{name: with_ids(rows, ids) for name, rows in run.tables.items()} for run, ids in zip(shares, numbers, strict=True)]
    return {name: texts(pl.concat([part[name] for part in parts])) for name in parts[0]}


def texts(rows: pl.DataFrame) -> list[str]:
    """Return rows as text, sorted."""
    return sorted(map(str, rows.iter_rows()))


def is_equal(path: Path, count: int) -> bool:
    """Return whether so many shares come to the tables, counts and limits of one process."""
    whole = Written(path)
    shares = [Written(path, Share(number, count)) for number in range(count)]
    met = LimitsReached()
    met.join(run.met.counts for run in shares)
    # each share reads all packets, and so finds what is odd in them
    expected = {name: texts(rows) * (count if name == "oddities" else 1) for name, rows in whole.tables.items()}
    assert join(shares) == {name: sorted(rows) for name, rows in expected.items()}
    assert met.counts == whole.met.counts
    assert sum(run.core.duplicates for run in shares) == whole.core.duplicates
    assert [not_analyzed(run) for run in shares] == [not_analyzed(whole)] * count
    return True


def not_analyzed(run: Written) -> dict[str, int]:
    """Return how many packets gave no segment, by reason."""
    return describe_reasons(run.core.headers.not_analyzed)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("path", PATHS[4::60], ids=lambda path: path.stem)
def test_recordings(path: Path, count: int) -> None:
    assert is_equal(path, count)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("path", PATHS[9::60], ids=lambda path: path.stem)
def test_limits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "cpython" not in tcp_analysis.__file__:
        monkeypatch.setattr(tcp_analysis, "FORGET_EVERY", 64)
    assert is_equal(path, 3)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("seed", sweep(range(3), {0}.__contains__))
@pytest.mark.parametrize("count", sweep([2, 16, 64], (16).__eq__))
def test_crowds(tmp_path: Path, seed: int, count: int) -> None:
    """Connections that are given up, and closed ones that are retired, also after late packets."""
    path = tmp_path / "crowd.pcap"
    path.write_bytes(to_pcap(crowd(seed)))
    assert is_equal(path, count)


@pytest.mark.usefixtures("small_limits")
def test_late_packets(tmp_path: Path) -> None:
    """Connections that closed are retired some time after their last packet, whichever closed before them."""
    chance = random.Random(1)
    packets: list[Packet] = []
    for number in range(60):
        peers, begin, late = Peers(f"10.1.0.1:{4000 + number}", "10.0.0.2:80", (0, 0)), number * 20_000_000, chance.random()
        for time, side, flags, seq, ack in (
            (0, 0, SYN, 0, 0),
            (1, 1, SYN | ACK, 0, 1),
            (2, 0, FIN | ACK, 1, 1),
            (3, 1, FIN | ACK, 1, 2),
        ):
            packets.append(Packet(peers, side, begin + time * 1_000, flags, seq, ack))
        packets.append(Packet(peers, 0, begin + int(late * 190_000_000), ACK, 2, 2))
    packets.sort(key=lambda packet: packet.time)
    path = tmp_path / "late.pcap"
    path.write_bytes(to_pcap(packets))
    assert len(set(Written(path).tables["connections"]["final_at"])) > 30
    assert is_equal(path, 3)
