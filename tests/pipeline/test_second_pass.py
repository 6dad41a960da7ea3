"""Test that a second pass returns the same rows as the first one, for all connections or for some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.pipeline.feeding import ORDER, open_capture, tables
from tests.support.analysis import analyze_bytes
from tests.support.recordings import find_recording, find_stem
from tests.support.sweeps import sweep
from wiredoctor import rule_engine
from wiredoctor.engine import run, second_pass
from wiredoctor.engine.opening import open_capture_records
from wiredoctor.findings import PacketAccess
from wiredoctor.storage.spill import Folder
from wiredoctor.tables import HTTP_COLUMNS, READ_AGAIN
from wiredoctor.testing import capture

NAMES = [name for name in READ_AGAIN if name != "captures"]
"""All tables that are made again."""

SEVERAL = [find_stem(stem) for stem in ("behind-nginx-race", "curl-in-parallel", "apache-ab", "java-httpserver")]


def again(path: Path) -> PacketAccess:
    return next(iter(wiredoctor.analyze(path, keep=True).packets.values()))


def watch_http(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return a set that collects the connections of which HTTP is read from here on."""
    read = set[int]()
    take = second_pass.Reading.take

    def taken(reading: second_pass.Reading) -> dict[str, pl.DataFrame]:
        read.update(each.id for each in reading.core.flows.open_connections() if each.http is not None)
        return take(reading)

    monkeypatch.setattr(second_pass.Reading, "take", taken)
    return read


@pytest.mark.parametrize("path", SEVERAL, ids=lambda p: p.stem)
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


@pytest.mark.parametrize("size", sweep([1, 7, 1_000], (7).__eq__))
def test_the_size_of_steps_changes_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in SEVERAL[:2]:
        source = again(path)
        whole = source.tables(NAMES)
        monkeypatch.setattr(second_pass, "STEP", size)
        in_steps = source.tables(NAMES)
        monkeypatch.undo()
        for name, rows in whole.items():
            keys = ORDER.get(name, ["frame"])
            assert in_steps[name].sort(keys, maintain_order=True).equals(rows.sort(keys, maintain_order=True)), name


def test_several_files_are_read_as_one_again() -> None:
    paths = [find_recording("behind-nginx-race.pcap"), find_recording("apache-ab.pcap")]
    report = wiredoctor.analyze(*paths, merge=True, keep=True)
    [source] = report.packets.values()
    made = source.tables(["records", "exchanges"])
    assert made["records"].height == report.captures[0].packets
    columns = ["connection", "exchange", "request_frame", "response_last_frame"]
    expected = report.scan_exchanges().select(columns).collect().sort(columns)
    assert made["exchanges"].select(columns).sort(columns).equals(expected)
    heads = [
        portion.read(row["payload"], 4)
        for portion in source.portions(["pieces"])
        for row in portion.tables["pieces"].filter(pl.col("offset") == 0, pl.col("role") == 0).iter_rows(named=True)
    ]
    assert len(heads) > 10
    assert set(heads) <= {b"GET ", b"POST"}


def test_a_rule_that_asks_for_segments_has_them_in_the_first_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    path = find_recording("apache-ab.pcap")
    seen: list[pl.DataFrame] = []

    def find_candidates(modules: object, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        seen.append(tables["segments"])
        return {}

    monkeypatch.setattr(rule_engine, "find_candidates", find_candidates)
    monkeypatch.setattr(run, "SEGMENTS_AT_ONCE", 100)
    module = rule_engine.catalogue()["tinygrams"]._replace(tables=("segments",), cutoffs=None)
    with open_capture(path) as capture:
        modules = {"tinygrams": module}
        records = open_capture_records(capture)
        analysis = run.Analysis(capture, modules, Folder(), rule_engine.cutoffs(modules), records)
        analysis.run(100_000, lambda done: None, lambda found: found)
    monkeypatch.undo()
    assert max(rows.height for rows in seen) <= 100
    assert pl.concat(seen).equals(again(path).tables(["segments"])["segments"])


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
    [source] = analyze_bytes(tmp_path / "stall.pcap", capture(STALL.replace("TIME", time)), keep=True, **how).packets.values()
    assert source.tables(["segments"])["segments"].filter("ends_stall")["frame"].to_list() == frames


@pytest.mark.parametrize("path", SEVERAL[:2], ids=lambda p: p.stem)
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
            .drop("final_at", "at_capture_end", strict=False)
            .equals(mine.drop("final_at", "at_capture_end", strict=False))
        ), name


BY_TCP = {
    name: [c.name for c in READ_AGAIN[name].columns if name not in ("segments", "pieces") or c.name not in HTTP_COLUMNS]
    for name in ("records", "packets", "segments", "pieces")
}


@pytest.mark.parametrize("path", SEVERAL, ids=lambda p: p.stem)
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
    source = again(find_recording("apache-ab.pcap"))
    read = watch_http(monkeypatch)
    assert source.tables(["exchanges"], [3, 5])["exchanges"].height
    assert read == {3, 5}


def test_of_frames_alone_nothing_can_be_told_that_http_says() -> None:
    source = again(find_recording("server-head-body-split.pcap"))
    with pytest.raises(ValueError, match="do not need HTTP"):
        source.tables(["segments"], frames=[1])
    with pytest.raises(KeyError, match="nonsense"):
        source.tables({"segments": ["frame", "nonsense"]})
    assert source.tables(BY_TCP, frames=[])["records"].height == 0


def test_what_no_later_packet_can_change_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_pass, "STEP", 10)
    monkeypatch.setattr(second_pass, "COPIES", 0)
    source = again(find_recording("apache-ab.pcap"))
    last = source.tables(["connections"], [0])["connections"]["last_frame"].item()
    decoded = [portion.tables["oddities"] for portion in source.portions(["oddities"], [0])]
    assert len(decoded) <= last // 10 + 3


def test_pieces_are_what_each_side_sent() -> None:
    source = again(find_recording("server-head-body-split.pcap"))
    said = {0: b"", 1: b""}
    for portion in source.portions(["pieces"]):
        for row in portion.tables["pieces"].sort("connection", "direction", "offset").iter_rows(named=True):
            assert row["offset"] == len(said[row["direction"]])
            said[row["direction"]] += portion.read(row["payload"], row["captured"])
    assert said[0].count(b"GET /report HTTP/1.1\r\n") >= 9
    assert said[1].startswith(b"HTTP/1.1 200 ")


def test_secrets_stay_masked(tmp_path: Path) -> None:
    raw = find_recording("server-head-body-split.pcap").read_bytes()
    assert b"GET /report " in raw
    path = tmp_path / "secret.pcap"
    path.write_bytes(raw.replace(b"GET /report ", b"GET /?a=pss "))
    for shown, target in ((False, "/?a=(masked)"), (True, "/?a=pss")):
        report = wiredoctor.analyze(path, keep=True, show_secrets=shown)
        made = next(iter(report.packets.values())).tables(["messages", "exchanges"])
        assert target in made["messages"]["target"].to_list()
        assert target in made["exchanges"]["request_target"].to_list()


def test_it_is_there_only_when_it_was_asked_for() -> None:
    assert not wiredoctor.analyze(find_recording("server-head-body-split.pcap")).packets


def test_a_table_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        again(find_recording("server-head-body-split.pcap")).tables(["nonsense"])
