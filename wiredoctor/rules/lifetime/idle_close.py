"""The server closes idle connections.

What it means
    A server keeps a connection open for the next request, but not forever. The finding shows the observed idle timeout and the
    announced one. If the server announces none, the finding names the software whose default matches.

    Kind inverted: a client keeps idle connections for longer than the server's timeout. The client's pool will hand out a
    connection that the server has closed or is about to close. Kind stop: no timeout closed the connections. A process of the
    server ended (a reload, a restart, a deployment, a recycled worker), and all its idle connections ended with it at one moment.

Why it hurts
    The close itself does no harm: every server has such a timeout, and every process ends. But a client, proxy or balancer
    that keeps idle connections longer than the server does may lose a request now and then (keep-alive-race).

How it is proved
    The server sent the first FIN or RST more than a second after a complete response that had left the connection open, and
    no request came in between. If the server announced 1 s, a close after one second counts, too.

    Kind inverted: a client used another connection to this server again after that connection had been idle for longer than the
    timeout. The timeout was observed at two moments, or matches the announcement or a common default. A client that does not
    react to the server's FIN is not evidence: many pools check a connection only before they use it.

    Kind stop: within 50 ms the server closed connections without a request in progress, and one of these facts shows a stop:

    1. There are three or more such connections, and the longest idle time is more than twice the shortest.

    2. There are two or more, and a SYN was refused within a second.

    3. At the same moment the server cut off a response or a tunnel, or left a request unanswered, and no idle timeout
    explains it.

    4. The server refused the next SYN, whenever it came.

    5. There are three or more, no older connection was used again, and a later connection stayed idle for as long as these and
    was not closed.

    6. There are two or more, their responses had ended at different times, the server closed no other connections, and no
    older connection was used again. In addition, one of these is true: they were idle for less than a second; they were closed
    more than a second before the announced timeout; another connection was idle for more than twice as long and stayed open.

    If the server refuses every SYN from then on, closes up to 10 s later also belong to the stop: the process then answers
    its last requests and closes their connections.

    It is not a stop if an announced or otherwise known idle timeout had expired on all these connections. A stop is not
    reported as premature-close or as a broken promise, and no timeout is learned from it.

What it is not
    premature-close reports a close right after a response. idle-timeout-broken-promise reports a close before the announced
    time (Keep-Alive: timeout). A close by the client does not count, nor does a reset after two or more keep-alive probes that
    the client did not answer: the client, or the path to it, was gone.

What to do
    Nothing has to change if all clients close idle connections sooner than the server. Kind inverted: shorten the idle timeout of
    that client's pool, or lengthen the server's. Kind stop: if requests were lost, start the new process first, and have the old
    one finish its requests.

References
    RFC 9112 sections 9.3 and 9.5, AWS on the idle timeout of application load balancers.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold, cached_for_thresholds
from wiredoctor.rules.shared.evidence import (
    EVIDENCE,
    candidate,
    close_origin,
    fin_or_rst,
    grade,
    has_doubtful_close,
    packet,
    with_doubt,
)
from wiredoctor.rules.shared.lost_requests import candidates
from wiredoctor.tables import NOTHING, SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import (
    IDLE,
    POOLS,
    SELF_FRAMED,
    UPSTREAM_KEPT,
    closed_as_announced,
    is_complete,
    may_have_closed_first,
    server_closed_first,
)
from wiredoctor.world.idle_defaults import is_default
from wiredoctor.world.idle_times import LATE as TIMERS_LATE
from wiredoctor.world.idle_times import End, IdleTimes, Stop
from wiredoctor.world.numbers import DURATION, duration
from wiredoctor.world.products import default

c = pl.col

_OBSERVED = (
    "{server} closed {closes:,} idle {connection_word}, {limit} after the last response"
    "{from_}{shortest}{to}{longest}{closing}{announced}{usual}. "
)

_SPREAD = {"from_": " (median; shortest ", "to": ", longest ", "closing": ")"}
"""The words of the message around the shortest and the longest idle time, used if there was more than one close."""

_ALB = default("AWS application load balancers", "idle_timeout.timeout_seconds")

RULE = Rule(
    symptom="nothing yet; requests that will fail (kind *inverted*)",
    severity={None: "note", "inverted": "warning", "stop": "note"},
    title={
        None: "The server closes idle connections after {limit}",
        "inverted": "The server closes idle connections after {limit}; a client keeps them longer",
        "stop": "A server process ended, and {closes:,} idle {connection_word} with it",
    },
    message={
        None: _OBSERVED + "{nothing_lost} client that keeps idle connections longer may lose a request.",
        "inverted": _OBSERVED + "{inverted_clients} longer than that: {how} A request that the client sends as the server closes "
        "is lost.",
        "stop": "A process of {server} ended: {closes:,} idle {connection_word} {within}{ended_how}.{met_by} The cause was a "
        "stop, a reload, a restart, a deployment or a recycled worker, and not an idle timeout.",
    },
    remedy={
        None: "Nothing has to change if every client, proxy and balancer closes idle connections after less than {least}.",
        "inverted": "Make the idle timeout of the client's pool shorter than {least}, or the server's longer than the "
        "client's: nginx keepalive_timeout, Apache httpd KeepAliveTimeout, Node server.keepAliveTimeout, gunicorn --keep-alive, "
        "uvicorn --timeout-keep-alive, IIS connectionTimeout. If the client is a balancer or a proxy (AWS application load "
        f"balancer: {_ALB}, nginx upstream keepalive_timeout: {UPSTREAM_KEPT}), the server behind it needs the longer timeout.",
        "stop": "Nothing has to change if no request was lost. Otherwise have the new process accept connections first, have the "
        "old process answer its remaining requests with Connection: close before it closes (nginx -s quit, apachectl "
        "graceful-stop, Node server.close, Go Server.Shutdown, haproxy's soft stop, gunicorn's SIGTERM), and have clients repeat "
        "requests that are safe to repeat.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
        Reference("RFC 9112 section 9.5, failures and timeouts", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.5"),
        Reference(
            "AWS, application load balancer attributes: idle timeout",
            "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
        ),
    ),
    explained_by=(("keep-alive-race", "endpoint"), ("idle-timeout-broken-promise", "endpoint")),
    advice=POOLS,
    summary=True,
    absence=True,
    unexplained=("stop",),
)

SPREAD = Threshold(
    "20 %",
    "if idle times differ by more than this, no timeout closed the connections: the server was stopped, or closed "
    "them to free resources",
)
APART = Threshold(
    "100 ms",
    "if the first and the last close are further apart than this, a timer expired more than once; otherwise, the closes may "
    "have a common cause",
)
SHOWN = Threshold("3 connections", "the maximum number of connections shown as evidence; the message has the totals")


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    closed = c("last_on_connection") & c("persistent") & c("server_close_frame").is_not_null()
    return closed.any() & (may_have_closed_first() | (_rested() > IDLE.value))


def find(closes: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each idle connection that the server closed, and for each request on a connection that had been idle.

    `closed_after`: the idle time before the close (ns; null if it is too short for an idle timeout). `used_after`: the idle time
    before the request (ns).
    """
    possible, wanted, facts = _wanted_rows()
    known = connections.select("connection", "client_host", "server", "history")
    # as a column, because Polars would apply such a filter to all rows that it reads
    some = closes.filter(possible).select(*facts, wanted.alias("wanted")).filter("wanted").drop("wanted")
    rows = some.join(known, on="connection", how="left")
    return rows.with_columns(frame=c("request_frame"))


