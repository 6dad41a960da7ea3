"""One side closes its connections, and the other side never does.

What it means
    The server's FIN arrives, and the client acknowledges it, but the client's program does not close its socket: the connection
    stays in CLOSE_WAIT at the client, and in FIN_WAIT_2 at the server. Each new connection adds another one. The same happens the
    other way around if the server never closes after its clients' FINs (kind server).

Why it hurts
    Each of these sockets takes a file descriptor. After hours or days the program has none left: it can open no connection and no
    file ("too many open files"). A pool that counts these connections as open has no free one for the next request.

How it is proved
    One side sent a FIN, the other side acknowledged it, and sent neither a FIN nor an RST nor data for 2 s or longer. Ten or more
    connections between this client and this server were in this state at the same time, more than the client had opened in any
    50 ms, and more than were ever usable at the same time, those included that were open when the capture began. So the number
    goes on growing, and is neither what remains of one burst of requests nor what a pool keeps.

What it is not
    A pool may notice the closes of its connections only when it needs one again; then it closes one for each that it opens. A
    client that sends data after the server's FIN is using its half of the connection.

What to do
    Find the code that does not close its responses: in Go resp.Body.Close(), in Java a try-with-resources statement around the
    response, in Python a with statement, in Node response.resume() or destroy(). A pool should drop connections that its peer
    has closed. ss -tan state close-wait lists the sockets, and lsof the process.

References
    RFC 9293 section 3.6, closing a connection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="too many open files; sockets in CLOSE_WAIT",
    severity="warning",
    title={
        None: "The client never closes its connections: {most:,} were left half-closed at the same time",
        "server": "The server never closes its connections: {most:,} were left half-closed at the same time",
    },
    message={
        None: "{server} closed {closed:,} connections of {client} (FIN). {unclosed:,} of them {client} left open for {least} or "
        "longer, up to {longest}, without a FIN, an RST or data; {most:,} at the same time.",
        "server": "{client} closed {closed:,} connections to {server} (FIN). {unclosed:,} of them {server} left open for {least} "
        "or longer, up to {longest}, without a FIN, an RST or data; {most:,} at the same time.",
    },
    remedy="Find the code of the {side} that does not close its sockets or responses (ss -tanp state close-wait names the "
    "program). Go: resp.Body.Close(); Java: try-with-resources; Python: with; Node: response.resume() or destroy(). Otherwise "
    "the program runs out of file descriptors, or its pool out of connections.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9293 section 3.6, closing a connection", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.6"),
        Reference("Linux, ss(8)", "https://man7.org/linux/man-pages/man8/ss.8.html"),
    ),
    summary=True,
    protocols=("http", "none"),
    any_order=True,
)

LEAST = Threshold("2 s", "the minimum time for which a side leaves a connection open after the other side's FIN")
ENOUGH = Threshold("10 connections", "the minimum number of such connections at the same time")
BURST = Threshold("50 ms", "the time within which a client opens several connections for one burst of requests")
SHOWN = Threshold("3 connections", "the maximum number of connections shown as evidence")


def _closed_first(side: str) -> pl.Expr:
    """Return whether `side` closed first, with a FIN."""
    first = (c("closed_first") == side) & (c(f"{side}_close_rst") == 0) & c("last_on_connection") & c("both_directions")
    return first.fill_null(value=False)


def _left_open(side: str, other: str) -> pl.Expr:
    """Return whether `side` closed first, with a FIN, and `other` had not closed when the row was finished, 1 s later."""
    return _closed_first(side) & c(f"{other}_close_time").is_null() & c(f"{other}_rst_time").is_null()


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return (_left_open("server", "client") | _left_open("client", "server")).sum() >= ENOUGH.value


class Facts(NamedTuple):
    """What is known of the connections that one side never closed. Times are in ns.

    `shown`: the first of these connections, with `connection`, `frame` and `time` of the FIN.
    """

    side: str | None
    shown: list[dict[str, Any]]


def find(closes: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each client and server between which one side leaves its connections open."""
    # of a connection from before the capture, it may only show the closes; an attempt without a SYN-ACK was never usable
    accepted = connections.filter(c("syn_time").is_null() | c("history").str.contains("h") | (c("protocol") != "none"))
    known = accepted.select(
        *("connection", "client_host", "server", "history", "end"),
        # a connection that was open when the capture began may have been usable since then
        pl.coalesce("syn_time", c("start").min()).alias("opened"),
        c("end").max().alias("last"),
    )
    found = [_of_side(closes, known, side, other) for side, other in (("server", "client"), ("client", "server"))]
    return pl.concat(found).lazy()


