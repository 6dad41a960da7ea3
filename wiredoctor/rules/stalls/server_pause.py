"""A server stood still: for a time it answered no request at all, and then many at once.

What it means
    All requests that were open at this server waited at the same time, and were answered together when it went on. The whole
    program, or its host, had stopped: a garbage collection, a lock that all requests need, a blocked event loop, a virtual
    machine that was paused, a CPU limit (throttling), or memory that was being swapped in.

Why it hurts
    Each request that arrives in such a pause is late, whatever it asks for. Averages hide it. Health checks may time out, and a
    balancer then sends all requests to the other servers.

How it is proved
    Two or more requests were open at the server for 0.5 s or longer, and in that time the server sent no payload on any
    connection. Then it answered on two or more connections within 50 ms, at least half of the requests that were open. These had
    waited mostly in that time. It usually answers requests with such paths in at most a quarter of the time. The clients did not
    have to retransmit anything on these connections, so their requests had arrived.

What it is not
    Long polls and feeds are answered together when the next event happens; their requests usually wait as long. A cache that
    fetches a page once for all who ask for it answers them together, too. So at least two of the answered requests must have
    different targets, or one of them a method other than GET and HEAD. If a server has too few workers, it answers one request
    after the other. A path that holds packets makes the clients retransmit. A server that waited for another one did not stand
    still itself, and neither did one whose host sent requests to others meanwhile.

What to do
    Compare the times with the garbage collector's log, with the metrics of CPU throttling (container limits), of disk and swap,
    and with scheduled jobs. In a program with an event loop, find the call that blocks it.

References
    The Tail at Scale (Dean and Barroso).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, silent_candidates
from wiredoctor.rules.shared.gateway_waits import waited_behind, waits_behind
from wiredoctor.rules.shared.long_polls import is_long_poll
from wiredoctor.rules.shared.siblings import comparable_path
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import SECOND, Array, of_connections
from wiredoctor.text.durations import duration_text
from wiredoctor.world.attempts import host_of
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="all requests are slow at the same moment",
    severity="warning",
    title="The server stood still {times}, for up to {longest}",
    message="{server} sent nothing for {longest} although {waiting:,} requests waited, and then answered {answered:,} of them "
    "within {within}.{again} In these pauses {late:,} requests waited {delay} in total. It usually answers such requests in "
    "{usual_time}.",
    remedy="Find out what stops the whole server at these times: garbage collection, a lock that all requests need, a call that "
    "blocks the event loop, CPU throttling by a container limit, swapping, or a virtual machine that is paused.",
    display_filter="frame.number in {{{frames}}}",
    references=(Reference("Dean and Barroso, The Tail at Scale", "https://research.google/pubs/the-tail-at-scale/"),),
    explained_by=(("nagle-delayed-ack", "endpoint"), ("delayed-ack-stall", "endpoint")),
    summary=True,
    any_order=True,
)

PAUSE = Threshold("500 ms", "the minimum time in which the server sends nothing although requests wait")
TOGETHER = Threshold("50 ms", "the maximum time in which the server then answers")
WAITING = Threshold(
    "2 requests", "the minimum number of requests that wait all this time, and of connections with answers after it"
)
USUALLY = Threshold("4 times", "the minimum ratio of the pause to the usual time until such a request is answered")
KNOWN = Threshold("3 responses", "the minimum number of other responses that show the usual time")
SHOWN = Threshold("3 pauses", "the maximum number of pauses shown as evidence; the message has their number")


def _waited() -> pl.Expr:
    return (c("response_start") - c("request_end")) >= PAUSE.value


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return _waited().sum() >= WAITING.value


FAR: Final = int(np.iinfo(np.int64).max)


class Facts(NamedTuple):
    """What is known of a server that stood still. Times are in ns.

    `pauses`: the number of pauses. `shown`: the longest of them, with the fields of Pause.
    """

    pauses: int
    longest: int
    shown: list[dict[str, Any]]


class Pause(NamedTuple):
    """A pause of a server: from when to when (ns), how many requests waited and were answered, how long they waited in total, the
    usual time until such an answer (ns), and the frames of the oldest request and of the first answer.
    """

    begin: int
    end: int
    waiting: int
    answered: int
    lost: int
    usual: int
    request_frame: int
    request_time: int
    answer_frame: int


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each server that stood still, and a silent one for each exchange that was slow because of that."""
    slow = exchanges.filter(c("has_request") & _waited()).select("endpoint", "connection", "response_start")
    slow = _answered_together(slow.collect(engine="streaming"))
    # the other exchanges of these servers show when they sent something, and how long they usually take
    known = connections.select("connection", "server", c("history").str.contains("T", literal=True).alias("repeats"))
    names = of_connections(known, slow).select("server").unique().collect(engine="streaming")["server"]
    theirs = known.filter(c("server").is_in(names.implode())).collect(engine="streaming")
    rows = of_connections(exchanges.filter("has_request"), theirs).filter(c("request_end").is_not_null())
    rows = rows.join(theirs.lazy(), on="connection")
    late = _late(rows, waits_behind(exchanges, tries, theirs))
    parts = {str(server): part for (server,), part in sorted(late.partition_by("server", as_dict=True).items())}
    times = _times(rows, late)
    found = {server: pauses for server, part in parts.items() if (pauses := _pauses(part, times[server]))}
    calls = _calls(exchanges, connections, found) if found else {}
    found = {server: [one for one in some if not _calls_meanwhile(one, calls.get(server))] for server, some in found.items()}
    silent = [silent_candidates(_held(parts[server], pauses)) for server, pauses in found.items() if pauses]
    told = _candidates([(server, pauses) for server, pauses in found.items() if pauses])
    return pl.concat([told, *silent], how="diagonal").lazy()


