"""Set the facts of candidates that other candidates, and the other sides of gateways, show.

A gateway has a front, where clients connect to it, and a back, where it connects to servers. A try is a request that the gateway
sent to a server for a client's exchange, or an attempt to connect for it. The client may never have seen a failure at the back.
Lost time must not be counted on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import by_kind
from wiredoctor.gateways import Gateways
from wiredoctor.gateways.known import FRONT, KEY
from wiredoctor.gateways.tries import AT_CLIENT, AT_SERVERS, RETRY, WAITED_FOR
from wiredoctor.rule_engine.candidates import change, select
from wiredoctor.rule_engine.gateway_tries import Tries, Try, time_open
from wiredoctor.rule_engine.rule_module import RuleModule
from wiredoctor.rule_engine.stopped_reading import after_stalls, of_slow_servers
from wiredoctor.rule_engine.summary_columns import Rows, as_frame, with_changes
from wiredoctor.storage.spill import Folder
from wiredoctor.tables import SECOND
from wiredoctor.world.numbers import DURATION

c = pl.col

RETRIED = ("no-response", "keep-alive-race", "connect-failed", "truncated-response", "gateway-error")
"""The rules whose findings become less severe if the gateway repeated the request and the gateway's client got a response."""

ACROSS_GATEWAYS = (
    *RETRIED,
    "slow-response",
    "client-abort",
    "idle-timeout-broken-promise",
    "buffered-stream",
    "corked-stream",
    "zero-window-stall",
    "oversized-head",
    "undecodable-body",
    "unfinished-request",
)
"""The rules whose findings depend on what happened on the other side of a gateway."""

IN_GATEWAY = SECOND
"""The minimum time in ns that a gateway itself must take to be reported as slow: the client's wait minus the time of the
gateway's tries (its own requests to servers).

The value equals the shortest wait that `slow-response` reports.
"""

Changes = dict[int, dict[str, Any]]
"""Changed values of candidates: row number -> column -> value."""


class Sides(NamedTuple):
    """Both sides of gateways: `tries` has rows of tables.TRIES; `closes`, `exchanges`, `connections` are the capture's tables."""

    known: Gateways
    tries: pl.DataFrame
    closes: pl.LazyFrame
    exchanges: pl.LazyFrame
    connections: pl.LazyFrame


