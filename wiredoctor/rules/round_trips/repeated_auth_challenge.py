"""The client waits for an authentication challenge each time, although its credentials were accepted before.

What it means
    A client may not know that credentials are needed: its first request gets a 401 (from a proxy a 407) and is repeated with
    credentials. After that it could send them at once (preemptive authentication). Here it waits for the challenge each time.

Why it hurts
    Every request takes two round trips instead of one, and an upload is sent twice. The server's log is full of 401s, which
    hide the 401s for wrong credentials.

How it is proved
    Three or more requests without credentials got a 401 or 407 and were repeated with credentials. The same server had accepted
    credentials of that user before, for the same path or one above it. NTLM and Negotiate authenticate a connection and must
    challenge each new one. For these two schemes, only challenges on a connection with accepted credentials count.

    A process that makes one request and ends has to wait for a challenge each time, unless it sends credentials unasked. No
    packet shows which process sent a request. But the end of a process closes its connections, and a process needs time to
    start. So a request may be the first of a new process on three conditions: it is the first on its connection, the client had
    closed the connections on which it had sent credentials, and 50 ms or more have passed since the last response. If this
    holds for three quarters of the challenged requests, and fewer than three came on a connection with accepted credentials,
    the confidence is medium. The severity is note if there are fewer than ten such requests, if the client is a program that is
    run as a command (curl, git, Subversion and the like, by User-Agent), or if the pauses are longer than 5 s (the median).

What it is not
    The first challenge of a client, of a connection (NTLM, Negotiate), of a user or of a part of the site is needed. A Digest
    challenge with stale=true asks for a new nonce, so it is needed too. Requests whose credentials were refused do not count.

What to do
    Turn preemptive authentication on in the client.

References
    RFC 9110 section 11.6, RFC 7617 section 2.2, RFC 7616 section 3.6, RFC 4559 section 6, Microsoft's
    HttpWebRequest.PreAuthenticate.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.auth_challenges import BOUND, REFUSED, Pair, Repeated, Row
from wiredoctor.rules.shared.evidence import CANDIDATE, grouped
from wiredoctor.rules.shared.words import Packet, packets
from wiredoctor.text.regex import Regex
from wiredoctor.world.connection_close import SEVERAL, START, round_trip
from wiredoctor.world.reading_pace import COMMANDS

c = pl.col

RULE = Rule(
    symptom="every request takes twice as long; a log full of 401s",
    severity="warning",
    title="The client waits for a challenge before it sends its credentials: {requests:,} requests were sent twice",
    message="{client} sent {requests:,} requests to {server} without credentials, got a {challenge} each time, and repeated "
    "them with credentials ({scheme}), although the server had accepted these credentials before. The needless exchanges took "
    "{delay}. Only the first request needs a challenge.",
    remedy="Turn preemptive authentication on in the client, so that it sends accepted credentials at once. {connection_bound}",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 11.6, authentication", "https://www.rfc-editor.org/rfc/rfc9110.html#section-11.6"),
        Reference("RFC 7617 section 2.2, reusing credentials", "https://www.rfc-editor.org/rfc/rfc7617.html#section-2.2"),
        Reference("RFC 7616 section 3.6, Digest: operation", "https://www.rfc-editor.org/rfc/rfc7616.html#section-3.6"),
        Reference("RFC 4559 section 6, Negotiate", "https://www.rfc-editor.org/rfc/rfc4559.html#section-6"),
        Reference(
            "Microsoft, HttpWebRequest.PreAuthenticate",
            "https://learn.microsoft.com/en-us/dotnet/api/system.net.httpwebrequest.preauthenticate",
        ),
    ),
    advice=(
        Advice("client", "curl", "curl: --basic instead of --anyauth; libcurl: CURLAUTH_BASIC instead of CURLAUTH_ANY."),
        Advice("client", "^Wget", "wget: --auth-no-challenge."),
        Advice("client", "^git/", "git: http.proactiveAuth (from 2.46 on), or credentials kept by one process."),
        Advice("client", "Python-urllib", "Python's urllib.request: HTTPPasswordMgrWithPriorAuth."),
        Advice(
            "client",
            "python-requests",
            "Python requests: set auth on the Session; HTTPDigestAuth keeps its nonce only if the same object is reused.",
        ),
        Advice("client", "Apache-HttpClient", "Apache HttpClient: an AuthCache in the context that all requests share."),
        Advice(
            "client",
            r"^$|\.NET|MS Web Services|WinHttp",
            "If the client is .NET: PreAuthenticate = true (HttpClientHandler, SocketsHttpHandler, HttpWebRequest), with the "
            "same handler, or ConnectionGroupName, for all requests.",
        ),
    ),
    summary=True,
)

ENOUGH = Threshold(
    "3 requests", "the minimum number of requests; two requests may come from two programs, or concern two parts of a site"
)
SEPARATE = Threshold(
    "75 %",
    "the minimum share of the challenged requests that may each be the first of a new process; others may be from processes that "
    "ran side by side",
)
SCHEDULED = Threshold(
    "5 s",
    "if each challenged request may be from another process, and the median pause is longer than this, the severity is note, "
    "whatever the number of requests: a scheduler or a user may start the processes",
)
SHOWN = Threshold("3 requests", "the maximum number of requests shown as evidence; the message has the totals")
_CONNECTION_BOUND = (
    "NTLM and Negotiate authenticate a connection: look for a server that challenges each request (IIS: "
    "authPersistSingleRequest, authPersistNonNTLM), and for a proxy that shares its connections between clients."
)


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return _is_refused().sum() >= ENOUGH.value


def _is_refused() -> pl.Expr:
    return (
        c("response_status").is_in(REFUSED)
        & ~c("request_has_credentials")
        & c("has_request")
        & ~c("request_has_gap")
        & ~c("response_auth_stale")
    )


class Facts(NamedTuple):
    """What is known of needlessly challenged requests between two hosts.

    `scheme_name`: the scheme of the accepted credentials, as in `auth_challenges.Row`. `separate`: each request may be the first
    of a new process. `shown`: for the first requests, frame and time (ns) of the request, frame, time and status of the response,
    frame and time of the request with credentials.
    """

    scheme_name: str
    separate: bool
    shown: Sequence[Sequence[int]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each client host and server between which requests were sent twice although once would have sufficed."""
    return grouped(_requests(exchanges, connections).sort("frame", maintain_order=True), _repeated, _SCHEMA)


