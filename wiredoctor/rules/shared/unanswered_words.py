"""Write the texts and the evidence about data that was never acknowledged, for `unanswered`."""

from __future__ import annotations

from typing import Any, NamedTuple

from wiredoctor.rules.shared import icmp
from wiredoctor.rules.shared.damage_words import CHECKSUMS, find_damage
from wiredoctor.rules.shared.words import (
    FIND_MACHINES,
    Nanoseconds,
    Packet,
    fin_or_rst,
    mac_address,
    packets,
    sender_of_close,
    whose_close,
    with_doubt,
)
from wiredoctor.tables import CLIENT, SECOND, SERVER
from wiredoctor.text.durations import duration_text

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

LACKING = 3
"""The minimum number of packets in a row without a negotiated option; single ones occur in healthy connections."""
STILL_ALIVE = SECOND
"""The minimum time in ns (plus the round trip) from the first copy to a packet which shows that only one direction is broken.

If the complete path breaks, packets that are already on their way may still arrive.
"""

_CLIENT_GONE = " Or the client is gone: a phone that leaves the network, or a laptop whose lid is closed, closes no connection."


_RESTARTED = " Or the {} itself ended the connection silently, or its host was restarted."
_CLIENT_RESTARTED = (
    " Or the client's host was restarted, or the client had given up, and its own RST was lost. In all cases the client did not "
    "get the response."
)


class Facts(NamedTuple):
    """What is known of unacknowledged data: columns of `unacknowledged`, and columns that the rule adds. Times are in ns.

    `sender_direction`: the direction of the data. `role`: the side that sent it, CLIENT or SERVER. `missing`: no copy of the data
    was captured. `forgotten`: a host that does not know the connection answered. `alive`: the receiver was running.
    `closed_later`: the receiver's FIN came after the first copy should have arrived. `full_lost`: full segments were lost, and
    smaller ones arrived. `too_large`, `maybe_large_only`: perhaps only large segments are lost. `sent_often`: often enough, even
    if the client did not repeat the request. `gap_time`: the time without a full segment. The last fields are known only when the
    data was compared with other connections (see Surroundings).
    """

    connection: int
    sender_direction: int
    row_frame: int
    time: int
    acknowledged_frame: int | None
    start: int
    end: int
    delay: int | None
    confidence: str | None
    severity: str | None
    handshake: bool
    full_lost: bool
    too_large: bool
    sent_often: bool
    role: int | None
    exchange: int | None
    length: int
    fin: bool
    keep_alive: bool
    acknowledged_before: bool
    copies: int
    first_frame: int
    first_time: int
    second_frame: int | None
    second_time: int | None
    last_frame: int
    last_time: int
    smallest_unacknowledged: int
    largest_acknowledged: int
    sack_frame: int | None
    sack_time: int | None
    heard_frame: int | None
    heard_time: int | None
    peer_frame: int | None
    peer_time: int | None
    peer_repeats: bool
    rtt_own: int | None
    rtt_peer: int | None
    rest: int
    message_continued: bool
    own_close_frame: int | None
    own_close_time: int | None
    own_close_rst: bool
    own_close_origin: str
    peer_close_frame: int | None
    peer_close_time: int | None
    peer_close_rst: bool
    peer_close_origin: str
    icmp_frame: int | None
    icmp_time: int | None
    icmp_router: str
    icmp_type: int
    icmp_code: int
    icmp_mtu: int | None
    bare: int
    reset_mac: int | None
    damaged_copies: int
    wrong_checksum: int
    missing: bool
    forgotten: bool
    gave_up_probing: bool
    alive: bool
    closed_later: bool
    gap_time: int
    kind: str | None
    maybe_large_only: bool
    same_elsewhere: bool
    answered_later: bool
    down: bool
    not_begun: bool
    only_syn_acks: bool
    syn_ack_again: bool
    survived_rest: int | None

    @property
    def sender(self) -> str:
        """The side that sent the data."""
        return "client" if self.role == CLIENT else "server" if self.role == SERVER else "sender"

    @property
    def receiver(self) -> str:
        """The side that did not acknowledge the data."""
        return "server" if self.role == CLIENT else "client" if self.role == SERVER else "receiver"

    @property
    def amount(self) -> str:
        """The amount of data: "1,460 bytes of the request"; for data outside an exchange, only "1,460 bytes"."""
        message = "request" if self.sender == "client" else "response"
        return f"{self.length:,} bytes" + ("" if self.exchange is None else f" of the {message}")

    @property
    def data_name(self) -> str:
        """What the sender sent."""
        return "its FIN" if self.fin else "a keep-alive probe" if self.keep_alive else self.amount

    @property
    def copy(self) -> str:
        """The name of a transmission."""
        return "probe" if self.keep_alive else "copy"

    @property
    def span(self) -> str:
        """The time from the first transmission to the last."""
        return duration_text(self.last_time - self.first_time)

    @property
    def lacks_options(self) -> bool:
        """Whether all these packets lack an option that was negotiated, and their sender then reset the connection."""
        often = self.bare >= LACKING and self.bare >= self.copies - (0 if self.keep_alive else 1)
        return often and self.own_close_rst and not self.acknowledged_before

    @property
    def is_left_by_client(self) -> bool:
        """Whether the client may have left the network: it has opened no other connection later."""
        return self.sender == "server" and not self.answered_later


