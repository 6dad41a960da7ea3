"""Write the texts and the evidence about data that was never acknowledged, for `unanswered`.

The rows have the columns of `unacknowledged`, and columns that the rule adds:
`sender`, `receiver`: "client" or "server". `kind`: the kind of the finding.
`missing`: no copy of the data was captured. `alive`: the receiver was running.
`closed_later`: the receiver's FIN came after the first copy should have arrived.
`maybe_large_only`: perhaps only large segments are lost. `gap_time`: the time (ns) without a full segment.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import cached_for_thresholds
from wiredoctor.rules.shared import icmp
from wiredoctor.rules.shared.evidence import close_origin, evidence, has_doubtful_close, with_doubt
from wiredoctor.tables import SECOND
from wiredoctor.world.numbers import duration, grouped

c = pl.col

_LISTEN_QUEUE = (
    "Check on the server whether the listen queue is full: ss -ltn shows its length (Recv-Q above Send-Q: full), and nstat -az "
    "TcpExtListenOverflows counts dropped connections. If so, find out why the process does not accept: it hangs, or all of its "
    "threads are busy. "
)

_PING = (
    "If the other host answers small packets, check the MTU of the path: on Linux ping -M do -s 1472 shows whether packets of "
    "1,500 bytes pass. "
)

_RETRANSMITS = (
    "The kernel retransmits data for 15 minutes on Linux. Give requests a timeout, or set TCP_USER_TIMEOUT "
    "(net.ipv4.tcp_retries2 for the whole host), so that the application does not wait that long."
)

_PROBES = (
    "To end such a wait earlier, give requests a timeout, or have the kernel send probes sooner, more often, or fewer times "
    "(TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT)."
)

STILL_ALIVE = SECOND
"""The minimum time in ns (plus the round trip) from the first copy to a packet which shows that only one direction is broken.

If the complete path breaks, packets that are already on their way may still arrive.
"""

_CLIENT_GONE = " Or the client is gone: a phone that leaves the network, or a laptop whose lid is closed, closes no connection."


_CLIENT_RESTARTED = (
    " Or the client's host was restarted, or the client had given up, and its own RST was lost. In all cases the client did not "
    "get the response."
)


def _amount_text() -> pl.Expr:
    """Return the text with the amount of data: "1,460 bytes of the request"; for data outside an exchange, only "1,460 bytes"."""
    message = pl.when(c("sender") == "client").then(pl.lit("request")).otherwise(pl.lit("response"))
    of = pl.when(c("exchange").is_not_null()).then(pl.format(" of the {}", message)).otherwise(pl.lit(""))
    return pl.format("{} bytes{}", grouped(c("length")), of)


def with_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the texts of the message, the evidence, and the origin of the FIN and RST in the evidence."""
    what = pl.when("fin").then(pl.lit("its FIN")).when("keep_alive").then(pl.lit("a keep-alive probe")).otherwise(_amount_text())
    copy = pl.when("keep_alive").then(pl.lit("probe")).otherwise(pl.lit("copy"))
    named = rows.with_columns(what.alias("what"), copy.alias("copy"))
    worded = named.with_columns(_broken_path_text().alias("fate")).with_columns(_texts())
    return worded.with_columns(*_extra_evidence()).with_columns(_evidence(), _origin())


