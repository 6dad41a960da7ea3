"""Secrets planted in conversations: in every field of heads, in targets, reason phrases and bodies; and the search for them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from urllib.parse import unquote

from tests.ladders import Packet

MARK = "Zq7Wx"
"""Every secret begins and ends with it, so that also a part of one is found."""

SHOWN = frozenset((*("content-length", "transfer-encoding", "server", "via", "user-agent", "content-type"),))
"""Fields whose value a report may show, or that frame a message: nothing is planted in them."""

_NAMES = """
a-im accept accept-additions accept-ch accept-charset accept-datetime accept-encoding accept-features accept-language
accept-patch accept-post accept-ranges access-control access-control-allow-credentials access-control-allow-headers
access-control-allow-methods access-control-allow-origin access-control-expose-headers access-control-max-age
access-control-request-headers access-control-request-method age allow alpn alt-svc alt-used alternates
apply-to-redirect-ref authentication-control authentication-info authorization available-dictionary c-ext c-man c-opt c-pep
c-pep-info cache-control cache-status cal-managed-id caldav-timezones capsule-protocol cdn-cache-control cdn-loop
cert-not-after cert-not-before clear-site-data client-cert client-cert-chain close content-base content-digest
content-disposition content-id content-language content-location content-md5 content-range content-script-type
content-security-policy content-style-type content-version cookie cookie2 cross-origin-embedder-policy dasl date dav default-style
delta-base depth derived-from destination dictionary-id differential-id digest dpop dpop-nonce early-data ediint-features etag
expect-ct expires ext forwarded from getprofile hobareg host http2-settings if if-match if-modified-since if-none-match
if-range if-schedule-tag-match if-unmodified-since im include-referred-token-binding-id isolation label last-event-id
last-modified link link-template location lock-token man max-forwards memento-datetime meter method-check mime-version
negotiate nel odata-entityid optional optional-www-authenticate ordering-type origin overwrite p3p pep pep-info
pics-label ping-from ping-to position pragma prefer preference-applied priority profileobject protocol proxy-authenticate
proxy-authentication-info proxy-authorization proxy-features proxy-instruction proxy-status public public-key-pins range
redirect-ref referer refresh replay-nonce repr-digest retry-after schedule-reply schedule-tag sec-fetch-dest sec-gpc
sec-purpose sec-token-binding sec-websocket-accept sec-websocket-extensions sec-websocket-key sec-websocket-protocol
sec-websocket-version security-scheme set-cookie set-cookie2 setprofile signature signature-input slug soapaction
status-uri strict-transport-security sunset surrogate-capability surrogate-control tcn te timeout timing-allow-origin topic
tracestate trailer ttl uri urgency variant-vary vary want-content-digest warning www-authenticate
x-api-key x-amz-security-token x-auth-token x-content-type-options x-csrf-token x-forwarded-for x-frame-options x-real-ip
x-xsrf-token api-key private-token x-vault-token connection content-encoding expect keep-alive upgrade
x-accel-buffering
"""
NAMES = _NAMES.split()
"""IANA's registry of HTTP field names, and others that hold secrets in practice."""

_START = re.compile(rb"(?:(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) HTTP/1\.[01]|HTTP/1\.[01] [0-9]{3}( [^\r\n]*)?)\r?\n")
_LONG = re.compile(rb"([a-z])\1{63,}")


def secret(random: Random) -> str:
    """A secret like no other."""
    return MARK + "".join(random.choices("abcdefghijkmnpqrstuvwxyzABCDEFGH23456789", k=6)) + MARK


def values(text: str) -> list[str]:
    """Forms in which a secret is sent in a field."""
    basic = base64.b64encode(f"ann:{text}".encode()).decode()
    return [
        *(text, f"Bearer {text}", f"Basic {basic}", f'Digest username="ann", response="{text}"', f"sid={text}; Path=/"),
        *(f"http://ann:{text}@example.com/?token={text}", f"{text}, {text}", f"ann:{text}@example.com", f"NTLM {basic}"),
        *(f"https://example.com/reset/{text}", f"https://example.com/services/T0/B0/{text}"),
    ]


FIELDS = 12
"""Fields with secrets in each head."""


def field(random: Random) -> str:
    """A field line that holds a secret."""
    name = random.choice([*NAMES, secret(random)])
    name = random.choice([name, name.title(), name.upper()])
    return f"{name}: {random.choice(values(secret(random)))}\r\n"


