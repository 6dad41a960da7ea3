"""The server did not answer the ClientHello.

What it means
    The server's kernel accepted the connection and acknowledged the ClientHello, but no ServerHello came. Kind silent: the server
    sent no byte. The program that listens on the port does not accept the connection or does not read from it: it hangs, all
    of its workers are busy, or a relay waits for a server behind it. Kind gap: bytes of the server came, but not the first
    ones: the path loses the full segments of its answer, and lets smaller ones pass.

Why it hurts
    The client waits until its own timeout, and reports that the TLS handshake timed out. A client without a timeout waits as
    long as the connection lasts.

How it is proved
    The capture has a complete ClientHello, the server acknowledged it, and for 3 s or more no byte of the server's
    stream that continues it followed, until the client closed. If the client had not closed when the capture ended, the
    confidence is medium.

What it is not
    A client that closes sooner may only have probed the port. If it went on after its ClientHello, it had an answer that was
    not captured. If the server closed, handshake-failed reports it. A ClientHello that was never acknowledged is lost on the
    path: unanswered reports it. If a ServerHello came late, the handshake was slow, but did not fail. If the server answers
    that kind of ClientHello on no connection, but shorter ones, look at the size of the ClientHello: it is named if it took
    more than one segment.

What to do
    Kind silent: find out why the program does not accept or read the connection: look at its threads, its limit of
    connections, and at the server behind it if it is a relay (ss -tlnp shows the listen queue). Kind gap: find the link with the
    smaller MTU, let ICMP "fragmentation needed" pass, or lower the MSS on the way (MSS clamping).

References
    RFC 8446 section 4.1, RFC 4821, RFC 2923 section 2.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared import large_hellos
from wiredoctor.rules.shared.evidence import candidate, grade
from wiredoctor.rules.shared.large_hellos import large_hello_text
from wiredoctor.rules.shared.words import packets
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="*TLS handshake timeout*, *SSL connection timeout*",
    severity={"silent": "error", "gap": "error"},
    title={
        "silent": "The server did not answer the ClientHello for {waited}",
        "gap": "The beginning of the server's answer to the ClientHello did not arrive for {waited}",
    },
    message={
        "silent": "The server acknowledged the ClientHello{name} and sent no byte for {waited}{until}. Its kernel answered, "
        "and its program did not.{large}",
        "gap": "The server acknowledged the ClientHello{name}. Of its answer, only bytes behind a gap arrived within "
        "{waited}{until}: the path probably loses full segments, and lets smaller ones pass.{large}",
    },
    remedy={
        "silent": "Find out why the program that listens on this port does not read the connection: it may hang, have no free "
        "worker or descriptor, or be a relay that waits for a server behind it (ss -tlnp shows the listen queue).",
        "gap": "Find the link with the smaller MTU. Let ICMP fragmentation needed (IPv6: packet too big) pass to the server, or "
        "lower the MSS on the way (MSS clamping: iptables -j TCPMSS --clamp-mss-to-pmtu).",
    },
    display_filter="tcp.stream == {connection}",
    references=(
        Reference("RFC 8446 section 4.1, key exchange messages", "https://www.rfc-editor.org/rfc/rfc8446.html#section-4.1"),
        Reference("RFC 2923 section 2.1, black holes", "https://www.rfc-editor.org/rfc/rfc2923.html#section-2.1"),
        Reference("RFC 4821, packetization layer path MTU discovery", "https://www.rfc-editor.org/rfc/rfc4821.html"),
    ),
    explained_by=(("unanswered", "connection"), ("foreign-reset", "connection")),
    absence=True,
    ends=True,
    protocols=("tls",),
)

PATIENCE = Threshold("3 s", "servers that are busy answer sooner, and a client that closes sooner may have probed the port")
LONGEST = Threshold("1 h", "the longest wait that nothing ended: after a longer one, the capture was joined, or its clock jumped")
SHARED_THRESHOLDS = (large_hellos,)

_ALERT = 7
"""The bytes of a record with an alert, which a client may send before it closes (RFC 8446 section 6)."""


class Facts(NamedTuple):
    """What is known of a ClientHello without an answer: columns of `handshakes`. `ended_frame` is null if no side closed."""

    kind: str
    server_name: str
    hello_bytes: int
    client_hello_frame: int
    client_hello_time: int
    ended_frame: int | None
    ended_time: int | None


def find(handshakes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each ClientHello that the server acknowledged, and did not answer until the client gave up."""
    usable = ~c("tunneled") & (c("versions_offered") != "") & c("accepted_time").is_not_null() & ~c("one_sided") & ~c("lost")
    unanswered = c("client_hello_frame").is_not_null() & c("flight_frame").is_null() & (c("ended_by") != "server")
    # of a client that went on, the answer was not captured, or is not in the stream that was followed
    went_on = c("client_acknowledged") > c("hello_bytes") + _ALERT + 1
    arrived = ((c("client_acknowledged") >= c("hello_bytes")) & ~went_on).fill_null(value=False)
    until = pl.coalesce("ended_time", "final_at")
    waited = until - c("client_hello_time")
    long_enough = (waited >= PATIENCE.value) & (c("ended_frame").is_not_null() | (waited <= LONGEST.value))
    rows = handshakes.filter(usable & unanswered & arrived & long_enough)
    kind = pl.when(c("server_bytes") == 0).then(pl.lit("silent")).otherwise(pl.lit("gap"))
    side = pl.when(c("server_bytes") == 0).then(pl.lit("server"))
    confidence = grade(pl.lit(value=False), c("ended_frame").is_null())
    return rows.select(
        *candidate(side, confidence, "client_hello_frame", "client_hello_time", until, kind=kind, delay=waited, of="connection"),
        waited.cast(DURATION).alias("waited"),
        *(name for name in Facts._fields if name != "kind"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the ClientHello and the end of the wait, and their packets."""
    return {
        "name": f" for {x.server_name}" if x.server_name else "",
        "until": ", until the client closed" if x.ended_frame is not None else ", until the capture ended",
        "large": large_hello_text(x.hello_bytes),
        "evidence": packets(
            (x.client_hello_frame, x.client_hello_time, "the end of the ClientHello"),
            (x.ended_frame, x.ended_time, "the client closes"),
        ),
    }
