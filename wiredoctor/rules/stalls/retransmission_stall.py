"""A connection stalled because segments were lost, or held back on the way.

What it means
    A segment or its acknowledgment was lost, and the connection stalled until the sender noticed. Kind timeout: the
    retransmission timer expired, which takes at least 200 ms on Linux and twice as long with each further attempt (RFC 6298).
    Kind fast: three duplicate ACKs reported the loss (RFC 5681), which takes about one round trip, or a few if queues are
    full. Kind late: no data was lost, but its acknowledgment took a second or more during an HTTP exchange. Kind acks-lost: the
    same, captured on the receiver's side, where the ACKs are in the capture, but did not reach the sender. Kind too-large: the
    path drops segments of full size, and the stall ended only when the sender tried a smaller one (RFC 4821). Kind damaged: the
    segment was not lost, but arrived with a wrong checksum, so the receiver discarded it.

Why it hurts
    A lost packet adds the complete timeout to an exchange that would have taken a few milliseconds. Short exchanges suffer
    most: after the last segment of a message no data follows that could cause duplicate ACKs.

How it is proved
    Forward progress is new data, a FIN, or an ACK of new data. None was captured for at least 150 ms, at least 50 ms of them
    before a retransmission, which was then acknowledged. Several retransmissions are one stall, which goes on while the other
    side sends less than a full segment and does not acknowledge the missing data. If the first captured copy comes late, and the
    other side's ACKs were waiting for it, it counts as a retransmission: the original was lost before the capture point.

    A response that was lost before the capture point leaves no copy there. If timestamps show that the response answers the
    first copy of the request, no ACK came before it, and it comes as late as a server's timer sends it again (198 to 216 ms plus
    two round trips), it was lost. Confidence is medium: a server that computes for exactly this time and whose ACK was lost looks
    the same.

    If everything in flight was lost before the capture point, the retransmission looks like new data after a pause. It counts
    as a retransmission if the sender sent only this full segment, waited for its ACK (as TCP timestamps show), and then
    continued at once with data far above it, as Linux does (RFC 5682): the data in between was sent before the pause.

    Kind late: the ACK that ended the stall shows that the first copy arrived. It echoes the timestamp of this copy (RFC 3522), or
    its D-SACK reports the first retransmission, which was also acknowledged late, as a duplicate. The kernel acknowledges data
    within half a second, so the data or the ACK was late. The packet that acknowledges the data may be the FIN of a client that
    gives up.

    Kind acks-lost: a second or more after the last progress, the sender retransmitted data that the receiver had acknowledged
    before. It sent new data at once after the receiver had answered this retransmission, or after the FIN of a client that gave
    up, and its timestamps show that it had received that packet. So it had not received the earlier ACKs, and waited for them.

    Kind too-large: at least three retransmissions of the missing segment were sent, and only the last one, which was smaller than
    those before, was acknowledged.

    Kind damaged: at least one copy of the missing data has a wrong checksum (of its IP header, of TCP, or of the UDP header of a
    tunnel around it), and the copy that was acknowledged has a correct one. If the UDP checksums of the others are wrong, the
    acknowledged copy may also have none, which VXLAN allows. A checksum counts as not computed if it is 0, or the sum of the
    pseudo header with or without the length: the network card computes it after the packet was captured (checksum offload).
    Packets that are longer than the MSS, or were not captured completely, are not verified.

    SACK blocks that lie at least 1 MiB before the first byte of the sender's stream, or beyond the receiver's window, name data
    that the sender has not sent: a device on the path changes sequence numbers, but not those in SACK options. Then the sender
    cannot repair a loss early, and the finding of kind timeout says so.

    A FIN without data counts if it ends a response whose body has no other end, and the client has not closed before: then the
    client waits for it.

What it is not
    A retransmission delays nothing if the receiver already had the data and owed no response. A response was owed, and was
    lost, if the sequence number of the receiver's ACK lies above all of the receiver's data in the capture, unless the sender
    has closed. A D-SACK shows that the receiver had the data. So does an ACK that came too early to answer the retransmission
    and does not echo its timestamp. A segment may also be late, not lost, because it lay in a full queue for longer than the
    timer. That is reported (kind late) only if it took a second or more. Without timestamps such a segment looks lost. If
    timestamps show that the ACK answers the retransmission, the evidence says so. If both copies arrive together, the ACK
    reports the second one in a D-SACK, and the sequence number of the ACK shows that no response was lost: nothing is
    reported. An idle connection
    with keep-alive probes is not stalled. If a server is busy with its response, it has acknowledged the request, and nothing
    is retransmitted. zero-window-stall reports a copy that was sent into a closed window, and the first copy after the window
    opened: the receiver had discarded the data. If the last segment was lost before the capture point, and no later segment
    shows the loss, the stall looks like a pause and is not reported. If the acknowledged copy has a wrong checksum, too, the
    checksums were changed after the packets had arrived, or before all of them, as by anonymization: they show nothing. Captured
    before the place where a packet was damaged, its checksum is correct, and the packet looks lost.

What to do
    Find the place where packets are lost: check the counters of interfaces and queues on the path, and capture on both sides
    of a suspected device or link. If the first data of a connection was lost, the server may have dropped it because its listen
    queue was full. This is likely if the server sent its SYN-ACK again after the client's ACK. Kind late: find the place where
    packets wait, such as a wireless link, a full queue, or a paused virtual machine. Kind acks-lost: do the same between the
    capture point and the sender. Kind damaged: find the network card, the driver or the device that sends wrong checksums.
    Kind too-large: find the link with the small MTU (a tunnel, a VPN), and have ICMP "packet too
    big" pass, or clamp the MSS there.

References
    RFC 6298, RFC 5681 section 3.2, RFC 8985, RFC 3522, RFC 5682, RFC 4821.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.damage_words import UDP, arrived_damaged, find_damage
from wiredoctor.rules.shared.evidence import candidate, grade
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import CLIENT, MILLISECOND, PROTOCOLS, SERVER
from wiredoctor.text.durations import duration_text
from wiredoctor.world.numbers import DURATION

c = pl.col

_QUEUE = (
    "Check first whether the server's listen queue is full: on Linux ss -ltn shows its length (Recv-Q above Send-Q: full), and "
    "nstat -az TcpExtListenOverflows counts dropped connections. If so, find out why the process accepts too slowly, or raise "
    "its backlog and net.core.somaxconn. "
)
_REMEDY = (
    "Find where packets are lost between client and server. Check the error and drop counters of interfaces (ip -s link, "
    "ethtool -S), queues (tc -s qdisc) and switches, traffic policing, and overloaded wireless links. Captures from both sides "
    "of a suspected device or link show whether packets are lost there."
)

RULE = Rule(
    symptom="a request that takes 200 ms longer, or several seconds",
    severity="warning",
    title={
        "timeout": "The connection stalled for {gap} until a retransmission timer expired",
        "fast": "The connection stalled for {gap} until a segment reported as missing was retransmitted",
        "late": "The connection stalled for {gap}: data that had arrived was acknowledged late",
        "acks-lost": "The connection stalled for {gap}: no ACK reached the {sender}",
        "too-large": "The connection stalled for {gap} until the sender tried smaller segments",
        "damaged": "The connection stalled for {gap}: data of the {sender} arrived damaged",
    },
    message={
        "timeout": "For {gap}, none of the outstanding data was acknowledged: {lost}. The sender noticed this when "
        "its retransmission timer expired (at least 200 ms on Linux, longer with each attempt); {again}.{changed}",
        "fast": "For {gap}, none of the outstanding data was acknowledged: {lost}. {duplicates} duplicate ACKs "
        "reported a missing segment; {again}.",
        "late": "For {gap}, none of the outstanding data was acknowledged. The sender retransmitted the "
        "{retransmitted_bytes:,} bytes {times}, but the first copy had not been lost: {proof}. The path held packets back in one "
        "direction or in both, or lost every ACK until then, or the receiving host stood still: a running kernel would have "
        "acknowledged the data at once.",
        "acks-lost": "For {gap}, no new data of the {sender} came, although all of its data in the capture had been "
        "acknowledged. It retransmitted {retransmitted_bytes:,} bytes {times}, although they had been acknowledged before. It "
        "continued as soon as it had received a later packet of the {receiver}. So it had not received the ACKs before that "
        "packet: the path from the capture point to the {sender} had lost them, or held them back.",
        "too-large": "For {gap}, none of the outstanding data was acknowledged. The sender retransmitted up to "
        "{lost_bytes:,} bytes at a time, and no such segment was acknowledged. Then it tried {retransmitted_bytes:,} bytes, and "
        "that segment was acknowledged. A link on the path has too small an MTU for full segments, and the sender did not learn "
        "that MTU: the ICMP message (packet too big) was not sent, or it was dropped.",
        "damaged": "For {gap}, none of the outstanding data was acknowledged: {damage}, so the {receiver} discarded it. "
        "{resent}. The copy that was acknowledged {sound}. The {sender} sends packets with wrong checksums, or a device between "
        "the {sender} and the capture point damages them.",
    },
    remedy={
        "timeout": "{queue}{restore}"
        + _REMEDY
        + " If the first data of a connection was lost, the server may have dropped it because its listen queue was full: "
        "on Linux nstat -az TcpExtListenOverflows counts that. Selective acknowledgments and tail loss probes (RFC 2018, "
        "RFC 8985; on by default in Linux) prevent many of these timeouts: check that neither a sysctl nor a middlebox "
        "turns them off.",
        "fast": _REMEDY,
        "late": "Find where packets wait or ACKs are lost between client and server: a wireless or mobile link that pauses, a "
        "full queue (tc -s qdisc), a traffic shaper, a link or a VPN that is re-established, or a virtual machine that is paused "
        "(the steal time in vmstat). Captures on both sides of a suspected device or link show whether packets wait there.",
        "acks-lost": "Find where packets wait or are lost between the capture point and the {sender}: a wireless or mobile link "
        "that pauses, a full queue (tc -s qdisc), a traffic shaper, a link or a VPN that is re-established. Captures on both "
        "sides of a suspected device or link show whether packets are lost there.",
        "too-large": "Find the link with the small MTU: tracepath to the receiver shows it if routers report it; tunnels, VPNs "
        "and PPPoE are usual causes. Have firewalls pass ICMP destination unreachable with code 4 (in ICMPv6: packet too big), "
        "or have the device at that link reduce the MSS (iptables -t mangle ... TCPMSS --clamp-mss-to-pmtu), or set the MTU of "
        "the hosts' interfaces to that of the path.",
        "damaged": "{find_damage}",
    },
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(
        Reference("RFC 6298, Computing TCP's Retransmission Timer", "https://www.rfc-editor.org/rfc/rfc6298.html"),
        Reference("RFC 5681 section 3.2, fast retransmit", "https://www.rfc-editor.org/rfc/rfc5681.html#section-3.2"),
        Reference("RFC 8985, RACK-TLP loss detection", "https://www.rfc-editor.org/rfc/rfc8985.html"),
        Reference("RFC 3522, the Eifel detection algorithm", "https://www.rfc-editor.org/rfc/rfc3522.html"),
        Reference("RFC 4821, packetization layer path MTU discovery", "https://www.rfc-editor.org/rfc/rfc4821.html"),
    ),
    explained_by=(("zero-window-stall", "time"), ("unanswered", "time")),
    absence=True,
    protocols=PROTOCOLS,
)

MIN_GAP = Threshold(
    "150 ms", "the minimum time without progress; it is below the shortest common retransmission timer (200 ms on Linux)"
)
EARLIEST_RETRANSMISSION = Threshold(
    "50 ms",
    "the minimum time without progress before a retransmission; reordering, tail loss probes and round trips cause "
    "shorter pauses",
)
MAX_ANSWER = Threshold(
    "5 s",
    "the maximum time from the retransmission to its ACK, which takes a round trip plus a delayed-ACK timer below 500 ms; even "
    "on the slowest path, a later ACK answers another segment",
)
ALSO_LOST = Threshold(
    "2 retransmissions",
    "if more than this many larger retransmissions got no ACK, the path drops large segments; Linux tries a smaller segment "
    "after three or more",
)
DUPLICATE_ACKS = Threshold(
    "3 ACKs", "the number of duplicate ACKs that make a sender retransmit before its timer expires (RFC 5681 section 3.2)"
)
FAST = Threshold(
    "4 round trips",
    "the maximum time of a repair by duplicate ACKs, even if queues are full; a longer wait was ended by the timer",
)
LATE = Threshold(
    "1 s",
    "the minimum time without progress if nothing was lost; full queues often hold packets for a shorter time, and few users "
    "notice",
)
MIN_TIMER = Threshold(
    "198 ms",
    "the minimum time (plus round trips) after which a server's timer sends a lost response again; Linux waits 200 ms and the "
    "smoothed round trip, and 2 ms are allowed for an inexact clock",
)
MAX_TIMER = Threshold(
    "216 ms",
    "the maximum of that time: the same timer plus four ticks of a kernel at 250 Hz",
)
HELD = Threshold(
    "500 ms",
    "if a D-SACK comes sooner than this (plus a round trip) after the first retransmission, the path was not slow: the ACK of "
    "the first copy was lost",
)


def cutoffs() -> dict[str, int]:
    """Return the thresholds by which the core (wiredoctor.core) selects the rows of `recoveries` for this rule."""
    return {"min_stall": MIN_GAP.value, "min_retransmission_delay": min(MIN_GAP.value, EARLIEST_RETRANSMISSION.value)}


class Facts(NamedTuple):
    """What is known of a stall. Times and `gap` are in ns; `last_frame` is the packet that ended it.

    `role`: the side that sent this packet, so the other side retransmitted.
    """

    kind: str
    role: int | None
    http: bool
    frame: int
    start: int
    gap: int
    retransmission_count: int
    first_retransmission_frame: int | None
    first_retransmission_time: int | None
    retransmitted_frame: int
    retransmitted_time: int
    retransmitted_bytes: int
    retransmitted_late: bool
    answers_retransmission: bool
    dsack: bool
    syn_ack_again: bool
    answer_again: bool
    strange_sack_frame: int | None
    strange_sack_time: int | None
    damaged_copies: int
    wrong_checksum: int
    last_frame: int
    last_time: int


def find(recoveries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each ACK that ended a stall because it acknowledged a retransmission."""
    return pl.concat([_lost(recoveries), _late(recoveries), _acks_lost(recoveries)])