def words(x: Facts) -> dict[str, Any]:
    """Return the texts, the evidence, and the origin of the FIN and RST in the evidence."""
    evidence, origin = _evidence(x)
    return {
        **_of_repetition(x),
        **_of_suspects(x),
        **{"sender": x.sender, "receiver": x.receiver, "amount": x.amount, "smallest": x.smallest_unacknowledged},
        **{"report": _report(x), "mtu": x.icmp_mtu, "router": x.icmp_router},
        **{"idle": Nanoseconds(x.rest), "gap": Nanoseconds(x.gap_time)},
        "seen": _reset_after(x),
        "fate": _fate(x),
        "context": _last_packet(x),
        "others": _elsewhere(x),
        "sizes": _smaller_segments(x) if x.missing else _unacknowledged_sizes(x),
        "queue": _LISTEN_QUEUE if x.only_syn_acks else "",
        "size": _size(x) if x.maybe_large_only else "",
        "ping": _PING if x.maybe_large_only else "",
        "checksum": CHECKSUMS.get(x.wrong_checksum, ""),
        "find_damage": find_damage(x.sender, x.receiver, x.wrong_checksum) if x.damaged_copies else "",
        "evidence": evidence,
        "origin": origin,
    }


def _of_repetition(x: Facts) -> dict[str, str]:
    """Return the words about how the data was sent again, and not acknowledged."""
    if x.acknowledged_before:
        unheard = f"although the {x.receiver} had acknowledged it"
        never = f"the ACKs of the {x.sender}'s data do not reach the {x.sender}"
    elif x.keep_alive:
        unheard, never = "and none was answered", f"none of the {x.sender}'s keep-alive probes was answered"
    else:
        unheard, never = "and it was never acknowledged", f"the {x.sender}'s {'FIN' if x.fin else 'data'} was never acknowledged"
        if x.forgotten:
            never = f"the {'response' if x.exchange is not None else f'data of the {x.sender}'} was answered with an RST"
    return {
        "sent_again": _sent_again(x),
        "unheard": unheard,
        "never": never,
        "opening": f"The {x.receiver} fell silent: the" if x.not_begun else "The",
        "data": x.data_name if x.keep_alive or x.fin else "the same data",
        "quiet": "No packet had passed" if x.keep_alive else "No payload had passed",
        "limit": "" if x.forgotten and x.exchange is None else _PROBES if x.keep_alive else _RETRANSMITS,
        "options": _OPTIONS if x.lacks_options else "",
    }