class Times(NamedTuple):
    """When a server got requests and began and ended its responses (ns; FAR if never), in the order of the responses.

    Only the requests and responses near late responses are there. `sent`: all times at which the server then sent something, and
    the last time in each other second.
    """

    asked: Array
    began: Array
    ended: Array
    frames: Array
    sent: Array


def _late(rows: pl.LazyFrame, behind: pl.LazyFrame) -> pl.DataFrame:
    """Return the requests that waited PAUSE or longer, in the order of their responses.

    `usual`: the median wait (ns) for responses of the server with the same path; `known`: their number.
    """
    # a hash of both, because a million names would take much memory
    path = (comparable_path().hash() ^ c("server").hash(1)).alias("path")
    wait = (c("response_start") - c("request_end")).alias("wait")
    late = (
        rows.filter(_waited())
        .join(behind, on=["connection", "exchange"], how="left")
        .select(
            *("connection", "exchange", "server", "request_end", "response_start", "request_last_frame", "response_frame"),
            *(path, wait),
            pl.when(c("request_method").is_in(["GET", "HEAD"])).then(c("request_target").hash()).alias("page"),
            (c("repeats") | c("upgraded") | is_long_poll() | waited_behind()).alias("other"),
        )
        .collect(engine="streaming")
    )
    alike = rows.select(path, wait).filter(c("path").is_in(late["path"].unique().implode()))
    usual = alike.group_by("path").agg(c("wait").median().alias("usual"), c("wait").count().alias("known"))
    late = late.join(usual.collect(engine="streaming"), on="path", how="left")
    return late.sort("response_start", "response_frame", "request_last_frame")


