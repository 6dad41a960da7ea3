"""Data was retransmitted again and again, and never acknowledged.

What it means
    The kernel of the receiver acknowledges everything that arrives, even if its application is slow, busy or stopped. If the
    same data is sent four times and no ACK comes back, the path between the hosts loses all packets, or all packets of one
    kind (such as large ones). Or the receiver is gone.

    Kind too-large: a router reports by ICMP that segments are larger than the next link carries. Kind large-only: full segments
    are lost while smaller ones arrive, which is a path MTU black hole. Kind unreachable: a router reports by ICMP that it cannot
    deliver the segments. Kind after-idle: the connection had been idle, and probably a NAT, a firewall or a balancer had
    forgotten it, or the client was gone. Kind mid-message: the path broke while a message was being sent. Kind gone: none of
    these; the receiver or the complete path is gone. Or the server's listen queue is full: then its kernel drops the request and
    the ACK that completes the handshake, and may send its SYN-ACK again. Kind never-came: later packets show that the data was
    sent, but no copy of it reached the capture point. Kind damaged: each copy has a wrong checksum, so the receiver
    discards it. If no segment as large as the lost ones was ever acknowledged, the text of the kinds mid-message and gone names a
    path MTU black hole as a possibility.

Why it hurts
    The application waits for its own timeout: Linux retransmits data for 15 minutes before it gives up. Users see "read
    timed out", "Connection timed out", "context deadline exceeded", or a transfer that hangs. A new connection often works.

How it is proved
    The data has more than one byte, or it is a FIN whose sender still waited for a message or the rest of it. It was sent four
    times, spread over at least a second. Three times are enough if they are spread over at least three seconds, or if the
    sender then gave up (RST, FIN, or the same request on a new connection). No ACK covers its first byte, although the
    receiver had acknowledged the handshake or earlier data in this capture, and its window was not closed.

    Under heavy loss, the sender repairs one segment after the other, and the last one has to wait for its turn. So the first
    copy does not count if the receiver sent a packet more than half a second (or two round trips, if that is longer) after it
    and before the second copy. In this case, the other copies must be spread over at least a second; copies that are sent after
    the client closed do not count.

    TCP keep-alive probes count in the same way if their sender was waiting for the rest of a message, and the receiver sent
    nothing after the first probe: a kernel answers each probe that arrives.

    A response that is sent once is enough if it comes after 60 s without packets of the client and is answered with an RST
    without ACK flag, as from a host that does not know the connection. The client had sent no FIN or RST before. This is kind
    after-idle: the device that had forgotten the connection, or the restarted host of the client, discarded the response.

    Data of any other protocol that is sent once is enough, too, if no new data had passed for a second or more, and an RST
    without ACK flag comes at once: at most 50 ms plus the round trip to its sender after the data. The sequence number of this
    RST is the acknowledgment number of the data, so its sender does not know the connection. This is kind after-idle.

    If that RST came from another MAC address than the receiver's SYN, another machine answers for the receiver's address now: a
    failover, or an address that is used twice. That holds only on Ethernet, if the packets of the receiver had an unchanged
    time to live that is a start value (32, 64, 128 or 255), so no router was between, and if no packet was captured at two
    places.

    On an idle connection without HTTP, three keep-alive probes without an answer count if their sender then reset the connection,
    and the receiver lives: it answered a connection that was opened later. That is not needed if none of the probes or
    retransmissions (at least three) has the timestamps option that both SYNs had. The receiver has to ignore such packets.

    If the capture point is on the receiver's side of the fault, the ACKs are in the capture but do not reach the sender.
    After an ACK of the data has passed the capture point, the same data must come three more times, spread over at least 0.8
    s, and no new data may follow. Such a finding has medium confidence. It is a warning if it is about a response that the
    client has received completely: then the request did not fail, but the server does not know that. While the fault lasts,
    `wiredoctor live` reports it three seconds after the fourth copy.

    A capture beyond a path MTU black hole, such as at the client of a download, contains none of the copies. Then sequence
    numbers show the loss: those of the sender's small packets (its ACKs, the end of the message) are ahead of all data that
    arrived. The kind is large-only with medium confidence if four conditions hold:
    (1) At least two full segments are missing, or one segment, which may be smaller, is missing for at least a second.
    (2) No full segment arrived before. A segment above 536 bytes counts as full if the handshake was not captured, or if the
    missing bytes are a whole number of such segments.
    (3) The receiver acknowledged none of the missing data.
    (4) No copy came later: the receiver closed the connection after a second in which no data came (a response that came before
    its request was complete, such as a 408, is not counted as data); or packets ahead of the gap came for at least 3 s; or the
    connection stayed open for at least 3 s after a packet ahead of the gap, and the capture went on.

    Otherwise, the kind is never-came, with medium confidence, if the receiver acknowledged none of the missing data and closed
    the connection first. The close must come at least a second after the first packet ahead of the gap, and at least a second
    after the last data.

    The kind is not large-only if another connection of the two hosts carried a segment of the same size, and that size is at
    most 1,220 bytes, which every path of IPv6 carries. A larger segment on another connection proves nothing, because the path
    may have changed in the meantime.

    The kind is not after-idle if the server did not answer SYNs of a new connection at that time either: a NAT that has
    forgotten one connection lets new connections pass.

    Kind damaged: all captured copies have a wrong checksum (of the IP header, of TCP, or of the UDP header of a tunnel), and
    packets of the same sender without payload have correct ones. So its checksums were computed before the packets were captured.

    If the data is the FIN of a client that had waited for its response and received no part of it, the path may have broken
    at any time of this wait. Then the kind is after-idle only if a connection that the client opened later was answered.
    Otherwise the kind is gone.

What it is not
    A database connection that its pool closes sends a short message and a FIN: an RST that answers a FIN shows nothing. Single
    segments without the timestamps option occur in healthy connections. If the server is only slow, its kernel has acknowledged
    the request, and answers keep-alive probes. retransmission-stall reports data that is acknowledged in the end, and
    zero-window-stall a closed window. keep-alive-race reports a request that gets an RST without ACK flag, or that was on its
    way when the server sent its FIN. If the first copy should have arrived before the server sent its FIN, the request is
    reported here, unless an RST answers a later copy. Probes of an idle connection, and copies after the receiver's RST, do not
    count. Nor does the last data of a host that closes an idle connection, right before its FIN: a short TLS record
    (close_notify), a 408 without a request, or the farewell line of a protocol such as SMTP. No one waits for such data.
    Nothing is reported if the capture has only one direction, or if it ends before the last copy can be acknowledged. If the
    receiver acknowledged segments that are not in the capture, the capture dropped them: capture-loss reports that. A loss that
    is repaired later, even after the receiver's FIN, is not a black hole.

What to do
    Kinds too-large, large-only: clamp the MSS or let ICMP through. Kind after-idle: close idle connections earlier, or send
    keep-alive probes. Kind unreachable: find out why the router that sent the ICMP error does not deliver the packets. Kind
    damaged: find the network card, the driver or the device that sends wrong checksums. Kinds mid-message, never-came, gone:
    capture on both sides of each suspected device to see where the packets end.

References
    RFC 9293 section 3.8.3, RFC 6298, RFC 7323 section 3.2, RFC 2923 section 2.1, RFC 4821, RFC 5382 section 5, AWS and Azure on
    idle timeouts.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold, cached_for_thresholds
from wiredoctor.rules.shared import unanswered_words
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.unanswered_words import Facts
from wiredoctor.tables import CLIENT, PROTOCOLS, SERVER
from wiredoctor.world import World, neighbors
from wiredoctor.world.products import default, find_setting
from wiredoctor.world.unacknowledged import Surroundings, Unacknowledged

c = pl.col

_SENT = "{sent_again} {seen}"
_FIND = (
    "Capture on both sides of each suspected device at once (firewall, VPN gateway, balancer, router) to see where the packets "
    "end. Check the logs, drop counters and failovers of these devices at that time. "
)
_SIZES = (
    "Clamp the MSS where the narrow link begins: iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS "
    "--clamp-mss-to-pmtu (or --set-mss). Let ICMP type 3 code 4 and ICMPv6 type 2 pass through firewalls: they report the size "
    "to the sender. Where they cannot pass, net.ipv4.tcp_mtu_probing=1 lets the sender find the size by itself. Otherwise "
    "lower the MTU of the sender's interface or route (ip route change ... mtu N) to the size that a VPN or tunnel leaves."
)

_NLB = default("AWS network load balancers", "tcp.idle_timeout.seconds")
_AZURE = find_setting("Azure Load Balancer", "idleTimeoutInMinutes")

RULE = Rule(
    symptom="*read timed out*, a request that hangs while others work",
    severity="error",
    title={
        "too-large": "Segments of the {sender} are too large for the path, where a link carries only {mtu:,} bytes",
        "large-only": "Segments of {smallest:,} bytes from the {sender} never arrive, but smaller ones do",
        "unreachable": "{router} reports that it cannot deliver what the {sender} sent: {report}",
        "after-idle": "After {idle} idle {never}: {suspect}",
        "mid-message": "The path broke in the middle of a message: {never}",
        "never-came": "{amount} from the {sender} never arrived, although later packets did",
        "gone": "{opening} {sender} sent {data} {copies} times, {unheard}",
        "damaged": "All {copies} copies of the {sender}'s data arrived damaged, so none was acknowledged",
    },
    message={
        "too-large": _SENT + " {router} reported {report}. The {sender} did not send smaller segments: the report does not "
        "reach the {sender}, or is ignored.",
        "large-only": _SENT + "{sizes} A link on the path carries no packets of that size, and the ICMP message that should "
        "report it does not arrive, or is ignored: a path MTU black hole.{others}",
        "unreachable": _SENT + " {router} reported {report}.{context}",
        "after-idle": _SENT + " {quiet} for {idle} before.{reason}{others}{survived}{defaults}{gone}",
        "mid-message": _SENT + "{options}{context} {fate}{size}{others}",
        "never-came": _SENT + " Later packets of the {sender} arrived, so the path was not down, but for {gap} before the close "
        "no data came. The {sender} repeats data that is not acknowledged, so the path lost each copy before it "
        "reached the capture point.",
        "gone": _SENT + "{options}{context} {fate}{size}{others}",
        "damaged": _SENT + " Each has a wrong {checksum}, so the {receiver} discards it. Packets of the {sender} without payload "
        "have correct ones. The {sender} sends these packets with a wrong checksum, or a device between the {sender} and the "
        "capture point damages them.",
    },
    remedy={
        "too-large": _SIZES,
        "large-only": _SIZES,
        "unreachable": "Find out why that router or firewall does not deliver the packets: a route or a host that is down, or a "
        "rule that was changed while the connection was open. {limit}",
        "after-idle": "{moved}Close idle connections sooner than the path forgets them (set the idle timeout of the client's "
        "pool below {idle}). Or keep them alive with pings of the application protocol or with TCP keep-alive probes "
        "(SO_KEEPALIVE with TCP_KEEPIDLE; the default of two hours is too long), at intervals shorter than {idle}. Otherwise "
        "raise the idle timeout of the NAT, firewall or balancer. {limit}",
        "mid-message": "{ping}" + _FIND + "{limit}",
        "never-came": _FIND + "A device that inspects the data may discard just these segments. {limit}",
        "gone": "{queue}{ping}" + _FIND + "{limit}",
        "damaged": "{find_damage} {limit}",
    },
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(
        Reference("RFC 9293 section 3.8.3, TCP connection failures", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.8.3"),
        Reference("RFC 6298, Computing TCP's Retransmission Timer", "https://www.rfc-editor.org/rfc/rfc6298.html"),
        Reference("RFC 2923 section 2.1, black hole detection", "https://www.rfc-editor.org/rfc/rfc2923.html#section-2.1"),
        Reference("RFC 4821, Packetization Layer Path MTU Discovery", "https://www.rfc-editor.org/rfc/rfc4821.html"),
        Reference("RFC 5382 section 5, NAT session refresh", "https://www.rfc-editor.org/rfc/rfc5382.html#section-5"),
        Reference(
            "AWS, idle timeout of Network Load Balancers",
            "https://docs.aws.amazon.com/elasticloadbalancing/latest/network/update-idle-timeout.html",
        ),
        Reference(
            "Microsoft, Azure Load Balancer: TCP reset and idle timeout",
            "https://learn.microsoft.com/en-us/azure/load-balancer/load-balancer-tcp-reset",
        ),
    ),
    explained_by=(("zero-window-stall", "time"),),
    absence=True,
    ends=True,
    protocols=PROTOCOLS,
)

COPIES = Threshold(
    "4 copies",
    "the minimum number of copies, including the first; single packets or ACKs are lost now and then, but almost never so many "
    "in a row, with growing pauses between them",
)
SPAN = Threshold(
    "1 s",
    "the minimum time over which the copies are spread; in a shorter time, all of them may be lost in one outage of a busy link",
)
LONG_SPAN = Threshold(
    "3 s",
    "the minimum time over which copies are spread for three of them to be enough: after this time, the pauses are so long that "
    "the sender often gives up, or the capture ends, before a fourth copy",
)
GAVE_UP = Threshold("3 copies", "the minimum number of copies if the sender then gave up")
NEVER_CAME = Threshold(
    "3 s",
    "the minimum time for which packets after the gap arrive, but not the missing data; Linux has sent it four times by then",
)
PROGRESS = Threshold(
    "500 ms",
    "the first copy does not count if, before the second copy, the receiver sends a packet more than this time (or two round "
    "trips, if longer) after the first; an ACK of earlier data that was on its way comes sooner",
)
AGAIN_SPAN = Threshold(
    "800 ms",
    "the minimum time over which copies of acknowledged data are spread; Linux sends three copies within 1.4 s after the first",
)
REST = Threshold(
    "5 s",
    "the minimum idle time for kind after-idle, and for a close whose last data is ignored (such as a close_notify); the "
    "shortest observed times after which a NAT forgot a connection were a few seconds (RFC 5382 requires more than two hours)",
)
PROBED = Threshold(
    "120 s",
    "the minimum idle time before keep-alive probes for kind after-idle; probes that are meant to keep a connection in the "
    "tables of devices on the path are sent more often",
)
FORGOTTEN = Threshold(
    "60 s",
    "the minimum idle time before a response that is answered with an RST without ACK flag; this is the shortest idle timeout "
    "that AWS Network Load Balancers allow, and after a shorter time the client may have given up, with an RST that was lost",
)
RESTED = Threshold(
    "1 s",
    "the minimum time between new data for a connection that was forgotten, if an RST without ACK flag answers data that is not "
    "HTTP; a connection that was used more recently was cut off while in use",
)
REPLY = Threshold(
    "50 ms",
    "the maximum time (plus the round trip to the receiver) from data to the RST that answers it; a kernel answers at once",
)
ALIVE = Threshold(
    "10 ms",
    "a packet of the receiver shows that it was running if it came at least this time (plus the round trip to the receiver) "
    "after the first copy of the data; an earlier packet may have left before the data arrived",
)
RECENT = Threshold(
    "1 s",
    "a packet of the receiver shows that it was running if it came at most this time (or four round trips, if that is longer) "
    "before the first copy of the data",
)
PATH_MTU = Threshold(
    "536 bytes",
    "a missing segment up to this length is not lost because of its size: this is the default MSS of IPv4 (RFC 9293 section "
    "3.7.1), which practically every path carries",
)
TOO_LARGE = Threshold(
    "1000 bytes",
    "a segment that is sent again and is at most this long cannot be lost because of its size: every path that QUIC can use "
    "carries UDP payloads of 1,200 bytes (RFC 9000 section 14)",
)
ANSWERABLE = Threshold(
    "500 ms",
    "an ACK of the last copy may still come within this time (or two round trips, if longer); if the capture ends "
    "sooner, that copy does not count",
)

HALF_CLOSED = Threshold(
    "5 ms", "the maximum time from data to a FIN of a client that closes only its sending side and waits for the response"
)
FAREWELL = Threshold(
    "96 bytes",
    "the maximum length of the record with which TLS closes a connection (close_notify): 24 to 85 bytes, depending on the "
    "cipher, and at most 77 bytes together with an HTTP/2 GOAWAY; an HTTP response is longer",
)
AT_ONCE = Threshold(
    "50 ms",
    "the maximum time between a close_notify or a last line and the FIN, in either order: a program makes one call to send and "
    "one to close",
)
LINGERS = Threshold(
    "10 s",
    "the maximum time for which a TLS host waits for the close_notify of its peer before it sends its own FIN; a host that waits "
    "longer waits for something else, such as the answer to an HTTP/2 PING",
)
LAST_LINE = Threshold(
    "512 bytes", "the maximum length of a last line: SMTP allows reply lines of this length (RFC 5321 section 4.5.3.1.5)"
)
SHARED_THRESHOLDS = (neighbors,)


def cutoffs() -> dict[str, int]:
    """Return the cutoff for the core (wiredoctor.core): the minimum number of copies of the same data for a row of
    `unacknowledged`.
    """
    return {"min_copies": min(COPIES.value, GAVE_UP.value)}


def find(unacknowledged: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each direction of a connection with data that probably never reached the receiver, or was acknowledged
    late.

    A row about data that was acknowledged late withdraws an earlier finding about the same data.
    """
    # renamed, because a candidate's column `direction` names the side that must change
    withdrawn = c("acknowledged_frame").is_not_null()
    length = pl.when(_missing()).then(pl.min_horizontal("smallest_unacknowledged", "length")).otherwise("smallest_unacknowledged")
    rows = _without_turn(unacknowledged.with_columns(length.alias("smallest_unacknowledged")))
    found = rows.filter(
        _never_acknowledged() | _gave_up_probing() | _full_segments_lost() | _never_came() | _forgotten() | withdrawn
    )
    return found.select(_columns())