HARMLESS = ("cookie", "set-cookie", "x-api-key", "x-auth-token", "content-location", "origin", "x-real-ip", "date")
"""Fields that change nothing of what is found."""


def planted(packets: Sequence[Packet], random: Random, *, harmless: bool) -> list[Packet]:
    """The same conversation with secrets in its heads (in harmless fields only, or wherever one can be) and in its long
    bodies."""
    inserts: dict[tuple[object, int], dict[int, bytes]] = {}
    for packet in packets:
        here = inserts.setdefault((packet.peers, packet.side), {})
        for start in _START.finditer(packet.payload):
            for place, text in _harmless(start, random) if harmless else _inserts(start, random):
                here.setdefault(packet.seq + place, text)
    return [_moved(packet, inserts) for packet in packets]


def _harmless(start: re.Match[bytes], random: Random) -> Iterator[tuple[int, bytes]]:
    yield start.end(), f"{random.choice(HARMLESS)}: {secret(random)}\r\n".encode()


def _inserts(start: re.Match[bytes], random: Random) -> Iterator[tuple[int, bytes]]:
    """Places in a payload and what to put there."""
    more = "".join(field(random) for _ in range(FIELDS)).encode()
    if start[1] is not None:
        text = secret(random)
        query = "&" if b"?" in start[1] else "?"
        path = (
            random.choice(
                [
                    *(f"/access-token={text}", f";sid={text}", "", f"//ann:{text}@h", f"/token/{text}"),
                    *(f"/reset/{text}", f"/verify/{text}/{text}", f"/services/T0/B0/{text}", f"/sk_live_{text}"),
                ]
            )
            if query == "?"
            else ""
        )
        yield start.end(1), f"{path}{query}a={text}&{text}".encode()
    elif start[2]:
        yield start.end(2), f" {secret(random)}".encode()
    yield start.end(), more


def _moved(packet: Packet, inserts: dict[tuple[object, int], dict[int, bytes]]) -> Packet:
    """A packet where it is when all before it has grown."""
    mine = inserts.get((packet.peers, packet.side), {})
    other = inserts.get((packet.peers, 1 - packet.side), {})
    payload = _long_bodies(packet)
    for place in sorted((p for p in mine if packet.seq < p <= packet.seq + len(payload)), reverse=True):
        at = place - packet.seq
        payload = payload[:at] + mine[place] + payload[at:]
    return replace(
        packet,
        payload=payload,
        seq=_grown(packet.seq, mine),
        ack=None if packet.ack is None else _grown(packet.ack, other),
        sack=None if packet.sack is None else (_grown(packet.sack[0], other), _grown(packet.sack[1], other)),
    )


def _grown(number: int, inserts: dict[int, bytes]) -> int:
    return number + sum(len(text) for place, text in inserts.items() if place <= number)


def _long_bodies(packet: Packet) -> bytes:
    """Runs of one letter become forms with passwords, the same in every copy."""
    form = f"&password={MARK}hunter2{MARK}".encode()

    def fill(run: re.Match[bytes]) -> bytes:
        first = (packet.seq + run.start()) % len(form)
        return (form * (2 + len(run[0]) // len(form)))[first : first + len(run[0])]

    return _LONG.sub(fill, packet.payload)


def _forms() -> list[Callable[[str], str]]:
    def hexadecimal(text: str) -> str:
        return re.sub(r"\\+x([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), text)

    def unicode(text: str) -> str:
        return re.sub(r"\\+u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)

    return [str, unquote, hexadecimal, unicode, lambda text: "".join(text.split())]


def _signs() -> list[str]:
    """The mark as it is, in hexadecimal, and in base64 wherever it begins in three bytes."""
    encoded = [
        base64.b64encode(bytes(n) + MARK.encode() + bytes(3)).decode()[(8 * n + 5) // 6 : 8 * (n + len(MARK)) // 6]
        for n in range(3)
    ]
    return [MARK, MARK.encode().hex(), *encoded]


def leaks(text: str) -> list[str]:
    """What of the secrets is in a text, in any form, with what stands around it."""
    found: list[str] = []
    for form in _forms():
        read = form(text).lower()
        for sign in _signs():
            place = read.find(sign.lower())
            if place >= 0:
                found.append(read[max(0, place - 60) : place + 40])
    return found
