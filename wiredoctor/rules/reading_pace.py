"""Whether a client that closes its window reads at a pace of its own: a rate limit, a player with a full buffer.

Such a program sleeps as long each time (wget, players, loops with a pause), so that its window opens on a clock, or as long as
it takes until what it has read fits its rate (curl): then what it reads between two openings is in proportion to the time between
them. How much is read each time says less: the kernel opens a window early or late.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.tables import MILLISECOND, SECOND

_PERIODS, _RATES = 3, 4
"""So many in a row that are alike show a clock, or a rate: two may be by chance."""

_MEDIA = r"^(?:audio|video)/"
_OF_RESPONSE = ["connection", "response"]


def with_pace(rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, most: int) -> pl.DataFrame:
    """Add to closed windows what shows that a client paces itself.

    `period`: the time (ns) between two openings, `rate`: the bytes per second between them, each null where it is not alike for
    at least half of the closed windows of a response, or a window was closed for more than two such times. `plays`: it takes
    audio or video. All of it with at most `most` (ns) between two openings, and not for servers, where it is not HTTP, or where
    the client is a gateway, whose own client waits. `of_client`: the window is that of a client.

    `rows` have `connection`, `direction` of who closed it, `http`, `start`, `opened` (ns) and `offset`, of what came then (null
    where it never opened), and `closed`, how long it was (ns).
    """
    c = pl.col
    clients = connections.select("connection", "client_direction").join(
        rows.lazy().select("connection"), on="connection", how="semi"
    )
    numbered = rows.lazy().with_row_index("number").join(clients.unique("connection", keep="last"), on="connection", how="left")
    numbered = numbered.with_columns((c("direction") == c("client_direction")).fill_null(value=False).alias("of_client"))
    asked = (
        exchanges.join(rows.lazy().select("connection"), on="connection", how="semi")
        .select(
            *("connection", "request_forwarded", "request_start", c("exchange").alias("response")),
            c("response_content_type").str.contains(_MEDIA).fill_null(value=False).alias("media"),
        )
        .drop_nulls("request_start")
        .sort("request_start")
    )
    held = (
        numbered.filter(c("of_client") & c("http"))
        .sort("start", "number")
        .join_asof(asked, left_on="start", right_on="request_start", by="connection", check_sortedness=False)
        .filter(~c("request_forwarded"))
        .sort("start", "number")
    )
    within = _closed() <= 2 * c("while_paced")
    found = _with_periods(held, most).select(
        "number",
        *(pl.when(within).then(name).alias(name) for name in ("period", "rate")),
        (c("media") & (_closed() <= most) & (c("opened").is_not_null() | c("opened_before"))).alias("plays"),
    )
    made = numbered.join(found, on="number", how="left").sort("number").collect()
    return made.with_columns(c("plays").fill_null(value=False)).drop("number", "client_direction")


def _closed() -> pl.Expr:
    return pl.col("closed").cast(pl.Int64)


def _with_periods(held: pl.LazyFrame, most: int) -> pl.LazyFrame:
    """Add of each response the longest of the times between openings that are alike: `period`, on a clock, and `while_paced`, on
    a clock or at one `rate`; null where they are alike near less than half of its closed windows. And `opened_before`."""
    c = pl.col
    period, rate = c("opened").diff(), c("offset").diff() * SECOND // c("opened").diff()
    names = ("period", "rate", "while_paced")
    longest = pl.max_horizontal(f"period_{n}" for n in range(_RATES))
    # what is alike is alike for the windows in it, and for those before and behind it
    near = [c("while_paced").shift(n).is_not_null().over(_OF_RESPONSE) for n in range(-_RATES, 2)]
    return (
        held.with_columns(
            c("opened").is_not_null().cum_max().shift(1, fill_value=False).over(_OF_RESPONSE).alias("opened_before"),
            *(period.shift(n).over(_OF_RESPONSE).alias(f"period_{n}") for n in range(_RATES)),
            *(rate.shift(n).over(_OF_RESPONSE).alias(f"rate_{n}") for n in range(_RATES)),
        )
        .with_columns(_alike("period", _PERIODS, 5 * MILLISECOND).alias("period"), _alike("rate", _RATES, 0).alias("rate"))
        .with_columns(
            pl.when(c("period") <= most).then("period").alias("period"),
            pl.when(longest <= most).then("rate").alias("rate"),
        )
        .with_columns(pl.when(c("rate").is_not_null()).then(longest).otherwise("period").alias("while_paced"))
        .with_columns(pl.any_horizontal(near).alias("near"))
        .with_columns(
            pl.when(c("near").mean().over(_OF_RESPONSE) >= 0.5).then(c(name).max().over(_OF_RESPONSE)).alias(name)
            for name in names
        )
    )


def _alike(of: str, count: int, tolerance: int) -> pl.Expr:
    """The largest of so many columns if they differ by 5 % and this at most."""
    names = [f"{of}_{n}" for n in range(count)]
    largest = pl.max_horizontal(names)
    # horizontally, the largest of null and a number is the number
    known = pl.all_horizontal(pl.col(name) > 0 for name in names).fill_null(value=False)
    return pl.when(known & (largest - pl.min_horizontal(names) <= largest // 20 + tolerance)).then(largest)
