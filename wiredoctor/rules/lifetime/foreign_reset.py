"""A device between client and server ended a connection in the name of the client or the server.

What it means
    The RST (or FIN) that ended the connection carries the address of the server, or of the client, but that host did not send it.
    Intrusion prevention systems, firewalls, censoring networks, and balancers or NATs with an idle timeout end connections in
    this way. They send forged RSTs to one side or to both.

Why it hurts
    Programs report "Connection reset by peer", but the peer did nothing. The peer's log shows no error, or the same error
    about the other side. Searching the server for the cause wastes time.

How it is proved
    At least two of six signs show that another host sent the RST or FIN, which is called the packet here:

    1. The TTL (hop limit) of the packet differs by more than 2 from that of all other packets of that host on the connection. If
    the host goes on sending with its own TTL, any difference counts, unless the path became shorter and the RST may have
    overtaken packets that the host had sent before it. Any difference also counts together with a wrong IP identification or
    missing timestamps, which a change of route does not explain.

    2. The packet has the ACK flag and IP identification 0, although that host increments it with every packet. Or its IP
    identification is not near those of the host, although the host increments it and sent a packet less than a second before. Or
    its IP identification is that of the other side's last packet, or the next one.

    3. The host that seems to have sent the RST goes on sending: data at or above the sequence number of the RST, any data or a
    FIN a second later, ACKs of new data, an ACK without data more than 1 ms after an RST with the ACK flag, or a SYN-ACK after an
    RST that refused the SYN. For a FIN, data beyond the FIN counts, unless the other side acknowledged it.

    4. The packet came less than half a round trip after the packet that it answers.

    5. The packet is a FIN and lacks the timestamp option that all other packets carry.

    6. The packet's sequence number lies above the next expected byte and inside the window, and the packet did not merely
    overtake the data in between.

    The request counts as lost if the response was cut off, or began only after an RST in the server's name. It is also lost if a
    FIN in the server's name carried the response, which then came from the device. It is lost, too (medium confidence), if an RST
    in the client's name came before an ACK of the response could come, no ACK of its end followed, and another packet of the
    connection came a round trip or more after the response: the client had dropped the connection, or no longer answers.

    If an RST shows one of these signs, its host may still send the response, so wiredoctor waits for the response for up to
    a minute.

    Only the first RST of a side counts, together with those that come within 20 ms and have the same TTL. Later RSTs do not
    count, because kernels and firewalls answer packets that come after a reset, and firewalls do so under any address.

What it is not
    A reset with only one of these signs is not reported, because each sign also occurs in genuine resets. If that sign is the
    TTL, a finding about a request or response that the close cut off says so and has medium confidence; no-response and
    truncated-response then blame no side. A kernel answers packets of an unknown connection with an RST without ACK flag and with
    IP identification 0, so these two together are no sign. Neither is another TTL that all later packets have, too: the route has
    changed. If both sides keep sending after an RST, neither of them accepted it. If an RST answers a request on an idle
    connection that the server has forgotten, keep-alive-race reports it as kind forgotten.

What to do
    Find the device: its TTL shows how many hops away it is. Have it drop packets or answer with ICMP instead of forging resets,
    or exempt this traffic.

References
    RFC 9293 section 3.10.7.4, RFC 5961, RFC 3360.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.shared.evidence import candidate, confidence, evidence
from wiredoctor.rules.shared.left_early import begun, whole_response
from wiredoctor.tables import of_connections
from wiredoctor.world.numbers import duration

c = pl.col

RULE = Rule(
    symptom="*connection reset by peer*",
    severity="warning",
    title="A device between client and server, not the {sender}, {ended} the connection{where}",
    message="The {close} that ended the connection carries the address of the {sender}, but the {sender} did not send it: "
    "{signs}. {missing}{cut}{more}",
    remedy="Look for a device that ends connections in the name of other hosts: an intrusion prevention system or a firewall "
    "with a rule for this traffic, a balancer or NAT with an idle timeout, a censoring network, or a Linux router whose "
    "rules reject packets in conntrack state INVALID (REJECT --reject-with tcp-reset). {hops}A capture at the {sender} "
    "shows that it sent no {close}: wiredoctor compare --both-sides puts both captures side by side. Have the device "
    "drop packets instead, or exempt this traffic.",
    references=(
        Reference(
            "RFC 9293 section 3.10.7.4, acceptable resets",
            "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.10.7.4",
        ),
        Reference("RFC 5961 section 3, blind resets", "https://www.rfc-editor.org/rfc/rfc5961.html#section-3"),
        Reference("RFC 3360, inappropriate TCP resets considered harmful", "https://www.rfc-editor.org/rfc/rfc3360.html"),
    ),
    explained_by=(("keep-alive-race", "exchange"),),
    timeless=True,
    ends=True,
)

MOST_HOPS = 40
"""The maximum plausible length of a path in hops; traceroute(8) searches for at most 30 by default."""


_UNREAD = " before the client received a response"


def find(foreign_closes: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection that a device on the path ended.

    The row is about the first exchange that was lost. If none was lost, it is about the exchange before the close.
    """
    rows = foreign_closes.join(closes, on=["connection", "exchange"], how="left", nulls_equal=True)
    rows = rows.with_columns(_is_lost().alias("lost"))
    first = rows.with_columns(c("lost").sum().over("connection").alias("requests")).sort(
        "connection", ~c("lost"), c("frame"), c("exchange"), nulls_last=True
    )
    one = first.unique("connection", keep="first", maintain_order=True)
    return one.with_columns(*_texts()).select(
        *candidate(None, _confidence(), "frame", pl.coalesce("request_start", "time"), "time"),
        pl.when("lost").then(pl.lit("error")).otherwise(pl.lit("warning")).alias("severity"),
        pl.lit("between").alias("origin"),
        *("sender", "close", "ended", "where", "signs", "cut", "more", "hops", "missing", "response_status"),
        pl.when(_outruns_ack()).then(c("response_end") + c("rtt_client")).alias("ack_due"),
        evidence(
            ("request_frame", "request_start", "the request"),
            ("response_frame", "response_start", pl.format("the response begins: {}", "response_status")),
            ("frame", "time", pl.format("the {} sent in the {}'s name: {}", "close", "sender", "signs")),
            ("later_frame", "later_time", pl.format("the {} itself goes on sending as if it had sent no {}", "sender", "close")),
        ),
    )


