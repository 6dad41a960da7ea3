"""Test that columns, which are created on demand from the core's cells, are the same wherever the rows are stored."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.support.recordings import PATHS, find_recording
from tests.support.sweeps import FORMS, sweep
from wiredoctor import limits, pipeline
from wiredoctor.core.loop import Core
from wiredoctor.core.rows.cells import Rows
from wiredoctor.engine import row_tables, run
from wiredoctor.report.data.json import write
from wiredoctor.storage import batches, spill
from wiredoctor.storage.batches import Batch, View, join, series, store, take_cells, with_texts
from wiredoctor.storage.spill import BatchSpill, Folder
from wiredoctor.tables import CONNECTIONS, NEVER, RUNS

NAMES = ("connection", "direction", "role", "frame", "handshake")


def written(rows: list[tuple[int, ...]]) -> Rows:
    made = Rows(len(NAMES))
    for row in rows:
        made.add([*row])
    return made


@pytest.mark.parametrize("is_public", [False, True])
@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint32])
def test_an_array_of_any_type_and_layout_becomes_a_series(
    kind: type[np.generic], is_public: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_public:  # a Polars without the functions that are not public
        monkeypatch.setattr(batches, "_CONSTRUCTORS", {})
    many = (np.arange(10_000) * 7919 - 4000).astype(kind)
    for values in (many, many[1:], many[::2], many[::-1], np.broadcast_to(many[:1], 5000)):
        made = series(values)
        assert made.dtype == pl.Series(values).dtype
        assert made.to_list() == values.tolist()


def test_cells_take_few_bytes_and_what_is_the_same_in_all_rows_one() -> None:
    rows = [(7, number % 2, -1, number * 1000, number << 40) for number in range(2000)]
    cells = take_cells(written(rows), NAMES)
    assert {name: (len(cells[name]), cells[name].dtype.name) for name in NAMES} == {
        "connection": (1, "int64"), "direction": (2000, "int8"), "role": (1, "int64"), "frame": (2000, "int32"),
        "handshake": (2000, "int64"),
    }  # fmt: skip
    wide = [np.broadcast_to(cells[name], 2000).tolist() for name in NAMES]
    assert [*zip(*wide, strict=True)] == rows


@pytest.mark.parametrize("role", [-1, 0, 1])
def test_a_sentinel_is_null_whether_all_rows_have_it_or_some(role: int) -> None:
    some = [(1, 0, role, 5, 1), (2, 1, -1, 6, 0), (3, 1, 0, 7, 1)]
    for rows in (some, some[:1], some[1:2]):
        batch = Batch(RUNS.name, len(rows), take_cells(written(rows), NAMES), {}, {})
        assert batch.column("role").to_list() == [None if row[2] == -1 else row[2] for row in rows]
        assert batch.column("role").dtype == pl.Int8


def spilled(heights: list[int]) -> BatchSpill:
    kept, number = BatchSpill(RUNS.only(NAMES), Folder()), 0
    for height in heights:
        rows = [(number + i, 0, -1 if i % 3 else 1, NEVER, i % 2) for i in range(height)]
        kept.add(Batch(RUNS.name, height, take_cells(written(rows), NAMES), {}, {}))
        number += height
    return kept


@pytest.mark.parametrize(("held", "loose"), [(1 << 20, 64), (1, 64), (2_000, 64), (1 << 20, 2), (2_000, 2)])
def test_rows_come_back_in_their_order_from_memory_and_from_files(held: int, loose: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.BYTES_HELD, "value", held)
    monkeypatch.setattr(spill, "LOOSE", loose)
    monkeypatch.setattr(spill, "SMALL", 0)
    heights = [1, 300, 0, 5, 700, 2]
    kept = spilled(heights)
    scanned = kept.scan().select("connection", "role", "handshake")
    expected = pl.DataFrame(
        {
            "connection": [*range(sum(heights))],
            "role": [None if i % 3 else 1 for height in heights for i in range(height)],
            "handshake": [i % 2 == 1 for height in heights for i in range(height)],
        },
        schema={"connection": pl.Int64, "role": pl.Int8, "handshake": pl.Boolean},
    )
    assert kept.rows == expected.height
    assert scanned.collect().equals(expected)
    assert scanned.filter(pl.col("role") == 1).head(100).collect().equals(expected.filter(pl.col("role") == 1).head(100))
    assert scanned.slice(290, 20).collect(engine="streaming").equals(expected.slice(290, 20))
    assert kept.scan().select(pl.len()).collect().item() == expected.height
    assert bool(kept.stored) == (held < 1 << 20)


def test_few_rows_are_one_chunk_in_which_polars_finds_every_text() -> None:
    # of chunks of which a filter empties the first, Polars 2.1 panics here when it does not plan
    few = spilled([1, 2]).scan_as(RUNS.only({"connection"})).filter(pl.col("connection") > 0).sort("connection")
    noted = few.select(pl.struct(pl.format("{}", "connection").alias("note")).implode())
    assert noted.collect(optimizations=pl.QueryOptFlags.none()).item().to_list() == [{"note": "1"}, {"note": "2"}]


def test_joined_rows_still_refer_to_their_own_parts() -> None:
    def batch(names: list[str], hellos: list[int]) -> Batch:
        part = pl.DataFrame({"server_name": ["", *names]})
        return Batch(CONNECTIONS.name, len(hellos), {"hello": np.array(hellos)}, {}, {"hellos": part})

    batches = [batch(["a"], [-1, 0]), batch([], [-1, -1]), batch(["b", "c"], [1, 0, -1])]
    assert join(batches).column("server_name").to_list() == ["", "a", "", "", "c", "b", ""]


FAR, NEAR = (0x20010DB8_00000000, 1), (0, 0x0A000001)
"""The two halves of an IPv6 and of an IPv4 address."""


def connections_between(clients: list[tuple[int, int]]) -> Batch:
    """Return connections from these clients to port 80 of 10.0.0.1, or of 2001:db8::1 if the client has an IPv6 address."""
    servers = [FAR if high else NEAR for high, _ in clients]
    cells = {
        "address_bytes": [16 if high else 4 for high, _ in clients],
        "client_high": [high for high, _ in clients], "client_low": [low for _, low in clients],
        "client_port": [1000 + number for number in range(len(clients))],
        "server_high": [high for high, _ in servers], "server_low": [low for _, low in servers], "server_port": [80],
    }  # fmt: skip
    return Batch(CONNECTIONS.name, len(clients), {name: np.array(values) for name, values in cells.items()}, {}, {})


def test_texts_of_many_connections_are_those_of_each(tmp_path: Path) -> None:
    first, second = connections_between([(0, 0x0A000002), FAR, (0, 0x0A000003)]), connections_between([(0, 0x0A000002)] * 2)
    parts = [with_texts(first), second]
    expected = {
        "client_host": ["10.0.0.2", "2001:db8::1", "10.0.0.3", "10.0.0.2", "10.0.0.2"],
        "client": ["10.0.0.2:1000", "[2001:db8::1]:1001", "10.0.0.3:1002", "10.0.0.2:1000", "10.0.0.2:1001"],
        "server": ["10.0.0.1:80", "[2001:db8::1]:80", *["10.0.0.1:80"] * 3],
    }
    for made in (join(parts), store(parts, tmp_path / "rows").load()):
        chosen = made.pick(pl.Series([4, 1], dtype=pl.UInt32)), made.slice(1, 2)
        for name, texts in expected.items():
            assert made.column(name).to_list() == texts
            assert [some.column(name).to_list() for some in chosen] == [[texts[4], texts[1]], texts[1:3]]
    assert "client_low" not in with_texts(first).cells


def report_of(*paths: Path) -> bytes:
    out = io.BytesIO()
    write(pipeline.analyze(*paths, epoch_packets=40), out, full=True)
    return out.getvalue()


SOME = [path for path in PATHS if path.suffix == ".pcap"][::25]


@FORMS
@pytest.mark.parametrize("path", sweep(SOME, SOME[::12].__contains__), ids=lambda path: path.stem)
def test_a_report_does_not_depend_on_where_rows_are(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = report_of(path)
    monkeypatch.setattr(spill, "SMALL", 0)
    monkeypatch.setattr(row_tables, "SMALL", 0)
    assert report_of(path) == expected
    monkeypatch.setattr(limits.BYTES_HELD, "value", 3_000)
    assert report_of(path) == expected


def test_a_report_on_captures_has_the_rows_of_each_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captures of which all rows are in memory, in files, or both; with and without joined rows."""
    paths = SOME[:5]
    alone = [pipeline.analyze(path) for path in paths]
    for loose, held in ((2, 1 << 24), (64, 1 << 24), (2, 3_000), (64, 8_000)):
        monkeypatch.setattr(spill, "LOOSE", loose)
        monkeypatch.setattr(limits.BYTES_HELD, "value", held)
        together = pipeline.analyze(*paths, epoch_packets=40)
        for name in ("connections", "exchanges"):
            expected = pl.concat(getattr(report, name) for report in alone)
            assert getattr(together, name).equals(expected)
            assert getattr(together, name)["capture"].unique(maintain_order=True).to_list() == [str(path) for path in paths]