def _times(rows: pl.LazyFrame, late: pl.DataFrame) -> dict[str, Times]:
    """Return the times of each server."""
    asked, began, ended = (c(name) // SECOND for name in ("request_end", "response_start", "response_end"))
    until = (c("response_start") + TOGETHER.value) // SECOND
    seconds = late.select(pl.int_ranges(asked, until + 1).explode().unique()).to_series().implode()
    lasts = (c("response_end") - c("request_end") >= SECOND).fill_null(value=True)
    near = rows.filter(pl.any_horizontal(second.is_in(seconds) for second in (asked, began, ended)) | lasts)
    near = near.select("server", "request_end", "response_start", "response_end", "response_frame")
    last = [
        rows.group_by("server", (c(name) // SECOND).alias("second")).agg(c(name).max().alias("sent"))
        for name in ("response_start", "response_end")
    ]
    some, *sent = pl.collect_all([near, *last], engine="streaming")
    lasting = pl.concat(sent).drop_nulls("sent").select("server", "sent").partition_by("server", as_dict=True)
    ordered = some.sort("response_start", "response_frame", nulls_last=True)
    found: dict[str, Times] = {}
    for (server,), part in ordered.partition_by("server", as_dict=True).items():
        asked, began, ended, frames = (part[name].fill_null(FAR).to_numpy() for name in part.columns[1:])
        last_sent = lasting[server,]["sent"].to_numpy() if (server,) in lasting else began[:0]
        found[str(server)] = Times(asked, began, ended, frames, np.unique(np.concatenate([began, ended, last_sent])))
    return found


def _answered_together(slow: pl.DataFrame) -> pl.DataFrame:
    """Return a connection of each endpoint that answered slowly on two connections, one soon after the other.

    `slow`: the `endpoint`, `connection` and `response_start` of slow responses.
    """
    rows = slow.sort("endpoint", "response_start")
    same = (c("endpoint") == c("endpoint").shift(1)) & (c("connection") != c("connection").shift(1))
    together = same & (c("response_start") - c("response_start").shift(1) <= TOGETHER.value)
    return rows.filter(together).unique("endpoint").select("connection")


def _calls(exchanges: pl.LazyFrame, connections: pl.LazyFrame, servers: Collection[str]) -> dict[str, tuple[Array, Array]]:
    """Return when the hosts of these servers sent requests to other servers, and when these began to answer (both in ns).

    Servers with clients only on their own host are left out: there, the requests of all programs come from the same address.
    """
    known = connections.select("connection", "client_host", "server")
    own = known.filter(c("server").is_in([*servers])).filter(c("client_host") != host_of("server"))
    hosts = own.select(c("server").alias("own"), host_of("server").alias("client_host")).unique()
    theirs = known.join(hosts, on="client_host").filter(c("server") != c("own")).collect(engine="streaming")
    rows = of_connections(exchanges.filter("has_request"), theirs.select("connection").unique()).select(
        "connection", "request_start", "response_start"
    )
    rows = rows.filter(c("request_start").is_not_null() & c("response_start").is_not_null()).join(
        theirs.lazy().select("connection", "own"), on="connection"
    )
    parts = rows.collect(engine="streaming").partition_by("own", as_dict=True)
    return {str(own): (part["request_start"].to_numpy(), part["response_start"].to_numpy()) for (own,), part in parts.items()}


def _calls_meanwhile(pause: Pause, calls: tuple[Array, Array] | None) -> bool:
    """Return whether the server's host sent a request to another server in the middle of the pause, or an answer ended it."""
    if calls is None:
        return False
    asked, began = calls
    almost = pause.end - TOGETHER.value
    sends = (asked > pause.begin + TOGETHER.value) & (asked < almost)
    waits = (2 * asked <= pause.begin + pause.end) & (began >= almost) & (began <= pause.end)
    return bool((sends | waits).any())


def _pauses(late: pl.DataFrame, times: Times) -> list[Pause]:
    """Return the pauses of a server. `late`: its rows of `_late`."""
    slow = ~late["other"] & (late["usual"] * USUALLY.value <= late["wait"]) & (late["known"] > KNOWN.value)
    places = np.flatnonzero(slow.fill_null(value=False).to_numpy())
    began = late["response_start"].to_numpy()[places]
    found: list[Pause] = []
    at = 0
    while at < len(places):
        last = int(np.searchsorted(began, int(began[at]) + TOGETHER.value, side="right"))
        pause = _pause(late[places[at:last]], times)
        if pause is not None:
            found.append(pause)
        at = max(last, at + 1)
    return found


def _held(late: pl.DataFrame, pauses: list[Pause]) -> pl.DataFrame:
    """Return the exchanges of a server, of its rows of `_late`, that were slow because of its pauses."""
    asked, began = late["request_end"].to_numpy(), late["response_start"].to_numpy()
    held = np.zeros(late.height, bool)
    for one in pauses:
        held |= 2 * (np.minimum(began, one.end) - np.maximum(asked, one.begin)) >= began - asked
    return late.filter(pl.Series(held))


def _pause(answered: pl.DataFrame, times: Times) -> Pause | None:
    """Return the pause after which a server answered the requests in the rows `answered`; None if there was none."""
    # a request that blocked all others is answered before them
    first = int(answered["response_start"][0])
    before = int(np.searchsorted(times.sent, first - TOGETHER.value)) - 1
    end = int(times.sent[before + 1])
    waiting = times.began >= end
    busy = bool((~waiting & (times.ended >= end)).any())
    waits = np.sort(times.asked[waiting & (times.asked < end)])
    if busy or len(waits) < WAITING.value:
        return None
    begin = max(int(times.sent[before]) if before >= 0 else int(waits[0]), int(waits[WAITING.value - 1]))
    open_ = int((waiting & (times.asked <= end - PAUSE.value)).sum())
    # what had waited longer before the pause than in it takes long by itself
    in_pause = end - pl.max_horizontal("request_end", pl.lit(begin))
    answered = answered.filter(2 * in_pause >= c("wait"))
    if end - begin < PAUSE.value or open_ < WAITING.value or 2 * answered.height < len(waits):
        return None
    if answered["connection"].n_unique() < WAITING.value or _is_one_page(answered["page"]):
        return None
    oldest = answered.row(int(answered["request_end"].arg_min() or 0), named=True)
    lost = answered.select(pl.min_horizontal(end - c("request_end"), pl.lit(end - begin)).sum()).item()
    usual = int(np.median(answered["usual"].to_numpy()))
    frame = int(times.frames[np.searchsorted(times.began, end)])
    frames = oldest["request_last_frame"], oldest["request_end"], frame
    return Pause(begin, end, len(waits), answered.height, lost, usual, *frames)


def _is_one_page(pages: pl.Series) -> bool:
    """Return whether all requests asked for the same page, which a cache may have fetched once for all of them."""
    return pages.null_count() == 0 and pages.n_unique() == 1


def _candidates(found: list[tuple[str, list[Pause]]]) -> pl.DataFrame:
    """Return a candidate for each server with its pauses."""
    made = [_of_server(server, pauses) for server, pauses in found]
    fields = {
        **dict.fromkeys(("server",), pl.String()),
        **dict.fromkeys(
            ("frame", "start", "end", "lost", "pauses", "longest", "waiting", "answered", "late", "usual"), pl.Int64()
        ),
        "shown": pl.List(pl.Struct(dict.fromkeys(Pause._fields, pl.Int64()))),
    }
    rows = pl.DataFrame(made, fields, orient="row")
    return rows.select(
        *candidate("server", "medium", "frame", "start", "end", delay=c("lost"), of="server"),
        *(
            "server",
            "pauses",
            c("longest").cast(DURATION),
            "waiting",
            "answered",
            "late",
            c("usual").cast(DURATION).alias("usual_time"),
            "shown",
        ),
    )


def _of_server(server: str, pauses: list[Pause]) -> tuple[Any, ...]:
    longest = max(pauses, key=lambda one: one.end - one.begin)
    shown = sorted(sorted(pauses, key=lambda one: one.begin - one.end)[: SHOWN.value])
    return (
        *(server, pauses[0].answer_frame, pauses[0].begin, pauses[-1].end, sum(one.lost for one in pauses), len(pauses)),
        *(longest.end - longest.begin, longest.waiting, longest.answered, sum(one.answered for one in pauses), longest.usual),
        [one._asdict() for one in shown],
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the number of pauses, and the packets before and after the longest ones."""
    evidence = [
        packet
        for one in x.shown
        for packet in (
            (one["request_frame"], one["request_time"], "a request"),
            (
                one["answer_frame"],
                one["end"],
                f"the first response, after {duration_text(one['end'] - one['begin'])} without one",
            ),
        )
    ]
    return {
        "times": "once" if x.pauses == 1 else f"{x.pauses:,} times",
        "within": duration_text(TOGETHER.value),
        "again": "" if x.pauses == 1 else f" It stood still {x.pauses:,} times.",
        "evidence": packets(*evidence),
    }
