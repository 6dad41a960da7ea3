"""A connection was established only after a SYN or SYN-ACK was sent again.

What it means
    The client's first SYN, or the server's answer to it, did not arrive. TCP waits for a long time before it retransmits a SYN:
    1 s on Linux, Windows and macOS, then twice as long with each attempt (RFC 6298 section 2). Linux since version 6.5
    (net.ipv4.tcp_syn_linear_timeouts) and macOS wait 1 s a few more times before that. A later SYN was answered. Or the
    client's ACK of the SYN-ACK was lost or dropped, so a server that speaks first began only after it had sent its SYN-ACK
    again. Or the port was used again too soon: the server still knew an earlier connection on the same ports, and answered the
    SYN with an ACK of that connection.

Why it hurts
    The program that needs the connection waits for one, two, three or seven seconds. Few other lost packets cost as much.
    Users see a page that sometimes takes exactly one, two, three or seven seconds longer.

How it is proved
    The same SYN (the same initial sequence number) was sent again 200 ms or more after the first. A later copy was answered by
    a SYN-ACK, which the client acknowledged. If an earlier SYN-ACK was captured, that SYN-ACK was lost on the way to the
    client. If the SYN-ACK echoes the timestamp of the first SYN and not that of the repeated one (RFC 7323), the first SYN had
    arrived, and its answer was lost or late. If an ICMP error quotes an earlier SYN, a router could not deliver that SYN at
    that time. If two SYN-ACKs came within 200 ms of each other, and no earlier one, the first SYN had reached the server. Either
    an earlier SYN-ACK was lost, and the first of the two is the copy that the server sent when its own timer expired, or the
    SYNs or the answers were late. Such a copy comes when the second SYN is sent, or a round trip later. If the first SYN-ACK
    came at least 200 ms later than that, both SYNs or their answers were late. If only a later SYN was also captured after
    address translation (NAT), the first SYN did not get that far.

    If a SYN or SYN-ACK that did not suffice has a wrong checksum (of the IP header, of TCP, or of the UDP header of a tunnel), it
    arrived damaged, and its receiver discarded it. One of the SYNs must have a correct checksum, or none in a tunnel. A SYN-ACK
    counts only if the client's packets without payload have correct checksums.

    If an ACK that does not acknowledge the SYN came before any SYN-ACK (a challenge ACK, RFC 5961 section 4), the server still
    knew an earlier connection on these ports, open or in TIME_WAIT. The client ends that connection with an RST, and sends its
    SYN again when its timer expires.

    If there was only one SYN: the server sent its SYN-ACK again 200 ms or more after the first, although the client had
    acknowledged it. No side had sent data before, and the first data then came from the server.

What it is not
    A SYN with another sequence number is a new connection. A SYN may be in the capture twice because a mirror port copied it.
    If the round trip is longer than the client's timer, the SYN is sent again although nothing is lost. Newer Linux kernels
    send the SYN again a few milliseconds after a challenge ACK, so nothing is reported: the threshold is 200 ms. An ACK that
    acknowledges the SYN, or data in it, is no challenge ACK. connect-failed reports a connection that was never established.

What to do
    Check whether the server drops SYNs because its listen queue is full. If it does not, find the loss between client and
    server. If packets arrived damaged, find the network card, the driver or the device that sends wrong checksums. If a port was
    used again too soon, have the client or the NAT use more ports, or reuse connections.

References
    RFC 9293 section 3.5, RFC 5961 section 4, RFC 6298 section 2, listen(2), tcp(7).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared import icmp
from wiredoctor.rules.shared.attempt_words import USE_OTHER_PORTS
from wiredoctor.rules.shared.damage_words import CHECKSUMS, find_damage
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import Packet, packets
from wiredoctor.tables import PROTOCOLS
from wiredoctor.text.durations import duration_text

c = pl.col

RULE = Rule(
    symptom="a request that takes one, two, three or seven seconds longer than others",
    severity="warning",
    title="Connecting took {delay} longer because {why}",
    message="{again} to connect to {server}: {cause}. {left}{plainer}",
    remedy="{check}",
    display_filter="tcp.stream == {connection} && tcp.flags.syn == 1",
    references=(
        Reference("RFC 6298 section 2, the retransmission timer", "https://www.rfc-editor.org/rfc/rfc6298.html#section-2"),
        Reference("listen(2), backlog", "https://man7.org/linux/man-pages/man2/listen.2.html"),
        Reference("tcp(7), tcp_syn_retries", "https://man7.org/linux/man-pages/man7/tcp.7.html"),
    ),
    absence=True,
    protocols=PROTOCOLS,
)

_MIDDLEBOX = (
    "If all connections with TCP Fast Open or ECN start slowly, find the middlebox that drops their SYNs, or turn these options "
    "off at the client (on Linux the sysctls net.ipv4.tcp_fastopen and net.ipv4.tcp_ecn). "
)
_SYN_LOST = (
    "Check first whether the server drops SYNs while it is busy. On Linux nstat -az TcpExtListenOverflows "
    "TcpExtListenDrops counts connections for which the listen queue had no room (raise net.core.somaxconn and the server's "
    "own backlog, accept faster). A firewall with a full connection table drops SYNs, too (nf_conntrack: table full in its "
    "log). If these counters do not rise, packets are lost between client and server: captures from both ends show where."
)
_NOT_TRANSLATED = (
    "Look first at the host that translates the addresses. On Linux conntrack -S counts packets for which it had no free port "
    "or entry (insert_failed, drop); if its table is full, the kernel log says nf_conntrack: table full. Its filter rules may "
    "drop the SYN, too. If nothing was dropped there, the SYN was lost on the way to that host, or after it."
)
_ANSWER_LOST = (
    "The server had received the SYN, so its listen queue is not the cause. Look for lost or delayed packets on the way from the "
    "server to the client: captures from both ends show where."
)
_LOST_OR_LATE = (
    "The server had received the first SYN, so its listen queue is not the cause. Look for lost or delayed packets between "
    "client and server: captures from both ends show where."
)
_ACK_LOST = (
    "Check first whether the server's listen queue is full: on Linux ss -ltn shows its length (Recv-Q above Send-Q: full), and "
    "nstat -az TcpExtListenOverflows counts dropped connections. If not, look for packets that are lost on the way from the "
    "client to the server: captures from both ends show where."
)
_LATE = (
    "Find out what delays the first packets of a connection: a radio or a VPN that has to wake up, a full queue, or a busy "
    "server. Captures from both ends show where."
)

MIN_WAIT = Threshold(
    "200 ms",
    "the minimum time between two SYNs; SYN timers of all common systems are longer (1 s; on Windows 500 ms after a refusal), "
    "and copies of one packet come sooner",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return (pl.col("syns") > 1) | pl.col("late_answer_frame").is_not_null()


class Facts(NamedTuple):
    """What is known of a connection that was established late. Times and durations are in ns.

    `frame`, `start`: the first SYN. `earlier_frame`: a SYN-ACK that did not suffice. `helpful_frame`: the SYN that was answered.
    `final_frame`: the SYN-ACK that the client acknowledged. `again_frame`: another SYN-ACK.
    """

    frame: int
    start: int
    delay: int
    syns: int
    ack_lost: bool
    answered_twice: bool
    both_late: bool
    answer_echoes_first_syn: bool | None
    is_untranslated: bool | None
    asks_less: bool | None
    second_syn_time: int | None
    third_syn_time: int | None
    refused_frame: int | None
    refused_time: int | None
    challenge_frame: int | None
    challenge_time: int | None
    syn_error_frame: int | None
    syn_error_time: int | None
    syn_error_router: str | None
    syn_error_type: int | None
    syn_error_code: int | None
    earlier_frame: int | None
    first_answer_time: int | None
    helpful_frame: int | None
    helpful_time: int | None
    final_frame: int | None
    newest_answer_time: int | None
    again_frame: int | None
    late_answer_time: int | None
    damaged_syns: int
    damaged_syn_acks: int
    wrong_checksum: int


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection whose SYN, or SYN-ACK, was retransmitted and finally answered."""
    by_syn, by_answer = c("answered_syn_time") - c("syn_time"), c("newest_answer_time") - c("first_answer_time")
    by_late_answer = c("late_answer_time") - c("first_answer_time")
    # the server's timer may have retransmitted the SYN-ACK just before the client retransmitted the SYN
    again = c("second_syn_time") - c("syn_time")
    by_client = pl.when("answered_twice").then(again).when(by_syn >= MIN_WAIT.value).then(by_syn).otherwise(by_answer)
    delay = pl.when("ack_lost").then(by_late_answer).otherwise(by_client)
    # if the round trip is longer than the timer, the SYN is retransmitted before its answer can arrive
    impatient = (c("data_rtt") >= again).fill_null(value=False)
    several = c("first_answer_frame") != c("newest_answer_frame")
    answered = pl.when(c("answered_syn_frame") != c("syn_frame")).then("answered_syn_frame")
    late = (c("last_syn_time") - c("syn_time") >= MIN_WAIT.value) & ~impatient
    # an ACK of the server before any SYN-ACK, which may acknowledge data of the SYN, and the client's RST
    challenged = c("history").str.contains("^Sag?RT?h") & c("challenge_frame").is_null()
    counts = ((c("syns") > 1) & late & ~challenged) | c("ack_lost")
    return (
        connections.with_columns(ack_lost=_ack_lost(), answered_twice=_answered_twice())
        .filter(counts & c("connected") & (delay >= MIN_WAIT.value))
        .select(
            *candidate(None, "high", "syn_frame", "syn_time", c("syn_time") + delay, delay=delay, of="connection"),
            pl.when("ack_lost").then("late_answer_frame").otherwise("newest_answer_frame").alias("last_frame"),
            *("syns", "ack_lost", "answered_twice", _both_late().alias("both_late"), "answer_echoes_first_syn"),
            # the first SYN was captured only before address translation, and a later SYN also after it
            (c("translated_time") >= c("second_syn_time")).alias("is_untranslated"),
            # the SYN that was answered lacks the request for ECN, or the data, of the first SYN
            (c("syn_ecn_or_data") & ~c("answered_syn_ecn_or_data")).alias("asks_less"),
            *("second_syn_time", "third_syn_time", "refused_frame", "refused_time", "challenge_frame", "challenge_time"),
            *("syn_error_frame", "syn_error_time", "syn_error_router", "syn_error_type", "syn_error_code"),
            *("first_answer_time", "newest_answer_time", "late_answer_time"),
            # if all checksums are wrong, they were changed after the packets had arrived
            pl.when(c("damaged_syns") < c("syns")).then("damaged_syns").otherwise(0).alias("damaged_syns"),
            pl.when((several | c("ack_lost")) & c("client_checksums"))
            .then("damaged_syn_acks")
            .otherwise(0)
            .alias("damaged_syn_acks"),
            "wrong_checksum",
            pl.when(several | c("ack_lost")).then("first_answer_frame").alias("earlier_frame"),
            # the first of two SYN-ACKs may have been captured just before the second SYN
            pl.when("answered_twice").then("last_syn_frame").otherwise(answered).alias("helpful_frame"),
            pl.when("answered_twice").then("second_syn_time").otherwise("answered_syn_time").alias("helpful_time"),
            pl.when(~c("ack_lost")).then("newest_answer_frame").alias("final_frame"),
            pl.when(c("ack_lost") | c("answered_twice")).then("late_answer_frame").alias("again_frame"),
        )
    )


