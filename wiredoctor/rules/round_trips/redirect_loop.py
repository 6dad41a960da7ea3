"""A redirect leads back to the URL that was requested.

What it means
    The client requested a URL, followed the redirect (a status 301, 302, 303, 307 or 308 with a Location), and came back to
    the same URL, again and again. One URL may redirect to itself, or several URLs to each other.

Why it hurts
    The client gives up after 10 to 50 redirects: "ERR_TOO_MANY_REDIRECTS", "Exceeded 30 redirects", "stopped after 10
    redirects". No response has a status of 400 or above, so the server's log shows no error.

How it is proved
    The same client (host and User-Agent) followed a series of redirects: within a second after each, it requested the URL in
    the Location. The series contains the same URL several times.

    A frequent cause is a proxy that terminates TLS: the server behind it receives plain HTTP, and redirects to https. If the
    Location begins with https although the request was not encrypted, a loop is reported only on two conditions: the request
    comes from a gateway (it has a field such as X-Forwarded-For), and there are no more requests than clients follow redirects.

What it is not
    A client that requests a redirected URL regularly, such as a health check, and does not follow the redirect or gets
    another response there. A login that leads back to the first URL, which then has another response.

What to do
    Find out which rule of the server, or of a proxy in front of it, creates the redirect. If it redirects to https although
    the client already uses https, let the proxy send X-Forwarded-Proto, and let the application trust it. If a site redirects
    between two names (with and without www), or adds and removes a slash, let only one place decide. If a redirect sets a
    cookie, check whether the client sends it back.

References
    RFC 9110 section 15.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import CANDIDATE

RULE = Rule(
    symptom="*ERR_TOO_MANY_REDIRECTS*, *Exceeded 30 redirects*",
    severity="error",
    title="The redirects of {server} lead back to the same URL",
    message="{client} followed redirects from {request} ({code}), and each time they led back to the same URL: it was requested "
    "{requests:,} times.{secure} Clients give up after 10 to 50 redirects.",
    remedy="Find out which rule of the server, or of a proxy in front of it, creates the redirect. {forwarded}If two places "
    "redirect to each other (a name with and without www, a path with and without a slash), let only one of them decide. If the "
    "redirect sets a cookie, check whether the client sends it back.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 15.4, redirection", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.4"),
        Reference("nginx, proxy_set_header", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_set_header"),
    ),
    advice=(
        Advice("server", "gunicorn|WSGIServer|waitress", "Django: SECURE_PROXY_SSL_HEADER names the field of the proxy."),
        Advice("server", "Kestrel", "ASP.NET Core: ForwardedHeadersMiddleware, before UseHttpsRedirection."),
        Advice("server", "Apache", "Apache httpd: test %{HTTP:X-Forwarded-Proto} in the RewriteCond before the redirect."),
    ),
    summary=True,
)

ENOUGH = Threshold("5 requests", "the minimum number of requests for the URL: a login may lead back to it a few times")
FOLLOWED = Threshold("1 s", "a program follows a redirect within this time; a health check that asks again waits longer")
MOST = Threshold("60 requests", "the maximum number of redirects to https: curl, which follows most, gives up after 50")
SHOWN = Threshold("3 redirects", "the maximum number of redirects shown as evidence; the message has the total")

_FOLLOWED = (301, 302, 303, 307, 308)
_AUTHORITY = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)"
_SECURE = " The Location begins with https, but these requests were not encrypted: a proxy probably terminates TLS in front."
_FORWARDED = (
    "If a proxy terminates TLS, let it send X-Forwarded-Proto (nginx: proxy_set_header X-Forwarded-Proto $scheme), and let the "
    "application trust it, so that it does not redirect requests that are already secure. "
)


def screen() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return _redirects().sum() >= ENOUGH.value


def _redirects() -> pl.Expr:
    c = pl.col
    return c("has_request") & c("response_status").is_in(_FOLLOWED) & (c("response_location") != "")


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each redirect. `next`: the row of the redirect to which it led the client; null if there is none."""
    c = pl.col
    secure = c("response_location").str.to_lowercase().str.starts_with("https:")
    location = c("response_location").str.replace("#.*", "")
    path = location.str.replace(_AUTHORITY, "")
    asked = (
        exchanges.filter(_redirects() & (~secure | c("request_forwarded")))
        .join(connections.select("connection", "client_host", "server"), on="connection")
        .select(
            *("connection", "exchange", "client_host", "server"),
            *("request_frame", "request_start", "response_frame", "response_start"),
            c("request_user_agent").cast(pl.String).fill_null("").alias("agent"),
            c("request_host").cast(pl.String).str.to_lowercase().alias("host"),
            c("request_target").cast(pl.String).str.replace(_AUTHORITY, "").alias("target"),
            c("response_status").cast(pl.Int64).alias("code"),
            c("response_end").fill_null(c("response_start")).alias("answered"),
            secure.alias("secure"),
            location.str.extract(_AUTHORITY).str.to_lowercase().alias("to_host"),
            pl.when(path.str.starts_with("/")).then(path).when(path == "").then(pl.lit("/")).alias("to_target"),
        )
        .with_columns(pl.coalesce("to_host", "host").alias("to_host"), c("request_frame").alias("frame"))
        .sort("request_start", "frame")
        .with_row_index("row")
    )
    url = ["client_host", "agent", "host", "target"]
    later = asked.select(*url, c("row").alias("next"), c("request_start").alias("next_start")).sort("next_start")
    return (
        asked.sort("answered")
        .join_asof(
            later,
            left_on="answered",
            right_on="next_start",
            by_left=["client_host", "agent", "to_host", "to_target"],
            by_right=url,
            strategy="forward",
            check_sortedness=False,
        )
        .with_columns(pl.when(c("next_start") - c("answered") < FOLLOWED.value).then("next"))
        .drop("to_host", "to_target", "next_start")
    )


