"""Count the connections and exchanges that could and could not be judged, for the coverage of a report."""

from __future__ import annotations

import re

import polars as pl

from wiredoctor.findings import Report, host
from wiredoctor.report.failed_requests import FAILURES, findings_with_failures

c = pl.col

CARRIED = ("http", "tls", "http2", "unknown")
"""The protocols of connections that carried data."""


def count_connections(report: Report) -> dict[str, dict[str, int]]:
    """Return, for each capture, the number of connections for each key of `_of_connections`, and the total ("rows")."""
    if not report.connection_count:
        return {}
    old = report.forgotten.get("connections")
    old = None if old is None else old.with_columns(pl.lit(value=False).alias("explained"))
    return _counts(report, _marked_connections(report), _of_connections(), old, report.connection_count)


def _marked_connections(report: Report) -> pl.LazyFrame:
    """Return the connections with the column `explained`: true if a finding about a failure explains the connection's end.

    A finding about many connections names a client, a server or both. Such a finding explains the end of each connection of
    these hosts that was never established, or that was reset without having carried data.
    """
    key = ["capture", "connection"]
    rows = report.scan_connections()
    found = [f for f in findings_with_failures(report) if f.rule in FAILURES and f.family != "gateways"]
    if not found:
        return rows.with_columns(pl.lit(value=False).alias("explained"))
    own = {(f.capture, f.connection) for f in found if f.connection is not None}
    marks = pl.LazyFrame([*own], {"capture": pl.String(), "connection": pl.Int64()}, orient="row")
    never_open = (c("protocol") == "none") & (~c("connected") | (c("close") == "rst"))
    ends = [(f.capture, host(f.client), f.server) for f in found if f.connection is None]
    of_many: list[pl.Expr] = []
    for names in (("client_host",), ("server",), ("client_host", "server")):
        values = {
            "\0".join((file, *(re.sub(_LOOPBACK, "localhost", name) for name in (client, server) if name is not None)))
            for file, client, server in ends
            if (client is not None, server is not None) == ("client_host" in names, "server" in names)
        }
        if values:
            texts = [c("capture"), *(c(name).str.replace(_LOOPBACK, "localhost") for name in names)]
            of_many.append(pl.concat_str(texts, separator="\0").is_in([*values]) & never_open)
    explained = [c("own").fill_null(value=False), *of_many]
    marked = rows.join(marks.with_columns(pl.lit(value=True).alias("own")), on=key, how="left")
    return marked.with_columns(pl.any_horizontal(explained).alias("explained"))


_LOOPBACK = r"^(127\.0\.0\.1|\[::1\]|::1$)"
"""A pattern for the addresses of the local host. All of them count as one address, because a client may try both IPv4 and IPv6.
"""


def _of_connections() -> dict[str, pl.Expr]:
    protocols = {name: c("protocol") == name for name in (*CARRIED, "none")}
    one_sided = (c("client_packets") == 0) | (c("server_packets") == 0)
    return {
        **protocols,
        **{f"both_{name}": protocols[name] & ~one_sided for name in CARRIED},
        "one_sided": one_sided & (c("protocol") != "none"),
        "unseen": ~one_sided & (c("client_unseen_bytes") + c("server_unseen_bytes") > 0),
        "late": ~one_sided & ~c("handshake") & (c("protocol") != "none"),
        "begun_before": ~c("handshake") & protocols["unknown"],
        "open": ~one_sided & (c("closed_by") == "") & (c("protocol") == "http") & ~c("explained"),
        "unused": protocols["none"] & ~c("explained"),
    }


def count_exchanges(report: Report) -> dict[str, dict[str, int]]:
    """Return, for each capture, three numbers of exchanges by key: "rows", "judged" and "unasked".

    "rows" counts all exchanges, "judged" those that can be judged, and "unasked" those whose request was not captured.
    """
    if not report.exchange_count:
        return {}
    old = report.forgotten.get("exchanges")
    return _counts(report, report.scan_exchanges(), _of_exchanges(), old, report.exchange_count)


def _of_exchanges() -> dict[str, pl.Expr]:
    return {"judged": c("both_directions"), "unasked": ~c("has_request")}


def _counts(
    report: Report, table: pl.LazyFrame, flags: dict[str, pl.Expr], forgotten: pl.DataFrame | None, total: int
) -> dict[str, dict[str, int]]:
    """Return, for each capture, the total number of rows ("rows"), and the number of rows in which each flag is true.

    `forgotten`: counts of rows that a live capture no longer has, as in Report. `total`: the number of all rows, with those.
    """
    sums = [flag.sum().alias(name) for name, flag in flags.items()]
    if len(report.captures) > 1:
        rows = table.group_by("capture").agg(*sums, pl.len().cast(pl.Int64).alias("rows")).collect().to_dicts()
        return {row.pop("capture"): row for row in rows}
    counts: dict[str, int] = table.select(sums).collect().row(0, named=True)
    if forgotten is not None:
        more = forgotten.lazy().select((flag * forgotten["rows"]).sum().alias(name) for name, flag in flags.items())
        counts = {name: counts[name] + number for name, number in more.collect().row(0, named=True).items()}
    return {report.captures[0].file: {**counts, "rows": total}}
