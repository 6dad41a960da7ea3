"""Change candidates according to the events on the other side of a gateway.

A gateway has a front, where clients connect to it, and a back, where it connects to servers. A try is a request that the gateway
sent to a server for a client's exchange, or an attempt to connect for it. The client may never have seen a failure at the back.
Lost time must not be counted on both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import by_kind
from wiredoctor.gateways import Gateways
from wiredoctor.gateways.tries import RETRY, never_arrived
from wiredoctor.rule_engine.candidates import change, select
from wiredoctor.rule_engine.catalogue import RuleModule
from wiredoctor.rule_engine.stopped_reading import of_slow_servers
from wiredoctor.rule_engine.summary_columns import Rows, as_frame, with_changes
from wiredoctor.rules.shared.abort_words import progress
from wiredoctor.rules.shared.words import MADE_WHOLE, retry_sentence
from wiredoctor.spill import Folder
from wiredoctor.tables import CLOSES, SECOND
from wiredoctor.text.durations import duration_text

c = pl.col

KEY = ["connection", "exchange"]
FRONT = ["front_connection", "front_exchange"]

RETRIED = ("no-response", "keep-alive-race", "connect-failed", "truncated-response", "gateway-error")
"""The rules whose findings become less severe if the gateway repeated the request and the gateway's client got a response."""

ACROSS_GATEWAYS = (
    *RETRIED,
    "slow-response",
    "client-abort",
    "idle-timeout-broken-promise",
    "buffered-stream",
    "zero-window-stall",
    "oversized-head",
)
"""The rules whose findings depend on what happened on the other side of a gateway."""

IN_GATEWAY = SECOND
"""The minimum time in ns that a gateway itself must take to be reported as slow: the client's wait minus the time of the
gateway's tries (its own requests to servers).

The value equals the shortest wait that `slow-response` reports.
"""

REGULAR = 10
"""Two pauses between the tries of a gateway are equal if they differ by at most 1/REGULAR of the later one."""


def through_gateways(
    modules: Mapping[str, RuleModule], found: Mapping[str, Rows], tries: pl.DataFrame, closes: pl.LazyFrame,
    exchanges: pl.LazyFrame, connections: pl.LazyFrame, folder: Folder | None = None,
) -> dict[str, Rows]:  # fmt: skip
    """Return the candidates of all rules, adapted to what happened on the other side of gateways.

    A candidate is dropped or changed if the events on the other side explain it. `tries` has rows of tables.TRIES; `closes`,
    `exchanges` and `connections` are the capture's tables. `folder`: see `candidates.change`.
    """
    whole = {**found}
    if "gateway-error" in whole and (unread := _never_processed(found)).height:
        whole["gateway-error"] = change(whole["gateway-error"], partial(_without_unread, unread), folder)
    sure = tries.filter("certain") if tries.height else tries
    if sure.height and "idle-timeout-broken-promise" in whole:
        broken = as_frame(whole["idle-timeout-broken-promise"])
        whole["idle-timeout-broken-promise"] = _promised_by_itself(broken, sure, closes)
    if sure.height and "zero-window-stall" in whole:
        whole["zero-window-stall"] = of_slow_servers(as_frame(whole["zero-window-stall"]), sure, exchanges, connections)
    changed = [name for name in (*RETRIED, "slow-response", "client-abort") if name in whole and whole[name].height]
    if sure.height and changed:
        places = pl.concat([_some_columns(whole[name], pl.col("connection").cast(pl.Int64)) for name in changed])
        known = _Tries(sure, places["connection"].drop_nulls().unique(), closes, connections)
        for name in changed:
            if name == "slow-response":
                pauses = _some_columns(whole[name], *KEY, "kind").filter(pl.col("kind") == "mid-response")
                paused = {*pauses.select(KEY).iter_rows()}
                changing = partial(_counted_once, known, paused)
            elif name == "client-abort":
                changing = partial(_given_up, known)
            else:
                changing = partial(_answered_by_retry, known, modules[name])
            whole[name] = change(whole[name], changing, folder)
    return {name: rows for name, rows in whole.items() if rows.height}