def _ack_lost() -> pl.Expr:
    """Return whether a server that speaks first did so only after it had sent its SYN-ACK again, although the client had
    acknowledged it.

    HTTP and TLS clients speak first, so they do not wait for such a SYN-ACK.
    """
    wait = c("late_answer_time") - c("first_answer_time")
    speaks = (c("protocol") == "unknown") & c("history").str.contains("^[^Dd]*t[^Dd]*d")
    return ((c("syns") == 1) & (wait >= MIN_WAIT.value) & speaks).fill_null(value=False)


def _answered_twice() -> pl.Expr:
    """Return whether two SYN-ACKs came shortly after each other, the first about when the second SYN was sent, or later.

    The client had received neither of them when it sent its second SYN: they came at most one round trip before that SYN.
    """
    second = pl.when(c("first_answer_frame") != c("newest_answer_frame")).then("newest_answer_time").otherwise("late_answer_time")
    soon = second - c("first_answer_time") < MIN_WAIT.value
    crossed = c("first_answer_time") >= c("second_syn_time") - c("data_rtt").fill_null(0)
    return ((c("syns") == 2) & soon & crossed).fill_null(value=False)


def _both_late() -> pl.Expr:
    """Return whether both SYN-ACKs came later than a server could have answered the second SYN, or have repeated its SYN-ACK.

    A server that has received only the first SYN, and whose SYN-ACK was lost, sends it again by its own timer. This timer
    expires at nearly the same time as that of the client.
    """
    late = c("first_answer_time") - c("second_syn_time") >= c("data_rtt") + MIN_WAIT.value
    return (c("answered_twice") & late).fill_null(value=False)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the wait, its cause, and what to check."""
    why, cause, check = _explanation(x)
    delay = duration_text(x.delay)
    again = f"The client had to send its SYN {x.syns} times"
    left = f"The successful SYN left {delay} after the first, when the client's timer expired ({_timer_text(x)})."
    if x.ack_lost:
        again = "The server had to send its SYN-ACK again for the client"
        left = f"The SYN-ACK came again {delay} after the first, when the server's timer expired."
    return {
        **{"again": again, "left": left, "why": why, "cause": _refusal(x) or cause, "check": check},
        "plainer": _PLAINER if x.asks_less else "",
        "evidence": _evidence(x, delay),
    }


def _explanation(x: Facts) -> tuple[str, str, str]:
    """Return why the connection was late, what the capture shows of the first SYN, and what to check."""
    if x.ack_lost:
        return "the client's ACK was lost or dropped", _UNHEARD, _ACK_LOST
    if x.damaged_syns:
        return _DAMAGED, _discarded(x, x.damaged_syns, "SYN", "server"), find_damage("client", "server", x.wrong_checksum)
    if x.damaged_syn_acks:
        return _DAMAGED, _discarded(x, x.damaged_syn_acks, "SYN-ACK", "client"), find_damage("server", "client", x.wrong_checksum)
    if x.both_late:
        return "both SYNs or their answers were late", _LONG_AFTER, _LATE
    if x.challenge_frame is not None:
        return _USED_AGAIN, _STILL_KNOWN.format(x.challenge_frame), USE_OTHER_PORTS
    refused = _refusal(x) is not None
    why, lost = "the SYN had to be retransmitted", "the answer to the SYN was lost or late"
    if x.answered_twice:
        return why if refused else lost, _TWICE, _LOST_OR_LATE
    if x.earlier_frame is not None and not refused:
        return lost, f"the server's SYN-ACK (frame {x.earlier_frame}) was lost on its way to the client", _ANSWER_LOST
    if x.answer_echoes_first_syn and not refused:
        return lost, _ECHOED, _ANSWER_LOST
    if x.is_untranslated:
        return why, _UNTRANSLATED, _NOT_TRANSLATED
    return why, _DROPPED, _MIDDLEBOX + _SYN_LOST if x.asks_less else _SYN_LOST


def _discarded(x: Facts, count: int, name: str, receiver: str) -> str:
    them, which = ("it", f"a {name}") if count == 1 else ("them", f"{count} {name}s")
    return f"{which} arrived with a wrong {CHECKSUMS[x.wrong_checksum]}, so the {receiver} discarded {them}"


_DAMAGED = "packets of the handshake arrived damaged"


def _refusal(x: Facts) -> str | None:
    """Return the text about an RST or an ICMP error that answered a SYN; None if there was none."""
    if x.refused_frame is not None:
        return f"an RST refused the first SYN (frame {x.refused_frame})"
    if x.syn_error_frame is not None:
        return f"{x.syn_error_router} answered a SYN with {_icmp_error(x)} (frame {x.syn_error_frame})"
    return None


def _icmp_error(x: Facts) -> str:
    return icmp.name_error(x.syn_error_router or "", x.syn_error_type or 0, x.syn_error_code or 0)


def _timer_text(x: Facts) -> str:
    """Return the text about the client's timer. Systems differ in whether they wait longer after the second SYN than after the
    first, so the text states the times that were captured.
    """
    if x.second_syn_time is None or x.third_syn_time is None:
        return "1 s on common systems, 3 s on older ones"
    first, second = duration_text(x.second_syn_time - x.start), duration_text(x.third_syn_time - x.second_syn_time)
    return f"it was {first} for the first SYN and {second} for the second"


def _evidence(x: Facts, delay: str) -> list[Packet]:
    answer = "a SYN-ACK" if x.answered_twice else "a SYN-ACK that did not reach the client"
    again = f"the SYN-ACK again, {delay} after the first" if x.ack_lost else "another SYN-ACK"
    helped = duration_text((x.helpful_time or x.start) - x.start)
    return packets(
        (x.frame, x.start, "the first SYN"),
        (x.refused_frame, x.refused_time, "an RST refuses it"),
        (x.challenge_frame, x.challenge_time, "an ACK that does not acknowledge the SYN: it belongs to an earlier connection"),
        (x.syn_error_frame, x.syn_error_time, f"{x.syn_error_router} sends {_icmp_error(x)}, and quotes the SYN"),
        (x.earlier_frame, x.first_answer_time, "the first SYN-ACK" if x.ack_lost else answer),
        (x.helpful_frame, x.helpful_time, f"the SYN again, {helped} after the first"),
        (x.final_frame, x.newest_answer_time, "the SYN-ACK that the client acknowledges"),
        (x.again_frame, x.late_answer_time, again),
    )


_USED_AGAIN = "the port was used again too soon"
_STILL_KNOWN = (
    "the server answered with an ACK that does not acknowledge the SYN (frame {}, a challenge ACK). So it still knew an earlier "
    "connection on the same ports, until the client's RST ended that connection: the client, or a NAT on the path, used the port "
    "again too soon"
)
_UNHEARD = (
    "the client's ACK was lost, or the server dropped it because its listen queue was full. The server speaks first, and "
    "could begin only after an ACK of the repeated SYN-ACK"
)
_LONG_AFTER = "the server answered both SYNs within a short time, but long after the second. The SYNs or the answers were late"
_TWICE = (
    "the server sent two SYN-ACKs within a short time, so it had also received the first SYN. Either an earlier SYN-ACK was "
    "lost, and the first of the two was sent when the server's own timer expired, or the SYNs or the answers were late"
)
_ECHOED = (
    "the first SYN had reached the server, as the SYN-ACK shows by echoing the timestamp of that SYN and not that of the "
    "retransmitted one. An earlier SYN-ACK was lost, or this one was late"
)
_UNTRANSLATED = (
    "the first SYN was captured before address translation (NAT) and not after it, unlike a later SYN. So the host "
    "that translates dropped the first SYN, or it was lost between the two capture points"
)
_DROPPED = "the first SYN or its answer was lost, or the server or a device in front of it dropped the SYN"
_PLAINER = (
    " The first SYN requested ECN or carried data (TCP Fast Open), and the SYN that was answered did not. A middlebox may "
    "drop SYNs that use these options."
)
