"""Find messages that a server or a gateway cut off after their receiver had stopped reading, and the host that did not read.

If the client had stopped reading a response, the server may have cut it off because of a timeout. A server that had stopped
reading a request was not waiting for the client. A gateway that cannot forward a request stops reading it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import polars as pl

from wiredoctor.gateways.kinds import CLIENT_STALLED
from wiredoctor.rule_engine.candidates import select
from wiredoctor.rule_engine.summary_columns import Rows, with_changes
from wiredoctor.tables import SECOND
from wiredoctor.world.numbers import DURATION

c = pl.col

LEAST = SECOND
"""The shortest stall in ns that may explain a close: servers wait longer for a client that does not read."""

MOSTLY = 5
"""A condition holds for most of a time span if it holds for all but 1/MOSTLY of the span."""

DRAINED = 5 * SECOND
"""The maximum time in ns between the end of the stall and the server's close: the server's kernel first sends buffered data."""


LEAST_RATE = 240
"""The default least rate of http.sys (MinBytesPerSecond) and Kestrel (MinResponseDataRate) in bytes per second."""

SLOW_FOR = 5 * SECOND
"""The minimum time in ns over which the rate of a response is measured: Kestrel allows 5 s before it looks at the rate."""


def until_close(start: str, end: str) -> pl.Expr:
    """Return an expression that is true if a stall may be the reason why the server closed.

    The time of the close is in the column "end". `start`, `end`: the names of the columns with the times of the stall. All times
    are in ns.
    """
    lasted = c(end) - c(start) >= LEAST
    return (lasted & (c(start) < c("end")) & (c(end) >= c("end") - DRAINED)).fill_null(value=False)


def after_stalls(found: Mapping[str, Rows]) -> list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]]:
    """Return for each rule about a cut-off message a function that sets what a stall of its receiver shows.

    Candidates of `no-response` no longer blame the client if it paused because the server did not read. The text of
    `truncated-response` names the stall as a possible cause, and its confidence becomes medium. For `gateway-error`, the kind
    becomes CLIENT_STALLED; the text of kind unsent says whether the server's window was still closed. The words of `client-abort`
    no longer blame the server if the client did not read.
    """
    if "zero-window-stall" not in found:
        return []
    times = (c("start").alias("stall_start"), c("end").alias("stall_end"))
    closed = (c("frame").alias("closed_frame"), c("window_time").alias("closed_time"))
    stalls = select(found["zero-window-stall"], "connection", "kind", "of_client", "opened", *times, *closed)
    both = (c("kind") == "both-closed").fill_null(value=False)
    of_client, of_server = stalls.filter(c("of_client") | both), stalls.filter(~c("of_client") | both)
    return [
        ("client-abort", partial(_aborts_after_stalls, of_client)),
        ("gateway-error", partial(_gateways_after_stalls, of_client)),
        ("truncated-response", partial(_truncated_after_stalls, of_client)),
        ("gateway-error", partial(_unsent_after_stalls, of_server)),
        ("no-response", partial(_requests_after_stalls, of_server)),
    ]


def may_follow_stall() -> pl.Expr:
    """Return an expression that is true if the client's stall may be the cause: for `gateway-error`, only if the kind says so."""
    return (c("rule") != "gateway-error") | (c("kind") == CLIENT_STALLED).fill_null(value=False)


def _aborts_after_stalls(stalls: pl.DataFrame, aborts: pl.DataFrame) -> pl.DataFrame:
    """Mark the `client-abort` candidates whose response paused because the client's receive window was closed."""
    paused = aborts.with_row_index("number").filter(c("quiet").is_not_null()).select("number", "connection", "end")
    closed = (c("stall_start") < c("end")) & (c("end") <= c("stall_end"))
    numbers = paused.join(stalls, on="connection").filter(closed)["number"]
    return aborts.with_columns(pl.int_range(pl.len()).is_in(numbers.implode()).alias("window_closed"))