def add_streaming_behind(found: Mapping[str, Rows], tries: pl.DataFrame, exchanges: pl.LazyFrame) -> dict[str, Rows]:
    """For each `buffered-stream` candidate about a gateway, add how the gateway received the body.

    The column `behind` has columns of `exchanges`, the capture's table, for the response to the gateway's last try.
    """
    whole = {**found}
    if tries.is_empty() or "buffered-stream" not in whole:
        return whole
    sure = tries.filter("certain").drop_nulls("exchange")
    if sure.is_empty():
        return whole
    rows = as_frame(whole["buffered-stream"])
    last = sure.sort("started").unique(FRONT, keep="last").select(*KEY, *FRONT)
    mine = last.join(rows.select(pl.col(name).alias(front) for name, front in zip(KEY, FRONT, strict=True)), on=FRONT, how="semi")
    names = rows["behind"].struct.fields
    received = exchanges.select(*KEY, *names).join(mine.lazy(), on=KEY).select(
        *(pl.col(front).alias(name) for name, front in zip(KEY, FRONT, strict=True)), pl.struct(names).alias("behind")
    )  # fmt: skip
    whole["buffered-stream"] = rows.drop("behind").join(received.collect(), on=KEY, how="left", maintain_order="left")
    return whole


def given_up_by_gateways(found: Mapping[str, Rows], known: Gateways, folder: Folder | None = None) -> dict[str, Rows]:
    """Change candidates about client aborts and about clients that did not read, if their client is a gateway.

    A client counts as a gateway if its other side was captured, too, or if its requests contain fields that only gateways add, or
    several User-Agents on one connection. `folder`: see `candidates.change`.
    """
    whole, clients = {**found}, known.clients
    if clients and "zero-window-stall" in whole:
        whole["zero-window-stall"] = _stall_gateway_readers(as_frame(whole["zero-window-stall"]), clients)
    if clients and "client-abort" in whole:
        whole["client-abort"] = change(whole["client-abort"], partial(_by_gateway, known), folder)
    return whole


def _by_gateway(known: Gateways, rows: pl.DataFrame) -> pl.DataFrame:
    changes: dict[int, dict[str, Any]] = {}
    columns = ("connection", "start", "end", "title", "sending", "quiet", "until_close", "addition")
    for number, row in enumerate(_values(rows, *columns)):
        if row["connection"] in known.clients and not row.get("title"):
            after = f"{duration_text(row['end'] - row['start'])} after its request"
            front = known.relayed.get(row["connection"])
            said = (
                "This client is a gateway, which forwards the requests of its own clients."
                if front is None
                else "This client is probably a gateway (a relay for TCP or TLS), which passes on what its own client sends. It "
                f"opened this connection right after that client had opened connection {front}, and it closed both at the same "
                "moment."
            )
            changes[number] = {
                "title": f"The gateway gave up {after}{progress(row['sending'], row['quiet'], row['until_close'])}",
                "addition": f"{row['addition']} {said}" if row.get("addition") else said,
            }
    return with_changes(rows, changes, {"title": pl.String(), "addition": pl.String()})


def _stall_gateway_readers(rows: pl.DataFrame, clients: Collection[int]) -> pl.DataFrame:
    """Turn `own-pace` candidates (the client reads at its own pace) into ordinary stalls if this client is a gateway.

    While the gateway does not read the data, its own client waits for the data.
    """
    of_gateway = pl.col("connection").is_in(pl.Series([*clients], dtype=pl.Int64).implode()) & (pl.col("kind") == "own-pace")
    return rows.with_columns(
        pl.when(of_gateway).then(None).otherwise("kind").alias("kind"),
        pl.when(of_gateway).then("held_up").otherwise("delay").alias("delay"),
    )


def _values(rows: pl.DataFrame, *names: str) -> Iterator[dict[str, Any]]:
    """Yield these columns of each candidate; columns that the candidates lack are left out."""
    return rows[[name for name in names if name in rows.columns]].iter_rows(named=True)


def _some_columns(rows: Rows, *columns: str | pl.Expr) -> pl.DataFrame:
    """Return some columns of all candidates, in memory."""
    return rows.select(columns) if isinstance(rows, pl.DataFrame) else select(rows, *columns)


