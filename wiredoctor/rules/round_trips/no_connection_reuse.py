"""The client opens a new connection for every request, although it could reuse the previous one.

What it means
    The exchanges follow one another, each on its own connection. The server would have kept the connection open. The
    client closed it, or left it idle, and opened another.

    Kind asked: the requests themselves say Connection: close, so the client itself requested the close. Kind cheap: the
    handshakes took a negligible part of the time (a loop of curl, a health check).

Why it hurts
    Each request waits for a handshake (a round trip; with TLS two or three) and begins with the slow start of a new
    connection. Under load the client may run out of ports and sockets.

How it is proved
    There are three or more exchanges of a client (host and User-Agent) with a server. From the SYN until the client has the last
    byte of the response, no two of them overlap. Each begins within 5 s of the end of the previous one. Each is the only exchange
    on its connection. Neither the request nor the response announces a close (in the kind asked, the request does). When the next
    SYN came, the server had not closed the connection. Kind cheap: the handshakes took less than 5 % of the exchanges' time. Or
    they took less than 1 % of the time from the first exchange to the last, and at most nine exchanges began within any second.

    No packet shows which process opened a connection. Processes that run one after the other, and make one request each, look
    like a program that does not reuse connections. But a process needs time to start, and its end closes its connection. So if
    the client closed three quarters of the connections before it opened the next one, and in at least half of the cases 50 ms or
    more passed between an exchange and the next connection, the confidence is medium. With fewer than ten such exchanges, the
    severity is note. A client may be a program that is run as a command (curl, Wget, dnf and the like, by User-Agent). If such a
    client closed three quarters of its connections before it opened the next one, the confidence is medium and the severity is
    note, whatever the number of exchanges: such a program reuses connections within a run. A client that forwards the requests of
    its own clients is a gateway, whatever User-Agent it passes on; with fewer than ten exchanges, the severity is note.

    A pool may close connections that it does not need for some time. So if the client closed all of them after equally long idle
    times (within 20 ms, 1 s or more), each 50 ms or more before it opened the next one, the finding names this limit.

What it is not
    Browsers and pools open connections side by side. If the server closes after each response, keep-alive-disabled or
    premature-close reports it. HTTP/1.0 without keep-alive cannot reuse connections. If more than 5 s pass between two requests,
    the program that had the connection may have ended. A client may reuse connections in most cases, and open some for requests
    that must not be repeated. A pool may have opened several connections and not come back to them yet. This is assumed if they
    are still open and have been idle for less than three times the longest pause between the pool's requests. A client may also
    open a new connection because it found that the server had closed the previous one. Nothing is reported if responses of the
    server to this client have a head or a chunk size line that some clients refuse (malformed-head, invalid-chunk,
    conflicting-framing): such a client closes the connection.

What to do
    Have the client use a pool (a session, an agent, one HttpClient for all requests), and have it read responses to their end.
    Kind asked: also remove Connection: close from the requests. Kind cheap: nothing has to change.

References
    RFC 9112 section 9.3, requests' Session, .NET's guidelines for HttpClient, nginx's upstream keepalive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import CANDIDATE, grade, grouped
from wiredoctor.rules.shared.refusals import REFUSALS
from wiredoctor.rules.shared.words import Packet, packets
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import (
    RECEIVED,
    SELF_FRAMED,
    SEVERAL,
    START,
    is_complete,
    round_trip,
    server_closed_first,
    time_to_receive,
)
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.products import default
from wiredoctor.world.reading_pace import COMMANDS

c = pl.col

_EACH = "{client}{program} sent {exchanges:,} requests to {server} one after the other, each on a new connection"
_COST = (
    " The {wasted:,} handshakes that reuse would have saved took {delay} in total; each new connection also begins with slow "
    "start."
)

_PROCESSES = (
    "Several processes that each make one request (commands in a shell, scheduled jobs) would look the same: there was time to "
    "start a process before each connection."
)

_COMMANDS = (
    "The client is a program that people and scripts run as a command: each run is a process that needs its own connection."
)

_POOL = "The client closed each connection after {} without a request: this is probably the limit of its pool."

_UNDICI = "the keepAliveTimeout of undici's Agent"
_UNDICI_LIMIT = default("Node's fetch", _UNDICI)
_LONGER = (
    "raise the idle timeout of its pool above the time between its requests, but keep it below that of the server (Node's fetch: "
    f"{_UNDICI}, {_UNDICI_LIMIT} by default)."
)

_GATEWAY = "The client is a gateway, which forwards the requests of its own clients."

_REUSE = (
    "one session, agent or client object for all requests instead of one for each, with a large enough pool. Have it read every "
    "response to its end before it continues."
)

_KEEP_POOL = (
    "a gateway needs a pool for the servers behind it. nginx: keepalive in the upstream block, proxy_http_version 1.1 and "
    'proxy_set_header Connection "" (the defaults in releases of 2026); haproxy: http-reuse; httpd: no disablereuse. '
    "A TCP relay cannot have one: there, have the clients of the relay reuse their connections."
)

RULE = Rule(
    symptom="a handshake before every request; a client that runs out of ports",
    severity={None: "warning", "asked": "note", "cheap": "note"},
    title={
        None: "The client opens a new connection for each of {exchanges:,} requests",
        "asked": "The client closes the connection after each request: {exchanges:,} requests say Connection: close",
        "cheap": "The client opens a new connection for each of {exchanges:,} requests, at little cost here",
    },
    message={
        None: _EACH
        + ", although request and response had left the previous connection open. The client closed it, or left it idle."
        + _COST,
        "asked": _EACH + ": its requests say Connection: close." + _COST,
        "cheap": _EACH + ", although request and response had left the previous connection open. {wasted:,} handshakes took "
        "{delay}, a negligible part of the time.",
    },
    remedy={
        None: "Have the client reuse its connections: {how}",
        "asked": "Have the client leave Connection: close out of its requests, and keep a pool. If the client is a reverse "
        'proxy: nginx closes upstream connections unless it has proxy_http_version 1.1, proxy_set_header Connection "" and a '
        "keepalive in the upstream block (the defaults in releases of 2026).",
        "cheap": "Nothing has to change here. Where the server is further away, or uses TLS, have the client use a pool.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
        Reference("requests, Session objects", "https://requests.readthedocs.io/en/latest/user/advanced/#session-objects"),
        Reference(
            "Microsoft, guidelines for using HttpClient",
            "https://learn.microsoft.com/en-us/dotnet/fundamentals/networking/http/httpclient-guidelines",
        ),
        Reference("nginx, upstream keepalive", "https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive"),
    ),
    advice=(
        Advice(
            "client",
            "python-requests",
            "Python's requests: use one requests.Session; requests.get() makes a Session for each call.",
        ),
        Advice(
            "client",
            "Python-urllib",
            "Python's urllib.request: it cannot reuse connections, but http.client, urllib3, requests and httpx can.",
        ),
        Advice("client", "python-httpx", "httpx: use one httpx.Client; httpx.get() makes a Client for each call."),
        Advice("client", "aiohttp", "aiohttp: one ClientSession for all requests."),
        Advice("client", "curl", "curl: several URLs in one command; libcurl: one handle for all transfers."),
        Advice("client", "^Go-http-client", "Go: read the body to its end and close it, and use one http.Client."),
        Advice("client", "node|axios|undici", "Node before release 19: an http.Agent with keepAlive: true."),
        Advice("client", "^Java/", "Java's HttpURLConnection: read the stream to its end, the error stream as well."),
        Advice("client", "Apache-HttpClient", "Apache HttpClient: one CloseableHttpClient; consume every entity."),
        Advice("client", "okhttp", "OkHttp: share one OkHttpClient, and close every response body."),
        Advice("client", "ApacheBench", "ab: use the option -k."),
        Advice(
            "client",
            r"^$|\.NET|MS Web Services|WinHttp",
            "If the client is .NET: one HttpClient for all requests (or IHttpClientFactory), and KeepAlive = true.",
        ),
    ),
    explained_by=(("undecodable-body", "endpoint"), *REFUSALS),
    summary=True,
    any_order=True,
    absence=True,
)

ENOUGH = Threshold(
    "3 exchanges",
    "the minimum number of exchanges, each on its own connection; if there are only two, each may come from a different program",
)
FOLLOWS = Threshold(
    "5 s",
    "the next exchange must begin within this time; a later request may come from another program: a health check, a "
    "shell loop, or a user",
)
IMMEDIATE = Threshold(
    "1 s",
    "if the server closes this soon after the response, the client could not reuse the connection, and premature-close "
    "reports it",
)
SHARE = Threshold("5 %", "if handshakes take a smaller share of the exchanges' time, users do not notice them")
SPAN_SHARE = Threshold(
    "1 %",
    "if handshakes take a smaller share of the time from the first exchange to the last, the program did something else "
    "most of the time",
)
DENSE = Threshold(
    "10 exchanges", "if this many exchanges begin within a second, a pool is worthwhile, and SPAN_SHARE does not apply"
)
UNUSED = Threshold(
    "3 times",
    "an open connection counts as unused if it was idle for this many times the longest pause between two requests; "
    "a pool would have used it by then",
)
ABANDONED = Threshold(
    "75 %",
    "the minimum share of the open connections that are unused; in a pool that grows, fewer are unused",
)
LOOKED = Threshold(
    "50 ms",
    "a client that checks its connection and finds it closed by the server sends its FIN and the next SYN within "
    "this time, plus a round trip",
)
CLOSED = Threshold(
    "75 %",
    "if each connection may be from another process: the minimum share of connections that the client had closed before it "
    "opened the next one; the others may be from processes that ran side by side",
)
SAME = Threshold(
    "20 ms", "the maximum difference of the idle times before a client's closes if the timeout of its pool closed the connections"
)
SHOWN = Threshold("3 connections", "the maximum number of connections shown as evidence; the message has the totals")


_KINDS = pl.Enum(["kept", "asked"])


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    alone = pl.col("last_on_connection") & (pl.col("exchange") == 0) & (pl.col("persistent") | pl.col("request_connection_close"))
    return alone.sum() >= ENOUGH.value


class Facts(NamedTuple):
    """What is known of a client program that does not reuse its connections.

    `behind`: a gateway opened the connections. `separate`: each connection may be from another process. `command`: the client is
    a program that is run as a command. `limit`: the idle time (ns) after which its pool closes connections. `program_name`: from
    the User-Agent, if the host runs several programs. `shown`: the first connections, each with the columns _SHOWN.
    """

    kind: str | None
    behind: bool
    separate: bool
    command: bool
    limit: int | None
    program_name: str | None
    shown: Sequence[Mapping[str, Any]]


def find(closes: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each client program, server and kind with enough successive connections that carry one exchange each."""
    return grouped(_used(closes, connections, tries), _groups, _SCHEMA)


