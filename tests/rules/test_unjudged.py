"""Test that exchanges and connections that ended abnormally are listed with the reason if no finding explains them, and normal
ones are not.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

import wiredoctor
from tests.support.analysis import analyze_bytes
from tests.support.recordings import find_recording
from tests.support.sweeps import FORMS, WHOLE, sweep
from wiredoctor import rule_engine
from wiredoctor.findings import UNJUDGED
from wiredoctor.pipeline import catalogue
from wiredoctor.testing import capture

OPEN = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
"""
GET = r'"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"'
HELLO = r'"\x16\x03\x01\x00\x6c\x01\x00\x00\x68\x03\x03" + x*102'
PREFACE = r'"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"'
POST = r'"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"'
OK = r'"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"'
HEAD = r'"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"'
LATER = f"""
  connection 9, start 0, client 10.0.0.1:4009, server 10.0.0.9:80
  20.000  >  S    win 64240 mss 1460
  20.010  <  S.   win 64240 mss 1460
  20.010  >  .
  20.011  >  P.   {GET}
  20.022  <  P.   {OK}
"""
"""Another connection, on which all is well: the capture ends with it."""


STREAM = rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n"
  0.023  >  .
"""


class Case(NamedTuple):
    """Packets, and what is listed of them: reason and exchange (None: of the connection)."""

    packets: str
    listed: tuple[tuple[str, int | None], ...] = ()


def case(packets: str, *listed: tuple[str, int | None], opened: bool = True) -> Case:
    return Case((OPEN if opened else "\n") + packets + "\n", listed)


WEBSOCKET = r"""
  0.011  >  P.  "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
  0.022  <  P.  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
  0.023  >  .
"""

TUNNEL = r"""
  0.011  >  P.  "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"
  0.022  <  P.  "HTTP/1.1 200 Connection established\r\n\r\n"
  0.023  >  .
