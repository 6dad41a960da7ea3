"""Find out what other connections of the same two hosts show about unacknowledged data."""

from __future__ import annotations

import polars as pl

from wiredoctor.rules.shared.connection_close import client_idle_time
from wiredoctor.tables import of_connections

c = pl.col

_HOSTS = ("client_host", "server_host")


def compare_neighbors(rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, spread: int) -> pl.DataFrame:
    """Add columns that show what other connections of the same two hosts reveal about unacknowledged data.

    `rows` describe the data: `number`, `connection`, `exchange`, `sender_direction`, `first_time`, `second_time` and `last_time`
    (of the first, second and last copy), and `smallest_unacknowledged` (the length of the shortest segment in bytes). Some of the
    added columns describe the connection (hosts, `server`, `client_direction`, and `reset`: the server sent an RST). The others
    are:
    `alive_elsewhere`: the receiver sent a packet on another connection during the retransmissions;
    `fits_elsewhere`: on another connection, the receiver acknowledged a message in one segment of at least
    `smallest_unacknowledged`;
    `answered_later`: the server sent a response on a connection that was opened after the first copy;
    `down`: the server did not answer SYNs of the client at that time either (see `_unanswered_attempts`);
    `repeated`: a connection that was opened after the first copy carries the same request;
    `survived_rest`: the longest idle time (ns) after which this server still answered a request of the client; null if unknown.
    """
    ends = _of_the_same_hosts(rows, connections)
    own = ends.select("connection", *_HOSTS, "server", "client_direction", c("history").str.contains("r").alias("reset"))
    rows = rows.join(own, on="connection", how="left", maintain_order="left")
    asked = rows.select(
        *("number", *_HOSTS, "server", "connection", "exchange", "first_time", "second_time", "last_time"),
        (c("sender_direction") == c("client_direction")).alias("is_client"),
        "smallest_unacknowledged",
    )
    talks = _exchanges_on(exchanges, ends)
    others = asked.join(ends, on=_HOSTS, suffix="_other").filter(c("connection") != c("connection_other"))
    said = asked.join(talks, on=_HOSTS, suffix="_other")
    elsewhere = said.filter(c("connection") != c("connection_other"))
    later = (c("server") == c("server_other")) & (c("start") > c("first_time"))
    answered = others.filter(later & ((c("server_bytes") > 0) | c("first_answer_frame").is_not_null()))
    same = ["request_method", "request_target"]
    asked_again = elsewhere.filter(later).join(
        talks.select("connection", "exchange", *same), on=["connection", "exchange"], suffix="_own"
    )
    repeated = asked_again.filter(pl.all_horizontal(c(name) == c(f"{name}_own") for name in same))
    alive = pl.concat([
        others.filter(_receiver_sent_meanwhile("first_answer_time", "syn_time")).select("number"),
        elsewhere.filter(_receiver_sent_meanwhile("response_start", "request_start")).select("number"),
    ])  # fmt: skip
    return rows.with_columns(
        _among(alive).alias("alive_elsewhere"),
        _among(elsewhere.filter(_carried_as_much())).alias("fits_elsewhere"),
        _among(answered).alias("answered_later"),
        _among(_unanswered_attempts(others, elsewhere, spread)).alias("down"),
        _among(repeated).alias("repeated"),
    ).join(_survived_idle_times(said), on="number", how="left", maintain_order="left")