@cached_for_thresholds
def _texts() -> list[pl.Expr]:
    nothing = pl.lit("")
    never_came = pl.format(
        "The sequence numbers of the {} show that it sent {} that never arrived, and the {} acknowledged none of them.",
        *("sender", _amount_text(), "receiver"),
    )
    span = duration(c("last_time") - c("first_time"))
    sent = pl.format("The {} sent {} {} times within {}", "sender", "what", "copies", span)
    probed = pl.format("{}; none of these probes was answered.", sent)
    again = pl.when(c("copies") > 1).then(pl.format(" {} times", "copies")).otherwise(pl.lit(""))
    refused = pl.format(
        "The {} sent {}{}, and got an RST without ACK flag: the sender of this RST does not know the connection.",
        *("sender", "what", again),
    )
    covered = pl.format(
        "{}, although an ACK of the {} for this data had passed the capture point: the ACKs do not reach the {}.",
        *(sent, "receiver", "sender"),
    )
    reset = c("peer_close_rst") & (c("peer_close_frame") > c("last_frame")).fill_null(value=False)
    ended = (
        pl.when(c("peer_close_origin") == "between")
        .then(
            pl.format("A device on the path ended the connection with an RST in the {}'s name after the last copy.", "receiver")
        )
        .otherwise(pl.format("The {} ended the connection with an RST after the last copy.", "receiver"))
    )
    longest = pl.format("and the largest acknowledged segment has {} bytes", grouped(c("largest_acknowledged")))
    tried = pl.format(
        " Every segment that was not acknowledged has {} bytes or more, {}; the {} was alive at that time ({}).",
        grouped(c("smallest_unacknowledged")),
        pl.when(c("largest_acknowledged") > 0).then(longest).otherwise(pl.lit("and no segment was ever acknowledged")),
        "receiver",
        _alive_text(),
    )
    # a client that opened another connection later has not left the network
    client_gone = (c("sender") == "server") & ~c("answered_later")
    return [
        _amount_text().alias("amount"),
        pl.when("missing")
        .then(never_came)
        .when("acknowledged_before")
        .then(covered)
        .when("forgotten")
        .then(refused)
        .when("keep_alive")
        .then(probed)
        .otherwise(pl.format("{}; none of the copies was acknowledged.", sent))
        .alias("sent_again"),
        pl.when("acknowledged_before")
        .then(pl.format("although the {} had acknowledged it", "receiver"))
        .when("keep_alive")
        .then(pl.lit("and none was answered"))
        .otherwise(pl.lit("and it was never acknowledged"))
        .alias("unheard"),
        pl.when("not_begun").then(pl.format("The {} fell silent: the", "receiver")).otherwise(pl.lit("The")).alias("opening"),
        pl.when(c("keep_alive") | c("fin")).then("what").otherwise(pl.lit("the same data")).alias("data"),
        pl.when("keep_alive").then(pl.lit("No packet had passed")).otherwise(pl.lit("No payload had passed")).alias("quiet"),
        pl.when("keep_alive").then(pl.lit(_PROBES)).otherwise(pl.lit(_RETRANSMITS)).alias("limit"),
        pl.when("acknowledged_before")
        .then(pl.format("the ACKs of the {}'s data do not reach the {}", "sender", "sender"))
        .when("keep_alive")
        .then(pl.format("none of the {}'s keep-alive probes was answered", "sender"))
        .when("forgotten")
        .then(pl.lit("the response was answered with an RST"))
        .otherwise(
            pl.format(
                "the {}'s {} was never acknowledged", "sender", pl.when("fin").then(pl.lit("FIN")).otherwise(pl.lit("data"))
            )
        )
        .alias("never"),
        pl.when(reset & ~c("forgotten") & ~c("missing")).then(ended).otherwise(nothing).alias("seen"),
        pl.when("forgotten")
        .then(pl.lit("answers the connection's packets with an RST"))
        .otherwise(pl.lit("silently discards the connection's packets"))
        .alias("discards"),
        pl.when("missing").then(_smaller_segments_text()).otherwise(tried).alias("sizes"),
        _elsewhere_text().alias("others"),
        _last_packet_text().alias("context"),
        _icmp_text().alias("report"),
        c("icmp_mtu").alias("mtu"),
        c("icmp_router").alias("router"),
        pl.when("only_syn_acks").then(pl.lit(_LISTEN_QUEUE)).otherwise(nothing).alias("queue"),
        pl.when("maybe_large_only").then(_size_text()).otherwise(nothing).alias("size"),
        pl.when("maybe_large_only").then(pl.lit(_PING)).otherwise(nothing).alias("ping"),
        pl.when("forgotten")
        .then(pl.lit(_CLIENT_RESTARTED))
        .when(client_gone)
        .then(pl.lit(_CLIENT_GONE))
        .otherwise(nothing)
        .alias("gone"),
        pl.when("forgotten")
        .then(pl.lit("the path has forgotten the connection, or the client's host was restarted"))
        .when(client_gone)
        .then(pl.lit("the client is gone, or the path has forgotten the connection"))
        .otherwise(pl.lit("the path has probably forgotten the connection"))
        .alias("suspect"),
    ]


def _size_text() -> pl.Expr:
    """Return the text which says that the size of the segments may be the reason, and why."""
    small = pl.format("the largest segment that was acknowledged has {} bytes", grouped(c("largest_acknowledged")))
    return pl.format(
        " It is also possible that only large packets are lost (a path MTU black hole): every segment that was not acknowledged "
        "has {} bytes or more, and {}.",
        grouped(c("smallest_unacknowledged")),
        pl.when(c("largest_acknowledged") > 0).then(small).otherwise(pl.lit("no data was acknowledged before")),
    )


def _smaller_segments_text() -> pl.Expr:
    """Return the text about the smaller segments that arrived, and how long the receiver waited for the larger ones."""
    longest = pl.format("the longest segment that did arrive has {} bytes", grouped(c("largest_acknowledged")))
    arrived = pl.when(c("largest_acknowledged") > 0).then(longest).otherwise(pl.lit("packets without data did arrive"))
    return pl.format(
        " For {} no full segment ({} bytes) arrived; {}.", duration(c("gap_time")), grouped(c("smallest_unacknowledged")), arrived
    )


