"""A redirect leads back to the URL that was requested.

What it means
    The client requested a URL, followed the redirect (a status 301, 302, 303, 307 or 308 with a Location), and came back to
    the same URL, again and again. One URL may redirect to itself, or several URLs to each other. A frequent cause is a proxy
    that terminates TLS: the server behind it receives plain HTTP, and redirects to https.

Why it hurts
    The client gives up after 10 to 50 redirects: "ERR_TOO_MANY_REDIRECTS", "Exceeded 30 redirects", "stopped after 10
    redirects". No response has a status of 400 or above, so the server's log shows no error.

How it is proved
    The same client (host, User-Agent and X-Forwarded-For) followed a series of redirects: within a second after each, its next
    request for the URL in the Location was redirected, too. The series contains the same URL at least five times. The method
    must match, too: a client follows a 303 with a GET, and also a 301 or 302 to a POST; otherwise it repeats the method.

    If the Location begins with https although the request was not encrypted, a loop is reported only on two conditions: the
    request comes from a gateway (it has a field such as X-Forwarded-For), and the URL was requested at most 60 times, because
    clients give up before that.

What it is not
    Not reported: a client that regularly requests a redirected URL without following the redirect, such as a health check, or a
    client that sends the next POST instead. A form or a login that leads back to the first URL is not reported if that URL then
    has another response. A long poll is not reported if its redirects take 10 s or more.

What to do
    Find out which rule of the server, or of a proxy in front of it, creates the redirect. If it redirects to https although the
    client already uses https, have the proxy send X-Forwarded-Proto, and have the application trust it. If a site redirects
    between two names (with and without www), or adds and removes a slash, have only one component decide. If a redirect sets a
    cookie, check whether the client sends it back.

References
    RFC 9110 section 15.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import CANDIDATE, grouped
from wiredoctor.rules.shared.words import Packet, packets

c = pl.col

RULE = Rule(
    symptom="*ERR_TOO_MANY_REDIRECTS*, *Exceeded 30 redirects*",
    severity="error",
    title="The redirects of {server} lead back to the same URL",
    message="{client} followed redirects from {request} ({code}), and each time they led back to the same URL: it was requested "
    "{requests:,} times.{others}{secure} Clients give up after 10 to 50 redirects.",
    remedy="Find out which rule of the server, or of a proxy in front of it, creates the redirect. {forwarded}If two places "
    "redirect to each other (a name with and without www, a path with and without a slash), have only one of them decide. If the "
    "redirect sets a cookie, check whether the client sends it back.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 15.4, redirection", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.4"),
        Reference("nginx, proxy_set_header", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_set_header"),
    ),
    advice=(
        Advice(
            "server",
            "gunicorn|WSGIServer|waitress",
            "Django: SECURE_PROXY_SSL_HEADER names the field with which the proxy says that the client uses HTTPS.",
        ),
        Advice("server", "Kestrel", "ASP.NET Core: ForwardedHeadersMiddleware, before UseHttpsRedirection."),
        Advice("server", "Apache", "Apache httpd: test %{HTTP:X-Forwarded-Proto} in the RewriteCond before the redirect."),
    ),
    caused_by=(("redirect-loop", "tries"),),
    summary=True,
)

ENOUGH = Threshold("5 requests", "the minimum number of requests for the URL: a login may lead back to it a few times")
FOLLOWED = Threshold(
    "1 s", "the maximum time from a redirect to the request that follows it; a health check waits longer before its next request"
)
POLLED = Threshold(
    "10 s",
    "if a redirect comes at least this long after its request, it is the end of a long poll: the client repeats the request "
    "until a result is ready",
)
MOST = Threshold(
    "60 requests", "the maximum number of requests for a URL that redirects to https: curl gives up after 50 redirects"
)
SHOWN = Threshold("3 redirects", "the maximum number of redirects shown as evidence; the message has the total")

_FOLLOWED = (301, 302, 303, 307, 308)
_SEE_OTHER = 303
_POST_BECOMES_GET = (301, 302)
_AUTHORITY = r"^(?:([A-Za-z][A-Za-z0-9+.-]*):)?//([^/?#]*)"
_DEFAULT_PORT = r":(80|443)?$"
_SECURE = (
    " The Location begins with https, but these requests were not encrypted: a proxy probably terminates TLS in front of the "
    "server."
)
_FORWARDED = (
    "If a proxy terminates TLS, have it send X-Forwarded-Proto (nginx: proxy_set_header X-Forwarded-Proto $scheme), and have the "
    "application trust it, so that it does not redirect requests that are already secure. "
)


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return _is_redirected().sum() >= ENOUGH.value


def _is_redirected() -> pl.Expr:
    return c("has_request") & c("response_status").is_in(_FOLLOWED) & (c("response_location") != "")


def _is_secure() -> pl.Expr:
    return c("response_location").str.to_lowercase().str.starts_with("https:")


class Facts(NamedTuple):
    """What is known of a redirect loop.

    `other_loops`: the number of other loops between the same hosts. `shown`: for the first redirects of the loop, the
    columns _SHOWN.
    """

    other_loops: int
    is_secure: bool
    shown: Sequence[Sequence[int]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each client and server with a redirect loop."""
    return grouped(_redirects(exchanges, connections), _loops, _SCHEMA)


