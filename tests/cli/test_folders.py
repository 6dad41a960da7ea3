"""`-o tables/`: a file for each table, all of them or none, with the columns that wiredoctor.tables declares."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import wiredoctor
from tests.support.needs import skip_without
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW
from wiredoctor.cli import folders, outputs
from wiredoctor.cli.app import application
from wiredoctor.findings import Report
from wiredoctor.report.data import table_folder
from wiredoctor.tables import DERIVED, OLD_NAMES, TABLES

CAPTURE = find_recording("server-head-body-split.pcap")


@pytest.fixture(scope="module")
def report() -> Report:
    return wiredoctor.analyze(CAPTURE, keep=True)


def run(*words: str) -> Result:
    return CliRunner().invoke(application(words), list(words))


def test_there_is_a_file_for_every_table_with_its_columns(report: Report, tmp_path: Path) -> None:
    skip_without("package pyarrow")
    from pyarrow import parquet

    assert folders.write_tables(report, tmp_path / "t", "parquet").missing == []
    assert {path.stem for path in (tmp_path / "t").iterdir()} == {*TABLES, "findings"}
    for path in (tmp_path / "t").iterdir():
        file = parquet.ParquetFile(path)
        old = OLD_NAMES.get(path.stem, {})
        declared = [c.name for c in (*table_folder.TABLES[path.stem].columns, *DERIVED.get(path.stem, ()))]
        declared += [old[name] for name in declared if name in old]
        names = file.schema_arrow.names
        assert [n for n in names if n != "capture" or "capture" in declared] == [
            n for n in declared if not n.endswith("credentials_user")
        ]
        assert names[0] in ("capture", "number")
        metadata = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
        described = json.loads(metadata["wiredoctor.columns"])
        assert [c["name"] for c in described] == names
        assert all(c["meaning"] for c in described)
        assert (metadata["wiredoctor.table"], metadata["wiredoctor.secrets"]) == (path.stem, "false")
        if file.metadata.num_row_groups:
            assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_each_column_of_a_parquet_file_has_its_unit_and_meaning(report: Report, tmp_path: Path) -> None:
    """In the metadata of the file, as DuckDB reads it; both are also in the docs."""
    skip_without("package duckdb")
    import duckdb

    folders.write_tables(report, tmp_path, "parquet")
    for path in tmp_path.iterdir():
        declared = table_folder.columns(path.stem)
        types = '[{"name": "VARCHAR", "unit": "VARCHAR", "meaning": "VARCHAR"}]'
        query = f"""SELECT unnest(from_json(decode(value), '{types}'), recursive := true)
            FROM parquet_kv_metadata('{path.as_posix()}') WHERE decode(key) = 'wiredoctor.columns'"""
        assert duckdb.sql(query).fetchall() == [(c.name, c.unit, c.meaning) for c in declared]


def test_a_renamed_column_has_the_same_values_under_its_earlier_name(report: Report, tmp_path: Path) -> None:
    folders.write_tables(report, tmp_path, "parquet")
    for table, names in OLD_NAMES.items():
        rows = pl.read_parquet(tmp_path / f"{table}.parquet")
        assert rows.select(*names.values()).rename({old: new for new, old in names.items()}).equals(rows.select(*names))


def test_exchanges_have_the_ends_of_their_connections(report: Report, tmp_path: Path) -> None:
    folders.write_tables(report, tmp_path, "parquet")
    exchanges, connections = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("exchanges", "connections"))
    ends = dict(zip(connections["connection"], connections.select("client", "server").iter_rows(), strict=True))
    assert all(
        (client, server) == ends[number]
        for number, client, server in exchanges.select("connection", "client", "server").iter_rows()
    )
    answered = exchanges.filter("has_response")
    assert answered["duration"].equals(answered.select(duration=pl.col("response_end") - pl.col("request_start"))["duration"])
    assert connections["duration"].to_list() == (connections["end"] - connections["start"]).to_list()


def test_arrow_says_the_same(report: Report, tmp_path: Path) -> None:
    skip_without("package pyarrow")
    from pyarrow import feather

    for form in ("parquet", "arrow"):
        folders.write_tables(report, tmp_path / "t", form)
    for name in table_folder.TABLES:
        read = pl.read_parquet(tmp_path / "t" / f"{name}.parquet")
        assert pl.DataFrame(feather.read_table(tmp_path / "t" / f"{name}.arrow")).equals(read)
        assert read.schema == table_folder.schema(name)


def test_an_empty_report(tmp_path: Path) -> None:
    folders.write_tables(Report(version="0.1.0"), tmp_path, "parquet")
    assert all(pl.read_parquet(path).is_empty() for path in tmp_path.iterdir())


def test_without_packets_there_is_what_the_report_has(tmp_path: Path) -> None:
    report = wiredoctor.analyze(CAPTURE)
    (tmp_path / "packets.parquet").write_bytes(b"of before")
    made = folders.write_tables(report, tmp_path, "parquet")
    assert (
        sorted(made.tables) == ["captures", "connections", "exchanges", "findings"] == sorted(p.stem for p in tmp_path.iterdir())
    )
    assert "packets" in made.missing
    assert pl.read_parquet(tmp_path / "exchanges.parquet").height == report.exchange_count


def test_what_is_half_written_does_not_look_finished(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packets.parquet").write_bytes(b"of before")
    (tmp_path / "mine.txt").write_bytes(b"x")

    def fails(*_: object) -> dict[str, str]:
        raise OSError("no room")

    monkeypatch.setattr(table_folder, "metadata", fails)
    with pytest.raises(OSError, match="no room"):
        folders.write_tables(report, tmp_path, "parquet")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"packets.parquet": b"of before", "mine.txt": b"x"}


def test_many_portions_make_one_file(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MIN_ROWS", 1)
    folders.write_tables(report, tmp_path / "a", "parquet")
    monkeypatch.undo()
    folders.write_tables(report, tmp_path / "b", "parquet")
    for name in table_folder.TABLES:
        assert pl.read_parquet(tmp_path / "a" / f"{name}.parquet").equals(pl.read_parquet(tmp_path / "b" / f"{name}.parquet"))


def test_the_command(tmp_path: Path) -> None:
    folder = f"{tmp_path / 'new'}/"
    assert run("analyze", str(CAPTURE), "-o", folder, "--from", "999", "-o", str(tmp_path / "a.har")).exit_code == 0
    assert pl.read_parquet(f"{folder}/segments.parquet").is_empty()
    assert json.loads((tmp_path / "a.har").read_text())["log"]["entries"] == []
    assert run("analyze", str(CAPTURE), "-o", folder, "--tables-format", "arrow").exit_code == 0
    assert pl.read_ipc(f"{folder}/segments.arrow").height == 57


@SLOW
def test_more_captures_than_a_process_may_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    captures = [tmp_path / f"{number}.pcap" for number in range(30)]
    for path in captures:
        path.write_bytes(CAPTURE.read_bytes())
    opened = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, before[1]))
    try:
        done = run("analyze", str(tmp_path), "-o", str(tmp_path / "a.har"), "-q")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (done.exit_code, done.stderr) == (0, "")


def test_files_of_others_in_a_folder_of_tables_are_left_alone(tmp_path: Path) -> None:
    """Spark, for example, writes folders with such a name."""
    (tmp_path / "others.parquet").mkdir()
    assert run("analyze", str(CAPTURE), "-o", f"{tmp_path}/", "-q").exit_code == 0
    (tmp_path / "findings.arrow").mkdir()
    done = run("analyze", str(CAPTURE), "-o", f"{tmp_path}/", "-q")
    assert (done.exit_code, done.stderr) == (2, f"wiredoctor: -o {tmp_path}: findings.arrow: is a directory\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "{}/file.txt/"], "not a folder"),
        (["-o", "{}/no/where/"], "there is no folder"),
        (["-o", "{}"], "is a directory; a folder for tables must be given with / at its end"),
        (["-o", "{}/x.bin"], "a folder for tables ends with /"),
        (["--bodies"], "--bodies applies to HAR only: add -o FILE.har"),
    ],
)
def test_what_cannot_be_written_is_told_before(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    done = run("analyze", str(CAPTURE), *(word.format(tmp_path) for word in words))
    assert done.exit_code == 2
    assert said in done.stderr


def test_live_names_the_tables_before_it_may_load_them() -> None:
    assert set(outputs._TABLES) == set(table_folder.TABLES)