def _gateways_after_stalls(stalls: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """Change `gateway-error` candidates if the gateway's client did not read when the gateway gave up the server behind it."""
    stalls = stalls.select("connection", "stall_start", "stall_end", "closed_frame", "closed_time")
    blocked = errors.with_row_index("number").select("number", "connection", "blocked_until", "confidence")
    behind = blocked.filter(c("blocked_until").is_not_null()).join(stalls, on="connection")
    behind = behind.filter(c("stall_start") + LEAST <= c("blocked_until"), c("blocked_until") <= c("stall_end"))
    at_most = c("confidence").replace({"high": "medium"})
    facts = (at_most, "closed_frame", "closed_time", pl.lit(CLIENT_STALLED).alias("kind"), pl.lit("client").alias("side"))
    return _with_last_facts(errors, behind.select("number", *facts))


def _with_last_facts(errors: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Return `errors` with the last of the facts about each; `number`: the number of the row in `errors`."""
    last = facts.unique("number", keep="last", maintain_order=True).iter_rows(named=True)
    changes = {row["number"]: row for row in last}
    return with_changes(errors, changes, {name: errors.schema[name] for name in facts.columns[1:]})


def of_slow_servers(
    rows: pl.DataFrame, sure: pl.DataFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:  # fmt: skip
    """Change stalls of requests to a gateway if the server behind it read the request slowly.

    If the closed window of that server is reported for at least half of the stall, the stall itself is not reported and only
    explains other findings. Otherwise it gets the kind `server-behind` under two conditions: the gateway was sending the body to
    that server during most of the stall, and the server's window was full during most of that transfer.
    """
    stalled = rows.with_row_index("number").filter(~c("of_client") & c("kind").is_null()).sort("start")
    if stalled.is_empty():
        return rows
    tries = sure.drop_nulls("exchange").lazy().join(connections.select("connection", "server"), on="connection")
    sent = tries.join(
        exchanges.select("connection", "exchange", "request_body_time", "request_end", "request_not_read_time"),
        on=["connection", "exchange"],
    ).collect()
    in_front = stalled.select("number", "start", "end", front_connection="connection").sort("end")
    # the requests of a connection follow one another
    pairs = in_front.join_asof(
        sent.drop_nulls("request_body_time").sort("request_body_time"),
        left_on="end", right_on="request_body_time", by="front_connection", allow_exact_matches=False, check_sortedness=False,
    ).filter(c("start") < c("request_end"))  # fmt: skip
    behind: dict[int, list[tuple[int, int]]] = {}
    for connection, start, end in stalled.select("connection", "start", "end").iter_rows():
        behind.setdefault(connection, []).append((start, end))
    changes: dict[int, dict[str, Any]] = {}
    for row in pairs.iter_rows(named=True):
        start, end, number = row["start"], row["end"], row["number"]
        if 2 * _overlap(behind.get(row["connection"], ()), start, end) >= end - start:
            changes[number] = {"silent": True}
            continue
        took, not_read = row["request_end"] - row["request_body_time"], row["request_not_read_time"] or 0
        while_sending = min(end, row["request_end"]) - max(start, row["request_body_time"])
        if took and MOSTLY * not_read >= (MOSTLY - 1) * took and MOSTLY * while_sending >= (MOSTLY - 1) * (end - start):
            changes[number] = {"kind": "server-behind", "behind": row["server"], "full": not_read * 100 // took, "passed": took}
    schema = {"kind": pl.String(), "behind": pl.String(), "full": pl.Int64(), "passed": DURATION, "silent": pl.Boolean()}
    return with_changes(rows, changes, schema)


def _overlap(stalls: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """Return the time (ns) between `start` and `end` that `stalls` cover; they are sorted by start, and do not overlap."""
    first = max(bisect_left(stalls, (start, start)) - 1, 0)
    covered = 0
    for begun, over in islice(stalls, first, None):
        if begun >= end:
            break
        covered += max(min(over, end) - max(begun, start), 0)
    return covered


def _unsent_after_stalls(stalls: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """Change `gateway-error` candidates of kind unsent if the server's window was still closed when the gateway gave up."""
    stalls = stalls.select("stall_start", "stall_end", "opened", "closed_frame", "closed_time", unread_on="connection")
    behind = errors.with_row_index("number").select("number", "unread_on", "end").join(stalls, on="unread_on")
    still = (c("stall_start") < c("end")) & (c("opened").is_null() | (c("stall_end") >= c("end")))
    behind = behind.filter(still & (c("closed_time") < c("end"))).sort("stall_start")
    return _with_last_facts(errors, behind.select("number", "closed_frame", "closed_time"))


def _requests_after_stalls(stalls: pl.DataFrame, lost: pl.DataFrame) -> pl.DataFrame:
    """Change `no-response` candidates if the client paused in the middle of a request because the server did not read."""
    paused = lost.with_row_index("number").filter("stood_still")
    own = stalls.select("connection", "stall_end", stalled_frame="closed_frame", stalled_time="closed_time")
    closed = c("server_close_time") - c("stalled_time")
    mostly = (c("server_close_time") <= c("stall_end")) & (2 * closed >= c("quiet"))
    behind = paused.select("number", "connection", "server_close_time", "quiet").join(own, on="connection").filter(mostly)
    behind = behind.unique("number", keep="first", maintain_order=True).with_columns(pl.lit("server").alias("side"))
    changes = {row["number"]: row for row in behind.iter_rows(named=True)}
    return with_changes(lost, changes, {"side": pl.String(), "stalled_frame": pl.Int64(), "stalled_time": pl.Int64()})


def _truncated_after_stalls(stalls: pl.DataFrame, cut: pl.DataFrame) -> pl.DataFrame:
    """Set `stalled`: how long (ns) the client had not read before the server closed. The confidence is then at most medium.

    If the client had been slower than LEAST_RATE throughout, the kind becomes too-slow.
    """
    slow = _too_slow()
    own = stalls.select("connection", "stall_start", "stall_end")
    behind = cut.with_row_index("number").filter(c("kind").is_null()).join(own, on="connection")
    lasted = (c("stall_end") - c("stall_start")).max()
    inside = (c("stall_start") < c("end")) & (c("stall_end") > c("start"))
    behind = behind.filter((slow & inside) | until_close("stall_start", "stall_end"))
    stalled = behind.group_by("number").agg(lasted, slow.any().alias("slow"))
    changes = {
        number: {"stalled": time, **({"kind": "too-slow", "side": "client"} if is_slow else {})}
        for number, time, is_slow in stalled.iter_rows()
    }
    cut = with_changes(cut, changes, {"stalled": pl.Int64(), "kind": pl.String(), "side": pl.String()})
    surely = c("stalled").is_not_null() & (c("confidence") == "high")
    return cut.with_columns(pl.when(surely).then(pl.lit("medium")).otherwise("confidence").alias("confidence"))


def _too_slow() -> pl.Expr:
    """Return whether a response took SLOW_FOR or longer, and came more slowly than LEAST_RATE."""
    lasted = c("lasted").cast(pl.Int64)
    return (lasted >= SLOW_FOR) & (c("came") * SECOND < LEAST_RATE * lasted)