def _of_suspects(x: Facts) -> dict[str, str]:
    """Return the words about the device that has forgotten a connection, or about the host that is gone (kind after-idle)."""
    if x.lacks_options:
        return {"reason": _OPTIONS, "gone": "", "suspect": _LACKING_TITLE, "survived": "", "moved": _KEEP_OPTIONS}
    if x.forgotten and x.reset_mac is not None:
        reason = _MOVED.format(mac_address(x.reset_mac), x.receiver)
        suspect = f"another machine answers for the address of the {x.receiver} now"
        return {"reason": reason, "gone": "", "suspect": suspect, "survived": "", "moved": FIND_MACHINES}
    discards, gone = "silently discards the connection's packets", ""
    suspect = "the path has probably forgotten the connection"
    if x.forgotten and x.exchange is None:
        discards, gone = "answers the connection's packets with an RST", _RESTARTED.format(x.receiver)
        suspect = f"the path or the {x.receiver} has forgotten the connection"
    elif x.forgotten:
        discards, gone = "answers the connection's packets with an RST", _CLIENT_RESTARTED
        suspect = "the path has forgotten the connection, or the client's host was restarted"
    elif x.is_left_by_client:
        suspect, gone = "the client is gone, or the path has forgotten the connection", _CLIENT_GONE
    rest = "" if x.survived_rest is None else _SURVIVED.format(duration_text(x.survived_rest))
    return {"reason": _KEEPS_STATE.format(discards), "gone": gone, "suspect": suspect, "survived": rest, "moved": ""}


_KEEPS_STATE = (
    " A NAT, a firewall or a balancer between the two keeps state for each connection, and drops that state after some time "
    "without packets. From then on it {}."
)
_OPTIONS = (
    " None of these packets has the timestamps option that both SYNs negotiated. Each has to have it, so the receiver may ignore "
    "them (RFC 7323 section 3.2)."
)
_LACKING_TITLE = "they lack the negotiated timestamps option"
_KEEP_OPTIONS = (
    "Find out whether the TCP of the sender leaves the option out, or whether a device on the path removes it: compare captures "
    "from both ends. Update that TCP or device, or turn timestamps off at one end (net.ipv4.tcp_timestamps). "
)
_MOVED = (
    " The RST came from another machine (MAC address {}) than the SYN of the {}, and by its time to live no router is between. "
    "So another machine answers for this address now, and does not know the connection."
)


_SURVIVED = " The longest idle time that a connection between these two hosts survived in this capture is {}."


def _sent_again(x: Facts) -> str:
    if x.missing:
        return (
            f"The sequence numbers of the {x.sender} show that it sent {x.amount} that never arrived, and the {x.receiver} "
            "acknowledged none of them."
        )
    sent = f"The {x.sender} sent {x.data_name} {x.copies} times within {x.span}"
    if x.acknowledged_before:
        return (
            f"{sent}, although an ACK of the {x.receiver} for this data had passed the capture point: the ACKs do not reach the "
            f"{x.sender}."
        )
    if x.forgotten:
        again = f" {x.copies} times" if x.copies > 1 else ""
        return (
            f"The {x.sender} sent {x.data_name}{again}, and got an RST without ACK flag: the sender of this RST does not know "
            "the connection."
        )
    return f"{sent}; none of {'these probes was answered' if x.keep_alive else 'the copies was acknowledged'}."


def _reset_after(x: Facts) -> str:
    if x.forgotten or x.missing or not x.peer_close_rst or (x.peer_close_frame or 0) <= x.last_frame:
        return ""
    if x.peer_close_origin == "between":
        return f"A device on the path ended the connection with an RST in the {x.receiver}'s name after the last copy."
    return f"The {x.receiver} ended the connection with an RST after the last copy."


def _unacknowledged_sizes(x: Facts) -> str:
    """Return the text about the sizes of the segments, and which fact shows that the receiver was running."""
    if x.sack_frame is not None:
        alive = "its SACK reported smaller, later data"
    elif x.alive and x.peer_time is not None:
        alive = f"its last packet came {duration_text(x.peer_time - x.first_time)} after the first copy"
    else:
        alive = "another connection of the two hosts was answered"
    longest = "and no segment was ever acknowledged"
    if x.largest_acknowledged:
        longest = f"and the largest acknowledged segment has {x.largest_acknowledged:,} bytes"
    return (
        f" Every segment that was not acknowledged has {x.smallest_unacknowledged:,} bytes or more, {longest}; the {x.receiver} "
        f"was alive at that time ({alive})."
    )


