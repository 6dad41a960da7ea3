"""Every table of a report as a file, read by DuckDB and PyArrow: the same findings, counts and times as its JSON has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from wiredoctor.cli.folders import write_tables
from wiredoctor.findings import Report
from wiredoctor.report.data import table_folder
from wiredoctor.report.data.table_folder import TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

Parsed = dict[str, Any]


def _of_exchange(exchange: Parsed) -> tuple[Any, ...]:
    """Its target, its status, and its server time in ns."""
    server = exchange["timing"]["server"]
    asked, answered = exchange["request"] or {}, exchange["response"] or {}
    return asked.get("target", ""), answered.get("status"), None if server is None else round(server * 1e9)


def _check_arrow(path: Path, rows: DuckDBPyRelation) -> None:
    """An Arrow file, read by PyArrow, has these rows."""
    from pyarrow import ipc

    read = ipc.open_file(path).read_all()
    assert read.column_names == rows.columns
    assert read.equals(rows.to_arrow_table().cast(read.schema))


def check_tables(report: Report, parsed: Parsed, folder: Path) -> None:
    """Every table as a Parquet file, read by DuckDB, and as an Arrow file, which holds the same."""
    import duckdb

    # the packets are read once for both
    with patch.object(table_folder, "portions", return_value=[*table_folder.portions(report)]):
        for form in ("parquet", "arrow"):
            write_tables(report, folder, form)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{n}.{form}" for n in TABLES for form in ("arrow", "parquet")
    )
    db = duckdb.connect(config={"threads": 1})
    for name in TABLES:
        db.execute(f"create view {name} as select * from '{folder}/{name}.parquet'")
        _check_arrow(folder / f"{name}.arrow", db.sql(f"select * from {name}"))
    rows = db.execute("select capture, rule, severity, confidence, delay, count, fingerprint from findings order by number")
    assert rows.fetchall() == [
        tuple(f[key] for key in ("capture", "rule", "severity", "confidence", "delay", "count", "fingerprint"))
        for f in parsed["findings"]
    ]
    frames = db.execute("select [e.frame for e in evidence] from findings order by number").fetchall()
    assert [list(row[0]) for row in frames] == [[e["frame"] for e in f["evidence"]] for f in parsed["findings"]]
    assert db.execute("select capture, packets from captures").fetchall() == [
        (c["file"], c["packets"]) for c in parsed["captures"]
    ]
    assert db.execute("select count(*) from records").fetchone() == (sum(c["packets"] for c in parsed["captures"]),)
    columns = "capture, connection, client, server, packets, start, history"
    assert sorted(db.execute(f"select {columns} from connections").fetchall()) == sorted(
        (c["capture"], c["id"], c["client"], c["server"], c["packets"], round(c["start"] * 1e9), c["history"])
        for c in parsed["connections"]
    )
    columns = "capture, connection, exchange, request_target, response_status, server_time"
    wanted = [(e["capture"], e["connection"], e["index"], *_of_exchange(e)) for e in parsed["exchanges"]]
    assert sorted(db.execute(f"select {columns} from exchanges").fetchall(), key=str) == sorted(wanted, key=str)
    # every packet of a connection but second copies is a segment
    assert db.execute(
        "select count(*) from connections c where c.packets != "
        "(select count(*) from segments s where s.capture = c.capture and s.connection = c.connection)"
    ).fetchone() == (0,)
    db.close()