def judge(rows: pl.DataFrame, _: object) -> tuple[pl.DataFrame, None]:
    """Return a row for each client and server between which redirects led back to the same URL."""
    c = pl.col
    led = rows.filter(c("next").is_not_null() | c("row").is_in(rows["next"].drop_nulls().implode())).sort("row")
    places = {number: place for place, number in enumerate(led["row"])}
    urls = led.select("host", "target").rows()
    following = [None if number is None else places[number] for number in led["next"]]
    told: dict[tuple[str, ...], dict[str, Any]] = {}
    seen: set[int] = set()
    for first in range(led.height):
        visits: dict[tuple[str, str], list[int]] = {}
        at: int | None = first
        while at is not None and at not in seen:
            seen.add(at)
            visits.setdefault(urls[at], []).append(at)
            at = following[at]
        most = max(visits.values(), key=len) if visits else []
        if len(most) < ENOUGH.value:
            continue
        some = led[most[: SHOWN.value]].rows(named=True)
        if not some[0]["secure"] or len(most) <= MOST.value:
            key = (some[0]["client_host"], some[0]["agent"], some[0]["server"])
            told.setdefault(key, _candidate(some, len(most), led["answered"][most[-1]]))
    return pl.DataFrame(sorted(told.values(), key=lambda row: row["frame"]), schema=_SCHEMA), None


_SCHEMA = CANDIDATE | {
    "client": pl.String(),
    "server": pl.String(),
    "requests": pl.Int64(),
    "code": pl.Int64(),
    "secure": pl.String(),
    "forwarded": pl.String(),
}


def _candidate(some: list[dict[str, Any]], requests: int, end: int) -> dict[str, Any]:
    """Return the candidate of a loop. `some`: the first redirects of its URL. `requests`: how many there are. `end`: in ns."""
    first, secure = some[0], some[0]["secure"]
    return {
        **{name: first[name] for name in ("connection", "exchange", "frame", "server", "code")},
        "side": "server",
        "confidence": "medium" if secure else "high",
        "start": first["request_start"],
        "end": end,
        "client": first["client_host"],
        "requests": requests,
        "secure": _SECURE if secure else "",
        "forwarded": _FORWARDED if secure else "",
        "evidence": [item for row in some for item in _evidence(row)],
    }


def _evidence(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"frame": row["request_frame"], "time": row["request_start"], "note": "the request"}
    yield {"frame": row["response_frame"], "time": row["response_start"], "note": f"the redirect: {row['code']}"}