def _size(x: Facts) -> str:
    """Return the text which says that the size of the segments may be the reason, and why."""
    longest = "no data was acknowledged before"
    if x.largest_acknowledged:
        longest = f"the largest segment that was acknowledged has {x.largest_acknowledged:,} bytes"
    return (
        " It is also possible that only large packets are lost (a path MTU black hole): every segment that was not acknowledged "
        f"has {x.smallest_unacknowledged:,} bytes or more, and {longest}."
    )


def _smaller_segments(x: Facts) -> str:
    """Return the text about the smaller segments that arrived, and how long the receiver waited for the larger ones."""
    arrived = "packets without data did arrive"
    if x.largest_acknowledged:
        arrived = f"the longest segment that did arrive has {x.largest_acknowledged:,} bytes"
    return f" For {duration_text(x.gap_time)} no full segment ({x.smallest_unacknowledged:,} bytes) arrived; {arrived}."


def _elsewhere(x: Facts) -> str:
    if x.kind == "large-only":
        return " Large segments are also lost on another connection of the two hosts." if x.same_elsewhere else ""
    tried = " The server did not answer a new connection of the client at that time either." if x.down else ""
    return tried + (" A connection that the client opened later to the same server was answered." if x.answered_later else "")


def _last_packet(x: Facts) -> str:
    """Return the text about what the sender waited for, and with the time of the receiver's last packet."""
    message, waited = "response" if x.sender == "client" else "request", ""
    if x.fin:
        rest = "" if x.not_begun else "rest of the "
        waited = f" Before the {x.sender} closed, it had waited {duration_text(x.rest)} for the {rest}{message}."
    elif x.keep_alive:
        waited = f" The {x.sender} was waiting for the {'rest of the ' if x.message_continued else ''}{message}."
    heard = x.heard_time if x.peer_time is None else x.peer_time
    if heard is None or x.last_time <= heard:
        return waited
    before = duration_text(x.last_time - heard)
    return f"{waited} The last packet of the {x.receiver} came {before} before the last {x.copy}."


def _fate(x: Facts) -> str:
    """Return the text stating which direction of the path broke, as far as the packets show it."""
    sender, receiver = x.sender, x.receiver
    if x.acknowledged_before:
        return f"The path from the {receiver} to the {sender} is broken beyond the capture point."
    if x.not_begun:
        return _FORGOTTEN.format(receiver)
    if x.keep_alive:
        return _BROKEN.format(receiver, "answers each probe that arrives")
    if x.syn_ack_again:
        return _NOT_ACCEPTED.format(receiver)
    if x.only_syn_acks:
        return _NEVER_ACCEPTED.format(receiver)
    one_way = f"So only the path from the {sender} to the {receiver} is broken."
    if x.peer_repeats:
        return f"The {receiver} is alive: it repeats data that the {sender} had acknowledged. {one_way}"
    if x.sack_frame is not None:
        return (
            f"The {receiver} is alive, and later data arrived, as its SACK shows. So a device on the path discards this data, or "
            "all of its copies were lost."
        )
    later = 0 if x.peer_time is None else x.peer_time - x.first_time
    if later >= STILL_ALIVE + (x.rtt_own or 0) + (x.rtt_peer or 0) and not x.peer_close_rst:
        since = f"{duration_text(later)} after the first copy"
        return f"The {receiver} is alive: {since} it sent a packet that acknowledges no copy. {one_way}"
    return _BROKEN.format(receiver, "acknowledges arriving data")


