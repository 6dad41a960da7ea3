"""Find what a proxy changed in a message, by comparing the received message with the forwarded one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wiredoctor.findings import printable
from wiredoctor.gateways.targets import origin, rewriting

Change = tuple[str, str, str]
"""The changed property, its received value, and its forwarded value."""


FORM, PATH = "form of the target", "beginning of the path"
"""The names of two changes to the request target. With such a change, it is less certain that two requests match."""


class Message(NamedTuple):
    """The parts of a message that are compared.

    `fields`: the names in its header section; None if the names were not read.
    """

    version: str
    framing: str
    connection: str
    encoding: str
    body_bytes: int | None
    chunks: int | None
    complete: bool
    fields: tuple[str, ...] | None
    bursts: int | None
    host: str
    target: str
    status: int | None


_FRAMING = ("connection", "content-length", "transfer-encoding", "keep-alive", "content-encoding", "host")
"""Fields whose presence is not compared, because their effect on the message, such as its framing, is compared instead."""


def rewritten(received: Message, passed_on: Message) -> Iterator[Change]:
    """Yield each change that the proxy made to a message."""
    if received.version != passed_on.version:
        yield "HTTP version", printable(received.version), printable(passed_on.version)
    if received.framing != passed_on.framing:
        yield "framing", received.framing, passed_on.framing
    if received.connection != passed_on.connection:
        yield "Connection", received.connection or "-", passed_on.connection or "-"
    if received.encoding != passed_on.encoding:
        yield "Content-Encoding", printable(received.encoding) or "-", printable(passed_on.encoding) or "-"
    if received.host != passed_on.host:
        yield "Host", printable(received.host) or "-", printable(passed_on.host) or "-"
    yield from _target(received.target, passed_on.target)
    if received.complete and passed_on.complete:
        yield from _body(received, passed_on)
    yield from _fields(received, passed_on)


def _target(received: str, passed_on: str) -> Iterator[Change]:
    if (one := origin(received) == received) != (two := origin(passed_on) == passed_on):
        yield FORM, "origin-form" if one else "absolute-form", "origin-form" if two else "absolute-form"
    paths = tuple(origin(target).partition("?")[0] for target in (received, passed_on))
    if paths[0] != paths[1]:
        # "/shop/" became "/": only the prefix differs
        begins = rewriting(received, passed_on) or paths
        yield PATH, printable(begins[0]), printable(begins[1])


def _body(received: Message, passed_on: Message) -> Iterator[Change]:
    one, two = received.chunks, passed_on.chunks
    chunked = received.framing == passed_on.framing == "chunked"
    if chunked and one is not None and two is not None and one != two:
        yield "chunks", "more of them" if one > two else "fewer of them", "fewer of them" if one > two else "more of them"
    if received.bursts and passed_on.bursts and received.bursts > 1 and passed_on.bursts < received.bursts:
        yield "pieces with pauses between them", "several", "one" if passed_on.bursts == 1 else "fewer"
    if received.encoding == passed_on.encoding and received.body_bytes != passed_on.body_bytes:
        # responses to HEAD, and 304 responses, have a length but no body
        yield (
            "length of the body",
            "as received",
            "longer" if (passed_on.body_bytes or 0) > (received.body_bytes or 0) else "shorter",
        )


def _fields(received: Message, passed_on: Message) -> Iterator[Change]:
    if received.fields is None or passed_on.fields is None:
        return
    one, two = set(received.fields), set(passed_on.fields)
    for name in sorted((one ^ two) - set(_FRAMING)):
        yield f"field {name}", "there" if name in one else "-", "there" if name in two else "-"