def _alive_text() -> pl.Expr:
    """Return the text that says which fact shows that the receiver was running."""
    packet = pl.format("its last packet came {} after the first copy", duration(c("peer_time") - c("first_time")))
    return (
        pl.when(c("sack_frame").is_not_null())
        .then(pl.lit("its SACK reported smaller, later data"))
        .when("alive")
        .then(packet)
        .otherwise(pl.lit("another connection of the two hosts was answered"))
    )


def _elsewhere_text() -> pl.Expr:
    large = c("kind") == "large-only"
    tried = pl.lit(" The server did not answer a new connection of the client at that time either.")
    later = pl.lit(" A connection that the client opened later to the same server was answered.")
    return (
        pl.when(large & c("same_elsewhere"))
        .then(pl.lit(" Large segments are also lost on another connection of the two hosts."))
        .when(large)
        .then(pl.lit(""))
        .otherwise(
            pl.when("down").then(tried).otherwise(pl.lit(""))
            + pl.when("answered_later").then(later).otherwise(pl.lit(""))
        )
    )  # fmt: skip


def _last_packet_text() -> pl.Expr:
    """Return the text with the time of the receiver's last packet."""
    heard = pl.coalesce("peer_time", "heard_time")
    since = pl.format(
        " The last packet of the {} came {} before the last {}.", "receiver", duration(c("last_time") - heard), "copy"
    )
    message = pl.when(c("sender") == "client").then(pl.lit("response")).otherwise(pl.lit("request"))
    silent = pl.format(
        " Before the {} closed, it had waited {} for the {}{}.",
        "sender",
        duration(c("rest")),
        pl.when("not_begun").then(pl.lit("")).otherwise(pl.lit("rest of the ")),
        message,
    )
    waiting = pl.format(" The {} was waiting for the rest of the {}.", "sender", message)
    first = pl.format(" The {} was waiting for the {}.", "sender", message)
    probing = pl.when("message_continued").then(waiting).otherwise(first)
    closed = pl.when(c("fin")).then(silent).when("keep_alive").then(probing).otherwise(pl.lit(""))
    return closed + pl.when(c("last_time") > heard).then(since).otherwise(pl.lit(""))


@cached_for_thresholds
def _broken_path_text() -> pl.Expr:
    """Return the text stating which direction of the path broke, as far as the packets show it."""
    back = pl.format("The path from the {} to the {} is broken beyond the capture point.", "receiver", "sender")
    one_way = pl.format(
        "The {} is alive: it repeats data that the {} had acknowledged. So only the path from the {} to the {} is broken.",
        *("receiver", "sender", "sender", "receiver"),
    )
    still_sends = pl.format(
        "The {} is alive: {} after the first copy it sent a packet that acknowledges no copy. So only the path from the {} to "
        "the {} is broken.",
        *("receiver", duration(c("peer_time") - c("first_time")), "sender", "receiver"),
    )
    only_this = pl.format(
        "The {} is alive, and later data arrived, as its SACK shows. So a device on the path discards this data, or all of its "
        "copies were lost.",
        "receiver",
    )
    both = pl.format(
        "The path broke, or the {} is gone. A slow application is not the cause: the kernel acknowledges arriving data.",
        "receiver",
    )
    not_accepted = pl.format(
        "The {} is alive: it sends its SYN-ACK again, as if the ACK of the client had not come. Either its listen queue is full "
        "because its process accepts no connections (the kernel then drops the ACK and the data), or no packet of the "
        "client reaches it any more.",
        "receiver",
    )
    never_accepted = pl.format(
        "The {} has sent nothing but its SYN-ACK: the path broke, the server is gone, or its listen queue is full. If its "
        "process accepts no connections, the queue fills, and then the kernel drops the data of new connections.",
        "receiver",
    )
    unprobed = pl.format(
        "The path broke, or the {} is gone. A slow application is not the cause: the kernel answers each probe that arrives.",
        "receiver",
    )
    idle = pl.format(
        "The path broke or has forgotten the connection, or the {} is gone. A slow application is not the cause: the kernel "
        "acknowledges a FIN that arrives.",
        "receiver",
    )
    told = (
        pl.when("acknowledged_before")
        .then(back)
        .when("not_begun")
        .then(idle)
        .when("keep_alive")
        .then(unprobed)
        .when("syn_ack_again")
        .then(not_accepted)
        .when("only_syn_acks")
        .then(never_accepted)
    )
    later = c("peer_time") - c("first_time") >= STILL_ALIVE + pl.sum_horizontal("rtt_own", "rtt_peer")
    sends = (later & ~c("peer_close_rst")).fill_null(value=False)
    later_data = c("sack_frame").is_not_null()
    return told.when("peer_repeats").then(one_way).when(later_data).then(only_this).when(sends).then(still_sends).otherwise(both)