def test_many_exchanges_are_judged_with_the_rest_of_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    path = find_recording("server-head-body-split.pcap")
    expected = report_of(path)
    found: list[int] = []
    real = run.take_tables

    def take_tables(core: Core, first: int | None = None) -> tuple[row_tables.Tables, Batch, Batch]:
        made = real(core, first)
        found.append(made[1].height)
        return made

    monkeypatch.setattr(run, "STEP", 50)
    monkeypatch.setattr(run, "ROWS_AT_ONCE", 0)
    monkeypatch.setattr(run, "take_tables", take_tables)
    assert report_of(path) == expected
    assert len(found) > 1


def test_a_view_without_rows_has_the_columns_of_its_table() -> None:
    nothing = View([], RUNS)
    assert nothing.all_columns().schema == nothing.lazy().collect_schema() == RUNS.schema
    assert nothing.select(["frame"]).schema == {"frame": RUNS.schema["frame"]}


def test_a_view_has_the_names_of_its_table() -> None:
    batch = Batch(RUNS.name, 1, take_cells(written([(4, 1, 0, 9, 1)]), NAMES), {}, {})
    renamed = RUNS.only({"frame"})
    assert View([batch], renamed, {"frame": "connection"}).all_columns().to_dicts() == [{"frame": 4}]


@pytest.mark.parametrize("rows", [4, 300, 3_000])
@pytest.mark.parametrize("share", [0, 1, 10, 100])
def test_a_filtered_view_has_the_rows_of_a_filtered_frame(rows: int, share: int) -> None:
    """Few rows, many of which few or most are wanted; and predicates that read no column."""
    cells = take_cells(written([(i, 1, 0, 9, i % 7) for i in range(rows)]), NAMES)
    view = View([Batch(RUNS.name, rows, cells, {}, {})], RUNS.only(NAMES))
    whole = view.all_columns()
    first = whole.columns[0]
    numbers = pl.col(first).rank("ordinal") * 100 <= share * rows
    for predicate in (pl.lit(value=True), pl.lit(value=False), pl.col(first).is_not_null() & pl.lit(share > 0)):
        assert view.lazy().filter(predicate).collect().equals(whole.filter(predicate))
    kept = whole.filter(numbers)
    wanted = pl.col(first).is_in(kept[first].implode())
    assert view.lazy().filter(wanted).collect().equals(whole.filter(wanted))
    assert view.lazy().filter(wanted).select(pl.len()).collect().item() == kept.height
