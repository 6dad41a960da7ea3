"""Name ICMP errors in the words of RFC 792, RFC 1812 section 5.2.7 and RFC 4443."""

from __future__ import annotations

from typing import Final

import polars as pl

FOUR: Final = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 5): "source route failed",
    (3, 6): "destination network unknown",
    (3, 7): "destination host unknown",
    (3, 8): "source host isolated",
    (3, 9): "communication with destination network is administratively prohibited",
    (3, 10): "communication with destination host is administratively prohibited",
    (3, 11): "network unreachable for type of service",
    (3, 12): "host unreachable for type of service",
    (3, 13): "communication administratively prohibited",
    (3, 14): "host precedence violation",
    (3, 15): "precedence cutoff in effect",
    (11, 0): "time to live exceeded in transit",
    (11, 1): "fragment reassembly time exceeded",
    (12, 0): "parameter problem",
    (12, 1): "required option missing",
}
"""The names of ICMP errors by (type, code)."""

SIX: Final = {
    (1, 0): "no route to destination",
    (1, 1): "communication with destination administratively prohibited",
    (1, 2): "beyond scope of source address",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, 5): "source address failed ingress/egress policy",
    (1, 6): "reject route to destination",
    (2, 0): "packet too big",
    (3, 0): "hop limit exceeded in transit",
    (3, 1): "fragment reassembly time exceeded",
    (4, 0): "erroneous header field encountered",
    (4, 1): "unrecognized Next Header type encountered",
    (4, 2): "unrecognized IPv6 option encountered",
}
"""The names of ICMPv6 errors by (type, code)."""

TYPES_FOUR: Final = {3: "destination unreachable", 4: "source quench", 11: "time exceeded", 12: "parameter problem"}
TYPES_SIX: Final = {1: "destination unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem"}
"""The names of ICMPv6 errors by type, for codes that the standards do not name."""

PROHIBITED: Final = ((4, 3, 3), (4, 3, 9), (4, 3, 10), (4, 3, 13), (6, 1, 1), (6, 1, 4), (6, 1, 5), (6, 1, 6))
"""The (IP version, type, code) of errors which show that a firewall rule forbids the connection.

A host answers TCP to a closed port with an RST. A host sends "port unreachable" only for protocols that have no such reply (RFC
1122 section 3.2.2.1). Therefore "port unreachable" in response to TCP comes from a firewall, too.
"""

NO_NETWORK: Final = ((4, 3, 0), (4, 3, 6), (6, 1, 0))
"""The (IP version, type, code) of errors which show that a router has no route to the network.

Such errors do not show that a host is down.
"""

TIME_EXCEEDED: Final = ((4, 11, 0), (6, 3, 0))
"""The (IP version, type, code) of errors which show that a packet passed as many routers as its TTL allowed."""


def key(router: str, type: str, code: str) -> pl.Expr:
    """Return an expression that combines IP version (from the router's address), type and code into one number."""
    six = pl.col(router).str.contains(":", literal=True).cast(pl.Int64)
    return (six * 256 + pl.col(type).cast(pl.Int64)) * 256 + pl.col(code).cast(pl.Int64)


def number(version: int, type: int, code: int) -> int:
    """Return the number that `key` computes, for one ICMP error."""
    return ((version == 6) * 256 + type) * 256 + code


def name_error(router: str, type: int, code: int) -> str:
    """Return an ICMP error of a router (its address) as text: 'ICMP "host unreachable" (type 3, code 1)'."""
    version, known, types = ("ICMPv6", SIX, TYPES_SIX) if ":" in router else ("ICMP", FOUR, TYPES_FOUR)
    return f'{version} "{known.get((type, code)) or types.get(type, "error")}" (type {type}, code {code})'
