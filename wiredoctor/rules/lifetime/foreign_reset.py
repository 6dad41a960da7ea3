"""Something between client and server ended a connection in the name of one of them.

What it means
    The RST (or FIN) that ended the connection carries the address of the server, or of the client, but that host did not send
    it. Intrusion prevention systems and firewalls end connections like that, balancers and NATs whose idle limit is over, and
    networks that censor: they forge an RST to one side or to both.

Why it hurts
    Programs report "Connection reset by peer", but the peer did nothing: its log shows no error, or the same error about the
    other side. Time spent on searching the server for the cause is lost.

How it is proved
    Two or more of these signs. The TTL (hop limit) of the packet differs by more than 2 from that of all other packets of that
    host on the connection. It has the ACK flag and IP identification 0 where that host counts its packets; or the
    identification of the other side's last packet, or the next one, and none near those of its own host. The host goes on
    sending: data at or above the sequence number of the RST, or a SYN-ACK after its SYN was refused. It came too
    early: less than half a round trip after the packet that it answers. A FIN lacks the time-stamp option that all other
    packets carry. Its sequence number lies above the next byte and inside the window. Only the first RST of a side counts, with
    those that come within 20 ms and have its TTL: what follows a reset is answered by kernels and firewalls in anybody's name.

What it is not
    A reset with one of these signs only: each occurs by itself. A kernel answers packets that belong to no connection with an RST
    without ACK flag and with IP identification 0. After a change of the route all later packets have another TTL. An RST
    after which both sides keep sending: neither of them accepted it. A request on an idle connection that is answered by an RST
    because the connection is no longer known: keep-alive-race, forgotten.

What to do
    Find the device: its TTL says how many hops it is away. Let it drop packets or answer with ICMP instead of forging
    resets, or exempt this traffic.

References
    RFC 9293 section 3.10.7.4, RFC 5961, RFC 3360.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.proof import close_confidence, evidence
from wiredoctor.rules.words import duration

RULE = Rule(
    severity="warning",
    title="Not the {sender}, but something between client and server {ended} the connection{where}",
    message="The {close} that ended the connection carries the address of the {sender}, which did not send it: {signs}. "
    "{missing}{cut}{more}",
    remedy="Look for a device that ends connections in the name of others: an intrusion prevention system or a firewall with a "
    "rule for this traffic, a balancer or NAT with an idle limit, a Linux router whose rules reject what conntrack calls INVALID "
    "(REJECT --reject-with tcp-reset), or a network that censors. {hops}A capture at the {sender} shows that it sent no {close}: "
    "wiredoctor compare --both-sides puts both captures side by side. Let the device drop packets, or exempt this traffic.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference(
            "RFC 9293 section 3.10.7.4, what a reset has to look like",
            "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.10.7.4",
        ),
        Reference("RFC 5961 section 3, blind resets", "https://www.rfc-editor.org/rfc/rfc5961.html#section-3"),
        Reference("RFC 3360, inappropriate TCP resets considered harmful", "https://www.rfc-editor.org/rfc/rfc3360.html"),
    ),
    explained_by=(("keep-alive-race", "exchange"),),
    timeless=True,
    ends=True,
)


def find(foreign_closes: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per connection that was ended from between: with the first exchange that was lost by it, or the last one before."""
    c = pl.col
    rows = foreign_closes.join(closes, on=["connection", "exchange"], how="left", nulls_equal=True)
    rows = rows.with_columns(_lost().alias("lost"))
    first = rows.with_columns(c("lost").sum().over("connection").alias("requests")).sort(
        "connection", ~c("lost"), c("frame"), c("exchange"), nulls_last=True
    )
    one = first.unique("connection", keep="first", maintain_order=True)
    return one.with_columns(*_words()).select(
        "connection",
        "exchange",
        pl.lit(None, pl.String).alias("kind"),
        pl.lit(None, pl.String).alias("side"),
        pl.when("lost").then(pl.lit("error")).otherwise(pl.lit("warning")).alias("severity"),
        pl.lit("between").alias("origin"),
        _confidence().alias("confidence"),
        "frame",
        pl.coalesce("request_start", "time").alias("start"),
        c("time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        *("sender", "close", "ended", "where", "signs", "cut", "more", "hops", "missing"),
        evidence(
            ("request_frame", "request_start", "the request"),
            ("response_frame", "response_start", pl.format("the response begins: {}", "response_status")),
            ("frame", "time", pl.format("the {} in the name of the {}: {}", "close", "sender", "signs")),
            ("later_frame", "later_time", pl.format("the {} itself goes on as if it had sent no {}", "sender", "close")),
        ),
    )


def _confidence() -> pl.Expr:
    """The signs do not need the exchange; what was lost does."""
    return pl.when(pl.col("exchange").is_null()).then(pl.lit("high")).otherwise(close_confidence(pl.lit(value=False)))


def _begun() -> pl.Expr:
    """Something of the final response was seen."""
    return (pl.col("has_response") & (pl.col("response_status") >= 200)).fill_null(value=False)


def _came() -> pl.Expr:
    """Bytes of the response's body that had passed before an RST in the server's name; the later ones nobody took."""
    c = pl.col
    before = (c("reached") - c("response_offset") - c("response_head_bytes")).clip(0)
    by_server = (c("sender") == "server") & c("rst")
    return pl.when(by_server).then(pl.min_horizontal(before, "response_body_bytes")).otherwise("response_body_bytes")


def _cut_off() -> pl.Expr:
    """The response had begun, and its end had not passed before the close."""
    c = pl.col
    later = (c("sender") == "server") & c("rst") & (c("response_end_offset") > c("reached"))
    return _begun() & ((c("response_end_reason") != "complete") | later).fill_null(value=False)


def _lost() -> pl.Expr:
    """A request or a response was lost: it was not complete by then, or nobody answered it."""
    unanswered = pl.col("has_request").fill_null(value=False) & ~_begun()
    return (unanswered | _cut_off()) & ~pl.col("upgraded").fill_null(value=False)


def _words() -> list[pl.Expr]:
    """What was cut, and the signs."""
    c = pl.col
    sized = (c("response_framing") == "content-length") & c("response_body_due").is_not_null()
    left = c("response_body_due") - _came()
    missing = pl.when(c("lost") & _cut_off() & sized & (left > 0)).then(left)
    part = pl.format(" of {} bytes of the body of the {} are missing.", "response_body_due", "response_status")
    unsized = pl.format("The {} was not complete: {} bytes of its body had come.", "response_status", _came())
    half = c("has_request") & (c("request_end_reason") != "complete")
    more = pl.when(c("requests") > 1).then(pl.format(" Lost with it: {} more requests.", c("requests") - 1)).otherwise(pl.lit(""))
    carried = pl.format("By then {} bytes of the client and {} bytes of the server had passed.", "client_bytes", "server_bytes")
    cut = (
        pl.when(c("lost") & _cut_off())
        .then(pl.when(missing.is_not_null()).then(part).otherwise(unsized))
        .when(c("lost") & half)
        .then(pl.lit("The request was not complete, and nobody answered it."))
        .when("lost")
        .then(pl.lit("The request was not answered."))
        .when(c("upgraded").fill_null(value=False) | c("exchange").is_null())
        .then(carried)
        .otherwise(pl.lit("No request was under way: the next one needs another connection."))
    )
    where = (
        pl.when(c("lost") & _cut_off())
        .then(pl.format(" in the middle of the {}", "response_status"))
        .when("lost")
        .then(pl.lit(" instead of an answer"))
        .otherwise(pl.lit(""))
    )
    return [
        pl.when("rst").then(pl.lit("RST")).otherwise(pl.lit("FIN")).alias("close"),
        pl.when("rst").then(pl.lit("reset")).otherwise(pl.lit("closed")).alias("ended"),
        where.alias("where"),
        cut.alias("cut"),
        missing.alias("missing"),
        more.alias("more"),
        pl.concat_list(_signs()).list.drop_nulls().list.join("; ").alias("signs"),
        _hops().alias("hops"),
    ]


def _signs() -> list[pl.Expr]:
    """The signs that were found, in words; null for the others."""
    c = pl.col
    peer = pl.when(c("sender") == "server").then(pl.lit("client")).otherwise(pl.lit("server"))
    usual = (
        pl.when(c("lowest_ttl") == c("highest_ttl"))
        .then(pl.format("{}", "lowest_ttl"))
        .otherwise(pl.format("{} to {}", "lowest_ttl", "highest_ttl"))
    )
    zero = pl.format("IP identification 0 where the {} counts its packets (the last one: {})", "sender", "last_ip_id")
    copied = pl.format(
        "IP identification {}, next to the {}'s ({}) and not to the {}'s own ({})",
        *("ip_id", peer, "peer_ip_id", "sender", "last_ip_id"),
    )
    early = pl.format(
        "{} after the packet that it answers, though the {} is {} away (there and back)",
        duration(c("time") - c("trigger_time")),
        "sender",
        duration(c("rtt")),
    )
    return [
        pl.when(c("ttl").is_not_null()).then(pl.format("TTL {} where the {}'s packets have {}", "ttl", "sender", usual)),
        pl.when(c("ip_id") == 0).then(zero).when(c("ip_id") > 0).then(copied),
        pl.when("goes_on").then(pl.format("the {} goes on sending", "sender")),
        pl.when(c("trigger_time").is_not_null()).then(early),
        pl.when("no_timestamps").then(pl.lit("no time-stamp option, which all other packets carry")),
        pl.when(c("ahead").is_not_null()).then(pl.format("a sequence number {} bytes ahead", "ahead")),
    ]


def _hops() -> pl.Expr:
    """How far it is away: systems begin with a TTL of 64, 128 or 255."""
    ttl = pl.col("ttl")
    begun = pl.when(ttl > 128).then(255).when(ttl > 64).then(128).otherwise(64)
    told = pl.format("Its TTL of {} suggests a distance of {} hops from the capture point. ", ttl, begun - ttl)
    return pl.when(ttl.is_not_null()).then(told).otherwise(pl.lit(""))