"""

LISTED = {
    "a request that nobody answers": case(f"  0.011  >  P.  {GET}\n  0.030  <  .", ("no-answer", 0)),
    "two in a pipeline, of which the second has no answer": case(
        f"  0.011  >  P.  {GET}+{GET}\n  0.022  <  P.  {OK}", ("no-answer", 1)
    ),
    "a request that is not whole": case(f"  0.011  >  P.  {POST}\n  0.030  <  .", ("request-unfinished", 0)),
    "a client that waits for 100, is redirected, and closes in the middle of its body": case(
        r"""  0.011  >  P.  "PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"
  0.022  <  P.  "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
  0.023  >  P.  x*1000
  0.024  >  F.
  0.034  <  F."""
        + LATER,
        ("request-cut-short", 0),
    ),
    "a request whose body never came": case(f"  0.011  >  P.  {POST}\n  0.030  <  .\n{LATER}", ("request-stopped", 0)),
    "a response that goes on": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body*1000
  0.023  >  .""",
        ("response-unfinished", 0),
    ),
    "a client that still sends when the capture ends, after an early response that announces the close": case(
        f"  0.011  >  P.  {POST}\n"
        r"""  0.022  <  P.  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
  0.023  <  F.
  0.033  >  P.  x*50
  0.043  <  .""",
        ("request-unfinished", 0),
    ),
    "a client that breaks off its own request after an early response that expects more requests": case(
        rf"""  0.011  >  P.  {POST}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.023  >  F.
  0.034  <  F.""",
        ("request-cut-short", 0),
    ),
    "an RST without ACK flag in the client's name": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body*1000
  0.023  >  .
  0.400  >  R""",
        ("reset-doubted", 0),
    ),
    "a response that an RST with the client's address but another TTL breaks off": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body*1000
  0.023  >  .
  0.025  >  R.  ttl 55""",
        ("reset-doubted", 0),
    ),
    "a complete response of which an RST with another TTL acknowledges only a part": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+body*500
  0.023  >  .
  0.0231 <  P.  body*500
  0.024  >  R.  ack 542 ttl 55""",
        ("reset-doubted", 0),
    ),
    "a response whose first half reaches a host which no longer knows the connection": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+body*500
  0.023  >  R   29:29(0)
  0.0231 <  P.  body*500
  0.024  >  R   29:29(0)""",
        ("reset-doubted", 0),
    ),
    "an event stream whose next part reaches a host, or a firewall, which no longer knows the connection": case(
        STREAM + r'''  5.022  <  P.  "8\r\ndata: 2\n\r\n"''' + "\n  5.023  >  R   ttl 63", ("reset-doubted", 0)
    ),
    "an event stream that a reset with another TTL ends": case(STREAM + "  1.000  >  R.  ttl 63", ("reset-doubted", 0)),
    "an event stream that had ended at the server, or on the path, before its client left": case(
        STREAM + "  9.000  >  F.\n  9.011  <  R   ttl 63", ("reset-doubted", 0)
    ),
    "an event stream whose client is reset, but goes on": case(
        STREAM
        + r'''  5.022  <  P.  "8\r\ndata: 2\n\r\n"'''
        + "\n  5.023  >  R\n  9.000  >  F.  39:39(0) ack 104\n  9.011  <  R   104:104(0)",
        ("reset-doubted", 0),
    ),
    "a WebSocket whose next message reaches a host, or a firewall, which no longer knows the connection": case(
        WEBSOCKET + r'''  9.000  <  P.  "\x81\x02hi"''' + "\n  9.001  >  R   ttl 63", ("reset-doubted", 0)
    ),
    "a response that reaches a host which no longer knows the connection": case(
        f"  0.011  >  P.  {GET}\n  6.022  <  P.  {OK}\n  6.022  >  R", ("reset-doubted", 0)
    ),
    "a tunnel that the server closes after the client's data": case(
        TUNNEL + "  0.024  >  P.  x*200\n  0.034  <  .\n  0.300  <  F.\n  0.301  >  F.\n  0.311  <  .", ("tunnel-unanswered", 0)
    ),
    "a tunnel that the server resets after the client's data": case(
        TUNNEL + "  0.024  >  P.  x*200\n  0.300  <  R.", ("tunnel-unanswered", 0)
    ),
    "a tunnel that the server resets, after data in both directions": case(
        TUNNEL + "  0.024  >  P.  x*200\n  0.034  <  P.  x*300\n  0.035  >  P.  x*10\n  0.050  <  .\n  1.200  <  R.",
        ("tunnel-reset", 0),
    ),
    "a tunnel that the server closes at once": case(
        TUNNEL + "  0.025  <  F.\n  0.026  >  F.\n  0.036  <  .", ("tunnel-unanswered", 0)
    ),
    "a tunnel whose client waits in vain": case(
        TUNNEL + "  0.024  >  P.  x*200\n  0.034  <  .\n  5.000  >  F.\n  5.010  <  F.\n  5.010  >  .", ("tunnel-unanswered", 0)
    ),
    "a WebSocket that the server resets": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x81\x02hi"
  1.001  >  .
  2.000  <  R.""",
        ("websocket-cut", 0),
    ),
    "a WebSocket that the server resets after its Close frame": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x88\x00"
  1.0001 <  R.""",
        ("websocket-cut", 0),
    ),
    "a WebSocket that the server resets after a Close frame that was acknowledged": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x88\x02\x03\xe8"
  1.001  >  .
  1.030  <  R.""",
        ("websocket-cut", 0),
    ),
    "a WebSocket of a server that ends": case(WEBSOCKET + "  2.000  <  F.\n  2.001  >  F.\n  2.012  <  .", ("websocket-cut", 0)),
    "a WebSocket that ends with a message that resembles a Close frame": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x81\x02\x88\x00"
  1.001  >  .
  2.000  <  F.
  2.001  >  F.""",
        ("websocket-cut", 0),
    ),
    "a response that goes on after an RST of the server": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body*1000
  0.023  >  .
  0.030  >  .
  0.0401 <  R
  0.044  <  P.  x*1000""",
        ("reset-doubted", 0),
    ),
    # with a Host the server would be at fault: malformed-head
    "an answer that is no HTTP, to what may be no request of HTTP": case(
        r'  0.011  >  P.  "GET /a HTTP/1.1\r\n\r\n"' + '\n  0.022  <  P.  "220 mail"\n  0.030  <  F.', ("unreadable", 0)
    ),
    "a request with a length that no body has": case(
        r"""  0.011  >  P.  "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n"
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.023  >  F.
  0.034  <  F.""",
        ("request-unreadable", 0),
    ),
    "SMB on a port of HTTP": case(
        r"""  0.011  >  P.  "\xffSMBr\x00\x00\x00\x00\x18"
  0.022  <  P.  "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  0.023  <  F.
  0.034  >  F.""",
        ("request-not-http", 0),
    ),
    "a head that is sent so slowly that the server rejects it": case(
        r"""  0.011  >  P.  "GET /abcd"
  1.011  >  P.  "efgh"
  2.022  <  P.  "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  2.023  <  F.
  2.034  >  F.""",
        ("head-awaited", 0),
    ),
    "the first bytes of a head, and 408 soon after them": case(
        r"""  0.011  >  P.  "GET /abcd"
  0.522  <  P.  "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  0.523  <  F.
  0.534  >  F.""",
        ("head-awaited", 0),
    ),
    "behind an answer that announced the close": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
  0.0215 >  P.  {GET} ack 1
  0.0330 <  F.
  0.034  <  R""",
        ("after-close-announced", 1),
    ),
    "bytes that the capture lacks": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body*1000
  0.0225 <  .   1461:2921(1460) uncaptured
  0.040  >  .   ack 4000""",
        ("gap", 0),
    ),
    "a response whose head the capture lacks": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  {HEAD} uncaptured
  0.023  >  .
  0.024  <  P.  x*2000
  0.025  >  .
  0.026  <  F.
  0.027  >  F.""",
        ("gap", 0),
    ),
    "heads that the snap length cuts": case(
        r"""  0.011  >  P.  "GET /a/long/way HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n" snap 96
  0.022  <  P.  "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 5000\r\n\r\n"+body*1250 snap 96
  0.023  >  .
  0.030  >  F.
  0.041  <  F.""",
        ("snap-length", 0),
    ),
    "a head that the capture changed": case(
        r"""  0.011  >  P.  "GET / HTTP/1.1\r\nHost: a\r\n\r\n" altered
  0.022  <  P.  "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nxxxx" altered
  0.023  >  .
  0.030  <  F.
  0.041  >  F.""",
        ("altered", 0),
    ),
    "bytes that the capture lacks, with a snap length that cuts no head": case(
        rf"""  0.011  >  P.  {GET} snap 200
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body*1000 snap 200
  0.0225 <  .   1461:2921(1460) uncaptured
  0.040  >  .   ack 4000""",
        ("gap", 0),
    ),
    "one direction": Case(
        f"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460 uncaptured
  0.010  >  .
  0.011  >  P.   {GET}
  0.022  <  P.   {OK} uncaptured
  0.030  >  .
""",
        (("one-sided", 0),),
    ),
    "a SYN that was repeated just before the end": case(
        "  0.000  >  S  win 64240 mss 1460\n  1.020  >  S  win 64240 mss 1460", ("no-connection", None), opened=False
    ),
    "a SYN without an answer": case("  0.000  >  S  win 64240 mss 1460" + LATER, ("no-connection", None), opened=False),
    "a SYN with data (TCP Fast Open), and nothing answers": case(
        '  0.000  >  S  win 64240 mss 1460 "\\x00\\x01hello"' + LATER, ("no-connection", None), opened=False
    ),
    "SYN-ACKs that do not reach the client": case(
        """
  0.000  >  S    win 64240 mss 1460
  0.001  <  S.   win 64240 mss 1460
  1.010  >  S    0:0(0) win 64240 mss 1460
  1.011  <  S.   0:0(0) win 64240 mss 1460
  3.020  >  S    0:0(0) win 64240 mss 1460
  3.021  <  S.   0:0(0) win 64240 mss 1460
"""
        + LATER,
        ("syn-ack-lost", None),
        opened=False,
    ),
    "SYN-ACKs that a firewall rejects with an RST in the client's name": case(
        """
  0.000  >  S    win 64240 mss 1460
  0.001  <  S.   win 64240 mss 1460
  0.001  >  R    1:1(0)
  1.010  >  S    0:0(0) win 64240 mss 1460
  1.011  <  S.   0:0(0) win 64240 mss 1460
  1.011  >  R    1:1(0)
  3.020  >  S    0:0(0) win 64240 mss 1460
  3.021  <  S.   0:0(0) win 64240 mss 1460
  3.021  >  R    1:1(0)
"""
        + LATER,
        ("syn-ack-lost", None),
        opened=False,
    ),
    "a window of 0 behind the handshake that is probed and never opens": Case(
        """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 0 mss 1460
  0.010  >  .
  0.260  >  .    0:0(0)
  0.760  >  .    0:0(0)
""",
        (("probes-unanswered", None),),
    ),
    "closed as soon as it was open": case("  0.020  <  F.\n  0.020  >  F." + LATER, ("closed-unused", None)),
    # its sequence number shows a banner; without one it is connect-failed, closed-at-once
    "reset at once, behind data that was not captured": case("  0.020  <  R.  16:16(0) ack 1" + LATER, ("closed-unused", None)),
    "a head that never ends": case(
        r'  0.011  >  P.  "GET /a HTTP/1.1\r\nHost: a\r\n"' + "\n  0.030  <  .\n  9.000  <  F.\n  9.001  >  F.",
        ("head-unfinished", 0),
    ),
    "no HTTP, reset by the server without a byte": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.030  <  R.', ("closed-unanswered", None)
    ),
    "no HTTP, reset by the server in the middle of what it sent": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.022  <  P.  x*1000\n  0.023  <  R.', ("reset", None)
    ),
    "no HTTP, reset by the server after an answer that was acknowledged": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.022  <  P.  x*1000\n  0.023  >  .\n  2.000  <  R.', ("server-reset", None)
    ),
    "no HTTP, reset by a client that never got a byte": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.030  <  .\n  9.000  >  R.', ("reset", None)
    ),
    "a TLS ClientHello that is acknowledged and never answered, until the client gives up": case(
        f"  0.011  >  P.  {HELLO}\n  0.022  <  .\n  7.000  >  F.\n  7.011  <  .", ("hello-unanswered", None)
    ),
    "a TLS ClientHello that is acknowledged and not answered yet": case(
        f"  0.011  >  P.  {HELLO}\n  0.022  <  ." + LATER, ("hello-unanswered", None)
    ),
    "an HTTP/2 preface that is acknowledged and never answered": case(
        f"  0.011  >  P.  {PREFACE}\n  0.022  <  .\n  5.000  >  F.\n  5.011  <  F.\n  5.011  >  .", ("hello-unanswered", None)
    ),
    "data that is repeated and never acknowledged": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.300  >  P.  1:8(7)\n  0.900  >  P.  1:8(7)' + LATER, ("silence", None)
    ),
    "data that is neither acknowledged nor sent again, and the capture goes on": case(
        '  0.011  >  P.  "\\x00\\x01hello"' + LATER, ("breaks-off", None)
    ),
    "no HTTP, and the server resets what comes behind its FIN": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.022  <  P.  x*1000\n  0.023  >  .\n'
        "  5.000  <  F.\n  5.010  >  P.  x*7\n  5.011  <  R  1002:1002(0)",
        ("reset", None),
    ),
    "no HTTP, closed by the server without a byte, and reset when data comes": case(
        '  0.500  <  F.\n  0.510  >  P.  "QUIT\\r\\n"\n  0.511  <  R  2:2(0)', ("closed-unanswered", None)
    ),
    "a SYN/ACK that acknowledges nothing": case(
        "  0.000  >  S  win 64240 mss 1460\n  0.010  <  S.  win 64240 mss 1460 ack 0" + LATER,
        ("no-connection", None),
        opened=False,
    ),
    "two SYNs, and an RST of the client, who gives up": case(
        "  0.000  >  S  win 64240 mss 1460\n  1.020  >  S  win 64240 mss 1460\n  2.500  >  R." + LATER,
        ("no-connection", None),
        opened=False,
    ),
}

NORMAL = {
    "a probe that closes at once, and that haproxy answers with 400": case(
        r"""  0.011  >  F.
  0.022  <  P.  "HTTP/1.1 400 Bad request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  0.032  >  R"""
    ),
    "a TLS connection in reserve that the client closes at once": case(
        f"  0.011  >  P.  {HELLO}\n  0.022  <  .\n  0.300  >  F.\n  0.311  <  F.\n  0.311  >  ."
    ),
    "no HTTP, closed by the client, and reset by the server after that": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.022  <  P.  x*1000\n  0.023  >  .\n  2.000  >  F.\n  2.011  <  R.'
    ),
    "a tunnel that the client closes, and the server resets after it": case(
        TUNNEL + "  0.024  >  P.  x*200\n  0.034  <  P.  x*300\n  0.035  >  .\n  1.200  >  F.\n  1.211  <  R."
    ),
    "an RST without ACK flag soon after a response that was acknowledged": case(
        f"  0.011  >  P.  {GET}\n  6.022  <  P.  {OK}\n  6.022  >  .\n  6.040  >  R"
    ),
    "an unused connection whose probes are answered": case(
        "  2.000  >  .  0:0(0)\n  2.010  <  .\n  4.000  >  .  0:0(0)\n  4.010  <  .\n  6.000  >  .  0:0(0)\n  6.010  <  ."
    ),
    "a client that waits for 100, is refused, and closes without having sent its body": case(
        r"""  0.011  >  P.  "PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"
  0.022  <  P.  "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
  0.023  >  F.
  0.034  <  ."""
    ),
    "a port that is checked, with a late copy of the SYN": case(
        """
  0.000  >  S    win 64240 mss 1460
  0.001  <  S.   win 64240 mss 1460
  0.001  >  R    1:1(0)
  0.002  >  S    0:0(0) win 64240 mss 1460
  0.003  >  R    1:1(0)
""",
        opened=False,
    ),
    "a SYN-ACK that is repeated, and acknowledged again": case(
        "  1.010  <  S.  win 64240 mss 1460\n  1.010  >  .\n  3.010  <  S.  win 64240 mss 1460\n  3.010  >  ."
    ),
    "a server that gives up waiting for a request": case(
        r"""  5.000  <  P.  "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  5.001  <  F.
  5.012  >  F."""
    ),
    "all is well": case(f"  0.011  >  P.  {GET}\n  0.022  <  P.  {OK}\n  0.030  >  F.\n  0.040  <  F.\n  0.040  >  ."),
    "it rests when the capture ends": case(f"  0.011  >  P.  {GET}\n  0.022  <  P.  {OK}\n  0.023  >  ." + LATER),
    "a client that has all and resets": case(f"  0.011  >  P.  {GET}\n  0.022  <  P.  {OK}\n  0.030  >  R."),
    "a client that has all, closes, and resets what comes then": case(
        f"  0.011  >  P.  {GET}\n  0.022  <  P.  {OK}\n  0.030  >  F.\n  0.041  <  F.\n  0.041  >  R"
    ),
    "behind an answer that announced the close, and repeated on another connection": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
  0.0215 >  P.  {GET} ack 1
  0.0330 <  F.
  0.034  <  R
  connection 2, start 0.040, client 10.0.0.1:4002
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.  {GET}
  0.022  <  P.  {OK}
  0.030  >  F.
  0.041  <  F."""
    ),
    "an upload that ends after an early response which announced the close": case(
        rf"""  0.011  >  P.  {POST}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
  0.030  >  P.  x*100
  0.041  <  F.
  0.042  >  F.
  0.053  <  ."""
    ),
    "an upload whose client closes seconds after an early response which rejects it": case(
        f"  0.011  >  P.  {POST}\n"
        r"""  0.022  <  P.  "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
  0.023  <  F.
  0.023  >  .
  6.000  >  F.
  6.010  <  .""" + LATER
    ),
    "an upload that its client stops after an early response which rejects it": case(
        rf"""  0.011  >  P.  {POST}
  0.022  <  P.  "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
  0.023  >  F.
  0.034  <  F."""
    ),
    "a tunnel that its client leaves right after its first data": case(
        TUNNEL + "  0.024  >  P.  x*200\n  0.034  <  .\n  0.100  >  F.\n  0.110  <  F.\n  0.110  >  ."
    ),
    "a tunnel that its client does not use": case(TUNNEL + "  5.000  >  F.\n  5.010  <  F.\n  5.010  >  ."),
    "a tunnel through which data came back": case(
        TUNNEL
        + "  0.024  >  P.  x*200\n  0.034  <  P.  y*300\n  0.035  >  P.  x*31\n  0.045  <  F.\n  0.046  >  F.\n  0.056  <  ."
    ),
    "an event stream that its client leaves": case(STREAM + "  1.000  >  R."),
    "an event stream that its client leaves, and the client resets what comes then": case(
        STREAM + "  1.000  >  F.\n" + r'''  1.005  <  P.  "8\r\ndata: 2\n\r\n"''' + "\n  1.005  >  R"
    ),
    "an event stream that its client leaves, and the server resets": case(STREAM + "  1.000  >  F.\n  1.011  <  R."),
    "an event stream that goes on": case(STREAM),
    "a WebSocket whose server says goodbye behind messages in the same segment": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x81\x02hi\x81\x7e\x00\x80"+x*128+"\x88\x02\x03\xe8"
  1.001  >  .
  1.010  <  F.
  1.011  >  F."""
    ),
    "a WebSocket whose server says goodbye without a reason": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x88\x00"
  1.001  >  .
  1.010  <  F.
  1.011  >  F."""
    ),
    "a WebSocket that the server resets when the client has answered its Close frame": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x88\x00"
  1.001  >  P.  "\x88\x80\x01\x02\x03\x04"
  1.012  <  R."""
    ),
    "a WebSocket whose server closes after its Close frame, and resets what the client still sends": case(
        WEBSOCKET
        + r"""  1.000  <  P.  "\x88\x00"
  1.0001 <  F.
  1.001  >  P.  "\x81\x82\x01\x02\x03\x04\x69\x6b"
  1.012  <  R"""
    ),
    "a WebSocket whose client says goodbye, and the server closes": case(
        WEBSOCKET
        + r"""  1.000  >  P.  "\x88\x82\x01\x02\x03\x04\x02\xea"
  1.011  <  F.
  1.011  >  F."""
    ),
    "a WebSocket that its client leaves": case(WEBSOCKET + "  2.000  >  F.\n  2.011  <  F."),
    "a tunnel that is reset": case(
        r"""  0.011  >  P.  "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
  0.022  <  P.  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
  1.000  >  P.  "\x81\x00"
  1.010  <  .
  2.000  >  R."""
    ),
    "a SYN with which the capture ends": case("  0.000  >  S  win 64240 mss 1460", opened=False),
    "a client that opens a connection, leaves it unused, and resets it": case("  9.000  >  R." + LATER),
    "a server that closes an unused connection after a while": case("  9.000  <  F.\n  9.000  >  F." + LATER),
    "no HTTP, answered, and reset by its client": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.022  <  P.  x*1000\n  0.023  >  .\n  0.030  >  R.'
    ),
    "no HTTP, and the client resets what comes behind its FIN (a close_notify)": case(
        '  0.011  >  P.  "\\x00\\x01hello"\n  0.022  <  P.  x*1000\n  0.023  >  .\n'
        "  0.030  >  F.\n  0.041  <  P.  x*31\n  0.041  >  R" + LATER
    ),
    "TLS, and the server resets the close_notify behind its FIN": case(
        r"""  0.011  >  P.  "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
  0.022  <  P.  "\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00"
  0.023  >  .
  5.000  <  F.
  5.010  >  P.  "\x15\x03\x03\x00\x1a"+x*26
  5.011  <  R   12:12(0)"""
    ),
    "data with which the capture ends": case('  0.011  >  P.  "\\x00\\x01hello"'),
}

