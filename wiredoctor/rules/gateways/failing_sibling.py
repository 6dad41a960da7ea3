"""One of several servers that get the same requests sends all of the server errors.

What it means
    A client sends the same requests to several servers, for example through a balancer or a name with several addresses. All
    responses with a status of 500 or more come from one of them; the others answer the same requests without an error.

Why it hurts
    Some requests fail, seemingly at random, and a second attempt succeeds. The totals show a small share of errors, which does
    not tell that one server fails far more often.

How it is proved
    The same client sent requests with the same method, site and path to two or more servers (addresses or ports). Paths that
    differ only in digits count as the same. One server sent three or more responses with a status of 500 or more to these
    requests, and the others sent none. If all servers failed equally often, the probability that all errors come from this one
    would be at most 1 %.

    If the client sends most of the requests to all of these servers, at the same time or one directly after the other, they do
    not share the work: each of them gets every event, as the subscribers of a webhook do. The kind fan-out says so.

What it is not
    A gateway and a server behind it are not compared: a gateway also sends errors of its own. Peers, which forward requests to
    each other, are compared by the requests that they answer themselves. Clients on the same host as the servers are excluded
    for the same reason. If the other servers got too few requests, their lack of errors proves nothing.
    Monitoring programs (Prometheus, kube-probe) send the same requests to servers that do different work, so their requests
    are excluded. So are health checks (/healthz, /ready, /ping and others): a server that is about to stop answers them with 503
    on purpose.

What to do
    Compare that server with the others: its version, its configuration, the services and databases that it uses, and its log at
    the times of the errors. Until the cause is found, have the balancer send it no requests. Kind fan-out: check its log, and
    have the client repeat what failed.

References
    The Site Reliability Workbook, chapter 16 (canarying releases).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.siblings import LISTED, comparable_path, comparable_site, is_monitoring
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections
from wiredoctor.text import redact
from wiredoctor.text.phrases import join_words
from wiredoctor.world.attempts import host_of

c = pl.col

_ANSWERED = "{server} answered {errors:,} of {requests:,} requests with {statuses}, for example {what}. "

RULE = Rule(
    symptom="some requests fail, and the next attempt succeeds",
    severity="warning",
    title={
        None: "All {errors:,} server errors come from one of {servers} servers",
        "fan-out": "All {errors:,} server errors come from one of {servers} servers that get the same requests",
    },
    message={
        None: _ANSWERED
        + "The other servers that {clients} sent the same requests to answered {others_requests:,} of them without a "
        "server error: {others}.",
        "fan-out": _ANSWERED + "The client sends each request to all {servers} servers, so no other one did the work of these "
        "requests. The others answered {others_requests:,} requests without a server error: {others}.",
    },
    remedy={
        None: "Compare {server} with the others: its version and configuration, the services and databases that it uses, and its "
        "log at the times of these errors. Until the cause is found, have the balancer send it no requests.",
        "fan-out": "Check the log of {server} at the times of these errors. If it must get each request, have the client repeat "
        "those that failed.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("Google, Canarying Releases", "https://sre.google/workbook/canarying-releases/"),
        Reference("RFC 9110 section 15.6, server errors", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6"),
    ),
    summary=True,
    any_order=True,
)

ENOUGH = Threshold("3 errors", "the minimum number of server errors; fewer may come from one server by chance")
CHANCE = Threshold("1 %", "the maximum probability that all errors would come from one server if all failed equally often")
AFTER = Threshold(
    "10 ms",
    "the maximum time from the start or the end of a request to that of the next one with the same target, if the client sends "
    "both on purpose",
)
EVERY = Threshold("50 %", "the minimum share of requests that the client sent to all servers if they do not share the work")
SHOWN = Threshold("3 exchanges", "the maximum number of errors shown as evidence; the message has the counts")

_ERROR = 500


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return (c("endpoint").min() != c("endpoint").max()) & ((c("response_status") >= _ERROR).sum() >= ENOUGH.value)


class Facts(NamedTuple):
    """What is known of a server that sent all errors. Times are in ns.

    `sent`: the statuses of the errors, the most frequent one first. `client`: None if there are several clients. `listed`: the
    other servers, with the columns `server` and `requests`. `shown`: the first errors, with the columns _SHOWN.
    """

    servers: int
    client: str | None
    sent: list[int]
    listed: list[dict[str, Any]]
    shown: list[dict[str, Any]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each server that sent all errors that its clients got from several servers."""
    known = connections.filter(c("client_host") != host_of("server")).select("connection", "client_host", "server")
    gateways, forwarded = _forwarding(known, tries)
    known = known.join(gateways.lazy(), on="server", how="anti")
    if not forwarded.is_empty():
        exchanges = exchanges.join(forwarded.lazy(), on=["connection", "exchange"], how="anti")
    failed = _with_keys(exchanges.filter(c("response_status") >= _ERROR), known)
    keys = failed.select("client_host", "key").unique().collect(engine="streaming").lazy()
    # only clients that got errors, and asked another server, too, matter, so most requests are never examined
    asking = known.join(keys.select("client_host").unique(), on="client_host").collect(engine="streaming")
    asking = asking.filter(c("server").n_unique().over("client_host") > 1)
    if asking.is_empty():
        exchanges = exchanges.clear()
    compared = _with_keys(of_connections(exchanges, asking), asking.lazy()).join(keys, on="key", how="semi")
    counts = (pl.len().cast(pl.Int64).alias("requests"), c("failed").sum().cast(pl.Int64).alias("errors"))
    groups = compared.group_by("key", "client_host", "server").agg(counts).collect(engine="streaming")
    alone = _failing_alone(groups.filter(c("server").n_unique().over("key") > 1))
    if alone.is_empty():
        exchanges = exchanges.clear()
    sent = _with_keys(of_connections(exchanges, asking), asking.lazy(), ("request_target", "request_start", "response_end"))
    alone = alone.join(_sent_to_all(sent, alone), on="server", how="left")
    return _candidate_columns(_with_keys(exchanges.filter(c("response_status") >= _ERROR), known, _SHOWN), alone).lazy()