_CLOSES = {"client": "[FRr]", "server": "[frR]"}
"""Patterns for the letters in `history` that mean that a side closed (FIN or RST), or the other side ended all (RST)."""


def _of_side(closes: pl.LazyFrame, connections: pl.LazyFrame, side: str, other: str) -> pl.DataFrame:
    """Return the candidates in which `other` leaves its connections open after the FIN of `side`."""
    rows = closes.filter(_left_open(side, other)).select(
        "connection", c(f"{side}_close_time").alias("time"), c(f"{side}_close_frame").alias("frame")
    )
    answered = c("history").str.contains(_CLOSES[other])
    silent = answered | (c("end") - c("time") < LEAST.value)
    until = pl.when(answered).then("end").otherwise("last")
    rows = rows.join(connections, on="connection").with_columns(until.alias("until"))
    rows = rows.filter(silent & (c("until") - c("time") >= LEAST.value)).collect(engine="streaming")
    place = ["client_host", "server"]
    groups = rows.group_by(place).agg(pl.len().cast(pl.Int64).alias("unclosed")).filter(c("unclosed") >= ENOUGH.value)
    theirs = connections.join(groups.lazy(), on=place).select("connection", *place, "unclosed", "opened", "end")
    theirs = theirs.collect(engine="streaming")
    closed = of_connections(closes.filter(_closed_first(side)), theirs)
    closed = closed.select("connection", c(f"{side}_close_time").alias("closed_at"))
    used = theirs.lazy().join(closed, on="connection", how="left").with_columns(until=pl.coalesce("closed_at", "end"))
    counts = used.group_by(*place, "unclosed").agg(
        c("closed_at").count().cast(pl.Int64).alias("closed"),
        pl.max_horizontal(_largest_burst(), _most_at_once("opened")).alias("usable"),
    )
    groups = counts.collect()
    left = rows.join(groups.select(place), on=place, how="semi").sort("time")
    most = left.group_by(place).agg(_most_at_once("time").alias("most"))
    groups = groups.join(most, on=place).filter((c("most") >= ENOUGH.value) & (c("most") > c("usable")))
    shown = pl.struct("connection", "frame", "time")
    facts = left.group_by(place).agg(
        c("frame").first(),
        c("time").first().alias("start"),
        c("until").max().alias("end"),
        (c("until") - c("time")).max().alias("longest"),
        shown.head(SHOWN.value).alias("shown"),
    )
    kind = None if other == "client" else "server"
    return (
        groups.join(facts, on=place)
        .sort("frame", *place)
        .select(
            *candidate(other, "high", "frame", "start", "end", kind=kind, of="server"),
            *("server", c("client_host").alias("client"), "closed", "unclosed", "most"),
            pl.lit(LEAST.value).cast(DURATION).alias("least"),
            c("longest").cast(DURATION),
            "shown",
        )
    )


def _largest_burst() -> pl.Expr:
    """Return the largest number of connections that a client opened within BURST."""
    opened = c("opened").sort()
    return (opened.search_sorted(opened + BURST.value, side="right") - pl.int_range(pl.len())).max().cast(pl.Int64)


def _most_at_once(since: str) -> pl.Expr:
    """Return the largest number of rows whose times from `since` to `until` overlap."""
    over, begun = c("until").sort(), c(since).sort()
    return (pl.int_range(1, pl.len() + 1) - over.search_sorted(begun, side="right")).max().cast(pl.Int64)


def words(x: Facts) -> dict[str, Any]:
    """Return the packets that closed the first connections."""
    closer = "client" if x.side == "server" else "server"
    fins = [(one["frame"], one["time"], f"the {closer}'s FIN on connection {one['connection']}") for one in x.shown]
    return {"evidence": packets(*fins)}
