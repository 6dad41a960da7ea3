r"""Test rules, yours or the project's, on connections written as text together with the expected findings.

    from wiredoctor.testing import check_everywhere, findings

    check_everywhere(LADDER)                    # the findings are exactly those of the ladder, at every capture point
    findings(LADDER, select=["my-rule"])        # the findings, for other checks

A ladder describes one or more connections, with one line per packet. It becomes a capture, which is analyzed completely:

    speaks: head and body in two writes, 200 ms receiver
      0.000  >  S    win 64240 mss 1460
      0.010  <  S.   win 64240 mss 1460
      0.010  >  .
      0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
      0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
      0.222  >  .
      0.232  <  P.   "hello"
      => nagle-delayed-ack, side server, kind head-body-split, delay 0.200, frames 5 6 7

A line describes a packet: its time in seconds (`+0.010`: after the previous packet), its direction (`>` from the client, `<`
from the server), its flags (S F R P and `.` for ACK), and optional parts in any order:

    "text\r\n"   the payload, with Python's escapes. "ab"*50 repeats a text. body*5000 is the word's first letter (b) 5,000 times.
                 + joins parts.
    1:1461(1460) the sequence numbers of the first byte and after the last one; the SYN has the number 0. By default, these are
                 the next unsent bytes of the sender. If no payload is given, all bytes are x.
    ack 39       the acknowledgment number; by default, everything received in order from the other side
    win 65535    the window in bytes, after scaling; it applies until the sender's next line with a window
    mss 1460     the option for the maximum segment size;   wscale 7   the option for the window scale
    ts           has timestamps;   sack 101:201   has a SACK block;   ttl 64   the time to live;   id 7   the IPv4 identification
    left 0.031   its TSval shows that it was sent at this time; by default, at the time of its line
    echo 0.020   its TSecr shows the other side's clock at this time; by default as in RFC 7323 section 4.3
    snap 100     only this many bytes were captured, counted from the Ethernet header
    uncaptured   reached the other side but was not captured
    damaged      has a wrong checksum, so the other side discards it;   altered   was captured with a wrong checksum, although it
                 arrived intact;   rewritten   its checksum differs from the correct one by the same number as others;
                 offloaded   has the sum of the pseudo header as its checksum;   unsummed   has the checksum 0
    vxlan        is in a VXLAN tunnel whose UDP header has the checksum 0 or, with `damaged`, a wrong one

Other lines:

    connection 2, start 0.5, client 10.0.0.1:4001, server 10.0.0.2:80, isn 4294967000 7, tick 0.001 0.010, stamp 0 4294967290
                             the following lines belong to this connection, and count their times from `start`. Only the
                             number is required. For client and server: isn, the initial sequence number; tick, the unit of
                             timestamps in seconds; stamp, the timestamp at time 0.
    client acks after 0.040  the client acknowledges each data packet of the server with a pure ACK after this time, unless it
                             sends another ACK before. The same line exists for the server.
    repeat 5 ... end         repeats the lines in between five times
    => nothing               the expected findings: none. Otherwise one line for each: its rule and any of side, kind, delay
                             (within 1 ms, or `within 0.020`), frames (numbers of lines), confidence, severity, and `x 3` for
                             three equal ones.

The times are those at one capture point, whose position follows from the handshake; `at` ("client", "middle", "server") moves
it. A ladder in which a reply comes sooner than the round trip of the handshake allows is rejected.
"""

from __future__ import annotations

from wiredoctor.testing.expectations import EPOCHS, POINTS, check, check_everywhere, findings, ladders_in
from wiredoctor.testing.notation import LadderError, Packet, ladder_packets
from wiredoctor.testing.wire import to_pcap

__all__ = ["EPOCHS", "POINTS", "LadderError", "Packet", "capture", "check", "check_everywhere", "findings", "ladder_packets"]
__all__ += ["ladders_in", "to_pcap"]


def capture(text: str, at: str | None = None) -> bytes:
    """Return a pcap file with the packets of a ladder, as bytes.

    `at`: the capture point (client, middle or server); None for the point at which the ladder is written. Raise LadderError if a
    line is invalid, or if a packet is faster than the round trip allows.
    """
    return to_pcap(ladder_packets(text, at))
