"""A request was sent on a connection that the server had closed.

What it means
    Client and server keep a connection open, and either may close it after some idle time. Here the server closed it,
    and the client still sent its next request on it. That request was never answered.

    Kind race: the FIN was still on its way when the request left, so the client could not know. Kind stale-pool: the FIN had
    arrived, but the client's pool did not check the connection before reuse. Kind forgotten: the server, or a balancer, NAT or
    firewall in front of it, had dropped the connection without a FIN and answered the request with an RST. Kind at-limit: the
    server's kernel had acknowledged the request, but its process was already closing the connection and never read the request.

Why it hurts
    The request is lost. The client reports "connection reset by peer", "the server closed the connection unexpectedly", or "a
    connection that was expected to be kept alive was closed by the server". If the client is a proxy, the proxy answers 502. The
    error comes and goes. It is most frequent if the time between requests is close to the server's idle timeout.

How it is proved
    The server's FIN (or RST with ACK flag) acknowledges no byte of the request, and the request was never answered. The
    acknowledgment number of the request shows whether the client had received the FIN. Both facts are the same at every capture
    point.

    Kind forgotten: the first request after at least a second of idle time is answered by an RST without ACK flag. The RST's
    sequence number is the request's acknowledgment number, no ACK of the request came before it, and no FIN came before it or
    soon after. If the RST has another TTL (hop limit) than the server's packets, or was captured only once although most of the
    server's packets were captured on both sides of a router, a NAT or firewall in front of the server probably sent it.

    Kind at-limit: the close does acknowledge the request, because kernels acknowledge data that no process has read. The idle
    time is the proof: the server closed right after the request, when its idle timeout expired. That timeout is learned from its
    other closes, announced by the server, or a common default. If the timeout is known only from closes that lost a request, each
    RST must have come within 100 ms of its request, and these RSTs must outnumber the requests that were answered after longer
    idle times. Otherwise the server resets some requests on purpose. An RST instead of a FIN shows that data was left unread (RFC
    1122). With a FIN, stricter limits apply, because a process that has read the request also sends a FIN. Nothing is reported if
    within 50 ms the server also closed connections whose idle time was shorter than the timeout: then a process ended. Nothing is
    reported either if a SYN was refused within a second after the close, unless the timeout is learned from other closes. An
    announced timeout, or one that is a common default, does not count if the server answered at least two requests, and more than
    it lost, after idle times of that length.

    Some servers close within 20 ms after their responses without announcing it. If an RST shows that the request was not read,
    the request must have come within these 20 ms, and the close up to 500 ms later: the process was busy. If the server has
    closed in this way at least 10 times and never answered a second request on a connection, the request may also have come up to
    300 ms after the response.

    Closes after similar idle times may also have another reason: a client sends a request every two seconds, say, and processes
    of the server end at these moments. So no timeout is learned if the server answered other requests after similar idle times,
    unless the shortest idle time before a close is a whole number of seconds, as timeouts are. If the server answered too few
    such requests, but a request came at nearly every close, more than half of the idle times must lie within 5 ms or 0.5 % of one
    another, as with a timer. Otherwise kind at-limit is not reported (no-response reports the request), and a finding of kind
    race names both causes, because packets do not show which of them is true.

    A process may be paused (a suspended machine, a frozen container, a debugger). When it resumes, it closes connections that
    were idle for too long before it reads from them. Three facts show this. For more than a second before the close the server
    sent nothing on any connection. Requests were waiting on two or more connections. The idle time at the close was at least the
    timeout. Nothing is reported if a SYN was refused at that time. If the process was paused, the server has to change: no idle
    timeout of the client's pool would have helped.

What it is not
    If the server received the request and closed without answering, although no timeout had expired, no-response reports it.
    no-response also reports the first request of a new connection. idle-close reports a connection that was closed while idle and
    not used again. A client may pipeline a request before it knows that an earlier response announces the close. That request is
    not reported: the client has to repeat it on another connection. A request that the client sent after that response is
    reported. If the client repeats a GET at once and gets its response, the finding is only a warning. A request counts as the
    repetition of at most one lost request. If a client often sends the same request several times at once, a copy does not
    count as a repetition.

What to do
    Make the idle timeout of the client's pool shorter than the server's, and have the client repeat idempotent requests. Kind
    stale-pool: have the pool check a connection before it reuses it. Kind forgotten: stay below the timeouts of balancers, NATs
    and firewalls too, or send TCP keep-alive probes. Kind at-limit: if the server was paused, find out what paused it. If a
    process of the server ended, have it answer the requests that have arrived before it closes. If the server closes without an
    announcement, have the server send `Connection: close`.

References
    RFC 9112 sections 9.3.1 and 9.6, RFC 9110 section 9.2.2, RFC 1122 section 4.2.2.13, Microsoft WebExceptionStatus.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, cached_for_thresholds
from wiredoctor.rules.shared import lost_requests, race_explanations
from wiredoctor.rules.shared.evidence import (
    candidate,
    close_origin,
    confidence,
    evidence,
    fin_or_rst,
    has_doubtful_close,
    least_confidence,
    with_doubt,
)
from wiredoctor.rules.shared.lost_requests import FORGOTTEN, MET, WARNED, also_lost_text, find_lost, repetition_columns
from wiredoctor.rules.shared.lost_requests import screen as may_be_lost
from wiredoctor.rules.shared.race_explanations import HEED, Explanation, explain
from wiredoctor.tables import SECOND
from wiredoctor.world import clients
from wiredoctor.world.clients import Clients, beside_repetitions
from wiredoctor.world.connection_close import (
    DECIDED,
    POOLS,
    client_idle_time,
    closed_against_request,
    ended_within_grace_period,
)
from wiredoctor.world.idle_times import IdleTimes
from wiredoctor.world.numbers import DURATION, duration

c = pl.col

_CLOSED = " {closed_after}{limit}{limit_means}"
_IDLE = "When the client sent the request, the client's end of the connection had been idle for {idle}{idle_unknown}." + _CLOSED
_REPEAT = "Have the client repeat idempotent requests if a reused connection is closed without an answer."

RULE = Rule(
    symptom="*socket hang up*, `ECONNRESET`, a 502 now and then",
    severity="error",
    title={
        "race": "A request was lost: the server closed the connection while the request was on its way",
        "stale-pool": "A request was lost: the client used a connection after the server's close had arrived",
        "forgotten": "A request was lost: {forgetful} no longer knew the idle connection",
        "at-limit": "A request was lost: it came as the server was closing the idle connection",
    },
    message={
        "race": "{request} {crossed}: the {close} acknowledges no byte of the request, {unaware}. The request was "
        "never answered.{behind} " + _IDLE,
        "stale-pool": "{request} was sent {known_for} after {what_was_known}. The request was never answered.{behind} " + _IDLE,
        "forgotten": "{request} got an RST that belongs to no connection (it has no ACK flag, and its sequence number is the "
        "request's acknowledgment number). No FIN was captured: the server, or a balancer, NAT or firewall in "
        "front of it, had dropped the connection silently. The connection had been idle for {idle}{idle_unknown}. "
        "If an idle timeout is the cause, it is at most that long{restarted}.{elsewhere}{behind}",
        "at-limit": "{request} came {before_close}{moment} the server closed the connection ({close}) without a response. The "
        "server's kernel had acknowledged the request, but {taken}{unread}.{behind} When the client sent the request, the "
        "client's end of the connection had been idle for {idle}." + _CLOSED,
    },
    remedy={
        "race": "{shorter}" + _REPEAT,
        "stale-pool": "{look}{shorter}" + _REPEAT,
        "forgotten": "Make the idle timeout of the client's pool shorter than those of the server and of every device "
        "between them (balancer, NAT, firewall), or have the client send TCP keep-alive probes "
        "(SO_KEEPALIVE with TCP_KEEPIDLE; the default of two hours is too long). " + _REPEAT,
        "at-limit": "{shorter}" + _REPEAT,
    },
    references=(
        Reference("RFC 9112 section 9.3.1, retrying requests", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3.1"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9110 section 9.2.2, idempotent methods", "https://www.rfc-editor.org/rfc/rfc9110.html#section-9.2.2"),
        Reference("RFC 1122 section 4.2.2.13, closing a connection", "https://www.rfc-editor.org/rfc/rfc1122.html#page-87"),
        Reference(
            "Microsoft, WebExceptionStatus: KeepAliveFailure",
            "https://learn.microsoft.com/en-us/dotnet/api/system.net.webexceptionstatus",
        ),
    ),
    explained_by=(("auth-connection-closed", "connection"), ("unanswered", "exchange"), ("gateway-error", "exchange")),
    caused_by=(("premature-close", "connection"), ("idle-timeout-broken-promise", "connection")),
    advice=POOLS,
    timeless=True,
    absence=True,
    ends=True,
)
SHARED_THRESHOLDS = (race_explanations, lost_requests, clients)


def screen() -> pl.Expr:
    """Return an expression that is true for all rows that may become candidates."""
    return may_be_lost()


def find(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request that arrived after a close, or just when an idle timeout may have expired.

    `by_limits` decides whether the timeout had expired.
    """
    return _lost_by_kind(closes, foreign_closes).select(_columns())


