"""What became of connection attempts that failed: another address was asked and answered, or the server accepts later.

Failed attempts are rows with `connection`, `client_host`, `server`, `syn_time` and `over`, when the client knew, or sent its last
SYN (ns). Few of a million share a port with a connection that was accepted, so these are looked for first.
"""

from __future__ import annotations

import polars as pl

c = pl.col

_LOCALHOST = "localhost"
_PLACE = ["port", "ipv6", "loopback"]


def one_host(endpoint: str) -> pl.Expr:
    """An address, or an endpoint, with 127.0.0.1 and ::1 as one: both are the host itself."""
    return c(endpoint).str.replace(r"^(127\.0\.0\.1|\[::1\]|::1$)", _LOCALHOST)


def _on_loopback() -> pl.Expr:
    return one_host("server").str.starts_with(_LOCALHOST)


def _place() -> list[pl.Expr]:
    """The columns of _PLACE: an address of the other version is looked for on the same port, and not beyond the host itself."""
    port = c("server").str.extract(r":(\d+)$").cast(pl.UInt32)
    return [port.alias("port"), c("server").str.starts_with("[").alias("ipv6"), _on_loopback().alias("loopback")]


def other_refusals(refused: pl.LazyFrame, within: int) -> pl.LazyFrame:
    """A row per attempt at 127.0.0.1 or ::1 that was refused within this time (ns) of an attempt at the other one.

    `superseded`: the second one counts. `other_frame`, `other_time`: of the second, the RST (`answer_frame`) of the first. A
    client that asks again and again pauses longer between its attempts than between two addresses.
    """
    pair = ("client_key", "server_key")
    gap = c("gap")
    return (
        refused.filter(_on_loopback())
        .select("connection", "server", "over", "answer_frame", _key("client_host", "client_key"), _key("server", "server_key"))
        .sort("over", "connection")
        .with_columns((c("over").shift(-1) - c("over")).over(pair).alias("gap"), c("server").shift(-1).over(pair).alias("next"))
        .with_columns(pl.when((gap <= within) & (c("server") != c("next"))).then(gap).alias("gap"))
        .with_columns(
            (gap <= gap.shift(1)).over(pair).fill_null(value=True).alias("nearer_than_before"),
            (gap < gap.shift(-1)).over(pair).fill_null(value=True).alias("nearer_than_after"),
        )
        .with_columns((gap.is_not_null() & c("nearer_than_before") & c("nearer_than_after")).alias("superseded"))
        .with_columns(
            pl.when(c("superseded").shift(1)).then(c(of).shift(1)).over(pair).alias(name)
            for name, of in (("other_frame", "answer_frame"), ("other_time", "over"))
        )
        .select("connection", "superseded", "other_frame", "other_time")
        .filter(c("superseded") | c("other_frame").is_not_null())
    )


def _key(of: str, name: str) -> pl.Expr:
    return one_host(of).hash().alias(name)


def next_addresses(failed: pl.LazyFrame, connections: pl.LazyFrame, within: int) -> pl.LazyFrame:
    """A row per attempt whose client was answered, on the same port, by an address of the other version of IP, while the attempt
    went on or within this time (ns) after it: `next_server`, `next_syn_time`, `next_frame` and `next_time` of the SYN-ACK.

    That two addresses are one client's, and two others one server's, is known on the loopback interface; elsewhere it is taken
    to be so only if nobody else was answered there in that time.
    """
    ports = failed.select(_place()[0]).unique()
    answered = (
        connections.filter(c("first_answer_frame").is_not_null())
        .select(
            *_place(),
            pl.concat_str(one_host("client_host"), pl.lit(" "), one_host("server")).hash().alias("pair"),
            c("server").alias("next_server"),
            c("syn_time").alias("next_syn_time"),
            c("first_answer_frame").alias("next_frame"),
            c("first_answer_time").alias("next_time"),
        )
        .join(ports, on="port", how="semi")
        .sort("next_time")
        .with_columns((c("pair") != c("pair").shift(1)).over(_PLACE).fill_null(value=True).cum_sum().over(_PLACE).alias("run"))
    )
    last = answered.select(*_PLACE, c("next_time").alias("last_time"), c("run").alias("last_run"))
    asked = failed.select("connection", "client_host", "syn_time", (c("over") + within).alias("until"), *_place())
    return (
        asked.with_columns(~c("ipv6"))
        .join(answered.select(_PLACE).unique(), on=_PLACE, how="semi")
        .sort("syn_time")
        .join_asof(answered, left_on="syn_time", right_on="next_time", by=_PLACE, strategy="forward", check_sortedness=False)
        .filter(c("next_time") <= c("until"))
        .sort("until")
        .join_asof(last, left_on="until", right_on="last_time", by=_PLACE, check_sortedness=False)
        .filter((c("run") == c("last_run")) & (one_host("client_host").n_unique().over("next_frame") == 1))
        .select("connection", "next_server", "next_syn_time", "next_frame", "next_time")
    )


def acceptances(refused: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """A row per refused attempt at a server that accepted a connection, of whatever client, at another time.

    `before_frame`, `before_time`: the first one, if the attempt came later. `accepted_frame`, `accepted_time`: the next one, and
    `down_since` the first refusal before it (ns). Where both addresses of a host refused (`other_frame`), either may accept. A
    connection that was open when the capture began was accepted before that.
    """
    own, either = c("server").hash(), one_host("server").hash()
    places = refused.select(
        "connection", "syn_time", "over", pl.when(c("other_frame").is_null()).then(own).otherwise(either).alias("place")
    )
    open_before = (c("syns") == 0) & (c("client_bytes") + c("server_bytes") > 0)
    accepted = connections.filter(c("first_answer_frame").is_not_null() | open_before).select(
        own.alias("place"),
        either.alias("either"),
        pl.coalesce("first_answer_frame", "first_frame").alias("frame"),
        pl.coalesce("first_answer_time", "start").alias("time"),
        c("first_answer_frame").is_null().alias("open_before"),
    )
    at_either = accepted.filter(c("place") != c("either")).with_columns(c("either").alias("place"))
    known = pl.concat([accepted, at_either]).join(places.select("place").unique(), on="place", how="semi").sort("time")
    first = known.group_by("place").agg(
        c("frame").sort_by("time").first().alias("before_frame"), c("time").min().alias("before_time")
    )
    later = known.filter(~c("open_before")).select("place", c("frame").alias("accepted_frame"), c("time").alias("accepted_time"))
    before = c("before_time") < c("syn_time")
    return (
        places.join(first, on="place")
        .with_columns(pl.when(before).then(name).alias(name) for name in ("before_time", "before_frame"))
        .sort("over")
        .join_asof(later, left_on="over", right_on="accepted_time", by="place", strategy="forward", check_sortedness=False)
        .with_columns(c("over").min().over("place", "accepted_frame").alias("down_since"))
        .select("connection", "before_frame", "before_time", "accepted_frame", "accepted_time", "down_since")
    )
