"""A proxy from both sides, for people: what it changes, what it holds back, and what it answered itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wiredoctor.report.terminal.document import MOST_ROWS, Grid, Heading, Line, Part, Title
from wiredoctor.report.words import count, duration, shorten

if TYPE_CHECKING:
    from wiredoctor.compare.proxy.result import OwnAnswer, Proxied, Rewritten, Side
    from wiredoctor.compare.two_points.result import Delays

_MOST = 10
_MOST_REQUEST = 60


def page(told: Proxied, *, everything: bool = False, quiet: bool = False) -> Iterator[Part]:
    """The whole page. everything: every change and answer. quiet: nothing of what was read."""
    yield Title(headline(told))
    yield Heading("Time, from first byte to first byte")
    yield from _times(told)
    if told.answers:
        yield Heading("Answers that are not the server's")
        shown = told.answers if everything else told.answers[:_MOST]
        yield from (Line(_answer(one), None, (one.backend,)) for one in shown)
        if left := len(told.answers) - len(shown):
            yield Line(f"{left:,} more; --all shows them.")
    yield Heading("Exchanges")
    yield from (Line(text) for text in _exchanges(told))
    if told.changes:
        yield from _changes(told, everything=everything)
    if told.findings:
        yield Heading("Findings")
        yield from (Line(f"{side}: {rule} x {number:,}") for side, rule, number in told.findings)
    if not quiet:
        yield Heading("What was compared")
        yield from (Line(_side(side)) for side in (told.front, told.back))
        if told.offset is not None:
            ahead = "ahead of" if told.offset >= 0 else "behind"
            yield Line(f"The clock of the back is {duration(abs(told.offset))} {ahead} that of the front, as the exchanges say.")
        if told.apart:
            yield Line("That is long: if the two were recorded at different times, nothing of this holds.")
        yield from (Line(note) for note in told.notes)


def headline(told: Proxied) -> str:
    """What a reader wants to know first."""
    wrong = [one for one in told.answers if (one.status or 500) >= 500]
    parts = [f"{count(told.matched, 'exchange')} went through the proxy"]
    if wrong:
        parts.append(f"{count(len(wrong), 'error')} of its own")
    held = told.responses_collected
    if held:
        parts.append(f"{count(held, 'response')} {'was' if held == 1 else 'were'} held back until the last byte had come")
    if told.in_proxy:
        few = " in the middle" if told.in_proxy.count > 1 else ""
        parts.append(f"responses begin {duration(told.in_proxy.median)} later through it{few}")
    return ", ".join(parts) + "."


def _times(told: Proxied) -> Iterator[Part]:
    rows = {
        "request passed on after": told.request_lag,
        "server began to answer after": told.server_time,
        "response passed on after": told.response_lag,
        "both together": told.in_proxy,
    }
    yield Grid(("", "exchanges", "least", "median", "p95"), tuple(_row(name, times) for name, times in rows.items() if times))
    if told.connect:
        few = told.connect.count == 1
        yield Line(
            f"{count(told.connect.count, 'request')} had to wait for a new connection to the server, whose handshake is part of "
            f"that: {duration(told.connect.median)}{'' if few else ' in the middle'}."
        )
    if told.requests_collected:
        yield Line(f"{count(told.requests_collected, 'request')} came over 50 ms or more, and passed on only when complete.")
    if told.responses_collected:
        yield Line(f"{count(told.responses_collected, 'response')} came over 50 ms or more, and passed on only when complete.")


def _row(name: str, times: Delays) -> tuple[str, ...]:
    return (name, f"{times.count:,}", *map(duration, (times.least, times.median, times.p95)))


def _answer(one: OwnAnswer) -> str:
    status = f"answered {one.status}" if one.status is not None else "not answered"
    return f"front's connection {one.connection}, exchange {one.exchange}, {shorten(one.request, _MOST_REQUEST)}: {status}"


def _exchanges(told: Proxied) -> Iterator[str]:
    yield f"{count(told.matched, 'request')} passed on, {told.reused:,} of them over a connection that had been used before."
    if told.retried:
        yield f"{count(told.retried, 'request')} passed on more than once."
    if told.own:
        yield f"{count(told.own, 'request')} not passed on: answered by the proxy itself, or passed on elsewhere."
    if told.unasked:
        yield f"{count(told.unasked, 'exchange')} at the back without a request at the front: its own, or of clients elsewhere."


def _changes(told: Proxied, *, everything: bool) -> Iterator[Part]:
    for message, sides in (("request", ("front", "back")), ("response", ("back", "front"))):
        changes = [one for one in told.changes if one.message == message]
        if not changes:
            continue
        yield Heading(f"What it changes in {message}s")
        shown = changes if everything else changes[:MOST_ROWS]
        yield Grid(("", f"at the {sides[0]}", f"at the {sides[1]}", "exchanges"), tuple(map(_change, shown)))
        if left := len(changes) - len(shown):
            yield Line(f"{left:,} more; --all shows them.")


def _change(one: Rewritten) -> tuple[str, ...]:
    return one.what, shorten(one.received, 30), shorten(one.passed_on, 30), f"{one.exchanges:,}"


def _side(side: Side) -> str:
    servers = ", ".join(side.servers[:3]) + (" and others" if len(side.servers) > 3 else "")
    numbers = f"{count(side.connections, 'TCP connection')}, {count(side.exchanges, 'HTTP exchange')}"
    return f"{side.point}: {side.name}: {numbers} with {servers or 'no server'}"