_FORGOTTEN = (
    "The path broke or has forgotten the connection, or the {} is gone. A slow application is not the cause: the kernel "
    "acknowledges a FIN that arrives."
)
_BROKEN = "The path broke, or the {} is gone. A slow application is not the cause: the kernel {}."
_NOT_ACCEPTED = (
    "The {} is alive: it sends its SYN-ACK again, as if the ACK of the client had not come. Either its listen queue is full "
    "because its process accepts no connections (the kernel then drops the ACK and the data), or no packet of the "
    "client reaches it any more."
)
_NEVER_ACCEPTED = (
    "The {} has sent nothing but its SYN-ACK: the path broke, the server is gone, or its listen queue is full. If its "
    "process accepts no connections, the queue fills, and then the kernel drops the data of new connections."
)


def _report(x: Facts) -> str | None:
    """Return the ICMP error as text."""
    if x.icmp_frame is None:
        return None
    error = icmp.name_error(x.icmp_router, x.icmp_type, x.icmp_code)
    return error if x.icmp_mtu is None else f"{error}, MTU {x.icmp_mtu:,} bytes"


def _evidence(x: Facts) -> tuple[list[Packet], str | None]:
    """Return the evidence, and the origin of the FIN and RST in it; None if there are two of different origin."""
    found, own, peer = _of_data(x), x.own_close_frame or 0, x.peer_close_frame or 0
    origins: set[str | None] = {sender_of_close(x.own_close_origin)} if x.fin else set()
    gives_up = own > x.last_frame
    # a sender that closes after the receiver may not have given up by itself
    closes_second = gives_up and x.first_frame < peer < own
    if gives_up:
        note = f"the {x.sender} {'closes, too' if closes_second else 'gives up'}: {fin_or_rst(x.own_close_rst)}"
        found.append((own, x.own_close_time, _of_close(x.own_close_origin, x.own_close_rst, x.sender, note)))
        origins.add(sender_of_close(x.own_close_origin))
    if peer and (x.missing or x.closed_later or peer > x.last_frame or closes_second):
        note = f"the {fin_or_rst(x.peer_close_rst)} of the {x.receiver}"
        found.append((peer, x.peer_close_time, _of_close(x.peer_close_origin, x.peer_close_rst, x.receiver, note)))
        origins.add(sender_of_close(x.peer_close_origin))
    return packets(*found), origins.pop() if len(origins) == 1 else None


def _of_data(x: Facts) -> list[tuple[int | None, int | None, str]]:
    """Return the packets of the evidence (frame, time, note) before the closes."""
    found: list[tuple[int | None, int | None, str]] = []
    if x.heard_frame is not None and x.heard_frame < x.first_frame:
        found.append((x.heard_frame, x.heard_time, f"the {x.receiver}'s last packet before the unanswered data"))
    sends = f"the {x.sender} sends {x.data_name}"
    if x.missing:
        sends = f"a packet of the {x.sender} whose sequence number is after data that never came"
    found.append((x.first_frame, x.first_time, with_doubt(x.own_close_origin, sends) if x.fin else sends))
    if x.copies > 1 and x.second_time is not None:
        found.append((x.second_frame, x.second_time, f"sent again after {duration_text(x.second_time - x.first_time)}"))
    large = x.kind == "large-only"
    # the newest packet of the receiver may be a repeated SYN-ACK
    shows_life = large or (x.syn_ack_again and x.peer_frame != x.peer_close_frame)
    if x.alive and shows_life and (x.peer_frame or 0) > x.first_frame:
        found.append((x.peer_frame, x.peer_time, f"a packet which shows that the {x.receiver} is alive"))
    if large:
        found.append((x.sack_frame, x.sack_time, f"the {x.receiver} reports smaller later data by SACK"))
    if x.icmp_frame is not None:
        found.append((x.icmp_frame, x.icmp_time, f"{x.icmp_router} sends {_report(x)}, and quotes the segment"))
    if x.last_frame > x.first_frame:
        last = f"another such packet, {x.span} later" if x.missing else f"{x.copy} {x.copies}, {x.span} after the first"
        found.append((x.last_frame, x.last_time, last))
    return found


def _of_close(origin: str, rst: bool, side: str, note: str) -> str:
    """Return the note for a FIN or RST of a side. `note`: the text if the host itself sent it."""
    return whose_close(side, origin, fin_or_rst(rst)) if origin == "between" else with_doubt(origin, note)