def _redirects(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each redirect that may be part of a loop.

    `next`: the row of the redirect that the client got next. It is null if the client did not follow the redirect, or if the next
    response was not a redirect.
    """
    counts = (_is_redirected() & (~_is_secure() | c("request_forwarded"))).fill_null(value=False)
    client = (c("client_host"), *(c(f"request_{name}").cast(pl.String).fill_null("") for name in ("user_agent", "forwarded_for")))
    host, target = c("request_host").cast(pl.String), c("request_target").cast(pl.String).str.replace(_AUTHORITY, "")
    location = c("response_location").str.replace("#.*", "")
    method = c("request_method").cast(pl.String)
    requests = (
        exchanges.filter("has_request")
        .join(connections.select("connection", "client_host", "server"), on="connection")
        .select(
            *("connection", "exchange", "client_host", "server"),
            *("request_frame", "request_start", "response_frame", "response_start"),
            c("response_status").cast(pl.Int64).alias("code"),
            counts.alias("redirects"),
            _is_secure().alias("secure"),
            _hash(*client, method, _without_port(host), target).alias("url"),
            _hash(*client, _method_after(method), _host_of(location, host), _target_of(location, target)).alias("to_url"),
        )
    )
    redirects = requests.filter(c("redirects") & (c("response_start") - c("request_start") < POLLED.value))
    # all URLs of a loop are requested equally often, except that the loop may break off before the last URLs
    redirects = redirects.filter(pl.len().over("url") >= ENOUGH.value - 1).sort("request_frame").with_row_index("row")
    later = (
        requests.join(redirects.select("to_url").unique(), left_on="url", right_on="to_url", how="semi")
        .join(redirects.select("connection", "exchange", c("row").alias("next")), on=["connection", "exchange"], how="left")
        .select("url", "next", c("request_frame").alias("next_frame"), c("request_start").alias("next_start"))
        .sort("next_frame")
    )
    return (
        redirects.with_columns(c("request_frame").alias("frame"))
        .sort("response_frame")
        .join_asof(
            later,
            left_on="response_frame",
            right_on="next_frame",
            by_left="to_url",
            by_right="url",
            strategy="forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .with_columns(pl.when(c("next_start") - c("response_start") < FOLLOWED.value).then("next"))
        .drop("to_url", "next_start", "redirects")
        .sort("row")
    )


def _hash(*texts: pl.Expr) -> pl.Expr:
    """Return a hash of texts; hashes take less memory than the URLs of a million requests."""
    return pl.struct(text.alias(str(i)) for i, text in enumerate(texts)).hash()


def _method_after(method: pl.Expr) -> pl.Expr:
    """Return the method of the request that follows a redirect (RFC 9110 section 15.4).

    `method`: the method of the redirected request.
    """
    see_other = (c("response_status") == _SEE_OTHER) & (method != "HEAD")
    posted = c("response_status").is_in(_POST_BECOMES_GET) & (method == "POST")
    return pl.when(see_other | posted).then(pl.lit("GET")).otherwise(method)


def _without_port(host: pl.Expr) -> pl.Expr:
    return host.str.to_lowercase().str.replace(_DEFAULT_PORT, "")


def _host_of(location: pl.Expr, host: pl.Expr) -> pl.Expr:
    """Return the host of a Location (RFC 3986 section 5.2), without a default port. `host`: the host of the request."""
    return _without_port(pl.coalesce(location.str.extract(_AUTHORITY, 2), host))


def _target_of(location: pl.Expr, target: pl.Expr) -> pl.Expr:
    """Return the path and query of a Location, resolved against the target of the request (RFC 3986 section 5.2)."""
    path = location.str.replace(_AUTHORITY, "")
    return (
        pl.when(path.str.starts_with("/"))
        .then(path)
        .when(location.str.contains(_AUTHORITY))
        .then(pl.lit("/") + path)
        .when(path == "")
        .then(target)
        .when(path.str.starts_with("?"))
        .then(target.str.replace(r"\?.*$", "") + path)
        .otherwise(target.str.replace(r"\?.*$", "").str.replace("[^/]*$", "") + path)
    )


def _loops(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each client and server with a redirect loop. The row describes the longest loop."""
    linked = rows.filter(c("next").is_not_null() | c("row").is_in(rows["next"].drop_nulls().implode()))
    places = {number: place for place, number in enumerate(linked["row"])}
    urls = linked["url"].to_list()
    following = [places.get(number) for number in linked["next"]]
    loops: dict[tuple[str, str], list[list[int]]] = {}
    seen: set[int] = set()
    for first in range(linked.height):
        visits: dict[int, list[int]] = {}
        place: int | None = first
        while place is not None and place not in seen:
            seen.add(place)
            visits.setdefault(urls[place], []).append(place)
            place = following[place]
        longest = max(visits.values(), key=len) if visits else []
        if longest and len(longest) >= ENOUGH.value and (len(longest) <= MOST.value or not linked["secure"][longest[0]]):
            ends = linked["client_host"][first], linked["server"][longest[0]]
            loops.setdefault(ends, []).append(longest)
    found = [_candidate(linked, max(some, key=len), len(some) - 1) for some in loops.values()]
    return pl.DataFrame(sorted(found, key=lambda row: row["frame"]), schema=_SCHEMA)


_SHOWN = ("code", "request_frame", "request_start", "response_frame", "response_start")

_SCHEMA = CANDIDATE | {
    "client": pl.String(),
    "server": pl.String(),
    "requests": pl.Int64(),
    "code": pl.Int64(),
    "other_loops": pl.Int64(),
    "is_secure": pl.Boolean(),
    "shown": pl.List(pl.List(pl.Int64())),
}


def _candidate(linked: pl.DataFrame, loop: list[int], others: int) -> dict[str, Any]:
    """Return the candidate of a loop.

    `loop`: the row numbers in `linked` of all redirects of one URL. `others`: the number of other loops between the same hosts.
    """
    first, last = (linked.row(loop[place], named=True) for place in (0, -1))
    return {
        **{name: first[name] for name in ("connection", "exchange", "frame", "server", "code")},
        "side": "server",
        "confidence": "medium" if first["secure"] else "high",
        "start": first["request_start"],
        "end": last["response_start"],
        "client": first["client_host"],
        "requests": len(loop),
        "other_loops": others,
        "is_secure": first["secure"],
        "shown": linked[loop[: SHOWN.value]].select(_SHOWN).rows(),
    }


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the loop."""
    return {
        "others": f" Other redirect loops between the same hosts: {x.other_loops:,}." if x.other_loops else "",
        "secure": _SECURE if x.is_secure else "",
        "forwarded": _FORWARDED if x.is_secure else "",
        "evidence": packets(*(packet for one in x.shown for packet in _proof(*one))),
    }


def _proof(code: int, frame: int, time: int, response: int, response_at: int) -> list[Packet]:
    return packets((frame, time, "the request"), (response, response_at, f"the redirect: {code}"))
