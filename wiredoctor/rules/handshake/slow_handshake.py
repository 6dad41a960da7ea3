"""A TLS handshake was slow because one side took long to reply.

What it means
    The handshake took half a second or more longer than the round trips need. Kind server: the server took this time from the
    ClientHello to its ServerHello. Kind client: the client took it from the server's messages to its own next message.

Why it hurts
    Each new connection waits this long before its first request.

How it is proved
    The capture has the messages of a complete handshake. From the time between two of them, the round trip to the side that
    replied, as measured from the TCP handshake, is subtracted. After a HelloRetryRequest, the time begins at the second
    ClientHello. The confidence is medium, because a relay may have answered the SYN, so the path behind it is not in that round
    trip.

What it is not
    A lost packet, a closed window or a delayed ACK also delays a handshake: the rules about stalls report these. If no
    ServerHello came at all, handshake-timeout reports it. Additional round trips, as after a HelloRetryRequest, do not count.
    Behind CONNECT, nothing is reported, because the round trip behind the proxy is not known.

What to do
    Kind server: look at the load of the server: handshakes need CPU time, more with RSA keys than with ECDSA. A server that asks
    a hardware module, a key service or another server (proxies of layer 4, name lookups) waits for it. Kind client: find out
    what the client does with the server's certificate: it may wait for a revocation check (OCSP, CRL), for a person who chooses
    a client certificate, or for a smart card.

References
    RFC 8446 section 2, RFC 5246 section 7.3, RFC 6960.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets

c = pl.col

RULE = Rule(
    symptom="a TLS handshake that takes half a second or more",
    severity={"server": "note", "client": "note"},
    title={
        "server": "The server took {delay} for its ServerHello",
        "client": "The client took {delay} to reply to the server's handshake messages",
    },
    message={
        "server": "The ServerHello{name} came {delay} later than the round trip explains. The server took this time, "
        "or a relay waited for the server behind it.",
        "client": "After the server's handshake messages{name}, the client sent its next message {delay} later than the round "
        "trip explains. It probably checked the certificate, or waited for a person or a device.",
    },
    remedy={
        "server": "Look at the CPU load of the server and at the number of its handshakes; ECDSA keys and session resumption "
        "save CPU time. If the server asks a key service, a hardware module or another server before it answers, measure that.",
        "client": "Find out what the client waits for before it accepts the certificate: a revocation check (OCSP, CRL) that a "
        "firewall drops, a dialog for a client certificate, or a smart card.",
    },
    display_filter="tcp.stream == {connection} && tls.handshake",
    references=(
        Reference("RFC 8446 section 2, protocol overview", "https://www.rfc-editor.org/rfc/rfc8446.html#section-2"),
        Reference("RFC 6960, OCSP", "https://www.rfc-editor.org/rfc/rfc6960.html"),
    ),
    explained_by=(
        *(("retransmission-stall", "time"), ("zero-window-stall", "time"), ("delayed-ack-stall", "time")),
        *(("nagle-delayed-ack", "time"), ("connect-retry", "time")),
    ),
    protocols=("tls",),
)

SLOW = Threshold("500 ms", "the minimum time that one side takes; users notice it, and cryptography alone never takes it")


class Facts(NamedTuple):
    """What is known of a slow handshake: columns of `handshakes`; `frame` is the reply, which came at `end` (ns)."""

    kind: str
    frame: int
    start: int
    end: int
    server_name: str
    before_frame: int


def find(handshakes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each complete handshake in which one side took long to reply."""
    asked = pl.coalesce("second_hello_time", "client_hello_time")
    by_server = c("server_hello_time") - asked - c("rtt_server")
    by_client = c("reply_time") - c("answered_time") - c("rtt_client")
    is_server = (by_server >= SLOW.value).fill_null(value=False)
    is_client = (by_client >= SLOW.value).fill_null(value=False)
    known = ~c("tunneled") & c("complete") & ~c("lost") & ~c("one_sided") & c("accepted_time").is_not_null()
    measured = (c("rtt_server") >= 0) & (c("rtt_client") >= 0)
    rows = handshakes.filter(known & measured & (is_server | is_client)).with_columns(is_server.alias("by_server"))

    def choose(server: str | pl.Expr, client: str | pl.Expr) -> pl.Expr:
        return pl.when("by_server").then(server).otherwise(client)

    side = choose(pl.lit("server"), pl.lit("client"))
    return rows.with_columns(
        choose("server_hello_frame", "reply_frame").alias("frame"),
        choose(asked, "answered_time").alias("start"),
        choose("server_hello_time", "reply_time").alias("end"),
        choose(by_server, by_client).alias("wait"),
    ).select(
        *candidate(side, "medium", "frame", "start", "end", kind=side, delay=c("wait"), of="connection"),
        "server_name",
        choose("client_hello_frame", "answered_frame").alias("before_frame"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the name of the server, and the packets between which the time passed."""
    before, reply = ("the ClientHello", "the ServerHello")
    if x.kind == "client":
        before, reply = ("the end of the server's messages", "the client's next message")
    return {
        "name": f" of {x.server_name}" if x.server_name else "",
        "evidence": packets((x.before_frame, x.start, before), (x.frame, x.end, reply)),
    }
