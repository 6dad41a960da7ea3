"""Words that many rules need for what they report: the packets of the evidence, FIN or RST, and who may have sent it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from wiredoctor.rules.shared.evidence import DOUBTFUL_TTL, NEAR, NO_WITNESS, WITNESS
from wiredoctor.tables import SECOND, SERVER
from wiredoctor.text.durations import duration_text


class Nanoseconds(int):
    """A value that templates write as a duration ("44.1 ms"), and that the finding's `measures` hold in seconds."""


class Packet(NamedTuple):
    """A packet of the evidence. `time`: ns since the first packet of the capture."""

    frame: int
    time: int
    note: str


def packets(*given: tuple[int | None, int | None, str]) -> list[Packet]:
    """Return the packets of the evidence from triples of frame, time (ns) and note; triples without a frame are left out."""
    return [Packet(frame, time or 0, note) for frame, time, note in given if frame is not None]


def connection_packets(shown: Iterable[Mapping[str, Any]], note: str) -> list[Packet]:
    """Return the packets of a finding about the capture: one of each of its connections.

    `shown`: the fact of that name, see `evidence.one_capture_candidate`. `note`: a str.format template with names of its facts.
    """
    return [Packet(one["frame"], one["time"], f"connection {one['connection']}: {note.format(**one)}") for one in shown]


def mac_address(number: int) -> str:
    """Return a MAC address as text: "02:00:00:00:00:99"."""
    return number.to_bytes(6, "big").hex(":")


def another_machine(mac: int) -> str:
    """Return the words about an RST from this MAC address, which is not that of the server's SYN-ACK, without a final stop."""
    return (
        f"the RST came from another machine (MAC address {mac_address(mac)}) than the server's SYN-ACK, and by its time to live "
        "no router is between. So another machine answers for this address now, and does not know the connection"
    )


FIND_MACHINES = (
    "Find out which machines have this address (arping -D, the address table of the switch). A failover moves an address, but "
    "not its connections (VRRP, keepalived, kube-vip, MetalLB in layer 2 mode), and two machines may have the same address by "
    "mistake. "
)
"""What to do if another machine answers for an address than before."""


def fin_or_rst(rst: int | bool | None) -> str:
    """Return "RST" if `rst` (such as the column `server_close_rst`) is 1; otherwise "FIN"."""
    return "RST" if rst == 1 else "FIN"


def request_or_response(role: int | None) -> str:
    """Return "response" if the server sent the message or segment; otherwise "request"."""
    return "response" if role == SERVER else "request"


def sender_of_close(origin: str | None) -> str | None:
    """Return the `origin` of a finding from a column such as `server_close_origin`: "endpoint", "between" or None (uncertain)."""
    return origin if origin in ("endpoint", "between") else None


def with_doubt(origin: str | None, note: str) -> str:
    """Return a note about a FIN or RST. If `origin` is "doubtful", the note adds that a device on the path may have sent it."""
    return f"{note}{DOUBTFUL_TTL}" if origin == "doubtful" else note


def whose_close(side: str, origin: str | None, close: str) -> str:
    """Return words for the FIN or RST (`close`) of a side, such as "the server's RST", or who sent it in that side's name."""
    return f"the {close} that a device on the path sent in the {side}'s name" if origin == "between" else f"the {side}'s {close}"


def close_after_response(rst: int | None, gap: int) -> str:
    """Return the note for a FIN or RST of the server. `gap`: the time (ns) from the end of the response."""
    return f"the server's {fin_or_rst(rst)}, {duration_text(gap)} after the end of the response"


def witness(by_clock: int | None, rtt_server: int | None) -> str:
    """Return the end of a note about a pause of the server. It says whether the server's timestamps show the pause, too.

    It is "" if the server is NEAR: then no timestamps are needed. `by_clock`: the length of the pause (ns) by these timestamps.
    """
    if rtt_server is not None and rtt_server < NEAR:
        return ""
    return NO_WITNESS if by_clock is None else WITNESS.format(duration_text(by_clock))


def doubt_words(origin: str | None, rst: int | None) -> dict[str, str]:
    """Return words for a finding that blames the server for its FIN or RST, which a device on the path may have sent.

    They are "" unless `origin` (the column `server_close_origin`) is "doubtful". `or_device` follows "the server" in a title,
    `doubt` is a sentence, and `find_sender` is a remedy.
    """
    if origin != "doubtful":
        return {"or_device": "", "doubt": "", "find_sender": ""}
    close = fin_or_rst(rst)
    return {"or_device": " or a device on the path", "doubt": _DOUBTED.format(close), "find_sender": _FIND_SENDER.format(close)}


_DOUBTED = (
    " The TTL of the {0} differs from that of the server's other packets. So a firewall or an intrusion prevention system on the "
    "path may have sent it, or a host that forwards the port, such as a balancer or the host of a container. If the route "
    "changed, the server's own {0} looks the same."
)
_FIND_SENDER = "Capture on the server, too: if the {} is not in that capture, another device sent it. "


REPEATED = "the gateway repeated the request on {server} and answered {status}."
MADE_WHOLE = "The gateway forwarded the response as if it were complete, so its client cannot know that something is missing."


def retry_sentence(retry: Mapping[str, Any] | None) -> str | None:
    """Return the sentence about a gateway whose client got the response of a later try (gateways.tries.RETRY); None without one.

    If the client got it less than SECOND later, users notice nothing.
    """
    if retry is None:
        return None
    late, why = retry["late"], "that" if retry["failed"] == 1 else f"{retry['failed']} failed attempts"
    noticed = "noticed nothing" if late < SECOND else f"got its response {duration_text(late)} later because of {why}"
    return f"The gateway's own client {noticed}: {REPEATED.format(**retry)}"