def _lost(recoveries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each stall that began with a loss."""
    gap = c("retransmitted_time") - c("stall_time")
    # a second retransmission, or one that comes much later than the duplicate ACKs, is due to the timer
    soon = (gap <= FAST.value * (c("rtt_own") + c("rtt_peer"))).fill_null(True)
    told = (c("stall_duplicate_acks") >= DUPLICATE_ACKS.value) & (c("retransmission_count") == 1) & soon
    too_large = (c("retransmission_count") > ALSO_LOST.value) & c("retransmitted_bytes").is_between(1, c("lost_bytes") - 1)
    kind = (
        pl.when(c("damaged_copies") > 0)
        .then(pl.lit("damaged"))
        .when(told)
        .then(pl.lit("fast"))
        .when(too_large & ~c("retransmitted_late"))
        .then(pl.lit("too-large"))
        .otherwise(pl.lit("timeout"))
    )
    answered = c("time") - c("retransmitted_time") <= MAX_ANSWER.value
    lost = (~c("spurious") & _receiver_waited()) | _answer_again()
    return recoveries.filter((gap >= MIN_GAP.value) & answered & lost).select(
        _columns(kind, _confidence(), gap, end="retransmitted_time", delay=gap)
    )


def _late(recoveries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each long stall of an HTTP exchange without a loss: data or its ACK was late."""
    gap = c("time") - c("stall_time")
    wait = gap - c("rtt_own").fill_null(0).clip(0)
    since = c("time") - c("retransmitted_time")
    # the sender still waited if it had to send more, and its timer, which doubles, was not due again
    waits = c("peer_message_incomplete") & (since <= c("retransmitted_time") - c("stall_time"))
    answered = (since <= MAX_ANSWER.value) | waits
    # a receiver that had the data and owed no response kept no one waiting; if a D-SACK answers the retransmission quickly, the
    # path was not slow: the first ACK was lost
    held = c("time") - c("first_retransmission_time") - c("rtt_own").fill_null(0).clip(0) >= HELD.value
    waited = ~c("dsack") | (c("message_incomplete") & held)
    return recoveries.filter((wait >= LATE.value) & answered & c("spurious") & ~c("acks_lost") & c("http") & waited).select(
        _columns(pl.lit("late"), grade(_is_torn(), ~c("handshake")), gap, end="time", delay=wait)
    )


def _acks_lost(recoveries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each long stall of an HTTP exchange in which the sender did not get the ACKs that were captured."""
    gap = c("time") - c("stall_time")
    wait = gap - c("rtt_own").fill_null(0).clip(0)
    sure = grade(c("acked_unseen") > 0, pl.lit(value=True))
    long = c("retransmitted_time") - c("stall_time") >= LATE.value
    return recoveries.filter(long & c("acks_lost") & c("http")).select(
        _columns(pl.lit("acks-lost"), sure, gap, end="time", delay=wait)
    )


def _columns(kind: pl.Expr, confidence: pl.Expr, gap: pl.Expr, *, end: str, delay: pl.Expr) -> list[pl.Expr]:
    return [
        # the ACK may be a request, so `resolve` finds the exchange that had waited
        *candidate(None, confidence, "stall_frame", "stall_time", end, kind=kind, delay=delay, of="connection"),
        c("frame").alias("last_frame"),
        c("time").alias("last_time"),
        gap.cast(DURATION).alias("gap"),
        c("stall_duplicate_acks").alias("duplicates"),
        *(c(f"retransmitted_{name}") for name in ("frame", "time", "bytes", "late")),
        *(c(f"first_retransmission_{name}") for name in ("frame", "time")),
        *(c(name) for name in ("retransmission_count", "lost_bytes", "role", "http")),
        _answer_again().alias("answer_again"),
        *(c(name) for name in ("answers_retransmission", "dsack", "syn_ack_again", "strange_sack_frame", "strange_sack_time")),
        *(c(name) for name in ("damaged_copies", "wrong_checksum")),
    ]


def _acked_too_early() -> pl.Expr:
    """Return whether the ACK came too early to answer the retransmission, so the receiver already had the data."""
    rtt = pl.col("rtt_own")
    earliest = rtt - pl.max_horizontal(pl.lit(MILLISECOND), rtt // 10)
    early = (pl.col("time") - pl.col("retransmitted_time") < earliest).fill_null(False)
    # after a slow handshake, the measured round trip is too long, so the timestamps decide
    return early & ~pl.col("answers_retransmission")


def _receiver_waited() -> pl.Expr:
    """Return whether the receiver lacked the data, or had it but had not sent its response yet.

    The response may have come with this ACK.
    """
    answer_due = (pl.col("http") & pl.col("message_incomplete")) | pl.col("answer_lost")
    had = pl.col("dsack") | _acked_too_early()
    return ~had | (answer_due & (~_acked_too_early() | (pl.col("new_bytes") > 0)))


def _answer_again() -> pl.Expr:
    """Return whether the response to the first copy comes as late as a server's timer would send it again.

    Not even an ACK of the request came before it, so the first transmission of the response was lost before the capture point.
    """
    round_trip = c("rtt_own").clip(0) + c("rtt_peer").clip(0)
    timer = c("time") - c("stall_time") - c("rtt_own").clip(0) - round_trip
    is_timer = timer.is_between(MIN_TIMER.value, MAX_TIMER.value + round_trip // 4).fill_null(False)
    is_response = c("http") & (c("role") == SERVER).fill_null(False) & c("message_incomplete") & (c("new_bytes") > 0)
    return c("spurious") & ~c("dsack") & is_response & is_timer & (c("retransmission_count") == 1)


def _is_torn() -> pl.Expr:
    """Return whether the capture lacks segments before the ACK."""
    return c("opens_gap") | (c("acked_unseen") > 0)


def _confidence() -> pl.Expr:
    inferred = ~c("handshake") | c("rtt_own").is_null() | _acked_too_early() | _answer_again()
    return grade(_is_torn(), inferred)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the loss or delay, and about the retransmissions."""
    sender, receiver = ("server", "client") if x.role == SERVER else ("client", "server")
    count = x.retransmission_count
    earlier = None if x.first_retransmission_frame == x.retransmitted_frame else x.first_retransmission_frame
    note, again, end = _notes(x)
    sack = x.strange_sack_frame if (x.strange_sack_frame or 0) < x.last_frame else None
    return {
        "lost": _loss(x),
        "queue": _QUEUE if _is_refused(x) else "",
        **_of_strange_sack(x),
        "again": _retransmission(x),
        "sender": sender,
        "receiver": receiver,
        "times": "once" if count == 1 else f"{count} times",
        "proof": _BY_DSACK if x.dsack else _BY_ECHO,
        **(_of_damage(x) if x.kind == "damaged" else {}),
        "evidence": packets(
            (x.frame, x.start, "the last new data or advancing ACK before the stall"),
            (sack if x.kind == "timeout" else None, x.strange_sack_time, "a SACK block outside the stream"),
            (earlier, x.first_retransmission_time, note),
            (x.retransmitted_frame, x.retransmitted_time, again),
            (x.last_frame, x.last_time, end),
        ),
    }


def _of_damage(x: Facts) -> dict[str, str]:
    """Return the words about copies with a wrong checksum (kind damaged)."""
    again = _retransmission(x)
    sides = {SERVER: ("client", "server"), CLIENT: ("server", "client")}
    sender, receiver = ("sender", "receiver") if x.role is None else sides[x.role]
    return {
        "sender": sender,
        "receiver": receiver,
        "damage": arrived_damaged(x.damaged_copies, x.wrong_checksum),
        "resent": f"{again[0].upper()}{again[1:]}",
        "sound": "has no UDP checksum, or a correct one" if x.wrong_checksum == UDP else "has a correct one",
        "find_damage": find_damage(sender, receiver, x.wrong_checksum),
    }


def _of_strange_sack(x: Facts) -> dict[str, str]:
    """Return the words about SACK blocks outside the stream, which make selective acknowledgments useless (kind timeout)."""
    if x.strange_sack_frame is None:
        return {"changed": "", "restore": ""}
    receiver = "client" if x.role != SERVER else "server"
    title = f"Losses are repaired only by the timer ({duration_text(x.gap)}): a device changes sequence numbers, but not in SACK"
    return {
        "changed": _CHANGED.format(receiver, x.strange_sack_frame),
        "restore": _RESTORE,
        **({"title": title} if x.kind == "timeout" else {}),
    }


_CHANGED = (
    " The SACK blocks of the {} lie outside the sender's stream (frame {}), so the sender cannot use them. A device on the path "
    "changes the sequence numbers, but not those in SACK options, and so each loss has to wait for the timer."
)
_RESTORE = (
    "Find the device that changes sequence numbers (a firewall that randomizes them, such as Cisco FWSM, PIX or ASA). Update it, "
    "turn that randomization off, or turn SACK off at one end (net.ipv4.tcp_sack). Then look for the loss itself. "
)
_BY_DSACK, _BY_ECHO = "the D-SACK in its ACK reports that a copy had come before", "its ACK echoes the timestamp of that copy"


def _notes(x: Facts) -> tuple[str, str, str]:
    """Return the notes of the first of several retransmissions, of the last one, and of the packet that ended the stall."""
    waited = f"after {duration_text(x.gap)} without progress"
    if x.kind == "late":
        return "retransmitted, without need", "retransmitted, without need", f"the acknowledgment of the first copy, {waited}"
    if x.kind == "acks-lost":
        again = "retransmitted, although it had been acknowledged"
        return again, again, f"the next new data, {waited}"
    if x.answer_again:
        return "", f"retransmitted {waited}", "the response to the first copy, as late as the server's timer sends it again"
    if x.kind == "damaged":
        return "retransmitted", f"retransmitted {waited}, with a correct checksum", "its acknowledgment"
    # the timestamps show that the ACK answers no earlier copy
    proved = x.answers_retransmission and not x.retransmitted_late
    return (
        # a D-SACK leaves open which of the copies arrived
        "retransmitted" if x.dsack else "retransmitted, also lost",
        f"{'the missing segment comes' if x.retransmitted_late else 'retransmitted'} {waited}",
        "its acknowledgment; the timestamps show that it answers this copy" if proved else "its acknowledgment",
    )


def _is_refused(x: Facts) -> bool:
    """Return whether the server seems not to have accepted the connection when the data first came (kind timeout)."""
    return x.syn_ack_again and x.role == SERVER


def _loss(x: Facts) -> str:
    """Return the text about what the capture shows of the loss."""
    what = ("request" if x.role == SERVER else "response") if x.http else "data"
    if _is_refused(x):
        return (
            "the server sent its SYN-ACK again, so it had dropped the client's ACK and data because its listen queue was full, "
            "or both were lost"
        )
    if x.answer_again:
        return (
            "the server had received the request, but its response, which acknowledges the request, was lost before the capture "
            "point, and the server's timer sent it again"
        )
    if not x.retransmitted_bytes:
        return "the FIN that ends the response, or its acknowledgment, was lost"
    if x.retransmitted_late:
        return f"a segment of the {what} was lost before the capture point"
    return f"a segment of the {what}, or its acknowledgment, was lost"


def _retransmission(x: Facts) -> str:
    """Return the text about the retransmissions; one without data is of a FIN, the only mark of the end of a body."""
    count, what = x.retransmission_count, f"{x.retransmitted_bytes} bytes"
    if x.retransmitted_late:
        return f"the missing {what} then came, and were acknowledged"
    if not x.retransmitted_bytes:
        fin = f"the FIN {count} times until it was" if count > 1 else "the FIN, and it was"
        return f"the sender retransmitted {fin} acknowledged"
    until = f" {count} times until" if count > 1 else ", and"
    return f"the sender retransmitted the {what}{until} they were acknowledged"
