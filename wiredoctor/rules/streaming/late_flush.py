"""A page was sent only when it was complete, which delayed the requests for its style sheets and scripts.

What it means
    The server needed time for an HTML page and then sent all of it at once. The first lines of the page, which name style
    sheets and scripts, were ready much earlier. The client could have fetched these files while the server worked on the rest.

Why it hurts
    The time that the server needs and the time for loading the page's files add up, although they could overlap. The user
    waits longer by up to the shorter of the two times.

How it is proved
    The first byte of an HTML response came 500 ms or more after the request, and its body came in one burst. Within a second
    after the end of the response, the same client host sent two or more GETs whose Referer is that page. There is one finding
    per page, over all connections.

What it is not
    A page that comes in several bursts is already flushed early. A fast page would gain nothing. Requests of another client,
    later requests, and requests whose Referer names only the site are not counted.

What to do
    Flush the head of the page before the slow work begins, and let nothing on the path buffer it. Or send 103 Early Hints.

References
    RFC 8297. RFC 9110 section 10.1.3. nginx, proxy_buffering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import CANDIDATE, candidate, grouped
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="a blank page, and then everything at once",
    severity="note",
    title="The page {page} was sent only when complete, after {wait}: its style sheets, scripts and images had to wait",
    message="The HTML page {page} came in one burst, {wait} after the request{times}. Only then did the client request its "
    "files: within a second after the end of the page, {requests} GETs named it as their Referer. If the head of the page were "
    "flushed early, these requests would overlap with the server's work on the rest of the page.",
    remedy="Send the head of the page (up to its style sheets and scripts) before the slow work begins, and flush it; or answer "
    "with 103 Early Hints first. Compression and proxies must forward flushed data: nginx proxy_buffering off (or "
    "X-Accel-Buffering: no in the response), Apache httpd flushpackets=on.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 8297, An HTTP status code for indicating hints (103)", "https://www.rfc-editor.org/rfc/rfc8297.html"),
        Reference("RFC 9110 section 10.1.3, Referer", "https://www.rfc-editor.org/rfc/rfc9110.html#section-10.1.3"),
        Reference("nginx, proxy_buffering", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering"),
    ),
    advice=(
        Advice(
            "server",
            "IIS|Microsoft|ASP",
            "ASP.NET: Response.Flush() after the head of the page. IIS sends flushed data in chunks only if HTTP keep-alive is "
            "on, and dynamic compression may buffer it.",
        ),
        Advice(
            "server",
            "PHP|Apache|nginx",
            "If the page comes from PHP: turn output_buffering off (or call ob_flush()), then call flush().",
        ),
        Advice(
            "server", "gunicorn|uvicorn|hypercorn|waitress|Werkzeug|Python", "Python: use a streaming response (a generator)."
        ),
        Advice("server", "Apache-Coyote|Tomcat|Jetty|Java", "Java: call flushBuffer() on the response."),
        Advice("server", "Express|^$", "If the server is Node: write the head first with res.write(), then the rest."),
    ),
    summary=True,
    absence=True,
)

MIN_WAIT = Threshold("500 ms", "the minimum time to the first byte; with less, an early flush gains nothing")
SOON = Threshold("1 s", "the maximum time from the end of the page to a request for its files; later requests may be a click")
MIN_REQUESTS = Threshold("2 requests", "the minimum number of requests: a single one may be anything, such as the site's icon")
SHOWN = Threshold("2 loads", "the maximum number of loads whose packets are shown; the message has the totals")

HTML = ("text/html", "application/xhtml+xml")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return (pl.col("response_start") - pl.col("request_end") >= MIN_WAIT.value) & pl.col("response_content_type").is_in(HTML)


class Facts(NamedTuple):
    """What is known of a page that was sent late.

    `shown`: the first loads, each with `wait` (ns), columns of `exchanges`, and the frames and times (ns) of the first two
    requests (`asked`, `second`) whose Referer is the page.
    """

    loads: int
    shown: Sequence[Mapping[str, int]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each late page whose files the same client requested soon after the page."""
    wait = pl.min_horizontal(c("response_start") - c("request_end") - c("rtt_server"), c("response_start") - c("previous_end"))
    whole = (c("response_end_reason") == "complete") & (c("response_bursts") == 1) & (c("response_status") >= 200)
    pages = exchanges.filter(may_match() & whole & c("rtt_server").is_not_null() & (wait >= MIN_WAIT.value)).select(
        "connection",
        wait.alias("wait"),
        *("request_method", "request_host", "request_target", "request_last_frame", "request_end"),
        *("response_frame", "response_start", "response_last_frame", "response_end", "handshake"),
        c("rtt_client").fill_null(0).alias("way"),
        (c("gap_before") | c("response_has_gap")).alias("doubtful"),
    )
    hosts = connections.select("connection", "client_host", "server")
    # a load and a request of the same second or of the next one may belong together
    seconds = pl.concat_list(c("response_end") // SECOND, c("response_end") // SECOND + 1)
    loads = pages.join(hosts, on="connection").with_columns(seconds.alias("second")).explode("second")
    asked = (
        exchanges.filter((c("request_method") == "GET") & (c("request_referer") != ""))
        .select("connection", "request_referer", "request_frame", "request_start", (c("request_start") // SECOND).alias("second"))
        .join(loads.select("second").unique(), on="second", how="semi")
        .join(hosts.select("connection", "client_host"), on="connection")
        .drop("connection")
    )
    # a request that follows the page passes the capture point a round trip to the client after the page's end
    after = c("asked_start") - c("response_end") - c("way")
    asked_then = (after >= -pl.max_horizontal(pl.lit(MILLISECOND), c("way") // 10)) & (c("asked_start") > c("response_end"))
    pairs = loads.join(
        asked.rename({"request_frame": "asked_frame", "request_start": "asked_start"}), on=["client_host", "second"]
    )
    return grouped(pairs.filter(asked_then & (after <= SOON.value)).sort("asked_frame"), _pages, _SCHEMA)


_PROOF = (
    *("wait", "request_last_frame", "request_end", "response_frame", "response_start", "response_last_frame", "response_end"),
    *("asked_frame", "asked_start", "second_frame", "second_start"),
)

_SCHEMA = CANDIDATE | {
    **{"server": pl.String(), "page": pl.String(), "wait": DURATION, "requests": pl.Int64(), "loads": pl.Int64()},
    "shown": pl.List(pl.Struct(dict.fromkeys(_PROOF, pl.Int64()))),
}


def _pages(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return a candidate for each page. A request belongs to a load of a page if its Referer names the page."""
    named = [_names(*row) for row in pairs.select("request_referer", "request_host", "request_target").iter_rows()]
    loads = (
        pairs.filter(pl.Series(named, dtype=pl.Boolean))
        .group_by("connection", "response_frame", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("requests"),
            c("asked_frame", "asked_start").first(),
            c("asked_frame", "asked_start").get(1, null_on_oob=True).name.replace("asked", "second"),
            c("wait", "request_host", "request_target", "request_last_frame", "request_end", "response_start").first(),
            c("response_last_frame", "response_end", "handshake", "doubtful", "server").first(),
        )
        .filter(c("requests") >= MIN_REQUESTS.value)
        .sort("response_frame")
    )
    names = [_page(*row) for row in loads.select("request_host", "request_target").iter_rows()]
    found = (
        loads.with_columns(pl.Series("page", names, pl.String))
        .group_by("server", "page", maintain_order=True)
        .agg(
            c("wait").median().cast(pl.Int64),
            pl.len().cast(pl.Int64).alias("loads"),
            c("requests").median().cast(pl.Int64),
            c("response_frame").first().alias("frame"),
            c("request_end").first().alias("start"),
            c("response_end").last().alias("end"),
            c("handshake").any(),
            c("doubtful").all(),
            pl.struct(_PROOF).head(SHOWN.value).implode().alias("shown"),
        )
    )
    sure = pl.when("doubtful").then(pl.lit("low")).when("handshake").then(pl.lit("high")).otherwise(pl.lit("medium"))
    return found.select(
        *candidate("server", sure, "frame", "start", "end", of="server"),
        *("server", "page", c("wait").cast(DURATION), "requests", "loads", "shown"),
    ).sort("frame")


def _page(host: str, target: str) -> str:
    """Return the name of a page, in which values that may be secret are masked."""
    return f"{redact.host(host)}{redact.target(_path(target).partition('?')[0])}"


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the loads of the page."""
    return {
        "times": f" (the median of {x.loads} loads)" if x.loads > 1 else "",
        "evidence": packets(*(one for alike in zip(*map(_proof, x.shown), strict=True) for one in alike)),
    }


def _proof(load: Mapping[str, int]) -> list[tuple[int, int, str]]:
    wait, after = duration_text(load["wait"]), duration_text(load["asked_start"] - load["response_end"])
    return [
        (load["request_last_frame"], load["request_end"], "the request for the page"),
        (load["response_frame"], load["response_start"], f"the first byte of the page, {wait} later"),
        (load["response_last_frame"], load["response_end"], "the end of the page, in the same burst"),
        (load["asked_frame"], load["asked_start"], f"a GET whose Referer is the page, {after} after its end"),
        (load["second_frame"], load["second_start"], "another such GET"),
    ]


def _names(referer: str, host: str, target: str) -> bool:
    """Return whether a Referer (an absolute URL without fragment, RFC 9110 section 10.1.3) names this Host and target."""
    scheme, mark, rest = referer.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        return False
    place, path = _split(rest)
    return (_host(place), path) == (_host(_authority(host, target)), _path(target))


def _split(rest: str) -> tuple[str, str]:
    """Split a URL after its `//` into the authority, and the path with its query. An empty path becomes `/`."""
    end = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    path = rest[end:]
    return rest[:end], path if path.startswith("/") else f"/{path}"


def _authority(host: str, target: str) -> str:
    """Return the authority of a request: from its target in absolute form (RFC 9112 section 3.2.2), otherwise from its Host."""
    return _split(target.partition("://")[2])[0] if _is_url(target) else host


def _path(target: str) -> str:
    return _split(target.partition("://")[2])[1] if _is_url(target) else target


def _is_url(target: str) -> bool:
    return target[:7].lower() == "http://" or target[:8].lower() == "https://"


def _host(authority: str) -> str:
    """Return the authority in lower case, without user information and default ports."""
    name = authority.rpartition("@")[2].lower()
    return name.removesuffix(":80").removesuffix(":443")