EXPLAINED = {
    "TLS on a port of HTTP": case(
        r"""  0.011  >  P.  "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
  0.022  <  P.  "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
  0.023  <  F.
  0.034  >  F.""",
    ),
    "connect-failed, twice, of an IPv6 client": case(
        """
  connection 1, start 0, client [fd50::2]:4001, server [fd20::2]:80
  0.000  >  S    mss 1440
  0.010  <  R.   ack 1
  connection 2, start 5, client [fd50::2]:4002, server [fd20::2]:80
  0.000  >  S    mss 1440
  0.010  <  R.   ack 1""",
        opened=False,
    ),
    "no-response": case(f"  0.011  >  P.  {GET}\n  0.211  <  F.\n  0.211  >  F."),
    "malformed-head, an answer that is no HTTP": case(f'  0.011  >  P.  {GET}\n  0.022  <  P.  "220 mail"\n  0.030  <  F.'),
    "no-response, of a pipeline": case(f"  0.011  >  P.  {GET}+{GET}+{GET}\n  0.211  <  F.\n  0.211  >  F."),
    "client-abort": case(f"  0.011  >  P.  {GET}\n  0.030  <  .\n  5.011  >  R."),
    "truncated-response": case(
        rf"""  0.011  >  P.  {GET}
  0.022  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body*1000
  0.023  >  .
  0.030  <  F.
  0.030  >  F."""
    ),
    "unfinished-request": case(f"  0.011  >  P.  {POST}\n  0.030  <  .\n  5.000  >  R."),
    "unfinished-request, rejected": case(
        f"  0.011  >  P.  {POST}\n  0.012  >  F.\n"
        r"""  0.022  <  P.  "HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
  0.023  <  F."""
    ),
    "connect-failed": case("  0.000  >  S  win 64240 mss 1460\n  0.010  <  R.", opened=False),
}


