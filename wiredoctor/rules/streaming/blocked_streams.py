"""A server stopped all of the answers that it was streaming at the same moment, and went on with them together.

What it means
    A server streamed several answers at once, each at its own pace. Then none of them went on for a second or longer, and all of
    them went on within a millisecond. What serves them all had stopped: a call that blocks the event loop of the program, a
    garbage collection, a lock, or, in a server of language models, the prompt of another request.

Why it hurts
    Everyone who waits for an answer of this process sees it freeze, and new requests and health checks wait, too.

How it is proved
    Three or more streams (text/event-stream, application/x-ndjson) answer calls, that is, requests other than GET and HEAD, and
    have the events of an API that ends its answers with an event of its own. The longest gap between two events of each is 1 s or
    longer, and ten times as long as the median of its gaps, which is 20 ms or longer. All of these gaps ended within 1 ms, and
    each began at most one of its usual gaps before the latest of them. No events came together after them.

What it is not
    A feed sends the same events to all of its subscribers, so all are silent when nothing happens. Such streams have no event
    that ends them, or answer a GET, and are not reported. A path that holds packets delivers the events of that time together. A
    gateway passes on what happens behind it, so only the server behind it is named. If a server answers other requests late,
    server-pause reports it.

What to do
    Find what the process did at this time. Python: no time.sleep, and no synchronous client of a database or of HTTP, in
    asynchronous code (asyncio.to_thread runs it in a thread). Node: no synchronous calls and no long computation in the main
    thread. A server of language models: limit how much of a prompt it processes at once (chunked prefill).

References
    Python, developing with asyncio: running blocking code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import Nanoseconds, packets
from wiredoctor.tables import MILLISECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.attempts import host_of
from wiredoctor.world.connection_close import OPEN_STREAMS, streams

c = pl.col

RULE = Rule(
    symptom="all answers of a server freeze at the same moment",
    severity="note",
    title="{server} stopped {count} streams at once, for {pause}",
    message="{server} was streaming {count} answers. For {pause}, no event came on any of them, and then all went on "
    "within {within}. So what serves them all had stopped, as an event loop does when a call blocks it.",
    remedy="Find what the process did at this time. Python: no time.sleep and no synchronous client in asynchronous code "
    "(asyncio.to_thread). Node: no long computation in the main thread. A server of language models: limit how much of a prompt "
    "it processes at once.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference(
            "Python, running blocking code in asyncio", "https://docs.python.org/3/library/asyncio-dev.html#running-blocking-code"
        ),
    ),
    summary=True,
)

PAUSE = Threshold("1 s", "the minimum time without an event; users notice no less in a stream")
STREAMS = Threshold("3 streams", "the minimum number of streams that stop together; two may by chance")
TIMES = Threshold("10 times", "the minimum ratio of this time to the median gap of each stream, which is then no usual gap")
GAP = Threshold("20 ms", "the minimum median gap; faster streams come in packets with several events")
TOGETHER = Threshold("1 ms", "the maximum time in which all go on; a full queue on the path spreads them over 5 ms")
PASSED_ON = 100 * MILLISECOND
"""The maximum time (ns) that a gateway needs to pass on an event."""
SHOWN = Threshold("3 streams", "the maximum number of streams shown as evidence; the message has their number")


class Facts(NamedTuple):
    """What is known of streams that stopped together. Times are in ns. `shown`: their `frame`, and `gap` before it."""

    end: int
    pause: int
    shown: list[dict[str, Any]]


def _stopped() -> pl.Expr:
    """Return whether an exchange is an answer in events, once without any for a long time."""
    gap, usual = c("response_longest_gap"), c("response_median_gap")
    long = (gap >= PAUSE.value) & (usual >= GAP.value) & (gap >= TIMES.value * usual)
    answer = streams() & ~c("request_method").is_in(OPEN_STREAMS) & (c("response_api_format") | c("response_end_mark"))
    return (long & answer & (c("response_held_bursts") == 0) & ~c("response_has_gap")).fill_null(value=False)


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return _stopped().sum() >= STREAMS.value


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame, fronts: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each moment at which a server went on with several streams that it had stopped together."""
    frame, time, gap = (c(f"response_longest_gap{name}") for name in ("_frame", "_time", ""))
    rows = exchanges.filter(_stopped()).select(
        "connection", "endpoint", "gap_before", frame.alias("frame"), time.alias("end"), gap.alias("gap"),
        (time - gap).alias("begin"), c("response_median_gap").alias("usual"),
    )  # fmt: skip
    rows = rows.join(connections.select("connection", "server", "client_host"), on="connection").sort("server", "end", "frame")
    apart = (c("server") != c("server").shift(1)) | (c("end") - c("end").shift(1) > TOGETHER.value)
    rows = rows.with_columns(apart.fill_null(value=True).cum_sum().alias("moment"))
    stopped = rows.filter(c("begin") + c("usual") >= c("begin").max().over("moment"))
    stopped = stopped.filter(c("end") - c("end").min().over("moment") <= TOGETHER.value)
    groups = stopped.group_by("moment").agg(
        c("server", "frame", "end").first(),
        c("begin").max(),
        c("client_host").unique().alias("clients"),
        c("connection").n_unique().cast(pl.Int64).alias("count"),
        c("gap_before").any(),
        pl.struct("frame", "end", "gap").head(SHOWN.value).alias("shown"),
    )
    found = groups.filter((c("count") >= STREAMS.value) & (c("end") - c("begin") >= PAUSE.value))
    # a gateway may connect to its servers from the address of its endpoint; then it needs no pair
    same = found.join(found, how="cross", suffix="_behind")
    same = same.filter(c("clients_behind").list.contains(host_of("server"))).select("server", c("server_behind").alias("behind"))
    known = pl.concat([same, fronts.select("server", "behind")]).unique()
    behind = known.join(found.select(c("server").alias("behind"), c("end").alias("end_behind")), on="behind")
    passed = found.join(behind, on="server").filter(c("end_behind").is_between(c("end") - PASSED_ON, c("end")))
    found = found.join(passed, on="moment", how="anti").sort("end", "frame")
    sure = pl.when("gap_before").then(pl.lit("low")).otherwise(pl.lit("high"))
    return found.select(
        *candidate("server", sure, "frame", "begin", "end", of="server"),
        *("server", "count", (c("end") - c("begin")).alias("pause"), "shown"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the time without events."""
    return {
        "pause": Nanoseconds(x.pause),
        "within": duration_text(TOGETHER.value),
        "evidence": packets(
            *((one["frame"], one["end"], f"a stream goes on, after {duration_text(one['gap'])}") for one in x.shown)
        ),
    }