def _used(closes: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection, with the times (ns) at which its use began (`opened`) and ended (`over`).

    `behind`: whether a gateway opened the connection to forward a request.
    `received`: the earliest time (ns) at which a SYN that the client sent after the response can pass the capture point.
    `trip`: the usual time (ns) from the response to such a SYN at the capture point.

    `kind` is null unless the connection was used for only one exchange: "asked" if the request said Connection: close; "kept" if
    the server kept the connection open.
    """
    single = c("has_request") & is_complete() & ~c("upgraded") & c("handshake") & (c("exchange") == 0)
    closed = pl.when(server_closed_first()).then("server_close_time")
    soon = (closed - c("response_end") <= IMMEDIATE.value).fill_null(False)
    itself = c("server_close_origin") != "between"
    kept = c("persistent") & c("response_framing").is_in(SELF_FRAMED) & ~soon & itself
    asked = c("request_connection_close") & (c("response_version") == "HTTP/1.1")
    # a gateway forwards the User-Agent of its clients; nginx sends HTTP/1.0 and Connection: close on its own
    forwarded = c("request_forwarded") | (c("request_connection_close") & (c("request_version") == "HTTP/1.0"))
    last = closes.filter(c("last_on_connection")).select(
        "connection",
        "exchange",
        pl.when(single & kept).then(pl.lit("kept", _KINDS)).when(single & asked).then(pl.lit("asked", _KINDS)).alias("kind"),
        pl.min_horizontal(c("response_keep_alive_timeout").cast(pl.Int64) * SECOND, pl.lit(FOLLOWS.value)).alias("keeps"),
        closed.alias("closed"),
        c("request_frame", "request_start", "response_last_frame", "response_end", "client_close_frame", "client_close_time"),
        c("gap_before").alias("doubtful"),
        pl.when(~forwarded).then(c("request_user_agent").cast(pl.Categorical)).alias("agent"),
        "final_at",
    )
    rtt = round_trip()
    behind = tries.select("connection", pl.lit(value=True).alias("behind")).unique()
    known = connections.select(
        *("connection", "exchanges", "end"),
        # estimates when the client closed: the estimate is too late only if the second FIN came long after the first
        pl.when(c("closed_by") != "").then(c("end") - rtt).alias("ended"),
        c("client_host", "server").cast(pl.Categorical),
        c("first_frame").alias("frame"),
        c("start").alias("opened"),
        rtt.alias("rtt"),
        time_to_receive(100).alias("trip"),
        time_to_receive(RECEIVED.value).alias("to_client"),
    )
    both = last.join(known, on="connection").join(behind, on="connection", how="left")
    return both.select(
        *("connection", "exchange", "frame", "opened", "keeps", "closed", "rtt", "trip", "client_host", "server", "doubtful"),
        *("exchanges", "final_at"),
        c("behind").fill_null(value=False),
        pl.when(c("behind").is_null()).then("agent").alias("agent"),
        pl.coalesce("client_close_time", "ended").alias("left"),
        pl.when(c("exchanges") == 1).then("kind").alias("kind"),
        pl.coalesce("response_end", "end").alias("over"),
        (pl.coalesce("response_end", "end") + c("to_client")).alias("received"),
        c("request_frame", "request_start", "response_last_frame", "client_close_frame", "client_close_time"),
    )


def _groups(rows: pl.DataFrame) -> pl.DataFrame:
    runs = _runs(rows)
    counted = runs.select(
        "program",
        "follows",
        "pause",
        "ended",
        "rest",
        *(rows[name].gather(runs["row"]) for name in ("kind", "frame", "opened", "over", "rtt", "doubtful", "behind")),
    )
    pause = c("pause").filter("follows").quantile(0.5, "higher")
    groups = counted.group_by("program", "kind").agg(
        pl.len().cast(pl.Int64).alias("exchanges"),
        c("rtt").filter("follows").sum().alias("delay"),
        c("follows").sum().cast(pl.Int64).alias("wasted"),
        c("frame").min().alias("first"),
        c("opened").min().alias("start"),
        c("over").max().alias("end"),
        c("doubtful", "behind").any(),
        (pause >= START.value).fill_null(value=False).alias("apart"),
        (100 * c("ended").filter("follows").mean() >= CLOSED.value).fill_null(value=True).alias("closes"),
        _cheap().alias("cheap"),
        _pool_limit().alias("limit"),
    )
    some = runs.filter(counted.select(c("frame").rank("ordinal").over("program", "kind") <= SHOWN.value).to_series())
    shown = (
        rows[some["row"]]
        .with_columns(some["program"])
        .group_by("program", "kind")
        .agg(c("client_host", "server", "agent").first(), pl.struct(_SHOWN).sort_by("frame").alias("shown"))
    )
    return _candidate_columns(groups.join(shown, on=["program", "kind"])).sort("frame")


def _pool_limit() -> pl.Expr:
    """Return the idle time (ns) after which the client closed each connection some time before it needed another; else null."""
    rest = c("rest").filter("follows")
    equal = rest.max() - rest.min() <= SAME.value
    return pl.when((rest.null_count() == 0) & (rest.len() > 1) & (rest.min() >= IMMEDIATE.value) & equal).then(rest.median())


def _cheap() -> pl.Expr:
    """Return whether the handshakes of the successive connections took only a negligible part of the time."""
    cost = 100 * c("rtt").filter("follows").sum()
    opened = c("opened").sort()
    dense = (opened.shift(1 - DENSE.value) - opened < SECOND).any()
    span = c("over").max() - c("opened").min()
    return (cost < SHARE.value * (c("over") - c("opened")).sum()) | ((cost < SPAN_SHARE.value * span) & ~dense)


def _runs(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the connections that belong to runs of ENOUGH or more successive connections with one exchange each.

    `row`: the connection's index in `rows`.
    `follows`: true if the connection is not the first of its run.
    `ended`: true if the client had closed the previous connection.
    `pause`: the time (ns) since the previous connection, in which another process may have started; 0 if the client had not
    closed the previous one.
    `program`: a hash of the client host, User-Agent and server.
    Only the needed columns are sorted: sorting all of them would take three times the memory.
    """
    order = rows.select(pl.arg_sort_by("opened", "frame", "exchange"))["opened"]
    order = order.filter(rows["connection"].gather(order).is_last_distinct())
    pair = c("client_host").to_physical().cast(pl.UInt64) * (1 << 32) + c("server").to_physical()
    program = (pair.hash() ^ c("agent").to_physical().hash()).alias("program")
    order = order.gather(rows.select(program)[order].select(pl.arg_sort_by("program", maintain_order=True))["program"])
    all_received = c("received").cum_max().over("program").shift(1)
    times = rows.select(program, "opened", "received")[order]
    free = times.select(free=((c("opened") >= all_received) & (c("program") == c("program").shift(1))).fill_null(value=False))
    following = free["free"].rle().struct.unnest().filter("value").select(c("len").max().fill_null(0)).item()
    if following + 1 < ENOUGH.value:  # common, because a busy client uses connections side by side
        return _NO_RUNS
    lean = rows.select(
        pair.hash().alias("pair"),
        program,
        *("kind", "opened", "over", "trip", "keeps", "closed", "exchanges", "final_at", "left", "rtt"),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
    )[order].with_columns(free)
    counts = c("kind") == "asked"
    if (lean["kind"] == "kept").any():
        counts |= (c("kind") == "kept") & ~_checks_connections(lean) & ~_used_again() & ~_still_open()
    kind = pl.when(counts).then(c("kind") == "asked").alias("kind")
    lean = lean.with_columns(kind)
    before = {name: c(name).shift(1) for name in ("kind", "over", "keeps", "closed", "left")}
    usable = before["closed"].is_null() | (before["closed"] > c("opened")) | c("kind")
    soon = c("opened") - before["over"] <= before["keeps"]
    follows = c("free") & (c("kind") == before["kind"]) & usable & soon
    # a process that ends closes its connection; the response and the SYN take a while between the capture point and the client
    ended = (before["left"] <= c("opened")).fill_null(value=False)
    pause = pl.when(ended).then(c("opened") - before["over"] - c("trip")).otherwise(0).alias("pause")
    unneeded = c("opened") - before["left"] >= START.value
    rest = pl.when(unneeded).then(before["left"] - before["over"]).alias("rest")
    runs = lean.select(
        "row", "program", "kind", pause, rest, ended.alias("ended"), follows.fill_null(value=False).alias("follows")
    )
    long = pl.len().over((~c("follows")).cum_sum()) >= ENOUGH.value
    return runs.filter(long & c("kind").is_not_null()).drop("kind")


_NO_RUNS = pl.DataFrame(
    schema={
        "row": pl.UInt32(),
        "program": pl.UInt64(),
        "pause": pl.Int64(),
        "rest": pl.Int64(),
        **dict.fromkeys(("ended", "follows"), pl.Boolean()),
    }
)


def _checks_connections(lean: pl.DataFrame) -> pl.Series:
    """Return for each connection whether the server closed it first and its client usually checks connections before use.

    A client that checks a connection and finds it closed by the server closes it, too, and opens another one at once. The client
    must have done so for at least half of the connections that the server closed first.
    """
    given_up = lean.select("pair", "closed", "left", "rtt").with_row_index("at").filter(c("closed").is_not_null())
    opened = lean.select("pair", c("opened").alias("next")).sort("next")
    following = given_up.filter(c("left").is_not_null()).sort("left").join_asof(
        opened, left_on="left", right_on="next", by="pair", strategy="forward", check_sortedness=False
    )  # fmt: skip
    soon = following.filter(c("next") - c("left") <= LOOKED.value + c("rtt"))["at"]
    looks = given_up.filter((2 * c("at").is_in(soon.implode()).sum() >= pl.len()).over("pair"))["at"]
    return lean.with_row_index("at")["at"].is_in(looks.implode())


def _used_again() -> pl.Expr:
    """Return whether the program usually reuses connections.

    Such a program probably has a pool, so its connections with only one exchange are not reported.
    """
    alone = (pl.col("kind") == "kept").sum().over("program")
    return (pl.col("exchanges") - 1).clip(0).sum().over("program") > alone


def _still_open() -> pl.Expr:
    """Return whether a connection is open at the end of the capture, so that the program may still reuse it.

    This is false if the connection and most other open connections of the program have been idle for a long time.
    """
    is_open = c("closed").is_null() & c("left").is_null() & (c("kind") == "kept")
    longest = c("opened").diff().max().over("program")
    unused = is_open & (c("final_at") - c("over") >= UNUSED.value * longest)
    most = 100 * unused.sum().over("program") >= ABANDONED.value * is_open.sum().over("program")
    return (is_open & ~(unused & most)).fill_null(value=False)


_SHOWN = (
    *("connection", "frame", "opened", "request_frame", "request_start", "response_last_frame", "over", "client_close_frame"),
    "client_close_time",
)

_SCHEMA = CANDIDATE | {
    **dict.fromkeys(("severity", "client", "server", "user_agent", "program_name"), pl.String()),
    "limit": DURATION,
    **dict.fromkeys(("behind", "separate", "command"), pl.Boolean()),
    **{"exchanges": pl.Int64(), "wasted": pl.Int64(), "shown": pl.List(pl.Struct(dict.fromkeys(_SHOWN, pl.Int64())))},
}


def _candidate_columns(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return a candidate for each row of `pairs`."""
    command = c("closes") & c("agent").cast(pl.String).str.contains(COMMANDS).fill_null(value=False)
    separate = (c("apart") | command) & (c("kind") == "kept") & ~c("cheap") & ~c("behind")
    few = (c("exchanges") < SEVERAL.value) & (c("kind") == "kept") & ~c("cheap")
    program = c("agent").cast(pl.String).str.extract(r"^([^\s/]+)")
    return pairs.select(
        pl.lit(None, pl.Int64).alias("connection"),
        pl.lit(None, pl.Int32).alias("exchange"),
        pl.when(c("kind") == "asked").then(pl.lit("asked")).when("cheap").then(pl.lit("cheap")).alias("kind"),
        pl.lit("client").alias("side"),
        grade("doubtful", separate).alias("confidence"),
        *(c("first").alias("frame"), "start", "end", "delay"),
        pl.when((separate & command) | (few & (separate | c("behind")))).then(pl.lit("note")).alias("severity"),
        c("client_host").cast(pl.String).alias("client"),
        c("server").cast(pl.String),
        c("agent").cast(pl.String).alias("user_agent"),
        # the programs of a host are distinguished only if there are several
        pl.when(pl.len().over("client_host", "server") > 1).then(program).alias("program_name"),
        c("limit").cast(pl.Int64).cast(DURATION),
        *("behind", separate.alias("separate"), command.alias("command"), "exchanges", "wasted", "shown"),
    )


def _addition(x: Facts) -> str:
    if x.limit:
        return _POOL.format(duration_text(x.limit))
    return _COMMANDS if x.command else _PROCESSES


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the client, and about the first of its connections."""
    return {
        "addition": _GATEWAY if x.behind else _addition(x) if x.separate or x.limit else None,
        "how": _KEEP_POOL if x.behind else _LONGER if x.limit else _REUSE,
        "program": f" ({x.program_name})" if x.program_name else "",
        "evidence": [packet for one in x.shown for packet in _proof(**one, asked=x.kind == "asked")],
    }


def _proof(
    *, connection: int, frame: int, opened: int, request_frame: int, request_start: int, response_last_frame: int, over: int,
    client_close_frame: int | None, client_close_time: int | None, asked: bool,
) -> list[Packet]:  # fmt: skip
    opens = (frame, opened, f"connection {connection} is opened")
    if asked:
        return packets(opens, (request_frame, request_start, f"connection {connection}: the request says Connection: close"))
    return packets(
        opens,
        (response_last_frame, over, f"connection {connection}: the response ends, and leaves it open"),
        (client_close_frame, client_close_time, f"connection {connection}: the client closes it"),
    )