def _of_the_same_hosts(rows: pl.DataFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Return the connections with the same client host and server host as a connection in `rows`."""
    ends = connections.select(
        *("connection", "client_host", "server", "client_direction", "start", "server_bytes", "first_answer_frame"),
        *("first_answer_time", "syn_time", "last_syn_time", "syns", "server_packets", "history"),
        *("client_unacknowledged", "server_unacknowledged"),
        pl.col("server").str.replace(r":\d+$", "").alias("server_host"),
    )
    mine = of_connections(ends, rows)
    return ends.join(mine, on=_HOSTS, how="semi").collect().unique("connection", keep="last", maintain_order=True)


def _exchanges_on(exchanges: pl.LazyFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """Return the exchanges on the connections in `ends`, with the columns of `ends`."""
    some = of_connections(exchanges, ends).select(
        *("connection", "exchange", "request_method", "request_target", "request_start", "response_frame", "response_start"),
        *("previous_end", "rtt_client"),
        *(_length_in_one_segment(message).alias(f"{message}_segment") for message in ("request", "response")),
    )
    return some.collect().join(ends, on="connection", how="left")


def _length_in_one_segment(message: str) -> pl.Expr:
    """Return the length in bytes of a request or response (`message`) that was sent in one segment, otherwise null."""
    in_one = c(f"{message}_frame") == c(f"{message}_last_frame")
    return pl.when(in_one).then(c(f"{message}_head_bytes") + c(f"{message}_body_bytes"))


def _carried_as_much() -> pl.Expr:
    """Return whether the sender of the unacknowledged data sent a message in one segment of at least `smallest_unacknowledged`
    bytes, on a connection on which all of its data was acknowledged.
    """
    by_client = c("is_client") & (c("client_unacknowledged") == 0)
    by_server = ~c("is_client") & (c("server_unacknowledged") == 0)
    length = pl.when(by_client).then("request_segment").when(by_server).then("response_segment")
    return (length >= c("smallest_unacknowledged")).fill_null(value=False)


def _receiver_sent_meanwhile(of_server: str, of_client: str) -> pl.Expr:
    """Return whether the receiver of the data sent a packet after the second copy, but before a further copy was due.

    A sender doubles its pauses, so the pause before a further copy would be about as long as all earlier pauses together.
    `of_server` and `of_client`: the columns with the time (ns) of a packet from the server and from the client. The column for
    the receiver is used.
    """
    time = pl.when("is_client").then(of_server).otherwise(of_client)
    return time.is_between("second_time", _due()).fill_null(value=False)


def _due() -> pl.Expr:
    """Return the latest time (ns) at which the sender would have sent the data again."""
    return c("last_time") + (c("last_time") - c("first_time"))


def _unanswered_attempts(others: pl.DataFrame, elsewhere: pl.DataFrame, spread: int) -> pl.DataFrame:
    """Return a client's unanswered attempts to connect to the server that does not acknowledge its data.

    An attempt counts if at least two SYNs were not answered, the SYNs span at least `spread` ns, the last SYN was sent after the
    first copy, and the first SYN before a further copy was due. From the second copy to the last SYN, the server must not have
    sent a packet on another connection.
    """
    # a server that is up again answers a later SYN
    unanswered = (c("server_packets") == 0) | ((c("syns") > 2) & c("first_answer_frame").is_not_null())
    same = c("is_client") & (c("server") == c("server_other"))
    meanwhile = (c("last_syn_time") > c("first_time")) & (c("syn_time") <= _due())
    tried = others.filter(same & unanswered & meanwhile & (c("last_syn_time") - c("syn_time") >= spread))
    alive = pl.concat([
        others.select("number", c("first_answer_time").alias("alive_time")),
        elsewhere.select("number", c("response_start").alias("alive_time")),
    ]).drop_nulls()  # fmt: skip
    heard = tried.sort("last_syn_time").join_asof(
        alive.sort("alive_time"), left_on="last_syn_time", right_on="alive_time", by="number", allow_exact_matches=False,
        check_sortedness=False,
    )  # fmt: skip
    return heard.filter(c("alive_time").is_null() | (c("alive_time") < c("second_time"))).select("number")


def _survived_idle_times(said: pl.DataFrame) -> pl.DataFrame:
    """Return, for each row, `survived_rest`: the longest idle time (ns) after which its server still answered a request."""
    rest = client_idle_time()
    answered = said.filter(c("server") == c("server_other"), c("response_frame").is_not_null())
    return answered.group_by("number").agg(rest.max().alias("survived_rest"))


def _among(found: pl.DataFrame) -> pl.Expr:
    """Return whether the row's value of `number` also occurs in the column `number` of `found`."""
    return pl.col("number").is_in(found["number"].unique().implode())
