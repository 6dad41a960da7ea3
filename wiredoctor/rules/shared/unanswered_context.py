"""Add facts from the tables of connections and exchanges to the candidates of `unanswered`."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import CLIENT, SERVER, of_connections

c = pl.col

FAREWELL = Threshold(
    "96 bytes",
    "the maximum length of the record with which TLS closes a connection (close_notify): 24 to 85 bytes, depending on the "
    "cipher, and at most 77 bytes together with an HTTP/2 GOAWAY; an HTTP response is longer",
)
AT_ONCE = Threshold(
    "50 ms",
    "the maximum time between a close_notify or a last line and the FIN, in either order: a program makes one call to send and "
    "one to close",
)
LINGERS = Threshold(
    "10 s",
    "the maximum time for which a TLS host waits for the close_notify of its peer before it sends its own FIN; a host that waits "
    "longer waits for something else, such as the answer to an HTTP/2 PING",
)
LAST_LINE = Threshold(
    "512 bytes", "the maximum length of a last line: SMTP allows reply lines of this length (RFC 5321 section 4.5.3.1.5)"
)


def without_farewells(
    rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, rest: int
) -> pl.DataFrame:  # fmt: skip
    """Drop candidates about the last data before a close of an idle connection, because no one waits for such data.

    Such data is a close_notify of TLS, a 408 without a request, or a short last line of another protocol that answers nothing
    (SMTP's 421). A phone or a laptop that has left the network acknowledges nothing, so servers of many clients often retransmit
    such data. A TLS host may wait for the peer's close_notify before it sends its FIN. `rest`: the minimum idle time (ns); a 408
    counts after any time.
    """
    between = c("own_close_time") - c("first_time")
    closes = ~c("own_close_rst") & (c("own_close_origin") != "between") & (c("copies") > 0)
    at_once = (between.abs() <= AT_ONCE.value).fill_null(value=False)
    later = c("fin_follows") & between.is_between(0, LINGERS.value)
    candidates = rows.filter(closes & (at_once | later.fill_null(value=False)))
    if candidates.is_empty():
        return rows
    seen = of_connections(connections, candidates).select("connection", "protocol").collect()
    timed_out = of_connections(exchanges, candidates).filter(c("request_frame").is_null(), c("response_status") == 408)
    idle = candidates.filter(c("exchange").is_null(), c("rest") >= rest)
    last_line = idle.filter(at_once & c("fin_follows") & ~c("answers") & (c("length") <= LAST_LINE.value))
    unasked = timed_out.select("connection", "exchange").collect()
    farewells = pl.concat([
        idle.filter(c("length") <= FAREWELL.value).join(seen.filter(c("protocol") == "tls"), on="connection", how="semi"),
        last_line.join(seen.filter(c("protocol") == "unknown"), on="connection", how="semi"),
        candidates.filter(at_once).join(unasked, on=["connection", "exchange"], how="semi"),
    ])  # fmt: skip
    return rows.join(farewells, on=["connection", "sender_direction", "first_frame"], how="anti", maintain_order="left")


def with_syn_acks(rows: pl.DataFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Add two columns: `only_syn_acks`, whether the server sent only SYN-ACKs (and perhaps an RST), and `syn_ack_again`, whether
    it sent several SYN-ACKs. Both are false if the data is the server's.
    """
    history = c("history")
    only = history.str.contains("^[A-Zhtr]*$") & history.str.contains("h")
    seen = of_connections(connections, rows).filter(only).select("connection", history.str.contains("h.*t").alias("again"))
    joined = rows.join(seen.collect(), on="connection", how="left", maintain_order="left")
    of_client = (c("sender_direction") == c("client_direction")).fill_null(value=False)
    return joined.with_columns(
        (of_client & c("again").is_not_null()).alias("only_syn_acks"),
        (of_client & c("again").fill_null(value=False)).alias("syn_ack_again"),
    ).drop("again")


def with_delivered(rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Add the column `delivered`: whether the data belongs to a complete response, and the client acknowledged all data."""
    acknowledged = rows.filter("acknowledged_before", c("role") == SERVER)
    of_all = of_connections(connections, acknowledged).filter(c("server_unacknowledged") == 0)
    whole = (
        of_connections(exchanges, acknowledged)
        .filter(c("response_end_reason") == "complete")
        .join(of_all.select("connection"), on="connection", how="semi")
        .select("connection", "exchange", pl.lit(value=True).alias("whole"))
        .collect()
    )
    delivered = c("acknowledged_before") & (c("role") == SERVER) & c("whole")
    joined = rows.join(whole, on=["connection", "exchange"], how="left", maintain_order="left")
    return joined.with_columns(delivered.fill_null(value=False).alias("delivered")).drop("whole")


def with_not_begun(rows: pl.DataFrame, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Add the column `not_begun`: whether a client closed before the first byte of the response that it waited for."""
    closed = rows.filter("fin", c("role") == CLIENT)
    none = of_connections(exchanges, closed).filter(c("response_frame").is_null())
    found = none.select("connection", "exchange", pl.lit(value=True).alias("none")).collect()
    joined = rows.join(found, on=["connection", "exchange"], how="left", maintain_order="left")
    not_begun = c("fin") & (c("role") == CLIENT) & c("none")
    return joined.with_columns(not_begun.fill_null(value=False).alias("not_begun")).drop("none")