@cached_for_thresholds
def _columns() -> list[pl.Expr | str]:
    """Return the columns of a candidate."""
    before = c("server_close_time") - c("request_end")
    forgotten = c("kind") == "forgotten"
    sure = confidence(pl.when(forgotten).then(ended_within_grace_period(DECIDED.value)).otherwise(has_doubtful_close("server")))
    end = pl.max_horizontal("request_end", "server_close_time")
    return [
        *candidate("client", sure, "request_frame", "request_start", end, kind=c("kind")),
        "close",
        close_origin("server"),
        c("idle").cast(DURATION),
        (c("request_start") - pl.when("warned").then("previous_end").otherwise("server_close_time"))
        .clip(0)
        .cast(DURATION)
        .alias("known_for"),
        pl.when("warned").then(pl.lit(_SAID)).otherwise(pl.lit(_FIN_KNOWN)).alias("what_was_known"),
        pl.when("warned").then(pl.lit(HEED)).otherwise(pl.lit(_LOOK)).alias("look"),
        pl.when(before > 0).then(before).cast(DURATION).alias("before_close"),
        pl.when(before > 0).then(pl.lit(" before")).otherwise(pl.lit("just before")).alias("moment"),
        pl.when(c("server_close_rst") == 1).then(pl.lit(_UNREAD)).otherwise(pl.lit("")).alias("unread"),
        _unknown_idle_time().alias("idle_unknown"),
        _crossed().alias("crossed"),
        _unaware().alias("unaware"),
        also_lost_text(),
        _elsewhere().alias("elsewhere"),
        pl.when(_by_server())
        .then(pl.lit("the server"))
        .when(c("server_close_origin") == "between")
        .then(pl.lit("a device in front of the server"))
        .otherwise(pl.lit("a device in front of the server probably"))
        .alias("forgetful"),
        pl.when(_by_server()).then(pl.lit("; a restarted host would look the same")).otherwise(pl.lit("")).alias("restarted"),
        evidence(
            ("server_close_frame", "server_close_time", _close_note()),
            ("request_frame", "request_start", _request_note()),
            ("reset_frame", "server_rst_time", "the server's RST: the request arrived after the close"),
        ),
        *("endpoint", "rested", "later", "warned", "previous_announced_close", "server_close_time", "final_at"),
        "rest_ns",
        (c("server_close_rst") == 1).alias("by_rst"),
        *repetition_columns(),
        pl.lit(None, pl.Int64).alias("waited"),
    ]