def listed(one: Case, path: Path, at: str | None = None, **how: Any) -> list[tuple[str, int | None]]:
    report = analyze_bytes(path, capture(one.packets, at), **how)
    counted = {reason: number for (_, reason), number in report.not_judged_counts.items()}
    found = [(one.reason, one.exchange) for one in report.not_judged]
    assert counted == {reason: [name for name, _ in found].count(reason) for reason in counted}
    return found


@FORMS
@pytest.mark.parametrize("size", sweep([100_000, 1, 3], {1}.__contains__))
@pytest.mark.parametrize("title", LISTED)
def test_it_is_listed(title: str, size: int, tmp_path: Path) -> None:
    assert listed(LISTED[title], tmp_path / "a.pcap", epoch_packets=size) == [*LISTED[title].listed]


OPENED = [title for title, one in LISTED.items() if one.packets.startswith(OPEN)]


@FORMS
@pytest.mark.parametrize("at", sweep(["client", "middle", "server"], {"server"}.__contains__))
@pytest.mark.parametrize("title", sweep(OPENED, OPENED[::3].__contains__))
def test_it_is_listed_wherever_it_is_captured(title: str, at: str, tmp_path: Path) -> None:
    assert listed(LISTED[title], tmp_path / "a.pcap", at) == [*LISTED[title].listed]


