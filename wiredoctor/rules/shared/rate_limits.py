"""Find gateways that limit the rate of requests: they refuse at once those that come too soon after forwarded ones.

Some gateways spread the forwarded requests (nginx: limit_req). Others forward the first few of each period, and refuse the rest
of it (Envoy: the token bucket of local_ratelimit).
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.gateways.known import FRONT, KEY, SERVER_ERROR
from wiredoctor.tables import of_exchanges

c = pl.col

REFUSED = Threshold("10 requests", "the minimum number of requests that the gateway refused, and of those it forwarded meanwhile")
AT_ONCE = Threshold("1 ms", "the maximum time until a refusal (median); a gateway that tried something takes longer")
SOON = Threshold(
    "150 %", "the maximum time from a forwarded request to a refusal, relative to the average interval of forwarded ones"
)
EVEN = Threshold("95 %", "the minimum share of refusals that come so soon; if refusals were random, 22 % would come later")
PERIODS = Threshold("5 periods", "the minimum number of periods with refusals in each of which as many requests were forwarded")
IDLE = Threshold("25 %", "the minimum share of refusals below the maximum of open requests; a limit of open requests has none")
NOT_BY_TARGET = Threshold("10 %", "the minimum share of refusals with Retry-After, or with a target that is forwarded, too")
HEALTHY = Threshold(
    "90 %", "the minimum share of good responses to forwarded requests; otherwise the server behind has a problem"
)

RESULT = pl.Schema({"connection": pl.Int64(), "exchange": pl.Int32(), "interval": pl.Int64()})


def find_limits(
    refused: pl.DataFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:
    """Return the exchanges that a gateway refused by a limit of the rate, with the average `interval` (ns) of those it forwarded.

    `refused`: exchanges that a gateway answered with 503 itself: the key, `server`, and `forwards` as in
    unforwarded_requests.
    """
    refused = refused.filter(pl.len().over("server") >= REFUSED.value)
    if refused.is_empty():
        return pl.DataFrame(schema=RESULT)
    asked = pl.coalesce("request_end", "request_start").alias("asked")
    times = of_exchanges(closes, refused).select(*KEY, asked, "response_start")
    says = of_exchanges(exchanges, refused).select(*KEY, c("response_has_retry_after").fill_null(value=False).alias("says"))
    rows = refused.lazy().join(times, on=KEY).join(says, on=KEY).drop_nulls(["asked", "response_start"]).collect()
    servers = refused["server"].unique().implode()
    at = connections.filter(c("server").is_in(servers)).select(front_connection="connection", server="server")
    sent = tries.join(at, on="front_connection").group_by(FRONT).agg(c("started").min(), c("server").first()).collect()
    sent = sent.rename({"front_connection": "connection", "front_exchange": "exchange"})
    ends = of_exchanges(closes, sent).select(*KEY, "response_status", c("response_end").alias("over")).collect()
    forwarded = sent.join(ends, on=KEY).drop_nulls(["started", "over"])
    parts = [RESULT.to_frame()]
    for (server,), own in rows.partition_by("server", as_dict=True).items():
        interval = _interval(own, forwarded.filter(c("server") == server))
        if interval is not None:
            parts.append(own.select(*KEY, pl.lit(interval, pl.Int64).alias("interval")))
    return pl.concat(parts)


def _interval(refused: pl.DataFrame, forwarded: pl.DataFrame) -> int | None:
    """Return the time in ns between two requests that the gateway forwards, if it limits their rate; otherwise None."""
    asked = refused["asked"]
    during = forwarded.filter(c("started").is_between(asked.min(), asked.max())).sort("started")
    begun = during["started"]
    if begun.len() < REFUSED.value:
        return None
    interval = int(begun[-1] - begun[0]) // (begun.len() - 1)
    # a busy gateway decides later than the request came
    decided = refused.sort("response_start").join_asof(during, left_on="response_start", right_on="started")
    since = decided.select(c("response_start") - c("started"))
    too_soon = since.to_series().drop_nulls() * 100 <= interval * SOON.value
    spread = (int(too_soon.sum()), too_soon.len(), EVEN)
    others = refused.filter(c("says") | c("forwards").fill_null(value=False)).height
    good = during.filter(c("response_status") < SERVER_ERROR).height
    shares = (
        _refilled(begun, refused["response_start"].sort()) or spread,
        (_below_most(asked, forwarded), asked.len(), IDLE),
        (others, refused.height, NOT_BY_TARGET),
        (good, during.height, HEALTHY),
    )
    waits = (refused["response_start"] - asked).sort()
    at_once = waits[waits.len() // 2] <= AT_ONCE.value
    return interval if at_once and all(100 * part >= share.value * whole for part, whole, share in shares) else None


def _refilled(begun: pl.Series, refused: pl.Series) -> tuple[int, int, Threshold] | None:
    """Return in how many periods the gateway forwarded the usual number of requests before it refused others, and of how many.

    Return None if that number is 1, or if there are too few periods. The first one may have begun before the capture, and the
    last one may have ended after it. `begun`, `refused`: the times of forwarded and of refused requests, in order.
    """
    period = refused.search_sorted(begun, side="right").alias("period")
    forwarded = period.value_counts(name="requests").sort("period")["requests"]
    whole = forwarded[1:-1]
    if whole.len() < PERIODS.value or (usual := whole.mode().max()) == 1:
        return None
    return int((whole == usual).sum()), whole.len(), EVEN


def _below_most(asked: pl.Series, forwarded: pl.DataFrame) -> int:
    """Return how many requests were refused while fewer than the maximum of forwarded requests were open."""
    begun, over = forwarded["started"].sort(), forwarded["over"].sort()

    def open_at(times: pl.Series) -> pl.Series:
        opened, ended = (ordered.search_sorted(times, side="right").cast(pl.Int64) for ordered in (begun, over))
        return opened - ended

    return int((open_at(asked) < open_at(begun).max()).sum())
