r"""Test rules, yours or the project's, on conversations written as text together with the expected findings.

    from wiredoctor.testing import check_everywhere, findings

    check_everywhere(LADDER)                    # the findings are exactly those of the ladder, at every capture point
    findings(LADDER, select=["my-rule"])        # the findings, for other checks

A ladder is a conversation drawn as text, one line per packet. It becomes a capture that passes through the complete analysis:

    speaks: head and body in two writes, 200 ms receiver
      0.000  >  S    win 64240 mss 1460
      0.010  <  S.   win 64240 mss 1460
      0.010  >  .
      0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
      0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
      0.222  >  .
      0.232  <  P.   "hello"
      => nagle-delayed-ack, side server, kind head-body-split, delay 0.200, frames 5 6 7

A line is a packet: time in seconds (`+0.010`: after the previous packet), direction (`>` from the client), flags (S F R P and
`.` for ACK), and optional parts in any order:

    "text\r\n"   payload, with Python's escapes; "ab"*50 and body*5000 repeat (a bare word stands for its first letter);
                 parts are joined by +
    1:1461(1460) sequence numbers from : to, 0 being the SYN (by default the next unsent bytes of the side); without payload
                 the bytes are x
    ack 39       acknowledgment number (by default everything received in order from the other side)
    win mss wscale   the window is in bytes, after scaling; it applies until the next one
    ts           has timestamps;   sack 101:201   has a SACK block;   ttl 64;   id 7 (IPv4)
    left 0.031   its TSval is the sender's clock at that time, so it was in transit longer (by default at its own time)
    echo 0.020   its TSecr is the other side's clock at that time (by default as in RFC 7323 section 4.3)
    snap 100     the capture has this many bytes of the packet, from its Ethernet header on
    uncaptured   reached the other side but was not captured

Other lines:

    connection 2, start 0.5, client 10.0.0.1:4001, server 10.0.0.2:80, isn 4294967000 7, tick 0.001 0.010, stamp 0 4294967290
                             the next lines belong to another connection with its own clock; only the number is required. Of
                             client and server: the initial sequence number, the unit of timestamps in seconds, the timestamp at 0
    client acks after 0.040  each data packet of the server is acknowledged alone after this time, unless the client
                             sends something before (also: server acks after)
    repeat 5 ... end         repeats the lines in between five times
    => nothing               the expected findings: none, or one line for each, with any of side, kind, delay (within
                             1 ms, or `within 0.020`), frames (numbers of lines), confidence, severity, and x 3
                             for three equal ones

Times are those of a capture point, whose position follows from the handshake; `at` ("client", "middle", "server") moves it.
A ladder with replies faster than the round trip of its handshake is rejected.
"""

from __future__ import annotations

from wiredoctor.testing.expectations import EPOCHS, POINTS, check, check_everywhere, findings, ladders_in
from wiredoctor.testing.notation import LadderError, Packet, ladder_packets
from wiredoctor.testing.wire import to_pcap

__all__ = [
    "EPOCHS",
    "POINTS",
    "LadderError",
    "Packet",
    "capture",
    "check",
    "check_everywhere",
    "findings",
    "ladder_packets",
    "ladders_in",
    "to_pcap",
]


def capture(text: str, at: str | None = None) -> bytes:
    """Return a pcap file with the packets of a ladder, as bytes.

    `at`: the capture point (client, middle or server); None for the point at which the ladder is written. Raise LadderError if a
    line is invalid, or if a packet is faster than the round trip allows.
    """
    return to_pcap(ladder_packets(text, at))
