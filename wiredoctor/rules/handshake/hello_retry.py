"""The server asks for another key share in one handshake after the other.

What it means
    In TLS 1.3, the client guesses which group the server will choose, and sends its key share for that group at once. Here the
    server wanted another group, which the client offers, too, but without a key share. So it sent a HelloRetryRequest, and the
    client began again.

Why it hurts
    Each new connection to this server waits for one more round trip before its first request.

How it is proved
    Three or more connections of one client host to one server have a HelloRetryRequest, a ServerHello with the fixed random
    of RFC 8446 section 4.1.3. It names the group that the server wants, and the ClientHello names those of its key shares.

What it is not
    One or two such handshakes are normal: many clients remember what a server wants. The handshake does not fail because of it.

What to do
    Have the server prefer a group for which the client sends a key share, or have the client send one for the group that the
    server wants: it is usually the first in the client's list of groups (ssl_ecdh_curve in nginx, --curves in curl, Groups in
    OpenSSL).

References
    RFC 8446 sections 2.1, 4.1.4 and 4.2.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.world import World

c = pl.col

RULE = Rule(
    symptom="TLS 1.3 handshakes take two round trips instead of one",
    severity="note",
    title="The server asks for another key share in each handshake (HelloRetryRequest)",
    message="In this handshake{name} and in {earlier} before it, the server asked the client at {client_host} for a key share of "
    "the group {retry_group}. The client had sent one for {shares}. This costs a round trip per connection.",
    remedy="Have the client send a key share for the group that the server wants, or have the server prefer one for which the "
    "client sends it: nginx ssl_ecdh_curve, curl --curves, Groups in the configuration of OpenSSL.",
    display_filter="tcp.stream == {connection} && tls.handshake",
    references=(
        Reference("RFC 8446 section 2.1, incorrect DHE share", "https://www.rfc-editor.org/rfc/rfc8446.html#section-2.1"),
        Reference("RFC 8446 section 4.1.4, HelloRetryRequest", "https://www.rfc-editor.org/rfc/rfc8446.html#section-4.1.4"),
    ),
    timeless=True,
    protocols=("tls",),
)

RETRIES = Threshold("3 handshakes", "so many handshakes with a HelloRetryRequest show a setting, not the first guess of a client")
PAIRS = Threshold("10000 pairs", "the number of pairs of client and server that are remembered, which bounds the memory")


class Facts(NamedTuple):
    """What is known of a handshake with a HelloRetryRequest: columns of `handshakes` and `connections`; times in ns."""

    frame: int
    end: int
    client_host: str
    server: str
    server_name: str
    retry_group: str
    shares_offered: str
    client_hello_frame: int
    client_hello_time: int
    retry_time: int
    server_hello_frame: int | None
    server_hello_time: int | None


@dataclass(eq=False, repr=False)
class _RetryCount:
    """The number of handshakes with a HelloRetryRequest between a client and a server."""

    count: int = 0


def find(handshakes: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each handshake with a HelloRetryRequest to which the client sent a second ClientHello."""
    retried = c("retry_frame").is_not_null() & c("second_hello_time").is_not_null() & ~c("lost")
    # without the round trip to the server, the delay would be that of the client alone
    delay = c("second_hello_time") - c("retry_time") + c("rtt_server").fill_null(0)
    rows = handshakes.filter(retried).join(connections.select("connection", "client_host", "server"), on="connection")
    return rows.select(
        *candidate(None, "high", "retry_frame", "client_hello_time", "second_hello_time", delay=delay, of="connection"),
        *(name for name in Facts._fields if name not in ("frame", "end")),
    )


def decide(x: Facts, world: World) -> Facts | None:
    """Keep the handshake with which the number of a client's retried handshakes with a server reaches the threshold."""
    pairs: BoundedMap[_RetryCount] = world.memory.setdefault("hello-retry", BoundedMap(_RetryCount, PAIRS.value))
    pair = pairs[x.client_host, x.server]
    pair.count += 1
    return x if pair.count == RETRIES.value else None


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the groups, and the packets of the handshake."""
    return {
        "name": f" for {x.server_name}" if x.server_name else "",
        "earlier": f"{RETRIES.value - 1} others",
        "shares": x.shares_offered or "no known group",
        "evidence": packets(
            (x.client_hello_frame, x.client_hello_time, "the ClientHello"),
            (x.frame, x.retry_time, "the HelloRetryRequest"),
            (x.server_hello_frame if x.server_hello_frame != x.frame else None, x.server_hello_time, "the ServerHello"),
        ),
    }
