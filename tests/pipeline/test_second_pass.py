"""A capture that is read again says what it said the first time, of all connections or of some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.pipeline.feeding import ORDER, tables
from wiredoctor.engine import second_pass
from wiredoctor.findings import Again
from wiredoctor.tables import HEARD, READ_AGAIN
from wiredoctor.testing import capture

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
NAMES = [name for name in READ_AGAIN if name != "captures"]
"""All tables that are made again."""

SEVERAL = ("behind-nginx-race", "curl-in-parallel", "apache-ab", "tinygrams-200-ms", "java-httpserver")


def again(path: Path) -> Again:
    return next(iter(wiredoctor.analyze(path, keep=True).again.values()))


def watch_http(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return a set that collects the connections of which HTTP is read from here on."""
    read = set[int]()
    take = second_pass.Reading.take

    def taken(reading: second_pass.Reading) -> dict[str, pl.DataFrame]:
        read.update(each.id for each in reading.core.flows.open_connections() if each.conversation is not None)
        return take(reading)

    monkeypatch.setattr(second_pass.Reading, "take", taken)
    return read


def captures() -> list[Path]:
    found = [path for stem in SEVERAL for path in CAPTURES.glob(f"{stem}.pcap*")]
    assert len(found) >= 4
    return found


@pytest.mark.parametrize("path", captures(), ids=lambda p: p.stem)
def test_it_says_the_same_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tables(path)
    monkeypatch.setattr(second_pass, "STEP", 10)
    second = again(path).tables(NAMES)
    for name in ORDER.keys() & second.keys():
        keys = ORDER[name]
        names = [c for c in first[name].columns if c in second[name].columns]
        assert second[name].sort(keys).select(names).equals(first[name].sort(keys).select(names)), name
    assert second["records"]["frame"].to_list() == list(range(1, second["records"].height + 1))
    assert (
        second["packets"]
        .select("frame", "connection")
        .sort("frame")
        .equals(first["segments"].select("frame", "connection").sort("frame"))
    )


STALL = """
  0.000  >  S    win 64240 mss 1460
  0.001  <  S.   win 64240 mss 1460
  0.001  >  .
  0.002  >  P.   1:28 "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  TIME  >  P.   1:28 "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.206  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello" ack 28
"""


@pytest.mark.parametrize(
    ("time", "how", "frames"),
    [
        ("0.204", {}, [6]),
        pytest.param("0.054", {}, [6], id="shorter than any stall that a rule looks for"),
        pytest.param("0.054", {"select": ["slow-response"]}, [6], id="no rule looks for stalls"),
        ("0.050", {}, []),
        ("0.050", {"thresholds": {"retransmission-stall": {"min-gap": "10 ms"}}}, [6]),
    ],
)
def test_columns_describe_what_they_say_whatever_rules_run(
    time: str, how: dict[str, Any], frames: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "stall.pcap"
    path.write_bytes(capture(STALL.replace("TIME", time)))
    [source] = wiredoctor.analyze(path, keep=True, **how).again.values()
    assert source.tables(["segments"])["segments"].filter("ends_stall")["frame"].to_list() == frames


@pytest.mark.parametrize("path", captures()[:2], ids=lambda p: p.stem)
def test_some_connections_are_those_rows_of_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_pass, "STEP", 10)
    source = again(path)
    whole = source.tables(NAMES)
    some = whole["connections"]["connection"].unique().sort().to_list()[:2]
    part = source.tables(NAMES, some)
    for name in set(NAMES) - {"oddities"}:
        mine = whole[name].filter(pl.col("connection").is_in(some))
        assert (
            part[name]
            .drop("said_at", "at_capture_end", strict=False)
            .equals(mine.drop("said_at", "at_capture_end", strict=False))
        ), name


BY_TCP = {
    name: [c.name for c in READ_AGAIN[name].columns if name not in ("segments", "pieces") or c.name not in HEARD]
    for name in ("records", "packets", "segments", "pieces")
}


@pytest.mark.parametrize("path", captures(), ids=lambda p: p.stem)
def test_what_tcp_tells_alone_is_the_same_though_nobody_reads_http(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_pass, "STEP", 50)
    source = again(path)
    whole = source.tables([*BY_TCP])
    read = watch_http(monkeypatch)
    every = source.tables(BY_TCP)
    ids = whole["packets"]["connection"].unique().sort().to_list()[1::3]
    frames = whole["packets"]["frame"].to_list()[::7]
    some = source.tables(BY_TCP, ids, frames)
    for name, columns in BY_TCP.items():
        mine = whole[name].select(columns)
        assert every[name].equals(mine), name
        chosen = pl.col("connection").is_in(ids) | pl.col("frame").is_in(frames)
        assert some[name].equals(mine.filter(chosen)), name
    assert not read


def test_of_some_connections_only_these_are_read_as_http(monkeypatch: pytest.MonkeyPatch) -> None:
    source = again(CAPTURES / "apache-ab.pcap")
    read = watch_http(monkeypatch)
    assert source.tables(["exchanges"], [3, 5])["exchanges"].height
    assert read == {3, 5}


def test_of_frames_alone_nothing_can_be_told_that_http_says() -> None:
    source = again(CAPTURES / "server-head-body-split.pcap")
    with pytest.raises(ValueError, match="TCP"):
        source.tables(["segments"], frames=[1])
    with pytest.raises(KeyError, match="nonsense"):
        source.tables({"segments": ["frame", "nonsense"]})
    assert source.tables(BY_TCP, frames=[])["records"].height == 0


def test_what_no_later_packet_can_change_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_pass, "STEP", 10)
    monkeypatch.setattr(second_pass, "COPIES", 0)
    source = again(CAPTURES / "apache-ab.pcap")
    last = source.tables(["connections"], [0])["connections"]["last_frame"].item()
    decoded = [portion.tables["oddities"] for portion in source.portions(["oddities"], [0])]
    assert len(decoded) <= last // 10 + 3


def test_pieces_are_what_each_side_sent() -> None:
    source = again(CAPTURES / "server-head-body-split.pcap")
    said = {0: b"", 1: b""}
    for portion in source.portions(["pieces"]):
        for row in portion.tables["pieces"].sort("connection", "direction", "offset").iter_rows(named=True):
            assert row["offset"] == len(said[row["direction"]])
            said[row["direction"]] += portion.read(row["payload"], row["captured"])
    assert said[0].count(b"GET /report HTTP/1.1\r\n") >= 9
    assert said[1].startswith(b"HTTP/1.1 200 ")


def test_secrets_stay_masked(tmp_path: Path) -> None:
    raw = (CAPTURES / "server-head-body-split.pcap").read_bytes()
    assert b"GET /report " in raw
    path = tmp_path / "secret.pcap"
    path.write_bytes(raw.replace(b"GET /report ", b"GET /?a=pss "))
    for shown, target in ((False, "/?a=*"), (True, "/?a=pss")):
        report = wiredoctor.analyze(path, keep=True, show_secrets=shown)
        made = next(iter(report.again.values())).tables(["messages", "exchanges"])
        assert target in made["messages"]["target"].to_list()
        assert target in made["exchanges"]["request_target"].to_list()


def test_it_is_there_only_when_it_was_asked_for() -> None:
    assert not wiredoctor.analyze(CAPTURES / "server-head-body-split.pcap").again


def test_a_table_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        again(CAPTURES / "server-head-body-split.pcap").tables(["nonsense"])
