"""Format the comparison of both sides of a proxy for people: time, changes, buffering, and responses of the proxy itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wiredoctor.report.terminal.document import MAX_ROWS, Grid, Heading, Line, Part, Title, limited_lines, line_about_others
from wiredoctor.report.words import count, duration, shorten
from wiredoctor.text.escape import SHORT_REQUEST_LENGTH

if TYPE_CHECKING:
    from wiredoctor.compare.proxy.result import OwnAnswer, Proxied, Rewritten, Side
    from wiredoctor.compare.two_points.result import Delays

_MAX_SHOWN = 10


def page(result: Proxied, *, everything: bool = False, quiet: bool = False) -> Iterator[Part]:
    """Yield the parts of the page. `everything` lists all changes and responses; `quiet` omits the inputs."""
    yield Title(headline(result))
    if result.offset is not None:
        ahead = "ahead of" if result.offset >= 0 else "behind"
        yield Line(f"The clock at the back is {duration(abs(result.offset))} {ahead} the clock at the front.")
    if result.apart:
        yield Line("This difference is large: if the captures were made at different times, this comparison is invalid.")
    yield Heading("Time at the proxy and at the server")
    yield from _times(result)
    if result.answers:
        yield Heading("Responses that did not come from the server")
        lines = (Line(_answer(one), None, (one.backend,)) for one in result.answers)
        yield from limited_lines(lines, len(result.answers), _MAX_SHOWN, everything=everything)
    yield Heading("Exchanges")
    yield from (Line(text) for text in _exchanges(result))
    if result.changes:
        yield from _changes(result, everything=everything)
    if result.findings:
        yield Heading("Occurrences by rule")
        yield from (Line(f"{side}: {rule} x {number:,}") for side, rule, number in result.findings)
    if not quiet:
        yield Heading("What was compared")
        yield from (Line(_side(side)) for side in (result.front, result.back))
        yield from (Line(note) for note in result.notes)


def headline(result: Proxied) -> str:
    """Return the most important result in one sentence."""
    wrong = [one for one in result.answers if (one.status or 500) >= 500]
    parts = [f"{count(result.matched, 'exchange')} went through the proxy"]
    if wrong:
        parts.append(f"{count(len(wrong), 'request')} got an error from the proxy, or no response")
    held = result.responses_collected
    if held:
        parts.append(f"{count(held, 'response')} {'was' if held == 1 else 'were'} buffered until the last byte arrived")
    if result.in_proxy:
        few = " (median)" if result.in_proxy.count > 1 else ""
        parts.append(f"the proxy delays responses by {duration(result.in_proxy.median)}{few}")
    return "; ".join(parts) + "."


def _times(result: Proxied) -> Iterator[Part]:
    rows = {
        "request forwarded after": result.request_lag,
        "response began after": result.server_time,
        "response forwarded after": result.response_lag,
        "delay by the proxy": result.in_proxy,
    }
    yield Grid(("", "exchanges", "least", "median", "p95"), tuple(_row(name, times) for name, times in rows.items() if times))
    if result.connect:
        few = result.connect.count == 1
        yield Line(
            f"{count(result.connect.count, 'request')} waited for a new connection to the server. The time includes its "
            f"handshake: {duration(result.connect.median)}{'' if few else ' (median)'}."
        )
    if result.requests_collected:
        yield Line(f"{count(result.requests_collected, 'request')} {_COLLECTED}.")
    if result.responses_collected:
        yield Line(f"{count(result.responses_collected, 'response')} {_COLLECTED}.")


_COLLECTED = "took 50 ms or more to arrive, and the proxy forwarded nothing until the end"


def _row(name: str, times: Delays) -> tuple[str, ...]:
    return (name, f"{times.count:,}", *map(duration, (times.least, times.median, times.p95)))


def _answer(one: OwnAnswer) -> str:
    request = shorten(one.request, SHORT_REQUEST_LENGTH)
    status = f"answered {one.status}" if one.status is not None else "not answered"
    return f"front's connection {one.connection}, exchange {one.exchange}, {request}: {status}"


def _exchanges(result: Proxied) -> Iterator[str]:
    which = f"{result.reused:,} of them " if result.reused else "none of them "
    if result.matched == 1:
        which = "" if result.reused else "not "
    yield f"{count(result.matched, 'request')} forwarded, {which}over a reused connection."
    if result.retried:
        yield f"{count(result.retried, 'request')} forwarded more than once."
    if result.own:
        yield f"{count(result.own, 'request')} not seen at the back: answered by the proxy itself, or forwarded elsewhere."
    if result.unasked:
        asked = "the proxy sent them on its own, or for other clients"
        yield f"{count(result.unasked, 'exchange')} at the back without a request at the front: {asked}."


def _changes(result: Proxied, *, everything: bool) -> Iterator[Part]:
    for message, sides in (("request", ("front", "back")), ("response", ("back", "front"))):
        changes = [one for one in result.changes if one.message == message]
        if not changes:
            continue
        yield Heading(f"What the proxy changes in {message}s")
        shown = changes if everything else changes[:MAX_ROWS]
        yield Grid(("", f"at the {sides[0]}", f"at the {sides[1]}", "exchanges"), tuple(map(_change, shown)))
        yield from line_about_others(len(changes) - len(shown))


def _change(one: Rewritten) -> tuple[str, ...]:
    return one.what, shorten(one.received, 30), shorten(one.passed_on, 30), f"{one.exchanges:,}"


def _side(side: Side) -> str:
    servers = ", ".join(side.servers[:3]) + (" and others" if len(side.servers) > 3 else "")
    numbers = f"{count(side.connections, 'TCP connection')}, {count(side.exchanges, 'HTTP exchange')}"
    return f"{side.point}: {side.name}: {numbers} with {servers or 'no server'}"
