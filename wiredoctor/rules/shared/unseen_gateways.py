"""Find probable gateways whose connections to the servers behind them are not in the capture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from wiredoctor.findings import shorten
from wiredoctor.gateways.known import KEY
from wiredoctor.gateways.loose_attempts import MAX_LOOSE
from wiredoctor.rules.shared.gateway_remedies import SETTINGS, USUAL_LIMITS
from wiredoctor.rules.shared.gateway_words import HAPROXY_PAGES, LIGHTTPD_PAGE, gateway_software, list_servers
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections, of_exchanges
from wiredoctor.text import redact
from wiredoctor.text.escape import REQUEST_LENGTH, printable
from wiredoctor.world.attempts import host_of

c = pl.col

_UNSEEN = (502, 504)
_OF_FIRST = (
    *("request_frame", "request_start", "response_frame", "response_start"),
    *("response_server", "response_reason", "response_content_type", "response_body_bytes"),
)
"""The columns that are read from the first response with each status."""
_OF_ERROR = (
    *("connection", "exchange", "response_status", "request_method", "request_target", "request_end", "request_end_reason"),
    *_OF_FIRST,
)
"""The columns that are read of each error response."""

UNSEEN = pl.Struct({
    **{name: pl.Int64() for name in ("code", "responses", "response_frame", "response_start", "in_part")},
    **{"response_server": pl.String(), "response_reason": pl.String(), "response_content_type": pl.String()},
    "response_body_bytes": pl.Int64(),
    **{name: pl.List(pl.String()) for name in ("failed", "down", "unasked", "unopened", "encrypted", "foreign")},
    "checks": pl.List(
        pl.Struct({
            **{name: pl.String() for name in ("method", "target", "client_host", "checked")},
            "status": pl.Int32(),
        })
    ),
})  # fmt: skip
"""What is known of the responses of one server with one status, from `unseen_gateways`."""

_CLOUDFLARE = {
    520: "the server behind it sent an empty, unknown or unexpected response",
    521: "the server behind it refused the connection",
    522: "the server behind it did not answer the SYN, or did not acknowledge the request",
    523: "the server behind it cannot be reached, for example because no route leads to its address",
    524: "the server behind it accepted the request, but did not respond in time",
    525: "the TLS handshake with the server behind it failed",
    526: "the certificate of the server behind it is not valid",
}
"""The meanings of Cloudflare's own statuses, from its documentation (Cloudflare 5xx errors)."""

_COMMAND = (
    "tcpdump -i any -s 0 -w both.pcap 'tcp port 80 or tcp port 8001', with its own port and the ports of the servers behind it."
)
_RECORD = (
    f"Capture both sides on the gateway: {_COMMAND} Until then, or if the gateway reaches that server over a Unix socket, check "
    "the gateway's log for the time of this finding."
)
_READ_LOG = (
    "Check the gateway's log at that second: the gateway may have opened the connection without a request, and failed before "
    f"it sent one. If another program opened it (a health check), capture both sides on the gateway: {_COMMAND}"
)
_LOST_ANSWER = (
    "Check whether the SYN-ACKs of that server reach the program that connected: a firewall on its host, or a route, may discard "
    f"them. If that program is not the gateway, capture both sides on the gateway: {_COMMAND}"
)
_CHECK = (
    "If this is the gateway's health check, find out why the server fails it: correct the server, or the path, the expected "
    f"status and the timeout of the check. If another program sent it, capture both sides on the gateway: {_COMMAND}"
)
_CONNECT = (
    "If the gateway made the connection attempts that failed {when} ({servers}), they are the cause: see the finding "
    f"connect-failed about them. If another program made them, capture both sides on the gateway: {_COMMAND}"
)
_RECORD_BEHIND = {
    "Cloudflare": (
        "Check the log of the server behind Cloudflare at that second, and whether its firewall accepts Cloudflare's "
        "addresses. Capture on that server: tcpdump -i any -s 0 -w behind.pcap 'tcp port 80 or tcp port 443'."
    ),
    "AWS ALB": (
        "Check whether targets are registered and healthy (aws elbv2 describe-target-health), and whether a rule of the load "
        "balancer sends a fixed response. Its access log shows which target it asked and what that target answered. Capture on "
        "the targets: tcpdump -i any -s 0 -w behind.pcap 'tcp port 8080', with their port."
    ),
}
"""The remedy for gateways on which users cannot capture, by software."""