@pytest.mark.parametrize(
    ("at", "packets", "idle"),
    [
        ("client", '  1.000  <  P.  "\\x81\\x02hi"\n  1.001  >  .\n  4.001  <  F.\n', 3.001),
        ("client", "  1.000  >  P.  masked\n  1.010  <  .\n  4.010  <  F.\n", 3.0),
        ("server", "  1.000  >  P.  masked\n  1.010  <  .\n  4.010  <  F.\n", 3.0),
        ("client", "  1.000  >  P.  masked\n  1.010  <  .\n  4.005  >  F.\n  4.010  <  F.\n", None),
    ],
)
def test_the_idle_time_of_a_cut_websocket(at: str, packets: str, idle: float | None, tmp_path: Path) -> None:
    text = OPEN + WEBSOCKET + packets.replace("masked", r'"\x81\x82\x01\x02\x03\x04ik"') + LATER
    cut = analyze_bytes(tmp_path / "a.pcap", capture(text, at)).not_judged
    assert [(one.reason, one.idle) for one in cut] == ([] if idle is None else [("websocket-cut", pytest.approx(idle))])


def test_every_reason_has_a_case() -> None:
    told = {reason for one in LISTED.values() for reason, _ in one.listed}
    of_other_rules = {"closed", "cut-short", "refused"}  # what rules that were not requested explain
    of_long_captures = {"not-compared"}  # see tests/pipeline/test_window.py
    assert told == {*UNJUDGED} - of_other_rules - of_long_captures


