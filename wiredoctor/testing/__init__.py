r"""For the tests of rules: conversations as text, with what must be found in them. Of the project's rules, and of yours.

    from wiredoctor.testing import check_everywhere, findings

    check_everywhere(LADDER)                    # exactly what the ladder says is found, wherever it is captured
    findings(LADDER, select=["my-rule"])        # what is found, to look at by other means

A ladder is a conversation as a drawing, a line per packet. It becomes a capture and goes through the whole analysis:

    speaks: head and body in two writes, 200 ms receiver
      0.000  >  S    win 64240 mss 1460
      0.010  <  S.   win 64240 mss 1460
      0.010  >  .
      0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
      0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
      0.222  >  .
      0.232  <  P.   "hello"
      => nagle-delayed-ack, side server, kind head-body-split, delay 0.200, frames 5 6 7

A line is a packet: time in seconds (`+0.010`: after the packet before it), direction (`>` from the client), flags (S F R P and
`.` for ACK), and what else it has, in any order:

    "text\r\n"   payload, with Python's escapes; "ab"*50 and body*5000 repeat (a bare word stands for its first letter);
                 pieces are joined by +
    1:1461(1460) sequence numbers from : to, 0 being the SYN (by default what the side has not yet sent); without payload
                 the bytes are x
    ack 39       acknowledgement number (by default all that has been seen from the other side in order)
    win mss wscale   the window is in bytes, after scaling; it stays until the next one
    ts           carries time stamps;   sack 101:201   carries a SACK block;   ttl 64;   id 7 (IPv4)
    left 0.031   its TSval is the sender's clock of then: it was on its way longer (by default that of its own time)
    echo 0.020   its TSecr is the other side's clock of then (by default that of what it answers, RFC 7323 section 4.3)
    snap 100     the capture has so many bytes of the packet, from its Ethernet header on
    uncaptured   reached the other side, but is not in the capture

Other lines:

    connection 2, start 0.5, client 10.0.0.1:4001, server 10.0.0.2:80, isn 4294967000 7, tick 0.001 0.010, stamp 0 4294967290
                             what follows is another connection, with its own clock; all but the number may be left out. Of
                             client and server: the number of the SYN, the unit of time stamps in seconds, the one at 0
    client acks after 0.040  each data packet of the server is acknowledged by itself so much later, unless the client
                             sends something before (also: server acks after)
    repeat 5 ... end         the lines between, five times
    => nothing               what must be found: nothing, or a line for each finding, with any of side, kind, delay (within
                             1 ms, or `within 0.020`), frames (as the lines are numbered), confidence, severity, and x 3
                             for three of them

Times are those of a capture point; where that is, the handshake says. `at` ("client", "middle", "server") moves it.
A ladder that answers faster than its own handshake allows is rejected: nothing travels faster than the round trip.
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
    """The bytes of a pcap file with the packets of a ladder. `at`: client, middle or server; else as written.

    Raises LadderError where a line cannot be read, or nothing could be so fast.
    """
    return to_pcap(ladder_packets(text, at))