def _icmp_text() -> pl.Expr:
    """Return the ICMP error as text."""
    said = icmp.error_text(pl.when(c("icmp_frame").is_not_null()).then(icmp.key("icmp_router", "icmp_type", "icmp_code")))
    return pl.when(c("icmp_mtu").is_not_null()).then(pl.format("{}, MTU {} bytes", said, grouped(c("icmp_mtu")))).otherwise(said)


@cached_for_thresholds
def _extra_evidence() -> list[pl.Expr]:
    """Return the frames that are evidence only in some candidates; null in the others."""
    large = c("kind") == "large-only"
    return [
        pl.when(c("copies") > 1).then("second_frame").alias("again_frame"),
        pl.when(c("last_frame") > c("first_frame")).then("last_frame").alias("final_frame"),
        pl.when(c("heard_frame") < c("first_frame")).then("heard_frame").alias("before_frame"),
        pl.when(large).then("sack_frame").alias("smaller_frame"),
        pl.when(c("alive") & (large | _repeats_syn_ack()) & (c("peer_frame") > c("first_frame")))
        .then("peer_frame")
        .alias("alive_frame"),
        pl.when(c("own_close_frame") > c("last_frame")).then("own_close_frame").alias("gave_up_frame"),
        pl.when(c("missing") | c("closed_later") | (c("peer_close_frame") > c("last_frame")) | _closes_second())
        .then("peer_close_frame")
        .alias("ended_frame"),
    ]


def _closes_second() -> pl.Expr:
    """Return whether the sender closes only after the receiver has closed, so it may not have given up by itself."""
    given_up = c("own_close_frame") > c("last_frame")
    return given_up & c("peer_close_frame").is_between(c("first_frame"), c("own_close_frame"), closed="none")


def _repeats_syn_ack() -> pl.Expr:
    """Return whether the newest packet of the receiver is a repeated SYN-ACK."""
    return c("syn_ack_again") & c("peer_frame").ne_missing(c("peer_close_frame"))


@cached_for_thresholds
def _evidence() -> pl.Expr:
    ahead = pl.format("a packet of the {} whose sequence number is after data that never came", "sender")
    sends = pl.when("missing").then(ahead).otherwise(pl.format("the {} sends {}", "sender", "what"))
    sends = with_doubt(c("fin") & has_doubtful_close("own"), sends)
    again = pl.format("sent again after {}", duration(c("second_time") - c("first_time")))
    last = pl.format("{} {}, {} after the first", "copy", "copies", duration(c("last_time") - c("first_time")))
    another = pl.format("another such packet, {} later", duration(c("last_time") - c("first_time")))
    last = pl.when("missing").then(another).otherwise(last)
    closes = pl.when(_closes_second()).then(pl.lit("closes, too")).otherwise(pl.lit("gives up"))
    return evidence(
        ("before_frame", "heard_time", pl.format("the {}'s last packet before the unanswered data", "receiver")),
        ("first_frame", "first_time", sends),
        ("again_frame", "second_time", again),
        ("alive_frame", "peer_time", pl.format("a packet which shows that the {} is alive", "receiver")),
        ("smaller_frame", "sack_time", pl.format("the {} reports smaller later data by SACK", "receiver")),
        ("icmp_frame", "icmp_time", pl.format("{} sends {}, and quotes the segment", "router", "report")),
        ("final_frame", "last_time", last),
        ("gave_up_frame", "own_close_time", _close_text("own", pl.format("the {} {}: {}", "sender", closes, _close("own")))),
        ("ended_frame", "peer_close_time", _close_text("peer", pl.format("the {} of the {}", _close("peer"), "receiver"))),
    )


def _close(side: str) -> pl.Expr:
    return pl.when(f"{side}_close_rst").then(pl.lit("RST")).otherwise(pl.lit("FIN"))


def _close_text(side: str, note: pl.Expr) -> pl.Expr:
    """Return the note for a FIN or RST. `side`: own (the sender's) or peer. `note`: the text if the host itself sent it."""
    name = "sender" if side == "own" else "receiver"
    foreign = pl.format("the {} that a device on the path sent in the {}'s name", _close(side), name)
    between = c(f"{side}_close_origin") == "between"
    return pl.when(between).then(foreign).otherwise(with_doubt(has_doubtful_close(side), note))


def _origin() -> pl.Expr:
    """Return the column `origin`: who sent the FIN or RST in the evidence. If there are two, both must agree; otherwise null."""
    own, peer = close_origin("own"), close_origin("peer")
    names_own = c("fin") | c("gave_up_frame").is_not_null()
    names_peer = c("ended_frame").is_not_null()
    differ = names_own & names_peer & ~own.eq_missing(peer)
    return pl.when(~differ).then(pl.when(names_own).then(own).when(names_peer).then(peer)).alias("origin")