@FORMS
@pytest.mark.parametrize("title", sweep([*LISTED, *NORMAL], [*LISTED, *NORMAL][::9].__contains__))
def test_more_suspects_than_are_held_change_nothing(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("wiredoctor.rule_engine.unjudged"), "HELD", 0)
    one = LISTED.get(title) or NORMAL[title]
    assert listed(one, tmp_path / "a.pcap") == [*one.listed]


@pytest.mark.parametrize("title", NORMAL)
def test_what_is_normal_is_not(title: str, tmp_path: Path) -> None:
    assert listed(NORMAL[title], tmp_path / "a.pcap") == []


@pytest.mark.parametrize("title", EXPLAINED)
def test_what_a_finding_explains_is_not(title: str, tmp_path: Path) -> None:
    assert listed(EXPLAINED[title], tmp_path / "a.pcap") == []


@pytest.mark.parametrize(
    ("title", "reasons"),
    [
        ("malformed-head, an answer that is no HTTP", [("unreadable", 0)]),
        ("no-response", [("closed", 0)]),
        ("no-response, of a pipeline", [("closed", 0), ("closed", 1), ("closed", 2)]),
        ("client-abort", [("closed", 0)]),
        ("truncated-response", [("cut-short", 0)]),
        ("connect-failed", [("refused", None)]),
    ],
)
def test_a_rule_that_was_not_asked_for_explains_nothing(
    title: str, reasons: list[tuple[str, int | None]], tmp_path: Path
) -> None:
    assert listed(EXPLAINED[title], tmp_path / "a.pcap", select=["tinygrams"]) == reasons