def _never_processed(found: Mapping[str, Rows]) -> pl.DataFrame:
    """Return the connection and exchange of the requests that a gateway never processed.

    Either the gateway's close crossed the request, or the gateway's process never read the request.
    """
    never = [pl.DataFrame(schema={name: CLOSES.schema[name] for name in KEY})]
    if "keep-alive-race" in found:
        never.append(_some_columns(found["keep-alive-race"], *KEY))
    if "no-response" in found:
        unread = c("kind").is_in(["unread", "on-arrival", "mid-request"])
        never.append(_some_columns(found["no-response"], *KEY, "kind").filter(unread).select(KEY))
    return pl.concat(never, how="vertical_relaxed")


def _without_unread(never: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Drop the `not-passed-on` candidates for requests in `never`, which the gateway never processed."""
    own = rows.filter((c("kind") == "not-passed-on").fill_null(value=False))
    gone = own.join(never, on=KEY, how="semi").select(KEY)
    mine = pl.struct(KEY).is_in(gone.select(pl.struct(KEY)).to_series().implode())
    return rows.filter(~(mine & (c("kind") == "not-passed-on")).fill_null(value=False))


def _promised_by_itself(rows: pl.DataFrame, sure: pl.DataFrame, closes: pl.LazyFrame) -> pl.DataFrame:
    """Drop candidates about a broken Keep-Alive promise if the gateway only forwarded the promise of the server behind it.

    haproxy and node's http-proxy forward the Keep-Alive field, although it does not apply to the connections of their clients.
    """
    said = closes.select(*KEY, pl.col("response_keep_alive_timeout").alias("timeout"))
    front = rows.select(KEY).unique().lazy().join(said, on=KEY)
    behind = sure.lazy().select(*FRONT, *KEY).join(said, on=KEY).drop(KEY)
    passed = front.join(behind, left_on=[*KEY, "timeout"], right_on=[*FRONT, "timeout"], how="semi").select(KEY).collect()
    return rows.join(passed, on=KEY, how="anti", maintain_order="left")


class _Try(NamedTuple):
    """A try of a gateway: a request to a server, or an attempt to connect to it. All times are in ns.

    `front`: the connection and exchange of the gateway's client.
    `place`: the connection and exchange of the try; an attempt has no exchange.
    `start`: when the try began.
    `end`: for a request, when the response began or, if none arrived, when the connection closed. For an attempt, when an RST
    refused it or, if the server sent other packets, when the last packet came. None if none of this happened.
    `whole`: the response is complete. `head`: the header section of the response is complete.
    `over`: when the response ended; without a complete response, when the connection closed; for an attempt, as `end`.
    `sent`: for a request, when its last byte was sent.
    `last`: for a request, when the last byte of the response came; for an attempt, when an RST refused it; None if that never
    happened.
    `opened`, `connected`: when the first SYN of the request's connection was sent, and when the last SYN-ACK was received. None
    for an attempt, for a request that was not the first of its connection, and if the handshake was not captured.
    """

    front: tuple[int, int]
    place: tuple[int, int | None]
    server: str
    start: int
    end: int | None
    status: int | None
    whole: bool
    head: bool
    over: int | None
    sent: int | None
    last: int | None
    opened: int | None
    connected: int | None


class _FrontExchange(NamedTuple):
    """An exchange between a client and a gateway.

    `asked`, `began`: the end of the request and the start of the response (ns). `whole`: the response is complete.
    """

    client: str
    asked: int | None
    began: int | None
    status: int | None
    whole: bool


class _Tries:
    """The tries of gateways, restricted to clients' exchanges that involve a connection in `some`.

    A connection is involved if it carries the exchange or one of the tries for it. A try can be looked up by the exchange of the
    gateway's client, or by the try's own connection and exchange.
    """

    def __init__(
        self, tries: pl.DataFrame, some: pl.Series, closes: pl.LazyFrame, connections: pl.LazyFrame
    ) -> None:  # fmt: skip
        near = tries.filter(c("connection").is_in(some.implode()) | c("front_connection").is_in(some.implode()))
        near = tries.join(near.select(FRONT).unique(), on=FRONT, how="semi")
        ids = pl.concat([near["connection"], near["front_connection"]]).unique()
        ends = connections.select(
            *("connection", "client_host", "server", "server_packets", "refused_time", "end", "syn_time", "newest_answer_time"),
            *("server_unacknowledged", "history"),
        )
        at = closes.join(near.lazy().select(c("connection")).unique(), on="connection", how="semi").select(
            *KEY, "request_end", "response_start", "response_end", "response_status", "response_end_reason", "response_framing",
            "response_offset", "response_end_offset", "last_on_connection",
            pl.min_horizontal("client_close_time", "server_close_time").alias("closed"),
        )  # fmt: skip
        ends = ends.filter(c("connection").is_in(ids.implode()))
        behind = near.lazy().join(ends, on="connection", how="left").join(at, on=KEY, how="left").collect()
        front = closes.join(near.lazy().select(FRONT).unique(), left_on=KEY, right_on=FRONT, how="semi")
        fronts = front.join(ends, on="connection").select(
            *KEY, "client_host", "request_end", "response_start", "response_status", "response_end_reason"
        )
        self.fronts = {
            (connection, exchange): _FrontExchange(*front, whole=ended == "complete")
            for connection, exchange, *front, ended in fronts.collect().iter_rows()
        }
        self.tries: dict[tuple[int, int], list[_Try]] = {}
        for row in behind.sort(*FRONT, "started", *KEY).iter_rows(named=True):
            one = _try(row)
            self.tries.setdefault(one.front, []).append(one)
        self.tries = {place: _until_retried(made) for place, made in self.tries.items()}
        self.by_place = {one.place: one for made in self.tries.values() for one in made}

    def at(self, row: Mapping[str, Any]) -> _Try | None:
        """Return the try (request or attempt to connect) of a gateway to which the candidate `row` belongs; None if there is
        none.
        """
        return self.by_place.get((row["connection"], row["exchange"])) or self.by_place.get((row["connection"], None))

    def later(self, one: _Try) -> tuple[_Try, _FrontExchange] | None:
        """Return the try after `one` whose response the client got, and the client's exchange with the gateway.

        Return None if the client got no response, a 5xx response, or the response to the try `one`.
        """
        front = self.fronts.get(one.front)
        if front is None or front.status is None or not 200 <= front.status < 500:
            return None
        last = self.tries[one.front][-1]
        good = last is not one and last.start >= one.start and last.status == front.status
        return (last, front) if good else None


def _try(row: Mapping[str, Any]) -> _Try:
    attempt = row["exchange"] is None
    whole = row["response_end_reason"] == "complete" and row["response_start"] is not None
    connecting = row["refused_time"] or (row["end"] if row["server_packets"] else None)
    offsets = row["response_offset"], row["response_end_offset"]
    lost = whole and row["last_on_connection"] and never_arrived(*offsets, row["history"], row["server_unacknowledged"])
    end = connecting if attempt else (None if lost else row["response_start"]) or row["closed"]
    return _Try(
        (row["front_connection"], row["front_exchange"]), (row["connection"], row["exchange"]), str(row["server"]),
        row["started"], end, row["response_status"], whole, whole or row["response_framing"] not in (None, "none"),
        end if attempt else row["response_end"] if whole and not lost else row["closed"],
        None if attempt else row["request_end"],
        row["refused_time"] if attempt else row["response_end"],
        *((row["syn_time"], row["newest_answer_time"]) if row["exchange"] == 0 else (None, None)),
    )  # fmt: skip


def _until_retried(tries: list[_Try]) -> list[_Try]:
    """Return the tries for one exchange, but let a refused attempt last until the next try, because the gateway waited for the
    server.

    This is done only if the next try goes to the same server, or follows a pause that is as long as an earlier one. Otherwise the
    request may have waited in a queue.
    """
    made: list[_Try] = []
    pauses: list[int] = []
    for one, other in pairwise(tries):
        begun = other.start if other.opened is None else other.opened
        # `last` of an attempt is the time of the refusal
        pause = 0 if one.place[1] is not None or one.last is None else begun - one.last
        regular = any(abs(pause - earlier) * REGULAR <= pause for earlier in pauses)
        retried = pause > 0 and (one.server == other.server or regular)
        made.append(one._replace(end=begun, over=begun) if retried else one)
        pauses.append(pause)
    return made + tries[-1:]


_TEXT = {"severity": pl.String(), "addition": pl.String(), "delay": pl.Int64(), "end": pl.Int64()}


def _answered_by_retry(known: _Tries, module: RuleModule, rows: pl.DataFrame) -> pl.DataFrame:
    """Reduce the severity of a gateway's failed tries if the client got the response of a later try.

    If a server's response was truncated, but the gateway's own response looks complete, add a sentence about that.
    """
    changes: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(_values(rows, *KEY, "end", "severity", "kind")):
        one = known.at(row)
        if one is None:
            continue
        later = known.later(one)
        if later is not None and not (module.name == "truncated-response" and one.head):
            last, front = later
            took = _took(one, last)
            failed = known.tries[one.front][:-1]
            late = min(sum(_took(earlier, last) for earlier in failed), last.start - failed[0].start)
            severity = row.get("severity") or by_kind(module.rule.severity, row["kind"])
            retry: dict[str, Any] = {"server": last.server, "status": front.status, "late": late, "failed": len(failed)}
            changes[number] = {
                "severity": "warning" if severity == "error" else severity,
                "delay": took,
                "end": max(one.start + took, row["end"] or 0),
                "retry": retry,
                "addition": retry_sentence(**retry),
            }
        elif "truncated" in (module.name.removesuffix("-response"), row["kind"]) and _made_whole(one, known):
            changes[number] = {"made_whole": True, "addition": MADE_WHOLE}
    # rules without these facts get the sentence
    said = {"retry": RETRY, "made_whole": pl.Boolean()} if "retry" in module.fact_names else {"addition": pl.String()}
    return with_changes(rows, changes, {"severity": pl.String(), "delay": pl.Int64(), "end": pl.Int64(), **said})


def _made_whole(one: _Try, known: _Tries) -> bool:
    """Return whether the server cut off its response to the gateway, but the gateway's response to the client looks complete."""
    front = known.fronts.get(one.front)
    return front is not None and front.whole and front.status == one.status and not one.whole


def _took(one: _Try, last: _Try) -> int:
    """Return the time (ns) from the start of a failed try to its failure, or to the start of the last try if that was earlier."""
    return max(min(last.start, last.start if one.end is None else one.end) - one.start, 0)


def _given_up(known: _Tries, rows: pl.DataFrame) -> pl.DataFrame:
    """Change the text of client aborts if a gateway was involved in one of two ways.

    Either the client left while the gateway waited for a server, or the gateway itself, as the client of a server, gave up a try
    and sent the request to another server.
    """
    changes: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(_values(rows, *KEY, "start", "end", "sending")):
        tries = known.tries.get((row["connection"], row["exchange"]))
        if tries and not row.get("sending"):
            changes[number] = {"addition": _waited_for(tries[-1], row["end"])}
        one = known.at(row)
        later = None if one is None else known.later(one)
        if one is not None and later is not None:
            last, front = later
            after = duration_text(row["end"] - row["start"])
            changes[number] = {
                "severity": "warning", "side": "server", "delay": _took(one, last),
                "end": max(one.start + _took(one, last), row["end"]),
                "title": f"The gateway gave up after {after} and tried another server",
                "addition": "This client is a gateway, and its own client did not notice the failure: the gateway repeated "
                f"the request on {last.server} and answered {front.status}.",
            }  # fmt: skip
    return with_changes(rows, changes, {**_TEXT, "side": pl.String(), "title": pl.String()})


def _waited_for(last: _Try, left: int) -> str | None:
    """Return a sentence about the server for which a gateway was still waiting when its client left.

    If the gateway was not waiting, return None. `last`: the gateway's last try. `left`: the time (ns) at which the client left.
    """
    attempt = last.place[1] is None
    over = last.last if attempt else last.over  # after its last SYN, a gateway still waits for an answer
    if last.whole or (over is not None and over < left):
        return None
    waiting = f"The gateway was waiting for {last.server}, which"
    if attempt:
        return f"{waiting} had not answered its SYN in {duration_text(left - last.start)}."
    if last.last is None or last.last > left:
        if last.status is not None and last.end is not None and last.end <= left:
            return None  # the response had begun, and went on
        return f"{waiting} had not answered in {duration_text(left - last.start)}."
    return f"{waiting} had sent only part of its response, and then nothing for {duration_text(left - last.last)}."


def _counted_once(known: _Tries, paused: Collection[tuple[int, int]], rows: pl.DataFrame) -> pl.DataFrame:
    """Count time only once if a client waited for a gateway while the gateway waited for a server.

    Subtract the time of the gateway's tries from the client's wait. Candidates about a try get a sentence that also states how
    long the client waited. `paused`: the exchanges with a candidate about a pause within the response.
    """
    gone: list[int] = []
    changes: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(_values(rows, *KEY, "start", "end", "delay", "kind")):
        key = (row["connection"], row["exchange"])
        if key in known.tries:
            tries = known.tries[key]
            servers = ", ".join(dict.fromkeys(one.server for one in tries))
            behind = row["delay"] - _open(tries, row["start"], row["end"])
            own = row["delay"] - _open(tries, row["start"], row["end"], whole=True)
            paused_behind = any(one.place in paused for one in tries)
            if behind < IN_GATEWAY or (own < IN_GATEWAY and (paused_behind or row["kind"] == "mid-response")):
                gone.append(number)
            elif row["kind"] == "mid-response":
                continue
            elif own < IN_GATEWAY:
                still = _remaining_work(tries, row["start"])
                changes[number] = {
                    "delay": behind,
                    "addition": f"For {duration_text(behind - own)} of that time, the gateway {still}.",
                }
            else:
                changes[number] = {
                    "kind": "in-gateway", "delay": own, "wait": own,
                    "addition": f"The gateway also waited {duration_text(row['delay'] - own)} for {servers}; that time is not "
                                "counted.",
                }  # fmt: skip
        elif row["kind"] is None and (one := known.at(row)):
            front = known.fronts.get(one.front)
            if front is not None and front.asked is not None and front.began is not None:
                waited = front.began - front.asked
                if front.began < row["end"]:  # the gateway had retried, or responded itself
                    retried = f"which did not wait for that: its own client ({front.client}) had a response"
                    said = f"The request came from a gateway, {retried} {duration_text(waited)} after its request."
                    changes[number] = {"addition": said}
                    continue
                own = max(waited - _open(known.tries[one.front], front.asked, front.began), 0)
                took = f", including {duration_text(own)} in the gateway"
                changes[number] = {
                    "addition": f"The gateway's client ({front.client}) waited {duration_text(waited)} for its response{took}."
                }
    made = with_changes(rows, changes, {"kind": pl.String(), "delay": pl.Int64(), "wait": pl.Int64(), "addition": pl.String()})
    return made.filter(~pl.int_range(pl.len()).is_in(gone))


def _remaining_work(tries: Sequence[_Try], start: int) -> str:
    """Return what a gateway still did with its servers after they had begun to respond, in a wait that began at `start` (ns)."""
    sending = [one for one in tries if one.sent is not None and one.over is not None and one.sent > max(one.over, start)]
    servers = ", ".join(dict.fromkeys(one.server for one in sending or tries))
    if sending:
        return f"was still sending the request to {servers}, which had already responded"
    return f"waited for the rest of a response that {servers} had begun"


def _open(tries: Sequence[_Try], start: int, end: int, *, whole: bool = False) -> int:
    """Return the time (ns) between `start` and `end` during which at least one of the tries was open or its connection was being
    established.

    A try is open until its response begins. If `whole` is true, a try is open until its response has ended and its request has
    been sent: a gateway may wait for the complete response, and a server may respond before it has the complete request.
    """
    covered, until = 0, start
    for number, one in enumerate(tries):
        following = tries[number + 1].start if number + 1 < len(tries) else end
        ended = one.over if whole else one.end
        if whole and ended is not None and one.sent is not None:
            ended = max(ended, one.sent)
        for begun, over in ((one.opened, one.connected), (one.start, following if ended is None else ended)):
            if begun is not None and over is not None and min(over, end) > max(begun, until):
                covered += min(over, end) - max(begun, until)
                until = min(over, end)
    return covered
