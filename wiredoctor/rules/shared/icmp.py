"""What an ICMP error says, in the words of RFC 792, RFC 1812 section 5.2.7 and RFC 4443."""

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
"""(type, code) of ICMP."""

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
"""(type, code) of ICMPv6."""

TYPES_FOUR: Final = {3: "destination unreachable", 4: "source quench", 11: "time exceeded", 12: "parameter problem"}
TYPES_SIX: Final = {1: "destination unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem"}
"""By type, for codes that the standards do not name."""

PROHIBITED: Final = ((4, 3, 3), (4, 3, 9), (4, 3, 10), (4, 3, 13), (6, 1, 1), (6, 1, 4), (6, 1, 5), (6, 1, 6))
"""(IP version, type, code): a rule forbids it. A host answers TCP to a port on which nothing listens with an RST (RFC 1122
section 3.2.2.1 leaves port unreachable to protocols that cannot), so "port unreachable" is a firewall's, too."""


def key(router: str, type: str, code: str) -> pl.Expr:
    """One number for IP version (that of the address of its sender), type and code, by the columns that have them."""
    six = pl.col(router).str.contains(":", literal=True).cast(pl.Int64)
    return (six * 256 + pl.col(type).cast(pl.Int64)) * 256 + pl.col(code).cast(pl.Int64)


def number(version: int, type: int, code: int) -> int:
    """The number that `key` gives."""
    return ((version == 6) * 256 + type) * 256 + code


def words(numbers: pl.Expr) -> pl.Expr:
    """What an error says, by `key`: 'ICMP "host unreachable" (type 3, code 1)'."""
    return numbers.map_elements(_words, return_dtype=pl.String)


def _words(numbered: int) -> str:
    six, type, code = numbered >> 16, numbered >> 8 & 255, numbered & 255
    known, types = (SIX, TYPES_SIX) if six else (FOUR, TYPES_FOUR)
    said = known.get((type, code)) or types.get(type, "error")
    return f'{"ICMPv6" if six else "ICMP"} "{said}" (type {type}, code {code})'