def test_an_ignored_finding_still_explains() -> None:
    """What is settled explains, told or not: here by its rule, by its connection, and by the endpoints of a summary."""
    modules = {name: catalogue()[name] for name in ("no-response", "connect-failed", "slow-response")}
    core = pl.DataFrame(
        {
            "rule": ["no-response", "slow-response", "connect-failed", "connect-failed"],
            "connection": [1, 2, None, None],
            "exchange": [3, 0, None, None],
            "client": ["10.0.0.1:4001", "10.0.0.1:4002", "10.0.0.7", None],
            "server": ["10.0.0.2:80", "10.0.0.2:80", None, "[2001:db8::1]:80"],
        },
        schema_overrides={"exchange": pl.Int32()},
    )
    by = rule_engine.explained_keys(core, modules)
    assert by.connections.rows() == [(1, [3])]
    assert {*by.endpoints.rows()} == {("10.0.0.7", None), (None, "[2001:db8::1]:80")}


@WHOLE
@pytest.mark.parametrize("exchanges", [[None], [None, 3], [3, None]])
def test_a_finding_about_a_connection_explains_all_of_its_exchanges(exchanges: list[int | None]) -> None:
    core = pl.DataFrame(
        {
            "rule": ["no-response"] * len(exchanges),
            "connection": [1] * len(exchanges),
            "exchange": exchanges,
            "client": ["10.0.0.1:4001"] * len(exchanges),
            "server": ["10.0.0.2:80"] * len(exchanges),
        },
        schema_overrides={"exchange": pl.Int32()},
    )
    [(connection, explained)] = rule_engine.explained_keys(core, catalogue()).connections.rows()
    assert connection == 1
    assert -1 in explained