def _forwarding(connections: pl.LazyFrame, tries: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the gateways (`server`), and the exchanges (`connection`, `exchange`) that peers forwarded.

    A peer is no gateway: each endpoint to which it forwards requests forwards some to it, too.
    """
    servers = connections.select("connection", "server")
    fronts = tries.select(c("front_connection").alias("connection")).unique()
    sent = tries.filter(c("exchange").is_not_null()).select("front_connection", "connection").unique()
    sent = sent.join(servers.rename({"connection": "front_connection"}), on="front_connection")
    pairs = sent.join(servers, on="connection", suffix="_behind").select("server", "server_behind").unique()
    gateways, routes = pl.collect_all([servers.join(fronts, on="connection").select("server").unique(), pairs])
    one_way = routes.join(routes, left_on=["server", "server_behind"], right_on=["server_behind", "server"], how="anti")
    peers = routes.join(one_way, on="server", how="anti").select("server").unique()
    at_peers = servers.join(peers.lazy(), on="server").select(c("connection").alias("front_connection"))
    forwarded = tries.join(at_peers, on="front_connection").select(
        c("front_connection").alias("connection"), c("front_exchange").alias("exchange")
    )
    return gateways.join(peers, on="server", how="anti"), forwarded.unique().collect()


_SHOWN = ("request_method", "request_target", "request_frame", "request_start", "response_frame", "response_start")


def _with_keys(rows: pl.LazyFrame, connections: pl.LazyFrame, more: Sequence[str] = ()) -> pl.LazyFrame:
    """Return the responses that are compared, with `key`: a hash of client host, method, site and path. `more`: other columns."""
    whole = (c("request_end_reason") != "hole") | c("request_head_time").is_not_null()
    answered = c("has_request") & whole & (c("response_status") >= 200) & ~is_monitoring()
    asked = rows.filter(answered.fill_null(value=False)).join(connections, on="connection")
    return asked.select(
        *("client_host", "server", "response_status", *more),
        pl.struct("client_host", "request_method", comparable_site(), comparable_path()).hash().alias("key"),
        (c("response_status") >= _ERROR).alias("failed"),
        c("gap_before").alias("doubtful"),
    )


def _failing_alone(groups: pl.DataFrame) -> pl.DataFrame:
    """Return the servers that sent all errors. `groups`: the `requests` and `errors` of each key, client and server."""
    failing = groups.join(groups.filter(c("errors") > 0).select("server").unique(), on="server", how="semi")
    pairs = failing.join(groups, on="key", suffix="_other").filter(c("server") != c("server_other"))
    others = pairs.group_by("server", "server_other").agg(c("requests_other", "errors_other").sum())
    others = others.sort("requests_other", "server_other", descending=[True, False])
    beside = others.group_by("server", maintain_order=True).agg(
        (pl.len() + 1).cast(pl.Int64).alias("servers"),
        c("requests_other").sum().alias("others_requests"),
        c("errors_other").sum().alias("others_errors"),
        pl.struct(c("server_other").alias("server"), c("requests_other").alias("requests")).head(LISTED.value).alias("listed"),
    )
    own = failing.group_by("server").agg(
        c("requests", "errors").sum(),
        c("client_host").min().alias("client"),
        c("client_host").n_unique().alias("clients"),
        c("key").unique().alias("keys"),
    )
    every = own.join(beside, on="server")
    by_chance = (c("requests") / (c("requests") + c("others_requests"))).pow(c("errors")) * 100 <= CHANCE.value
    return every.filter((c("errors") >= ENOUGH.value) & (c("others_errors") == 0) & by_chance)


def _sent_to_all(sent: pl.LazyFrame, alone: pl.DataFrame) -> pl.DataFrame:
    """Return for each server in `alone` whether the client sent most of its requests to all of the servers."""
    keys = alone.select("server", "servers", c("keys").alias("key")).explode("key")
    rows = sent.join(keys.lazy().select("key").unique(), on="key", how="semi")
    rows = rows.select("key", c("request_target").hash().alias("target"), "server", "request_start", "response_end")
    rows = rows.collect(engine="streaming").sort("key", "target", "request_start")
    start, over = (c(name).shift(1).over("key", "target") for name in ("request_start", "response_end"))
    next_ = (c("request_start") - over).is_between(0, AFTER.value) | (c("request_start") - start <= AFTER.value)
    rows = rows.with_columns((~next_.fill_null(value=False)).cum_sum().alias("event"))
    rows = rows.with_columns(pl.len().over("event").alias("sent"), c("server").n_unique().over("event").alias("different"))
    own = rows.join(keys, on=["server", "key"])
    at_all = (c("sent") == c("servers")) & (c("different") == c("servers"))
    return own.group_by("server").agg((at_all.mean() * 100 >= EVERY.value).alias("fan_out"))


def _candidate_columns(errors: pl.LazyFrame, alone: pl.DataFrame) -> pl.DataFrame:
    """Return a candidate for each server in `alone`. `errors`: all errors, with the columns _SHOWN."""
    keys = alone.lazy().select("server", c("keys").alias("key")).explode("key")
    mine = errors.join(keys, on=["server", "key"], how="semi")
    counts = mine.group_by("server", "response_status").agg(pl.len().alias("count")).collect(engine="streaming")
    counts = counts.sort("count", "response_status", descending=[True, False])
    by_status = counts.group_by("server", maintain_order=True).agg(c("response_status").alias("sent"))
    shown = pl.struct(*_SHOWN, "response_status").sort_by("response_frame").head(SHOWN.value).alias("shown")
    facts = mine.group_by("server").agg(
        c("request_start").min().alias("start"), c("response_start").max().alias("end"), c("doubtful").any(), shown
    )
    found = alone.join(facts.collect(), on="server").join(by_status, on="server")
    found = found.with_columns(c("shown").list.first().struct.field("response_frame").alias("frame"))
    sure = pl.when("doubtful").then(pl.lit("low")).otherwise(pl.lit("high"))
    return found.sort("frame", "server").select(
        *candidate("server", sure, "frame", "start", "end", kind=pl.when("fan_out").then(pl.lit("fan-out")), of="server"),
        *("server", "servers", "requests", "errors", "others_requests"),
        pl.when(c("clients") == 1).then("client").alias("client"),
        *("sent", "listed", "shown"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the statuses, the other servers, and the first errors."""
    first = x.shown[0]
    requests = [(one["request_frame"], one["request_start"], "the request") for one in x.shown]
    responses = [(one["response_frame"], one["response_start"], f"its response: {one['response_status']}") for one in x.shown]
    servers = [f"{one['server']} ({one['requests']:,})" for one in x.listed]
    beyond = x.servers - 1 - len(servers)
    return {
        "statuses": join_words([str(status) for status in x.sent]),
        "clients": x.client or "the same clients",
        "what": f"{redact.method(first['request_method'])} {redact.target(first['request_target'])}",
        "others": join_words([*servers, *([f"{beyond} more"] if beyond else [])]),
        "evidence": packets(*requests, *responses),
    }