def conclude(rows: pl.DataFrame, connections: pl.LazyFrame, _exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Report a complete response as lost if an RST in the client's name came before the ACK of the response, and the client never
    acknowledged the end of the response.
    """
    known = of_connections(connections, rows).select("connection", "server_unacknowledged", c("end").alias("heard")).collect()
    joined = rows.join(known.unique("connection", keep="last"), on="connection", how="left", maintain_order="left")
    unread = ((c("server_unacknowledged") > 0) & (c("heard") >= c("ack_due"))).fill_null(value=False)
    cut = pl.format(
        "The client never acknowledged the end of the {}, so this end probably did not reach the client.",
        "response_status",
    )
    told = (("severity", pl.lit("error")), ("confidence", pl.lit("medium")), ("where", pl.lit(_UNREAD)), ("cut", cut))
    changed = [pl.when(unread).then(text).otherwise(name).cast(rows.schema[name]).alias(name) for name, text in told]
    return joined.with_columns(changed).select(rows.columns)


def _outruns_ack() -> pl.Expr:
    """Return whether an RST in the client's name came after the last response, but before an ACK of the end of that response
    could have come."""
    soon = (c("response_frame") < c("frame")) & (c("time") - c("response_end") < c("rtt_client"))
    return ~c("lost") & c("last_on_connection") & (c("sender") == "client") & c("rst") & whole_response() & soon


def _confidence() -> pl.Expr:
    """Return the confidence that the exchange was lost because of the close; high if the row has no exchange.

    The evidence that another device sent the packet does not depend on the exchange.
    """
    return pl.when(pl.col("exchange").is_null()).then(pl.lit("high")).otherwise(confidence(pl.lit(value=False)))


def _begun() -> pl.Expr:
    """Return whether the response had begun before the close. After an RST in the server's name, the client discards the
    response."""
    late = (c("sender") == "server") & c("rst") & (c("response_frame") > c("frame"))
    return begun() & ~late.fill_null(value=False)


def _is_forged() -> pl.Expr:
    """Return whether the response itself came from the device: its first byte is in the FIN that the server did not send."""
    return (begun() & (c("sender") == "server") & ~c("rst") & (c("response_frame") == c("frame"))).fill_null(value=False)


def _bytes_passed() -> pl.Expr:
    """Return the number of body bytes that passed the capture point before the client stopped receiving.

    After an RST in the server's name, later bytes do not count, because the client discards them.
    """
    before = (c("reached") - c("response_offset") - c("response_head_bytes")).clip(0)
    by_server = (c("sender") == "server") & c("rst")
    return pl.when(by_server).then(pl.min_horizontal(before, "response_body_bytes")).otherwise("response_body_bytes")


def _cut_off() -> pl.Expr:
    """Return whether the response had begun, but its end had not passed the capture point before the close."""
    later = (c("sender") == "server") & c("rst") & (c("response_end_offset") > c("reached"))
    return _begun() & ~_is_forged() & ((c("response_end_reason") != "complete") | later).fill_null(value=False)


def _is_lost() -> pl.Expr:
    """Return whether a request or response was lost.

    This is the case if the response was incomplete at the close, if the request had not been answered by then, or if the device
    answered it in place of the server.
    """
    unanswered = pl.col("has_request").fill_null(value=False) & ~_begun()
    return (unanswered | _cut_off() | _is_forged()) & ~pl.col("upgraded").fill_null(value=False)


def _texts() -> list[pl.Expr]:
    """Return the texts about what was lost and how the connection ended."""
    sized = (c("response_framing") == "content-length") & c("response_body_due").is_not_null()
    left = c("response_body_due") - _bytes_passed()
    missing = pl.when(c("lost") & _cut_off() & sized & (left > 0)).then(left)
    part = pl.format(" of {} bytes of the body of the {} are missing.", "response_body_due", "response_status")
    unsized = pl.format("The {} was not complete: {} bytes of its body had come.", "response_status", _bytes_passed())
    half = c("has_request") & (c("request_end_reason") != "complete")
    more = (
        pl.when(c("requests") > 1)
        .then(pl.format(" Further requests that were lost: {}.", c("requests") - 1))
        .otherwise(pl.lit(""))
    )
    carried = pl.format("By then {} bytes of the client and {} bytes of the server had passed.", "client_bytes", "server_bytes")
    late = pl.format(
        "The request had not been answered by then: the {} came {} later.",
        *("response_status", duration(c("response_start") - c("time"))),
    )
    cut = (
        pl.when(c("lost") & _is_forged())
        .then(pl.format("The {} is in the same packet: the device answered the request, not the server.", "response_status"))
        .when(c("lost") & _cut_off())
        .then(pl.when(missing.is_not_null()).then(part).otherwise(unsized))
        .when(c("lost") & half)
        .then(pl.lit("The request was not complete, and was not answered."))
        .when(c("lost") & begun())
        .then(late)
        .when("lost")
        .then(pl.lit("The request was not answered."))
        .when(c("upgraded").fill_null(value=False) | c("exchange").is_null())
        .then(carried)
        .otherwise(pl.lit("No request was in progress: the next request needs another connection."))
    )
    where = (
        pl.when(c("lost") & _is_forged())
        .then(pl.format(" with a {} of its own", "response_status"))
        .when(c("lost") & _cut_off())
        .then(pl.format(" in the middle of a response ({})", "response_status"))
        .when(c("lost") & (c("sender") == "client"))
        .then(pl.lit(_UNREAD))
        .when("lost")
        .then(pl.lit(" before a response came"))
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
        _distance_text().alias("hops"),
    ]


def _signs() -> list[pl.Expr]:
    """Return a text column for each sign that another device sent the packet; null in rows without that sign."""
    peer = pl.when(c("sender") == "server").then(pl.lit("client")).otherwise(pl.lit("server"))
    usual = (
        pl.when(c("lowest_ttl") == c("highest_ttl"))
        .then(pl.format("{}", "lowest_ttl"))
        .otherwise(pl.format("{} to {}", "lowest_ttl", "highest_ttl"))
    )
    zero = pl.format("IP identification 0, although the {} increments it with every packet (last: {})", "sender", "last_ip_id")
    copied = pl.format(
        "IP identification {}, which continues the {}'s ({}) and not the {}'s own ({})",
        *("ip_id", peer, "peer_ip_id", "sender", "last_ip_id"),
    )
    far = pl.format("IP identification {}, far from the {}'s own ({})", "ip_id", "sender", "last_ip_id")
    is_copy = (c("ip_id") - c("peer_ip_id")).is_in([0, 1, -0xFFFF])
    early = pl.format(
        "the packet came {} after the one that it answers, although the round trip to the {} takes {}",
        duration(c("time") - c("trigger_time")),
        "sender",
        duration(c("rtt")),
    )
    return [
        pl.when(c("ttl").is_not_null()).then(pl.format("TTL {}, although the {}'s packets have {}", "ttl", "sender", usual)),
        pl.when(c("ip_id") == 0).then(zero).when((c("ip_id") > 0) & is_copy).then(copied).when(c("ip_id") > 0).then(far),
        pl.when("goes_on").then(pl.format("the {} went on sending", "sender")),
        pl.when(c("trigger_time").is_not_null()).then(early),
        pl.when("no_timestamps").then(pl.lit("no timestamp option, which all other packets carry")),
        pl.when(c("ahead").is_not_null()).then(pl.format("a sequence number {} bytes above the next expected one", "ahead")),
    ]


def _distance_text() -> pl.Expr:
    """Return the text with the device's distance in hops, computed from the usual initial TTLs of 64, 128 and 255.

    The text is empty if the distance exceeds MOST_HOPS, because the device then uses another initial TTL.
    """
    ttl = pl.col("ttl")
    begun = pl.when(ttl > 128).then(255).when(ttl > 64).then(128).otherwise(64)
    told = pl.format("The packet's TTL of {} suggests a distance of {} hops from the capture point. ", ttl, begun - ttl)
    return pl.when(begun - ttl <= MOST_HOPS).then(told).otherwise(pl.lit(""))