def test_many_refused_connections_of_a_scan_are_explained_by_one_finding(tmp_path: Path) -> None:
    lines = [
        f"  connection {port}, start 0.{port:03}, client 10.0.0.1:{4000 + port}, server 10.0.0.2:{port}\n"
        "  0.000  >  S  win 64240 mss 1460\n  0.010  <  R."
        for port in range(1, 40)
    ]
    report = analyze_bytes(tmp_path / "a.pcap", capture("\n" + "\n".join(lines) + "\n"))
    assert [(f.rule, f.connection) for f in report.findings] == [("connect-failed", None)]
    assert report.not_judged == []


def test_what_is_said_of_it(tmp_path: Path) -> None:
    text = OPEN + r'  0.011 > P. "GET /a?key=1234 HTTP/1.1\r\nHost: a\r\n\r\n"' + "\n  3.211 < .\n"
    [one] = analyze_bytes(tmp_path / "a.pcap", capture(text)).not_judged
    assert (one.request, one.frame, one.elapsed, one.waited) == ("GET /a?key=(masked)", 4, 0.011, 3.2)
    assert one.message == "no answer for 3.2 s when the capture ended"
    assert (one.client, one.server, one.time[11:]) == ("10.0.0.1:40001", "10.0.0.2:80", "22:13:20.011000000Z")


@pytest.mark.parametrize(
    ("select", "ignore", "listed"),
    [
        ((), (), False),
        (("gateway-error",), (), True),
        (("idle-close",), (), True),  # keep-alive-race runs, too, because it may explain what idle-close finds
        (("gateway-error",), ("keep-alive-race",), False),
        ((), ("keep-alive-race", "gateway-error"), False),
        (("slow-response",), ("lifetime",), False),
    ],
)
def test_only_rules_that_are_reported_or_ignored_explain(select: tuple[str, ...], ignore: tuple[str, ...], listed: bool) -> None:
    """A server closed its connection to a gateway before it answered: keep-alive-race reports that."""
    report = wiredoctor.analyze(find_recording("behind-nginx-race.pcap"), select=[*select], ignore=[*ignore])
    assert [one.reason for one in report.not_judged] == (["closed"] if listed else [])
    assert not {finding.rule for finding in report.findings} & {*ignore}


MALFORMED_THEN_CUT = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nX(y: 1\r\nContent-Length: 2\r\n\r\nok"
  0.022  >  .
  0.030  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  0.041  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
  0.041  >  .
"""


def test_a_malformed_head_does_not_explain_a_later_response_that_broke_off(tmp_path: Path) -> None:
    report = analyze_bytes(tmp_path / "a.pcap", capture(MALFORMED_THEN_CUT))
    assert [(one.rule, one.exchange) for one in report.findings if one.rule == "malformed-head"] == [("malformed-head", 0)]
    assert [(one.connection, one.exchange) for one in report.not_judged] == [(0, 1)]