def with_facts_of_others(
    modules: Mapping[str, RuleModule], found: Mapping[str, Rows], sides: Sides | None, folder: Folder | None = None
) -> dict[str, Rows]:  # fmt: skip
    """Return decided candidates with the facts that other candidates, and the other sides of gateways, show.

    A candidate that the other side explains is dropped. Apart from `decide`, nothing else changes candidates. Without `sides`,
    only stalls count. `folder`: see `candidates.change`.
    """
    whole = {**found}

    def adapt(name: str, changing: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        if name in whole and whole[name].height:
            whole[name] = change(whole[name], changing, folder)

    if sides is not None:
        adapt("gateway-error", partial(_without_unread, _never_processed(whole)))
        if (sure := sides.tries.filter("certain")).height:
            _adapt_to_tries(modules, whole, sides._replace(tries=sure), adapt)
        if sides.known.clients:
            adapt("zero-window-stall", partial(_stall_gateway_readers, sides.known.clients))
            adapt("client-abort", partial(_of_gateway_clients, sides.known))
    for name, changing in after_stalls(whole):
        adapt(name, changing)
    return {name: rows for name, rows in whole.items() if rows.height}


def _adapt_to_tries(
    modules: Mapping[str, RuleModule], whole: dict[str, Rows], sides: Sides,
    adapt: Callable[[str, Callable[[pl.DataFrame], pl.DataFrame]], None],
) -> None:  # fmt: skip
    """Change candidates about exchanges with a gateway, and about its tries. `sides`: with the certain tries."""
    if "idle-timeout-broken-promise" in whole:
        passed = _passed_promises(select(whole["idle-timeout-broken-promise"], *KEY), sides)
        adapt("idle-timeout-broken-promise", lambda rows: rows.join(passed, on=KEY, how="anti", maintain_order="left"))
    if "undecodable-body" in whole:
        adapt("undecodable-body", partial(_only_behind, sides.tries))
    if "unfinished-request" in whole:  # a gateway cancels what its client does not complete
        canceled = sides.tries.select(pl.col(KEY), kind=pl.lit("canceled"))
        adapt("unfinished-request", lambda rows: rows.join(canceled, on=[*KEY, "kind"], how="anti", maintain_order="left"))
    if "zero-window-stall" in whole:  # compared with each other, so all together
        stalls = as_frame(whole["zero-window-stall"])
        whole["zero-window-stall"] = of_slow_servers(stalls, sides.tries, sides.exchanges, sides.connections)
    names = [name for name in (*RETRIED, "slow-response", "client-abort") if name in whole and whole[name].height]
    if not names:
        return
    places = pl.concat([select(whole[name], c("connection").cast(pl.Int64)) for name in names])
    tries = Tries(sides.tries, places["connection"].drop_nulls().unique(), sides.closes, sides.connections)
    if "slow-response" in names:
        paused = select(whole["slow-response"], *KEY, "kind").filter(c("kind") == "mid-response").select(KEY)
        adapt("slow-response", partial(_counted_once, tries, {*paused.iter_rows()}))
    for name in names:
        if name in RETRIED:
            adapt(name, partial(_answered_by_retry, tries, modules[name]))
    if "connect-failed" in names:
        adapt("connect-failed", partial(_unnoticed, sides, modules["connect-failed"]))
    adapt("client-abort", partial(_given_up, tries))


def _never_processed(found: Mapping[str, Rows]) -> pl.DataFrame:
    """Return the connection and exchange of the requests that a gateway never processed.

    Either the gateway's close crossed the request, or the gateway's process never read the request.
    """
    unread = {"keep-alive-race": pl.lit(value=True), "no-response": c("kind").is_in(["unread", "on-arrival", "mid-request"])}
    never = [select(found[name], *KEY, "kind").filter(one).select(KEY) for name, one in unread.items() if name in found]
    return pl.concat(never) if never else pl.DataFrame(schema={"connection": pl.Int64(), "exchange": pl.Int32()})


def _without_unread(never: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Drop the `not-passed-on` candidates for requests in `never`, which the gateway never processed."""
    unread = rows.join(never.unique().with_columns(unread=True), on=KEY, how="left", maintain_order="left")["unread"]
    return rows.filter(~(unread & (rows["kind"] == "not-passed-on")).fill_null(value=False))


def _passed_promises(places: pl.DataFrame, sides: Sides) -> pl.DataFrame:
    """Return the places of broken Keep-Alive promises that a gateway only forwarded for the server behind it.

    haproxy and node's http-proxy forward the Keep-Alive field, although it does not apply to the connections of their clients.
    """
    said = sides.closes.select(*KEY, pl.col("response_keep_alive_timeout").alias("timeout"))
    front = places.unique().lazy().join(said, on=KEY)
    behind = sides.tries.lazy().select(*FRONT, *KEY).join(said, on=KEY).drop(KEY)
    return front.join(behind, left_on=[*KEY, "timeout"], right_on=[*FRONT, "timeout"], how="semi").select(KEY).collect()


def _stall_gateway_readers(clients: Collection[int], rows: pl.DataFrame) -> pl.DataFrame:
    """Turn `own-pace` candidates (the client reads at its own pace) into ordinary stalls if this client is a gateway.

    While the gateway does not read the data, its own client waits for the data.
    """
    of_gateway = _is_one_of(clients) & (c("kind") == "own-pace")
    return rows.with_columns(
        pl.when(of_gateway).then(None).otherwise("kind").alias("kind"),
        pl.when(of_gateway).then("held_up").otherwise("delay").alias("delay"),
    )


def _only_behind(tries: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Drop the bodies that a gateway only passed on: those of exchanges with a try whose body has the same fault."""
    passed = tries.select(*FRONT, *KEY).join(rows.select(*KEY, "fault", "role"), on=KEY).drop(KEY)
    return rows.join(
        passed, left_on=[*KEY, "fault", "role"], right_on=[*FRONT, "fault", "role"], how="anti", maintain_order="left"
    )


def _is_one_of(connections: Collection[int]) -> pl.Expr:
    return c("connection").is_in(pl.Series([*connections], dtype=pl.Int64).implode())


def _of_gateway_clients(known: Gateways, rows: pl.DataFrame) -> pl.DataFrame:
    """Set the facts of client aborts whose client is a gateway.

    A client counts as a gateway if its other side was captured, too, or if its requests contain fields that only gateways add, or
    several User-Agents on one connection.
    """
    relayed = [known.relayed.get(connection) for connection in rows["connection"]]
    return rows.with_columns(_is_one_of(known.clients).alias("is_gateway"), pl.Series("relayed", relayed, pl.Int64))


def _answered_by_retry(known: Tries, module: RuleModule, rows: pl.DataFrame) -> pl.DataFrame:
    """Reduce the severity of a gateway's failed tries if the client got the response of a later try.

    Of the other tries, mark truncated responses that the gateway forwarded as if they were complete.
    """
    changes: Changes = {}
    of_response = module.name == "truncated-response"
    for number, row in enumerate(_values(rows, *KEY, "end", "severity", "kind")):
        one = known.at(row)
        if one is None:
            continue
        retried = None if of_response and one.head else _retried(known, one, row["end"])
        if retried is not None:
            severity = row.get("severity") or by_kind(module.rule.severity, row["kind"])
            changes[number] = {"severity": "warning" if severity == "error" else severity, **retried}
        elif (of_response or row["kind"] == "truncated") and _made_whole(one, known):
            changes[number] = {"made_whole": True}
    return with_changes(rows, changes, {**_RETRIED, "made_whole": pl.Boolean()})


def _unnoticed(sides: Sides, module: RuleModule, rows: pl.DataFrame) -> pl.DataFrame:
    """Reduce the severity of a gateway's failed attempts to connect that belong to no known request.

    They are health checks, for example, or too many to be told apart. Their gateway must have made such attempts at the same
    server for known requests, too, and each of these must have got a complete response without a server error.
    """
    status = c("response_status").is_between(200, 499) & (c("response_end_reason") == "complete")
    made = sides.tries.lazy().filter(c("exchange").is_null()).select(*FRONT, "connection")
    made = made.join(sides.connections.select("connection", "client_host", first_server="server"), on="connection")
    made = made.join(sides.closes.select(*KEY, good=status), left_on=FRONT, right_on=KEY, how="left")
    good = made.group_by("client_host", "first_server").agg(c("good").fill_null(value=False).all()).collect()
    rows = rows.join(good, on=["client_host", "first_server"], how="left", maintain_order="left")
    alone = c("good").fill_null(value=False) & (c("clients") == 1) & (c("servers") == 1)
    alone &= c("retry").is_null() & c("severity").is_null()
    alone &= c("kind").is_in([kind for kind in rows["kind"].unique() if by_kind(module.rule.severity, kind) == "error"])
    return rows.with_columns(
        pl.when(alone).then(pl.lit("warning")).otherwise("severity").alias("severity"),
        pl.when(alone).then(c("delay").fill_null(0)).otherwise("delay").alias("delay"),
    ).drop("good")


_RETRIED = {"severity": pl.String(), "delay": pl.Int64(), "end": pl.Int64(), "retry": RETRY}


def _values(rows: pl.DataFrame, *names: str) -> Iterator[dict[str, Any]]:
    """Yield these columns of each candidate; columns that the candidates lack are left out."""
    return rows[[name for name in names if name in rows.columns]].iter_rows(named=True)


def _retried(known: Tries, one: Try, end: int | None) -> dict[str, Any] | None:
    """Return the facts of a candidate about a try if the client got the response of a later try; None if it did not.

    `end`: of the candidate (ns).
    """
    later = known.later(one)
    if later is None:
        return None
    last, front = later
    failed = known.tries[one.front][:-1]
    late = min(sum(_took(earlier, last) for earlier in failed), last.start - failed[0].start)
    return {
        "delay": _took(one, last),
        "end": max(one.start + _took(one, last), end or 0),
        "retry": {"server": last.server, "status": front.status, "late": late, "failed": len(failed)},
    }


def _took(one: Try, last: Try) -> int:
    """Return the time (ns) from the start of a failed try to its failure, or to the start of the last try if that was earlier."""
    return max(min(last.start, last.start if one.end is None else one.end) - one.start, 0)


def _made_whole(one: Try, known: Tries) -> bool:
    """Return whether the server cut off its response to the gateway, but the gateway's response to the client looks complete."""
    front = known.fronts.get(one.front)
    return front is not None and front.whole and front.status == one.status and not one.whole


def _given_up(known: Tries, rows: pl.DataFrame) -> pl.DataFrame:
    """Set the facts of client aborts if a gateway was involved in one of two ways.

    Either the client left while the gateway waited for a server, or the gateway itself, as the client of a server, gave up a try
    and sent the request to another server.
    """
    changes: Changes = {}
    for number, row in enumerate(_values(rows, *KEY, "end", "sending")):
        tries, one = known.tries.get((row["connection"], row["exchange"])), known.at(row)
        if tries and not row["sending"]:
            changes[number] = {"waited_for": _waited_for(tries[-1], row["end"])}
        retried = None if one is None else _retried(known, one, row["end"])
        if retried is not None:
            changes[number] = {"severity": "warning", "side": "server", **retried}
    return with_changes(rows, changes, {**_RETRIED, "side": pl.String(), "waited_for": WAITED_FOR})


def _waited_for(last: Try, left: int) -> dict[str, Any] | None:
    """Return the fact WAITED_FOR about a gateway whose client left at the time `left` (ns); None if it was not waiting.

    `last`: the gateway's last try.
    """
    attempt = last.place[1] is None
    over = last.last if attempt else last.over  # after its last SYN, a gateway still waits for an answer
    if last.whole or (over is not None and over < left):
        return None
    silent = attempt or last.last is None or last.last > left
    if silent and not attempt and last.status is not None and last.end is not None and last.end <= left:
        return None  # the response had begun, and went on
    since = last.start if silent or last.last is None else last.last
    return {"server": last.server, "attempt": attempt, "in_part": not silent, "time": left - since}


def _counted_once(known: Tries, paused: Collection[tuple[int, int]], rows: pl.DataFrame) -> pl.DataFrame:
    """Count time only once if a client waited for a gateway while the gateway waited for a server.

    Subtract the time of the gateway's tries from the client's wait. A wait for a try counts until the client's exchange ended.
    Candidates about a try also get the fact how long the client waited. `paused`: the exchanges with a candidate about a pause
    within the response.
    """
    gone: list[int] = []
    changes: Changes = {}
    for number, row in enumerate(_values(rows, *KEY, "start", "end", "delay", "kind")):
        tries = known.tries.get((row["connection"], row["exchange"]))
        if tries is not None:
            facts = _of_wait_in_front(tries, row, paused_behind=any(one.place in paused for one in tries))
            if facts is None:
                gone.append(number)
            changes[number] = facts or {}
        elif one := known.at(row):
            changes[number] = _of_wait_behind(known, one, row)
    columns = {"kind": pl.String(), "delay": pl.Int64(), "wait": DURATION, "at_servers": AT_SERVERS, "at_client": AT_CLIENT}
    return with_changes(rows, changes, columns).filter(~pl.int_range(pl.len()).is_in(gone))


def _of_wait_in_front(tries: Sequence[Try], row: Mapping[str, Any], *, paused_behind: bool) -> dict[str, Any] | None:
    """Return the facts of a candidate `row` about a wait for a gateway, for which it made `tries`; None if they explain it.

    `paused_behind`: one of their servers paused in its response.
    """
    behind = row["delay"] - time_open(tries, row["start"], row["end"])
    own = row["delay"] - time_open(tries, row["start"], row["end"], whole=True)
    in_response = row["kind"] == "mid-response"
    if behind < IN_GATEWAY or (own < IN_GATEWAY and (paused_behind or in_response)):
        return None
    if in_response:
        return {}
    if own < IN_GATEWAY:
        # to servers that had responded before they had the complete request
        known = [(one, one.sent, max(one.over, row["start"])) for one in tries if one.sent is not None and one.over is not None]
        sending = [one for one, sent, over in known if sent > over]
        return {"delay": behind, "at_servers": _at_servers(sending or tries, behind - own, sending=bool(sending))}
    return {"kind": "in-gateway", "delay": own, "wait": own, "at_servers": _at_servers(tries, row["delay"] - own)}


def _at_servers(tries: Sequence[Try], time: int, *, sending: bool = False) -> dict[str, Any]:
    return {"servers": [*dict.fromkeys(one.server for one in tries)], "time": time, "sending": sending}


def _of_wait_behind(known: Tries, one: Try, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a candidate `row` about a wait for the response to the try `one`.

    Nobody waited for it after the exchange of the gateway's client had ended.
    """
    front = known.fronts.get(one.front)
    over = None if front is None else front.over
    facts: dict[str, Any] = {} if row["kind"] is not None else {"at_client": _at_client(known, one, row["end"])}
    if over is not None and over < row["end"]:
        facts["delay"] = min(row["delay"], max(over - row["start"], 0))
    return facts


def _at_client(known: Tries, one: Try, end: int) -> dict[str, Any] | None:
    """Return the fact AT_CLIENT about the client for which a gateway made the try `one`, which had its response at `end` (ns)."""
    front = known.fronts.get(one.front)
    if front is None or front.asked is None:
        return None
    if front.began is None:
        if front.over is None or not front.asked <= front.over < end:
            return None
        return {"client": front.client, "waited": front.over - front.asked, "in_gateway": None, "left": True}
    waited = front.began - front.asked
    own = max(waited - time_open(known.tries[one.front], front.asked, front.began), 0)
    retried = front.began < end  # the gateway had retried, or responded itself
    return {"client": front.client, "waited": waited, "in_gateway": None if retried else own, "left": False}
