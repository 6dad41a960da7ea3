"""Find clients that close their window because they read at their own pace: a rate limit, or a player with a full buffer.

Such a program may always sleep for the same time (wget, players, loops with a pause); then its window opens on a clock. Or it
sleeps until the amount that it has read fits its rate (curl); then the amount between two openings is in proportion to the time
between them. The amount alone shows less, because the kernel opens a window early or late.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.tables import MILLISECOND, SECOND

_PERIODS, _RATES = 3, 4
"""How many similar values in a row show a clock, or a rate; two may be a coincidence."""

_MEDIA = r"^(?:audio|video)/"
_OF_RESPONSE = ["connection", "response"]


def with_pace(rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, most: int) -> pl.DataFrame:
    """Add columns to closed windows which show that a client paces itself.

    `period`: the time (ns) between two openings. `rate`: the bytes per second between them. Either is null if it is not similar
    for at least half of the closed windows of a response, or if a window was closed for more than two such times. `plays`: the
    response is audio or video. `of_client`: the window belongs to a client. Only openings at most `most` (ns) apart count.
    Servers, other protocols than HTTP, and gateways are left out: a gateway's own client waits.

    `rows` have `connection`, the `direction` of the receiver, `http`, `start`, `opened` (ns) and `offset` of the next data (null
    if the window never opened), and `closed`, how long the window was closed (ns).
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
    """Add per response the longest of the similar times between openings, and `opened_before`.

    `period`: on a clock. `while_paced`: on a clock or at one `rate`. Null if they are similar for less than half of its closed
    windows."""
    c = pl.col
    period, rate = c("opened").diff(), c("offset").diff() * SECOND // c("opened").diff()
    names = ("period", "rate", "while_paced")
    longest = pl.max_horizontal(f"period_{n}" for n in range(_RATES))
    # a run of similar values covers its windows, and those right before and after it
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
    """Return the largest of `count` columns if they differ by at most 5 % and `near`."""
    names = [f"{of}_{n}" for n in range(count)]
    largest = pl.max_horizontal(names)
    # horizontally, the largest of null and a number is the number
    known = pl.all_horizontal(pl.col(name) > 0 for name in names).fill_null(value=False)
    return pl.when(known & (largest - pl.min_horizontal(names) <= largest // 20 + tolerance)).then(largest)