def _lost_by_kind(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` whose request was lost, with the kind.

    If another device sent the RST, add the TTLs that show this.
    """
    # a close that was announced, but acknowledges the request, may have come after the request
    warned = (c("took") == WARNED) & ~closed_against_request()
    kind = (
        pl.when("at_limit")
        .then(pl.lit("at-limit"))
        .when(c("took") == FORGOTTEN)
        .then(pl.lit("forgotten"))
        .when(c("server_fin_before_request") | warned)
        .then(pl.lit("stale-pool"))
        .otherwise(pl.lit("race"))
    )
    reset = pl.when(c("server_rst_frame") != c("server_close_frame")).then("server_rst_frame")
    ttls = foreign_closes.filter(c("sender") == "server").select("connection", "exchange", "ttl", "lowest_ttl", "highest_ttl")
    return (
        find_lost(closes)
        .filter(c("took").is_in([FORGOTTEN, MET, WARNED]) | c("at_limit"))
        .with_columns(
            kind.alias("kind"),
            warned.alias("warned"),
            fin_or_rst("server_close_rst").alias("close"),
            c("idle").alias("rest_ns"),
            reset.alias("reset_frame"),
        )
        .with_columns(client_idle_time().clip(0).alias("idle"))
        .join(ttls, on=["connection", "exchange"], how="left", maintain_order="left")
    )


_TOLD = pl.Schema(
    {
        **dict.fromkeys(Explanation._fields, pl.String()),
        **dict.fromkeys(("limit", "idle_limit"), pl.Int64()),
        "pool_limit": pl.Boolean(),
    }
)


def by_limits(rows: pl.DataFrame, rests: IdleTimes, *, live: bool) -> pl.DataFrame:
    """Add the texts about the server's idle timeout. Drop candidates of kind at-limit whose close matches no timeout.

    `live`: use only what was known when the candidate became final.
    """
    told = [explain(row, rests, live=live) for row in rows.iter_rows(named=True)]
    kept = rows.filter(pl.Series([one is not None for one in told], dtype=pl.Boolean))
    said = pl.DataFrame([one for one in told if one is not None], schema=_TOLD, orient="row")
    whole = kept.drop("side").with_columns(said.rename({"confidence": "surely"}))
    least = least_confidence("confidence", "surely").alias("confidence")
    return whole.with_columns(least, c("limit").cast(DURATION)).drop("surely")


def by_clients(rows: pl.DataFrame, clients: Clients) -> pl.DataFrame:
    """Reduce the severity of the candidates whose request the client repeated successfully."""
    return beside_repetitions(rows, clients)


# texts


def _unknown_idle_time() -> pl.Expr:
    """Return the text on why the idle time is unknown; null if it is known."""
    first = pl.when("handshake").then(pl.lit("it had not been used before")).otherwise(pl.lit("the capture began later"))
    return pl.when(pl.col("idle").is_null()).then(pl.format("an unknown time: {}", first))


_CROSSING = SECOND
"""If a FIN was captured at least this long (ns) before the request, the two did not cross: round trips are shorter."""


def _crossed() -> pl.Expr:
    """Return how the request met the close. A FIN that the client had not received after _CROSSING was lost."""
    before = c("request_start") - c("server_close_time")
    lost = pl.format("came {} after the server's FIN, which was lost or dropped on its way to the client", duration(before))
    met = pl.format("and the server's {} crossed on the way", "close")
    return pl.when((before >= _CROSSING) & (c("server_close_rst") == 0)).then(lost).otherwise(met)


def _unaware() -> pl.Expr:
    how = pl.when(c("server_close_rst") == 0).then(pl.lit(_FIN_UNSEEN)).otherwise(pl.lit(_RST_UNSEEN))
    return how + pl.when("previous_announced_close").then(pl.lit(_WARNED)).otherwise(
        pl.lit(", so the client could not know that the server was closing")
    )


_FIN_UNSEEN = "and the request does not acknowledge the FIN"
_RST_UNSEEN = "and a client that has received an RST sends no request"
_WARNED = ". But the client had the previous response, which announced the close"
_LOOK = "Have the pool check each connection before reuse: an idle connection that is readable has been closed by the server. "
_UNREAD = ", as the RST instead of a FIN shows"
_FIN_KNOWN = (
    "the server's FIN on the same connection, and acknowledges that FIN: the client's kernel had received it, but the client's "
    "pool did not check the connection before using it again"
)
_SAID = (
    "a response on the same connection that announced the close: the client had that response and ignored the announcement. The "
    "server closed as announced"
)


def _by_server() -> pl.Expr:
    """Return whether the RST of a forgotten connection looks like the server's own packets."""
    return (c("server_close_origin") == "endpoint").fill_null(value=False)


def _elsewhere() -> pl.Expr:
    """Return a sentence saying that another device sent the RST; "" if packets neither show nor suggest this."""
    ttl = pl.format(
        " The server did not send this RST: the RST has TTL {}, and the server's packets have {}.",
        "ttl",
        _range("lowest_ttl", "highest_ttl"),
    )
    other = pl.lit(" The server did not send this RST: the server's own packets look different.")
    return (
        pl.when(c("server_close_origin") == "between")
        .then(pl.coalesce(ttl, other))
        .when(_by_server())
        .then(pl.lit(""))
        .otherwise(pl.lit(_PROBABLY_NOT))
    )


_PROBABLY_NOT = (
    " The RST does not look like the server's own packets: its TTL or its time differs, or it was captured once, but "
    "they were captured twice. Probably a NAT, firewall or balancer in front of the server sent it, and the request did not "
    "reach the server."
)


def _range(lowest: str, highest: str) -> pl.Expr:
    one = pl.format("{}", lowest)
    return pl.when(pl.col(lowest) == pl.col(highest)).then(one).otherwise(pl.format("{} to {}", lowest, highest))


def _close_note() -> pl.Expr:
    whose = pl.when(_by_server()).then(pl.lit("the server's RST")).otherwise(pl.lit("an RST in the server's name"))
    asked = pl.format("{} without ACK flag; its sequence number is the request's acknowledgment number", whose)
    closed = pl.format("the server's {}, which acknowledges no byte of the request", "close")
    rested = duration(c("rested"))
    taken = pl.format("the server's {}, which acknowledges the request, {} after the previous response", "close", rested)
    note = (
        pl.when(c("kind") == "forgotten")
        .then(asked)
        .when(c("warned") & c("server_close_ack").is_null())
        .then(pl.lit("the server's RST without ACK flag"))
        .when((c("kind") == "at-limit") | c("warned"))
        .then(taken)
        .otherwise(closed)
    )
    return with_doubt((c("kind") != "forgotten") & has_doubtful_close("server"), note)


def _request_note() -> pl.Expr:
    rested = pl.format("the request, after {} idle", duration(c("idle")))
    return (
        pl.coalesce(rested, pl.lit("the request"))
        + pl.when((c("kind") == "race") & (c("server_close_rst") == 0))
        .then(pl.lit("; it does not acknowledge the FIN"))
        .otherwise(pl.lit(""))
        + pl.when((c("kind") == "stale-pool") & ~c("warned")).then(pl.lit("; it acknowledges the FIN")).otherwise(pl.lit(""))
    )