def _requests(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each answered request that has credentials, or that was refused because it has none."""
    answered = c("has_request") & (c("response_status") >= 200)
    unnamed = c("request_has_credentials") & (c("request_credentials_scheme") == "")
    rows = exchanges.filter(answered & (c("request_has_credentials") | _is_refused())).select(
        "connection",
        c("request_host").alias("host"),
        c("request_method").alias("method"),
        c("request_target").alias("target"),
        pl.when(unnamed).then(pl.lit("unknown")).otherwise("request_credentials_scheme").alias("scheme"),
        c("request_credentials_user").alias("user"),
        c("response_status").alias("status"),
        *("request_frame", "request_start", "response_frame", "response_start", "response_end"),
        c("rtt_client").fill_null(0),
        c("gap_before").alias("doubtful"),
        "exchange",
        c("request_user_agent").cast(pl.String).alias("agent"),
        c("request_frame").alias("frame"),
    )
    rtt = round_trip()
    known = connections.select(
        *("connection", "client_host", "server"),
        c("start").alias("opened"),
        # estimates when the client closed: the estimate is too late only if the second FIN came long after the first
        pl.when(c("closed_by") != "").then(c("end") - rtt).alias("ended"),
        rtt.alias("rtt"),
    )
    return rows.join(known, on="connection").select(*Row._fields, "frame")


def _repeated(rows: pl.DataFrame) -> pl.DataFrame:
    host = ["client_host", "server"]
    refused = rows.filter(pl.col("scheme") == "", pl.col("status").is_in(REFUSED)).group_by(host).len()
    some = rows.join(refused.filter(pl.col("len") >= ENOUGH.value), on=host, how="semi").select(Row._fields)
    pairs: dict[tuple[str, str], Pair] = {}
    for values in some.iter_rows():
        row = Row(*values)
        pairs.setdefault((row.client_host, row.server), Pair()).follow(row)
    told = [_candidate(pair.repeated) for pair in pairs.values() if len(pair.repeated) >= max(ENOUGH.value, 1)]
    return pl.DataFrame(sorted(told, key=lambda row: row["frame"]), schema=_SCHEMA)


_NAMES = {"basic": "Basic", "digest": "Digest", "ntlm": "NTLM", "negotiate": "Negotiate", "bearer": "Bearer"}

_SCHEMA = CANDIDATE | {
    "severity": pl.String(),
    "client": pl.String(),
    "server": pl.String(),
    "requests": pl.Int64(),
    "challenge": pl.Int64(),
    "scheme_name": pl.String(),
    "separate": pl.Boolean(),
    "shown": pl.List(pl.List(pl.Int64())),
}

_COMMANDS = Regex(rf"(?i)(?:{COMMANDS.removeprefix('(?i)')})|^(?:git|git-lfs|SVN)/")
_PROCESSES = (
    "Each of these requests may be the first of a new process, which cannot know what the server accepts: there was time to "
    "start a process before each request."
)


def _candidate(repeated: list[Repeated]) -> dict[str, Any]:
    """Return the candidate of a client host and server, from its needlessly challenged requests."""
    first, last = repeated[0].refused, repeated[-1]
    separate = _may_be_processes(repeated)
    return {
        "side": "client",
        "confidence": "low"
        if any(one.refused.doubtful or one.again.doubtful for one in repeated)
        else "medium"
        if separate
        else "high",
        "severity": "note" if separate and _is_expected(repeated) else None,
        "frame": first.request_frame,
        "start": first.request_start,
        "end": last.again.response_end,
        "delay": sum(one.refused.response_end - one.refused.request_start + one.refused.rtt_client for one in repeated),
        "client": first.client_host,
        "server": first.server,
        "requests": len(repeated),
        "challenge": last.refused.status,
        "scheme_name": last.again.scheme,
        "separate": separate,
        "shown": [(*_challenge(one), again.request_frame, again.request_start) for one, again, *_ in repeated[: SHOWN.value]],
    }


_challenge = attrgetter("request_frame", "request_start", "response_frame", "response_start", "status")


def _may_be_processes(repeated: list[Repeated]) -> bool:
    """Return whether at least SEPARATE of the challenged requests may each be the first of a new process."""
    fresh = sum(one.pause is not None and one.pause >= START.value for one in repeated)
    same = sum(one.same_connection for one in repeated)
    return same < ENOUGH.value and 100 * fresh >= SEPARATE.value * len(repeated)


def _is_expected(repeated: list[Repeated]) -> bool:
    """Return whether one process per request is normal here: there are few requests, or a scheduler, a user or a script starts
    the processes.
    """
    pauses = sorted(one.pause for one in repeated if one.pause is not None)
    commands = sum(_COMMANDS.search(one.refused.agent) is not None for one in repeated)
    return len(repeated) < SEVERAL.value or pauses[len(pauses) // 2] > SCHEDULED.value or 2 * commands > len(repeated)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the challenges."""
    return {
        "addition": _PROCESSES if x.separate else None,
        "scheme": _NAMES.get(x.scheme_name, x.scheme_name),
        "connection_bound": _CONNECTION_BOUND if x.scheme_name in BOUND else "",
        "evidence": packets(*(packet for one in x.shown for packet in _proof(*one))),
    }


def _proof(frame: int, time: int, refusal: int, refused_at: int, status: int, again: int, again_at: int) -> list[Packet]:
    return packets(
        (frame, time, "the request without credentials"),
        (refusal, refused_at, f"the {status}"),
        (again, again_at, "the request again, with credentials"),
    )