def unseen_gateways(exchanges: pl.LazyFrame, left: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each server and error status that suggests a gateway, if the capture shows no connections of gateways.

    `left`: exchanges whose client closed before the response. They do not count: some gateways then cancel their request to the
    server behind, and respond with an error.
    """
    status = c("response_status")
    server = c("response_server").cast(pl.String)
    varnish = (server == "Varnish") & (c("response_reason") == "Backend fetch failed")
    squid = server.str.to_lowercase().str.starts_with("squid")
    # Envoy replaces Server, so only the media type suggests that a response is its own
    envoy = server.str.to_lowercase().str.ends_with("envoy") & (c("response_content_type") == "text/plain")
    # an ALB passes the field Server of its targets on; a fixed response of a rule is seldom HTML
    balancer = server.str.starts_with("awselb/") & (c("response_content_type") == "text/html")
    haproxy = server.fill_null("").eq("") & (c("response_content_type") == "text/html")
    haproxy &= c("response_body_bytes").is_in(HAPROXY_PAGES[503])
    # lighttpd adds its name to responses of programs (FastCGI), so only its own page suggests that it made the response
    lighttpd = server.str.starts_with("lighttpd") & (c("response_content_type") == "text/html")
    lighttpd &= c("response_body_bytes") == LIGHTTPD_PAGE
    made = (status == 503) & pl.any_horizontal(
        said.fill_null(value=False)
        for said in (varnish, squid, envoy, balancer, haproxy, lighttpd, c("request_method") == "CONNECT")
    )
    made |= status.is_in([*_CLOUDFLARE]) & (server.str.to_lowercase() == "cloudflare").fill_null(value=False)
    given = exchanges.filter(c("has_response"), c("has_request"), status >= 200)
    # filters by connection instead of joins: of many exchanges, only those that may matter are read
    errors = given.filter(status.is_in(_UNSEEN) | made).select(*_OF_ERROR).collect(engine="streaming")
    mine = of_connections(connections, errors).select("connection", "server").collect()
    gave_up = of_exchanges(left, errors).select(*KEY).collect()
    some = errors.join(mine, on="connection").join(gave_up, on=KEY, how="anti")
    some = some.join(_asked_meanwhile(some, exchanges, connections), on=KEY, how="anti").lazy()
    theirs = connections.filter(c("server").is_in(mine["server"].unique().implode())).select("connection", "server").collect()
    totals = of_connections(given, theirs).group_by("connection").agg(pl.len().cast(pl.Int64).alias("total"))
    totals = totals.join(theirs.lazy(), on="connection").group_by("server").agg(c("total").sum())
    # a client may go on sending its body after the response
    asked = pl.when(c("request_end") <= c("response_start")).then("request_end").otherwise("request_start")
    wait = (c("response_start") - asked).clip(0)
    many = some.group_by("server", status.cast(pl.Int64).alias("code")).agg(
        pl.len().cast(pl.Int64).alias("responses"),
        wait.median().cast(pl.Int64).alias("median"),
        ((c("request_end_reason") != "complete") | (c("request_end") > c("response_start")))
        .sum()
        .cast(pl.Int64)
        .alias("in_part"),
        c(_OF_FIRST).sort_by("response_frame").first(),
    )
    unseen = many.join(totals, on="server").join(_servers_of_other_hosts(some, connections), on=["server", "code"], how="left")
    unseen = unseen.join(_failed_attempts(some, connections), on=["server", "code"], how="left")
    return unseen.join(_failed_checks(some, exchanges, left, connections), on=["server", "code"], how="left")


def _asked_meanwhile(some: pl.DataFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Return the exchanges in `some` during which the server's host sent the same request to another server.

    Then the other side is in the capture, although the snap length may have cut off what would prove it.
    """
    key = ["client_host", "request_method", "request_target"]
    named = some.with_columns(host_of("server").alias("client_host"))
    fronts = named.select(*key, *KEY, "request_start", c("response_start").alias("at"))
    known = connections.filter(
        ~c("server").is_in(some["server"].unique().implode()), c("client_host").is_in(fronts["client_host"].unique().implode())
    )
    known = known.select("connection", "client_host").collect()
    asked = of_connections(exchanges.filter("has_request"), known).join(known.lazy(), on="connection")
    asked = asked.select(*key, c("request_start").alias("sent"), c("request_start").alias("at")).sort("at").collect()
    found = fronts.sort("at").join_asof(asked, on="at", by=key, strategy="backward", check_sortedness=False)
    return found.filter(c("sent") >= c("request_start")).select(KEY)


def _other_hosts(some: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the connections of hosts that sent none of the requests in `some`."""
    asking = connections.join(some.select("connection"), on="connection", how="semi").select("client_host").unique()
    return connections.join(asking, on="client_host", how="anti")


def _failed_checks(
    some: pl.LazyFrame, exchanges: pl.LazyFrame, left: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return for each gateway and status the requests that may be failed health checks of the gateway (`checks`).

    A host that is not a client of the gateway sent two or more complete requests to one server, all with the same target. The
    last of these requests before the gateway's first response with this status is returned, if it got an error or no answer.
    """
    pair = ("client_host", "checked")
    others = _other_hosts(some, connections).select("connection", "client_host", c("server").alias("checked"))
    whole = exchanges.filter("has_request", c("request_end_reason") == "complete")
    status = pl.when("has_response").then("response_status")
    refused = whole.filter(status.is_null() | (status >= 400)).select("connection")
    # only the pairs with a request that failed are read whole
    places = pl.concat([refused, left.select("connection")]).unique()
    others = others.join(others.join(places, on="connection", how="semi").select(pair).unique(), on=pair, how="semi").collect()
    gave_up = of_connections(left, others).select(*KEY, pl.lit(value=True).alias("gave_up"))
    sent = of_connections(whole, others).join(others.lazy(), on="connection").join(gave_up, on=KEY, how="left")
    status = pl.when(c("gave_up").is_null() & c("has_response")).then("response_status")
    failed = status.is_null() | (status >= 400)
    names = {"request_method": "method", "request_target": "target"}
    last = (*(c(name).alias(short) for name, short in names.items()), failed.alias("failed"), status.alias("status"))
    return (
        sent.filter((c("request_target").n_unique() == 1).over(pair), pl.len().over(pair) >= 2)
        .join(_first_errors(some), how="cross")
        .filter(c("request_start") < c("by"))
        .sort("request_start")
        .group_by("server", "code", *pair, maintain_order=True)
        .agg(one.last() for one in last)
        .filter("failed")
        .head(MAX_LOOSE)
        .group_by("server", "code", maintain_order=True)
        .agg(pl.struct("method", "target", *pair, "status").alias("checks"))
    )


def _first_errors(some: pl.LazyFrame) -> pl.LazyFrame:
    """Return for each gateway and status the time (ns) of the gateway's first response with this status (`by`)."""
    return some.group_by("server", c("response_status").cast(pl.Int64).alias("code")).agg(c("response_start").min().alias("by"))


def _failed_attempts(some: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return for each gateway and status the server that may have failed a health check of the gateway (`down`).

    Before the gateway's first response with this status, a host that is not a client of the gateway tried to connect to the
    server. That attempt and the host's previous one failed: a server that refuses connections gets no request that could be a
    health check. If there are several such hosts or servers, only the newest attempt counts.
    """
    failed = c("first_answer_time").is_null()
    tried = (
        _other_hosts(some, connections)
        .filter(c("syn_time").is_not_null())
        .sort("syn_time", "connection")
        .select("syn_time", c("server").alias("checked"), (failed & failed.shift(1)).over("client_host", "server").alias("again"))
    )
    errors = _first_errors(some).sort("by")
    last = errors.join_asof(tried, left_on="by", right_on="syn_time", allow_exact_matches=False, check_sortedness=False)
    return last.filter("again").select("server", "code", pl.concat_list("checked").alias("down"))


def _servers_of_other_hosts(some: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return for each gateway and status the servers that may be behind the gateway.

    A server may be behind the gateway if a host that is not a client of the gateway connected to the server: that host may be
    another address of the gateway. `failed`: servers to which a connection failed while a response with this status was due.
    `encrypted`: servers with a TLS connection that was open at such a time. `foreign`: the same for a protocol other than
    HTTP/1, such as FastCGI or HTTP/2. `unasked`: servers to which a host connected at such a time without sending anything.
    `unopened`: servers whose SYN-ACKs at such a time were never acknowledged.
    """
    key = ["server", c("response_status").cast(pl.Int64).alias("code")]
    others = _other_hosts(some, connections)
    waits = some.drop_nulls("request_end").sort("request_end")

    def servers(found: pl.LazyFrame, name: str, start: str, end: str) -> pl.LazyFrame:
        return (
            found.select(c("server").alias(name), c(start).alias("start"), c(end).alias("end"))
            .head(MAX_LOOSE)
            .sort("end")
            .join_asof(waits, left_on="end", right_on="request_end", check_sortedness=False)
            .filter(c("start") <= c("response_start"))
            .group_by(key)
            .agg(c(name).unique())
        )

    failed = servers(
        others.filter(c("syn_time").is_not_null(), c("first_answer_time").is_null()), "failed", "syn_time", "syn_time"
    )
    nothing = (c("syn_time").is_not_null(), c("first_answer_time").is_not_null(), c("client_bytes") == 0)
    opened = c("history").str.contains("A", literal=True)
    unasked = servers(others.filter(*nothing, opened), "unasked", "syn_time", "syn_time")
    unopened = servers(others.filter(*nothing, ~opened), "unopened", "syn_time", "syn_time")
    encrypted = servers(others.filter(c("protocol") == "tls"), "encrypted", "start", "end")
    foreign = servers(others.filter(c("protocol").is_in(["http2", "unknown"])), "foreign", "start", "end")
    both = encrypted
    for more in (failed, unasked, unopened, foreign):
        both = both.join(more, on=["server", "code"], how="full", coalesce=True)
    return both


def _servers_of_other_hosts_text(row: Mapping[str, Any]) -> str:
    """Return the text about connections of other hosts, which may be the gateway's connections to the servers behind it."""
    if row["checks"]:
        listed = list_servers([_check_text(one) for one in row["checks"]])
        return f" (but a request that may be the gateway's health check failed before: {listed})"
    said = [
        f"but {text} {list_servers(sorted(row[name]))}"
        for name, text in (
            ("failed", "connection attempts failed meanwhile:"),
            ("down", "connection attempts that may be the gateway's health checks failed before:"),
            ("unasked", "a connection without a request was opened meanwhile to"),
            ("unopened", "meanwhile nothing acknowledged the SYN-ACKs of"),
            ("encrypted", "there is TLS with"),
            ("foreign", "a protocol other than HTTP/1.x is spoken with"),
        )
        if row[name] and not (name == "down" and row["failed"])
    ]
    return "".join(f" ({one})" for one in said)


def _check_text(check: Mapping[str, Any]) -> str:
    """Return the text about a request that may be a failed health check: its host and server, and what came back."""
    asked = printable(f"{redact.method(check['method'])} {redact.target(check['target'])}")
    got = "no response" if check["status"] is None else f"status {check['status']}"
    return f"{shorten(asked, REQUEST_LENGTH)} from {check['client_host']} to {check['checked']} ({got})"


def _own_meaning(software: str, code: int) -> str:
    """Return the meaning of a status that only a gateway with this software itself sends; "" for other statuses."""
    if software == "Cloudflare" and code in _CLOUDFLARE:
        return f"Cloudflare says that {_CLOUDFLARE[code]}"
    if software == "AWS ALB" and code == 503:
        return "an AWS ALB says that no server behind it is registered or in use, or one of its rules sends this response"
    if software == "haproxy" and code == 503:
        return (
            "haproxy says that it has no server for the request: health checks or connections failed, or the request waited in "
            "the queue for too long"
        )
    return ""


def _what_to_record(row: Mapping[str, Any]) -> str:
    if row["checks"]:
        return _CHECK
    for name, when in (("failed", "meanwhile"), ("down", "before")):
        if row[name]:
            return _CONNECT.format(servers=list_servers(sorted(row[name])), when=when)
    return _READ_LOG if row["unasked"] else _LOST_ANSWER if row["unopened"] else _RECORD


def _incomplete_requests_text(count: int, responses: int) -> str:
    """Return a sentence about the requests that were incomplete when a 504 answered them; "" if there are none.

    Other errors may come while the client is still sending.
    """
    if not count:
        return ""
    part = "had sent only part of its request"
    when = f"When this response came, the client {part}" if responses == 1 else f"{count:,} times the client {part}"
    return f" {when}: it may be the client that stopped."


def unseen_words(row: Mapping[str, Any], seconds: int) -> dict[str, Any]:
    """Return the words about a server and a status in a capture that has no connections of gateways to servers.

    `row`: a struct of type UNSEEN. `seconds`: the whole number of seconds that the median wait is close to; 0 if there is none.
    """
    code = row["code"]
    of_page = ("response_server", "response_reason", "code", "response_content_type", "response_body_bytes")
    software = gateway_software(*(row[name] for name in of_page))
    own = _own_meaning(software, code)
    limit = f" The median wait is close to {seconds} s: a timeout of the gateway ({SETTINGS.get(software, USUAL_LIMITS)})."
    waited = (limit if seconds else "") + _incomplete_requests_text(row["in_part"], row["responses"])
    return {
        "evidence": packets((row["response_frame"], row["response_start"], f"the first {code}")),
        "looks": f" The response looks like one from {software}." if software else "",
        "limit": waited if code == 504 else "",
        "means": own or "a gateway reports the failure of a server behind it",
        "unknown": "why" if own else "whether the gateway or a server behind it sent the status, and why",
        "record": _RECORD_BEHIND.get(software) or _what_to_record(row),
        "behind": _servers_of_other_hosts_text(row),
        "filter": f"http.response.code == {code}",
        "own": False,
    }