@cached_for_thresholds
def _wanted_rows() -> tuple[pl.Expr, pl.Expr, list[pl.Expr | str]]:
    """Return a cheap filter of `closes`, a filter of the rows that pass it, and the columns that `find` returns for the rest."""
    left_open = c("persistent") & ~c("upgraded") & c("response_framing").is_in(SELF_FRAMED)
    after = c("server_close_time") - c("response_end")
    both = c("has_request") & c("has_response")
    idle = (after > IDLE.value) | (closed_as_announced() & (c("response_keep_alive_timeout") > 0))
    ended = (c("last_on_connection") & left_open & is_complete() & server_closed_first()).fill_null(False)
    closing = (ended & idle).fill_null(False)
    rested = _rested()
    lost = (candidates() & (c("request_arrived") > NOTHING) & server_closed_first()).fill_null(False)
    used = (rested > IDLE.value).fill_null(False)
    # one row may have both: a use after one idle time, and a close after another
    facts = [
        *("connection", "endpoint", "final_at"),
        pl.when(closing).then(after).alias("closed_after"),
        pl.when(used & ~lost).then(rested).alias("used_after"),
        c("request_frame", "request_start", "response_last_frame", "response_end"),
        c("server_close_frame", "server_close_time", "server_close_rst"),
        close_origin("server"),
        has_doubtful_close("server").alias("doubted"),
        lost.alias("lost"),
        c("response_keep_alive_timeout").cast(pl.Int64).alias("promise"),
        (~c("handshake")).alias("guessed"),
        c("gap_before").alias("doubtful"),
    ]
    return used | c("server_close_frame").is_not_null(), (both & (ended | used)) | lost, facts