def _without_turn(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Count from the second copy if, until then, the data only waited for earlier losses to be repaired (see PROGRESS).

    The second copy is the first retransmission since the newest ACK that acknowledged more data. In such rows, `first_frame` is
    that of the second copy, and `second_frame` is null.
    """
    progress = c("heard_time") - c("first_time") > pl.max_horizontal(pl.lit(PROGRESS.value), 2 * _round_trip())
    waited = (progress & (c("copies") > 1) & ~c("acknowledged_before") & ~c("fin") & ~c("keep_alive")).fill_null(value=False)
    return rows.with_columns(
        c("copies") - waited.cast(pl.Int32),
        *(pl.when(waited).then(f"second_{name}").otherwise(f"first_{name}").alias(f"first_{name}") for name in ("frame", "time")),
        *(pl.when(~waited).then(f"second_{name}").alias(f"second_{name}") for name in ("frame", "time")),
    )


@cached_for_thresholds
def _columns() -> list[pl.Expr]:
    # the sender of a FIN had waited before it, so the time before the FIN counts
    until = pl.when(_still_missing()).then("time").otherwise("last_time")
    waited = pl.when(_missing()).then(pl.coalesce("peer_close_time", until)).when("fin").then("first_time").otherwise(None)
    waited = pl.when(_response_forgotten()).then("first_time").otherwise(waited)
    start = pl.coalesce(waited - pl.when(_missing()).then(_gap_time()).otherwise("rest"), "first_time")
    end = pl.coalesce(waited, pl.max_horizontal("last_time", "own_close_time"))
    alone = _full_segments_lost() | (_may_be_large() & _alive() & ~_missing() & ~c("fin"))
    kind = pl.when(alone & c("icmp_mtu").is_null()).then(pl.lit("large-only"))
    flags = {
        **{"missing": _missing(), "forgotten": _forgotten(), "alive": _alive(), "closed_later": _closed_later()},
        **{"too_large": _are_too_large(), "may_be_large": _may_be_large(), "full_lost": _full_segments_lost()},
        "gave_up_probing": _gave_up_probing(),
        "sent_often": _sent_often_enough(repeated=pl.lit(value=False)),
        **_farewells(),
    }
    made = [*candidate(None, pl.lit(None, pl.String), "first_frame", start, end, kind=kind), _gap_time().alias("gap_time")]
    made += [c("frame").alias("row_frame")]
    made += [c("direction").alias("sender_direction")]  # a candidate's column `direction` names the side that must change
    made += [flag.alias(name) for name, flag in flags.items()]
    made += [pl.lit(None, pl.Boolean).alias(name) for name in _OF_OTHERS]
    made += [pl.lit(None, pl.Int64).alias("survived_rest"), pl.lit(None, pl.String).alias("severity")]
    known = {column.meta.output_name() for column in made}
    return made + [c(name) for name in (*Facts._fields, "http") if name not in known]


_OF_OTHERS = ("same_elsewhere", "answered_later", "down", "not_begun", "only_syn_acks", "syn_ack_again", "maybe_large_only")
"""The facts that only `decide` knows."""

ASKS, ORDER = (Unacknowledged,), ("connection", "fin", "acknowledged_before", "start")
"""A candidate about a FIN comes last, so a finding about earlier data that was reported live stays."""


def decide(x: Facts, world: World) -> Facts | None:
    """Return what is known of unacknowledged data after a comparison with the other connections of the two hosts.

    There is at most one finding per connection. A later row about the same data replaces an earlier one.
    """
    key = (x.connection, x.sender_direction, x.first_frame)
    around = world.of(Unacknowledged).of(key, (x.row_frame, x.time, x.copies, x.last_frame, x.fin))
    if around is None or not (x.missing or x.forgotten or x.gave_up_probing or x.sent_often or around.repeated):
        return None
    if x.gave_up_probing and not (around.answered_later or x.lacks_options):
        return None
    if world.memory.get(_NAME) == x.connection:
        return None
    world.memory[_NAME] = x.connection
    x = _with_surroundings(x, around)
    kind, sure = _kind(x, around), x.handshake
    if kind == "large-only":
        sure = x.same_elsewhere or x.sack_frame is not None
    elif kind == "after-idle":
        sure = x.answered_later
    sure = sure and not x.acknowledged_before and not x.missing
    return x._replace(kind=kind, confidence="high" if sure else "medium", delay=_delay(x))


_NAME = "unanswered"


def _with_surroundings(x: Facts, around: Surroundings) -> Facts:
    is_client, rest = x.sender_direction == around.client_direction, around.survived_rest
    syn_ack_again, other = is_client and around.syn_ack_again, x.acknowledged_before or x.peer_repeats or x.fin
    delivered = x.acknowledged_before and x.role == SERVER and around.whole
    return x._replace(
        role=x.role if around.client_direction is None else CLIENT if is_client else SERVER,
        severity="error" if x.exchange is not None and not delivered else "warning",
        same_elsewhere=around.same_elsewhere,
        answered_later=around.answered_later,
        down=around.down,
        not_begun=x.fin and x.role == CLIENT and around.unanswered,
        only_syn_acks=is_client and around.only_syn_acks,
        syn_ack_again=syn_ack_again,
        survived_rest=None if rest is None or rest < RECENT.value else rest,
        # no segment as large was acknowledged, but nothing has to show that the receiver was running at that time
        maybe_large_only=x.too_large and not around.fits_elsewhere and not (other or syn_ack_again or around.down),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the texts, the evidence, and the origin of the FIN and RST in the evidence."""
    named = _DEFAULTS if x.kind == "after-idle" and x.reset_mac is None and not x.lacks_options else ""
    return {**unanswered_words.words(x), "defaults": named}


_DEFAULTS = (
    f" AWS Network Load Balancers forget a connection after {_NLB} by default, Azure's load balancer after {_AZURE.default} s; "
    "RFC 5382 asks NATs for 2 h 4 min at least."
)


# what counts


def _round_trip() -> pl.Expr:
    return pl.col("rtt_own").fill_null(0).clip(0) + pl.col("rtt_peer").fill_null(0).clip(0)


def _never_acknowledged() -> pl.Expr:
    """Return whether no ACK covers the data, although the receiver was captured and its window was open."""
    awaited = c("message_owed") & (c("keep_alive") | (c("fin") & (c("own_close_origin") != "between")))
    counts = (c("length") > 1) | awaited
    seen = c("heard_frame").is_not_null() & ~c("window_closed") & ~c("peer_unseen")
    enough = _sent_often_enough(repeated=pl.lit(value=True))
    return c("acknowledged_frame").is_null() & counts & seen & ~_missing() & ~_is_explained_otherwise() & enough


def _gave_up_probing() -> pl.Expr:
    """Return whether a side of an idle connection reset it because none of its keep-alive probes was answered.

    `decide` keeps this only if the receiver is alive: it answered a connection that was opened later.
    """
    reset = c("keep_alive") & ~c("message_owed") & ~c("http") & c("own_close_rst") & (c("own_close_frame") > c("last_frame"))
    seen = c("heard_frame").is_not_null() & ~c("peer_unseen") & c("acknowledged_frame").is_null()
    return (reset & seen & (c("own_close_origin") != "between") & (c("copies") >= GAVE_UP.value)).fill_null(value=False)


def _forgotten() -> pl.Expr:
    """Return whether data came after an idle time, and was answered by a host that does not know the connection.

    That answer is an RST without ACK flag. It comes at once if the data is not HTTP; keep-alive-race reports requests.
    """
    at_once = c("peer_close_time") - c("last_time") <= c("rtt_peer").fill_null(0).clip(0) + REPLY.value
    other = ~c("http") & c("exchange").is_null() & (c("length") > 1) & (c("copies") > 0) & (c("rest") >= RESTED.value)
    # no one waits for the answer to data that its sender sends just before it closes
    left = (~c("own_close_rst") & ((c("own_close_time") - c("first_time")).abs() <= AT_ONCE.value)).fill_null(value=False)
    return _response_forgotten() | (c("peer_rst_unknown") & other & at_once & ~left).fill_null(value=False)


def _response_forgotten() -> pl.Expr:
    """Return whether an HTTP response came after a long idle time, and was answered by a host that does not know the connection.

    The client had sent no packet in the idle time, not even an answer to a probe.
    """
    silent = c("first_time") - c("heard_time") >= FORGOTTEN.value
    response = c("http") & (c("role") == SERVER) & c("exchange").is_not_null() & (c("length") > 1) & (c("copies") > 0)
    return (c("peer_rst_unknown") & response & silent & (c("rest") >= FORGOTTEN.value)).fill_null(value=False)


def _missing() -> pl.Expr:
    """Return whether the data was never captured: it was lost before the capture point each time that it was sent."""
    return pl.col("copies") == 0


def _full_segments_lost() -> pl.Expr:
    """Return whether full segments were repeatedly lost before the capture point while smaller packets arrived.

    A single loss does not count, because it is repaired while the receiver waits. Nor does a segment that arrived without being
    captured, as an ACK of the receiver shows.
    """
    size, shown = c("smallest_unacknowledged"), c("last_time") - c("first_time")
    full = (c("largest_acknowledged") < size) & (size > PATH_MTU.value)
    many = (c("length") >= 2 * size) | ((c("length") >= size) & (shown >= SPAN.value))
    waited = (_receiver_closed_first() | (shown >= NEVER_CAME.value)) & (c("rest") >= SPAN.value)
    return _missing() & full & many & _may_be_larger() & (waited | _still_missing()) & ~c("peer_unseen")


def _receiver_closed_first() -> pl.Expr:
    first = c("own_close_frame").is_null() | (c("peer_close_frame") < c("own_close_frame"))
    return (first & c("peer_close_frame").is_not_null()).fill_null(value=False)


def _never_came() -> pl.Expr:
    """Return whether a gap before packets that arrived was not filled until the receiver gave up."""
    known = (c("peer_close_time") - c("first_time") >= SPAN.value).fill_null(value=False)
    waited = _receiver_closed_first() & known & (c("rest") >= SPAN.value)
    return _missing() & waited & (c("length") > 1) & ~c("peer_unseen") & ~c("window_closed")


def _may_be_larger() -> pl.Expr:
    """Return whether the missing segments may be larger than all segments that arrived.

    If segments above PATH_MTU arrived, the result is false in two cases. The missing bytes may be a multiple of the largest
    segment that arrived: then the sender's full segments are probably no larger, although the MSS is. Or the SYNs may not have
    been captured: then the MSS is only a guess.
    """
    arrived = c("largest_acknowledged")
    whole = (c("length") % pl.max_horizontal(arrived, pl.lit(1))) == 0
    return (arrived <= PATH_MTU.value) | (c("handshake") & ~whole)


def _still_missing() -> pl.Expr:
    """Return whether both sides kept the connection open for long enough to repair a loss, while the capture went on."""
    sender_open = (c("own_close_time") - c("first_time") >= NEVER_CAME.value).fill_null(value=True)
    until = c("time") - c("first_time") >= NEVER_CAME.value
    return until & sender_open & c("peer_close_frame").is_null() & (c("length") >= 2 * c("smallest_unacknowledged"))


def _gap_time() -> pl.Expr:
    """Return the time in ns for which no full segment arrived.

    The time ends with the receiver's close, or with the last packet if the receiver did not close. If both sides left the
    connection open, the time after the last packet counts, too.
    """
    return c("rest") + pl.when(_still_missing()).then(c("time") - c("last_time")).otherwise(0)


def _is_explained_otherwise() -> pl.Expr:
    """Return whether another fact explains the missing ACK.

    keep-alive-race reports requests that an RST without ACK flag rejected, or that were first sent shortly before the server's
    FIN arrived, or later. A receiver that has reset the connection, whether client or server, acknowledges no more data.
    """
    asks = c("http") & (c("role") == CLIENT).fill_null(value=False)
    forgotten = c("peer_rst_unknown") & (c("rest") >= RECENT.value)
    met = (c("peer_close_frame") < c("last_frame")).fill_null(value=False)
    return (asks & (forgotten | (met & ~_closed_later()))) | (met & c("peer_close_rst"))


def _closed_later() -> pl.Expr:
    """Return whether a server sent its FIN during the client's retransmissions, after the first copy should have arrived.

    The FIN does not acknowledge that copy, so the copy was lost. The FIN arrived, so the path had not forgotten the connection.
    (A client's FIN does not show that: a NAT or firewall lets packets out even if it has forgotten their connection.)
    """
    later = c("peer_close_time") - c("first_time") > c("rtt_peer").fill_null(0).clip(0) + ALIVE.value
    during = (c("peer_close_frame") > c("first_frame")) & (c("peer_close_frame") < c("last_frame"))
    itself = (c("role") == CLIENT) & ~c("peer_close_rst") & (c("peer_close_origin") != "between")
    return (later & during & itself & c("rtt_peer").is_not_null() & ~c("acknowledged_before")).fill_null(value=False)


def _sent_often_enough(*, repeated: pl.Expr) -> pl.Expr:
    """Return whether the data was sent often enough, and over a long enough time, to prove that the path or the receiver was
    gone.

    `repeated`: true if the client may have repeated the request on a new connection.
    """
    # the last copy may still be answered
    open_end = c("time") - c("last_time") < pl.max_horizontal(pl.lit(ANSWERABLE.value), 2 * _round_trip())
    # a sender has not given up if a device on the path closed in its name
    closed = (c("own_close_frame") > c("first_frame")) & (c("own_close_origin") != "between")
    counted = c("copies") - (open_end & ~closed.fill_null(value=False)).cast(pl.Int32)
    closed = closed.fill_null(value=False) | c("fin")
    often = (counted >= COPIES.value) & (c("last_time") - c("first_time") >= SPAN.value)
    slow = c("last_time") - c("first_time") >= LONG_SPAN.value
    gave_up = (counted >= GAVE_UP.value) & (closed | repeated | slow)
    # a client that closes soon after an ACK of other data was not kept waiting by a broken path
    until = pl.min_horizontal("last_time", pl.when(_client_close(c("role")) > c("first_time")).then(_client_close(c("role"))))
    broken = c("second_frame").is_not_null() | (until - c("first_time") >= SPAN.value)
    again = (counted >= COPIES.value) & (c("last_time") - c("second_time") >= AGAIN_SPAN.value)
    return pl.when(c("acknowledged_before")).then(again).otherwise((often | gave_up) & broken)


def _client_close(role: pl.Expr) -> pl.Expr:
    return pl.when(role == CLIENT).then("own_close_time").otherwise("peer_close_time")


def _alive() -> pl.Expr:
    """Return True if the receiver was running.

    Either it acknowledged later data by SACK, or it sent a packet after the data should first have arrived.
    """
    later = c("peer_time") - c("first_time") > c("rtt_peer").fill_null(0).clip(0) + ALIVE.value
    return c("sack_frame").is_not_null() | later.fill_null(value=False)


def _are_too_large() -> pl.Expr:
    """Return whether the unacknowledged segments may be too large for the path: no segment of their size was acknowledged.

    The last of them may be small, but the first one, which is repeated, must be longer than TOO_LARGE.
    """
    size = c("smallest_unacknowledged")
    return (size > c("largest_acknowledged")) & (size > PATH_MTU.value) & (c("length") > TOO_LARGE.value)


def _may_be_large() -> pl.Expr:
    """Return whether only large segments are lost if the receiver was running at that time."""
    recently = c("first_time") - c("heard_time") <= pl.max_horizontal(pl.lit(RECENT.value), 4 * _round_trip())
    # a receiver that retransmits acknowledged data does not get small packets either
    return (_are_too_large() & recently & ~c("acknowledged_before") & ~c("peer_repeats")).fill_null(value=False)


def _farewells() -> dict[str, pl.Expr]:
    """Return flags of the last data before a close of an idle connection, because no one waits for such data.

    Such data is a close_notify of TLS, a 408 without a request, or a short last line of another protocol that answers nothing
    (SMTP's 421). A phone or a laptop that has left the network acknowledges nothing, so servers of many clients often retransmit
    such data. A TLS host may wait for the peer's close_notify before it sends its FIN. A 408 counts after any idle time.
    """
    between = c("own_close_time") - c("first_time")
    closes = ~c("own_close_rst") & (c("own_close_origin") != "between") & (c("copies") > 0)
    at_once = closes & (between.abs() <= AT_ONCE.value).fill_null(value=False)
    later = closes & (c("fin_follows") & between.is_between(0, LINGERS.value)).fill_null(value=False)
    idle = c("exchange").is_null() & (c("rest") >= REST.value)
    return {
        "may_be_408": at_once & c("exchange").is_not_null(),
        "may_be_notify": (at_once | later) & idle & (c("length") <= FAREWELL.value),
        "may_be_last_line": at_once & idle & c("fin_follows") & ~c("answers") & (c("length") <= LAST_LINE.value),
    }


def _kind(x: Facts, around: Surroundings) -> str:
    if x.damaged_copies:
        return "damaged"
    if x.icmp_mtu is not None:
        return "too-large"
    if x.full_lost or (around.large_only and not x.missing and not x.fin):
        return "large-only"
    if x.missing:
        return "never-came"
    if x.icmp_frame is not None:
        return "unreachable"
    if x.fin and not x.not_begun:
        return "mid-message"
    # the path may have broken while the client waited, unless it carries other connections
    if x.fin and not x.answered_later:
        return "gone"
    least = RESTED.value if x.forgotten or x.gave_up_probing else PROBED.value if x.keep_alive else REST.value
    if x.rest >= least and not (x.syn_ack_again or x.down or x.closed_later):
        return "after-idle"
    return "mid-message" if x.message_continued and not x.fin else "gone"


def _delay(x: Facts) -> int | None:
    """Return the time (ns) for which the client waited; None if data that is not HTTP was answered by an RST at once.

    It waits no longer when it has closed, although the server may go on sending; a FIN that comes before the data, or right after
    it, is a half-close.
    """
    if x.forgotten and x.exchange is None:
        return None
    left = x.own_close_time if x.role == CLIENT else x.peer_close_time
    end = x.end if left is None or left <= x.first_time + HALF_CLOSED.value else min(x.end, left)
    return max(end - x.start, 0)