def _rested() -> pl.Expr:
    """Return the idle time (ns) before a request as the server saw it, at any capture point."""
    return c("request_start") - c("previous_end") + c("rtt_server").fill_null(0)


def by_limits(rows: pl.DataFrame, rests: IdleTimes, *, live: bool) -> pl.DataFrame:  # noqa: ARG001  (a summary is made at the end)
    """Return one candidate for each server with an idle timeout, and one for each end of a server process."""
    stopped = rests.all_stops()
    ended = [number for stops in stopped.values() for number in stops.connections]
    limits = _limits(rows.with_columns(pl.when(~c("connection").is_in(ended)).then("closed_after")))
    servers = rows.select("endpoint", "server").unique().sort("server").iter_rows()
    stops = [(server, stop) for endpoint, server in servers if endpoint in stopped for stop in stopped[endpoint].stops]
    if not stops:
        return limits
    return pl.concat([limits, _stops(stops)], how="diagonal")


def _limits(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the observed idle timeouts, one row for each server."""
    closes = rows.filter(c("closed_after").is_not_null()).with_columns(_note().alias("note"))
    servers = closes.group_by("server").agg(
        c("closed_after").median().cast(pl.Int64).alias("limit"),
        c("closed_after").min().alias("shortest"),
        c("closed_after").max().alias("longest"),
        pl.len().cast(pl.Int64).alias("closes"),
        c("server_close_frame").min().alias("frame"),
        c("response_end").min().alias("start"),
        c("server_close_time").max().alias("end"),
        c("server_close_time").min().alias("first_close"),
        c("promise").min(),
        c("promise").max().alias("longest_promise"),
        (c("guessed") | c("doubted")).all().alias("guessed"),
        pl.when(c("origin").n_unique() == 1).then(c("origin").first()).alias("origin"),
        c("doubtful").all(),
        _evidence(("response_last_frame", "response_end", _left_open_note()),
               ("server_close_frame", "server_close_time", c("note"))),
    )  # fmt: skip
    servers = servers.join(_inverted_timeouts(rows, closes, servers), on="server", how="left")
    lost = rows.filter("lost").select("server", lost=pl.lit(value=True)).unique()
    servers = servers.join(lost, on="server", how="left").with_columns(c("lost").fill_null(value=False))
    return _candidate_columns(servers).sort("frame")


def _inverted_timeouts(rows: pl.DataFrame, closes: pl.DataFrame, servers: pl.DataFrame) -> pl.DataFrame:
    """Return for each server how many of its clients keep idle connections open longer than the server does.

    `survived`: the longest idle time (ns) after which such a client used a connection again. The other columns describe that use.
    """
    pair = ["server", "client_host"]
    closed = closes.group_by(pair).agg(pl.len().alias("pair_closes"), c("connection").alias("closed"))
    survivals = (
        rows.filter(c("used_after").is_not_null())
        .join(servers.filter(_is_limit()).select("server", "limit"), on="server")
        .filter(c("used_after") > c("limit"))
        .join(closed, on=pair)
        .filter((c("pair_closes") > 1) | ~c("connection").is_in(c("closed")))
        .group_by(pair)
        .agg(
            c("used_after").max().alias("survived"),
            c("connection", "request_frame", "request_start").sort_by("used_after").last(),
        )
    )
    return survivals.group_by("server").agg(
        pl.len().alias("clients"),
        c("client_host").sort().first().alias("client_host"),
        c("survived").max(),
        c("connection", "request_frame", "request_start").sort_by("survived").last(),
    )


def _is_limit() -> pl.Expr:
    """Return whether the idle times show a timeout.

    They must be similar to each other. In addition, they must be seen at two moments, or be near a common default or the
    announced time.
    """
    alike = (c("longest") - c("shortest")) * 100 <= c("limit") * SPREAD.value
    known = is_default(c("limit")) | _closed_after(0) | _closed_after(1)
    return alike & ((c("end") - c("first_close") > APART.value) | known.fill_null(value=False))


def _closed_after(beyond: int) -> pl.Expr:
    """Return whether the median idle time is about `beyond` seconds longer than the timeout that the server announces."""
    limit = (c("longest_promise") + beyond) * SECOND
    return (c("limit") - limit).abs() <= TIMERS_LATE + limit // 100


def _announced_text() -> pl.Expr:
    """Return the text about the announced idle timeout; "" if there is none."""
    same = pl.format("; it announces {} s (Keep-Alive: timeout={})", "promise", "promise")
    several = pl.format("; it announces {} s to {} s (Keep-Alive: timeout)", "promise", "longest_promise")
    said = pl.when(c("promise") == c("longest_promise")).then(same).otherwise(several)
    later = (
        pl.when(_closed_after(1) & ~_closed_after(0))
        .then(pl.lit(", and closes a second after that, as Node does"))
        .otherwise(pl.lit(""))
    )
    return pl.when(c("promise").is_not_null()).then(said + later).otherwise(pl.lit(""))


def _candidate_columns(servers: pl.DataFrame) -> pl.DataFrame:
    """Return a candidate for each row of `servers`."""
    inverted = c("clients").is_not_null()
    late = "it reused one that had been idle for {}, and that the server had not closed in time."
    survived = pl.format(late, duration(c("survived")))
    one = pl.when(c("clients") == 1)
    several = c("closes") > 1
    again = pl.format("connection {} is used again after {} idle", "connection", duration(c("survived")))
    use = packet("request_frame", "request_start", again)
    shown = pl.when(c("survived").is_not_null()).then(pl.concat_list(c("evidence"), use)).otherwise("evidence")
    confident = grade("doubtful", "guessed")
    side, kind = pl.when(inverted).then(pl.lit("client")).otherwise(pl.lit("server")), pl.when(inverted).then(pl.lit("inverted"))
    return servers.select(
        *candidate(side, confident, "frame", "start", "end", kind=kind, of="server"),
        one.then("client_host").alias("client"),
        "server",
        c("limit").cast(DURATION),
        c("shortest").cast(DURATION).alias("least"),
        *(pl.when(several).then(name).cast(DURATION).alias(name) for name in ("shortest", "longest")),
        *(pl.when(several).then(pl.lit(text)).otherwise(pl.lit("")).alias(name) for name, text in _SPREAD.items()),
        *("closes", "origin"),
        pl.when(c("closes") == 1).then(pl.lit("connection")).otherwise(pl.lit("connections")).alias("connection_word"),
        _announced_text().alias("announced"),
        pl.when("lost").then(pl.lit("A")).otherwise(pl.lit("No request was lost in this capture, but a")).alias("nothing_lost"),
        pl.when(c("promise").is_null()).then("limit").alias("idle_limit"),
        pl.lit(value=True).alias("pool_limit"),
        one.then(pl.format("The client {} keeps idle connections", "client_host"))
        .otherwise(pl.format("{} clients keep idle connections", "clients"))
        .alias("inverted_clients"),
        survived.alias("how"),
        *(pl.lit("").alias(name) for name in _OF_STOPS),
        shown.cast(EVIDENCE).alias("evidence"),
    )


def _left_open_note() -> pl.Expr:
    return pl.format("connection {}: a response ends and leaves it open", "connection")


def _note() -> pl.Expr:
    closed = (fin_or_rst("server_close_rst"), duration(pl.col("closed_after")))
    note = pl.format("connection {}: the server's {}, {} later", "connection", *closed)
    return with_doubt(pl.col("doubted"), note)


def _evidence(*packets: tuple[str, str, pl.Expr]) -> pl.Expr:
    """Return the column `evidence` with packets of the first closed connections. `packets`: argument lists of `packet`."""
    first = [packet(*p).sort_by("server_close_frame").head(SHOWN.value).implode() for p in packets]
    return pl.concat_list(first).alias("evidence")


_OF_STOPS = ("within", "ended_how", "met_by")
"""The text columns that only candidates of kind stop have."""


def _stops(stops: list[tuple[str, Stop]]) -> pl.DataFrame:
    """Return a candidate for each end of a server process. `stops`: pairs of a server and the end of a process."""
    rows = [_of_stop(server, stop) for server, stop in stops]
    types = {"exchange": pl.Int32(), "evidence": EVIDENCE, "client": pl.String(), "delay": pl.Int64(), "connection": pl.Int64()}
    return pl.DataFrame(rows, schema_overrides=types).sort("frame")


def _of_stop(server: str, stop: Stop) -> dict[str, Any]:
    first = min(end.frame for end in stop.resting)
    rests = sorted(end.rest for end in stop.resting if end.rest is not None)
    several = len(stop.resting) > 1
    low, high = duration_text(rests[0]), duration_text(rests[-1])
    rested = f", after idle times of {low} to {high}" if several and low != high else f" after {low} idle"
    within = (f"were closed within {duration_text(stop.end - stop.start)}" if several else "was closed") + rested
    shown = [(end.frame, end.time, _close_text(end)) for end in stop.resting[: SHOWN.value]]
    shown += [(syn.frame, syn.answered, "the server refuses a SYN") for syn in stop.refused[: SHOWN.value]]
    return {
        "connection": None,
        "exchange": None,
        "kind": "stop",
        "side": "server",
        "confidence": "medium" if stop.form in ("e", "f") else "high",
        "frame": first,
        "start": stop.start,
        "end": stop.end,
        "delay": None,
        "client": None,
        "server": server,
        "closes": len(stop.resting),
        "connection_word": "connections" if several else "connection",
        "within": within,
        "ended_how": _ended_how(stop),
        "met_by": _lost_text(stop),
        "pool_limit": False,
        "origin": None,
        "evidence": [{"frame": frame, "time": time, "note": note} for frame, time, note in shown],
    }


def _close_text(end: End) -> str:
    rest = "" if end.rest is None else f" after {duration_text(end.rest)} idle"
    return f"the server closes connection {end.connection}{rest}"


def _ended_how(stop: Stop) -> str:
    """Return the text with the facts that show that a process ended, except the idle times."""
    said: list[str] = []
    if stop.cut:
        said.append(
            "a response or a tunnel was cut off at the same time"
            if stop.cut == 1
            else f"{stop.cut:,} responses or tunnels were cut off at the same time"
        )
    if stop.refused:
        said.append(
            f"{len(stop.refused):,} SYNs were refused after that" if len(stop.refused) > 1 else "a SYN was refused after that"
        )
    if stop.form == "e":
        said.append("no older connection was used again, and a later connection stayed idle for as long without being closed")
    if stop.form == "f":
        said.append("their responses had ended at different times, and no older connection was used again")
    return "".join(f"; {one}" for one in said)


def _lost_text(stop: Stop) -> str:
    if not stop.lost:
        return " No request was lost."
    return f" {'A request was' if stop.lost == 1 else f'{stop.lost:,} requests were'} lost; other findings report this."
