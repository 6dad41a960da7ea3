"""Format the comparison of two captures of one path for people: lost packets and time, and changes between the points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wiredoctor.report.terminal.document import MAX_ROWS, Grid, Heading, Line, Part, Title, limited_lines
from wiredoctor.report.words import count, duration, shorten
from wiredoctor.text.escape import SHORT_REQUEST_LENGTH

if TYPE_CHECKING:
    from wiredoctor.compare.two_points.result import (
        Changed,
        Clock,
        ComparedFile,
        OneSided,
        SideFinding,
        TwoPoints,
        Waiting,
        Way,
        Where,
    )

_MAX_SHOWN = 10
_SHOWN = 5
_ENOUGH = 20
"""The minimum number of exchanges for a 95th percentile."""
_OTHER: dict[Where, Where] = {"client": "server", "server": "client"}


def page(result: TwoPoints, *, everything: bool = False, quiet: bool = False) -> Iterator[Part]:
    """Yield the parts of the page. `everything` lists all packets and findings; `quiet` omits the inputs."""
    yield Title(headline(result))
    if result.clock:
        yield Heading("Clocks")
        yield from _clock(result.clock)
    if result.ways:
        yield Heading("Between the points")
        yield _ways(result.ways)
        yield from (Line(text) for way in result.ways for text in _remarks(way))
    if result.waiting:
        yield Heading("Where requests wait for their responses")
        yield _waiting(result.waiting)
    yield from _findings(result, everything=everything)
    if result.changed:
        yield Heading("Changes between the points")
        yield from (Line(_change_text(one)) for one in (result.changed if everything else result.changed[:_MAX_SHOWN]))
    yield from _packets(result, everything=everything)
    yield from _alone(result, everything=everything)
    if not quiet:
        yield Heading("What was compared")
        yield from (Line(_file_facts(one)) for one in (result.client, result.server))
        if result.swapped:
            yield Line("The captures were named in reverse order: the round-trip times show which point is nearer to the client.")
        yield Line(_match_counts(result))
        yield from (Line(note) for note in result.notes)


def headline(result: TwoPoints) -> str:
    """Return the most important result in one sentence."""
    if not result.ways:
        return "No packet passed both points."
    delayed = any(way.delays and way.delays.p95 for way in result.ways)
    if result.clock and not result.clock.round_trip and not delayed and not result.packets:
        return "These are two copies of one capture: every packet has the same time in both."
    lost: dict[Where, int] = {way.sender: way.lost for way in result.ways}
    total = sum(lost.values())
    both = all(lost.values())
    ways = " and ".join(f"{f'{n:,} ' if both else ''}on the way to the {_OTHER[sender]}" for sender, n in lost.items() if n)
    maybe = sum(way.lost_or_not_recorded for way in result.ways)
    unsure = f"; {count(maybe, 'more packet')} lost or not recorded" if maybe else ""
    if not total:
        text = "No packet was lost between the points" if not maybe else "No packet is known to be lost between the points"
    else:
        text = f"{count(total, 'packet')} {_was(total)} lost between the points, {ways}"
    trip = f". The shortest round trip between the points is {duration(result.clock.round_trip)}" if result.clock else ""
    return f"{text}{unsure}{trip}."


def _clock(clock: Clock) -> Iterator[Line]:
    ahead = "ahead of" if clock.offset >= 0 else "behind"
    drift = "The clocks do not drift significantly"
    if clock.drift is not None:
        faster = "gains" if clock.drift > 0 else "loses"
        drift = (
            f"The server's clock {faster} {abs(clock.drift):.3g} us in each second (give or take {clock.drift_error or 0.0:.2g})"
        )
    yield Line(
        f"The clock of the server's capture is {_precise(abs(clock.offset))} {ahead} that of the client's capture, "
        f"if packets take equally long in both directions. The error is at most {duration(clock.round_trip / 2)}, "
        f"half of the shortest round trip. {drift}."
    )
    for step in clock.steps:
        on = "forward" if step.by >= 0 else "back"
        yield Line(
            f"A clock was adjusted: at {step.elapsed:.6f} s of the client's capture, "
            f"the server's clock moved {on} by {duration(abs(step.by))}."
        )


def _precise(seconds: float) -> str:
    """Format seconds with a precision of at least a microsecond, the precision of most captures."""
    return f"{seconds:.6f} s" if seconds >= 1 else duration(seconds)


def _ways(ways: list[Way]) -> Grid:
    """Return a table with one row per direction, without columns that have no values."""
    columns = {
        "sent": [way.sent for way in ways],
        "arrived": [way.arrived for way in ways],
        "lost": [way.lost for way in ways],
        "perhaps lost": [way.lost_or_not_recorded for way in ways],
        "not recorded": [way.not_recorded_here + way.not_recorded_there for way in ways],
        "injected": [way.injected for way in ways],
    }
    numbers = {name: column for name, column in columns.items() if any(column) or name in ("sent", "arrived", "lost")}
    rows = [
        (f"to the {_OTHER[way.sender]}", *(f"{column[number]:,}" for column in numbers.values()), *_delays(way))
        for number, way in enumerate(ways)
    ]
    return Grid(("", *numbers, "least delay", "median", "p95"), tuple(rows))


def _delays(way: Way) -> tuple[str, ...]:
    delays = way.delays
    return tuple(map(duration, (delays.least, delays.median, delays.p95))) if delays else ("", "", "")


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _remarks(way: Way) -> Iterator[str]:
    """Yield sentences that explain the values of one direction in the table of directions, or add information to them."""
    to = f"To the {_OTHER[way.sender]}"
    if way.retransmissions:
        why = [
            f"{text} ({n:,})"
            for n, text in (
                (way.ack_lost, "the ACK was lost between the points"),
                (way.ack_late, "the ACK took too long"),
                (way.ack_beyond, f"the ACK was lost or delayed beyond the {way.sender}'s point"),
                (way.ack_not_sent, "the ACK left after the retransmission"),
            )
            if n
        ]
        many = "" if way.needless == way.retransmissions else f"{way.needless:,} of them "
        proof = "needless because the receiver had acknowledged the data"
        tail = f", {many}{proof}: {', '.join(why)}" if way.needless else ""
        yield f"{to}: {count(way.retransmissions, 'retransmission')}{tail}."
    if way.not_recorded_there:
        them = "it" if way.not_recorded_there == 1 else "them"
        lacks = f"the {_OTHER[way.sender]}'s capture does not have {them}"
        yield f"{to}: {count(way.not_recorded_there, 'packet')} arrived, but {lacks}."
    if way.not_recorded_here:
        yield f"{to}: {count(way.not_recorded_here, 'packet')} arrived that the {way.sender}'s capture does not have."
    if way.injected:
        injected = f"{count(way.injected, 'packet')} did not come from the {way.sender}"
        yield f"{to}: {injected}, but {_was(way.injected)} injected between the points."
    if way.resegmented:
        segments = f"{count(way.resegmented, 'segment')} {_was(way.resegmented)}"
        yield f"{to}: {segments} split or joined on the way (segmentation offload)."
    if way.outside:
        outside = f"{count(way.outside, 'packet')} passed while the other point was not capturing"
        yield f"{to}: {outside} and {_was(way.outside)} not counted."
    if way.hops:
        yield f"{to}: {count(way.hops, 'router')} between the points, according to the time to live."


def _waiting(waiting: Waiting) -> Line:
    seen, beyond, between = waiting.seen_by_client, waiting.beyond_server, waiting.between
    return Line(
        f"Of {count(waiting.exchanges, 'exchange')}, from the end of the request to the beginning of the response: "
        f"median {duration(seen.median)} at the client's point, of which {duration(beyond.median)} passed at or "
        f"beyond the server's point and {duration(between.median)} between the points.",
        None,
        (f"In this order, 95 % are below {duration(seen.p95)}, {duration(beyond.p95)} and {duration(between.p95)}",)
        if waiting.exchanges >= _ENOUGH
        else (),
    )


# findings


_SEEN = {"both": "in both captures", "client": "in the client's capture only", "server": "in the server's capture only"}


def _findings(result: TwoPoints, *, everything: bool) -> Iterator[Part]:
    if not result.findings:
        return
    yield Heading("Problems, and where the time was spent")
    groups: dict[tuple[str, str | None, str, str], list[SideFinding]] = {}
    for one in result.findings:
        groups.setdefault((one.rule, one.kind, one.severity, one.seen), []).append(one)
    for some in groups.values():
        for one in some if everything else some[:1]:
            yield Line(one.title, one.severity, tuple(_of_finding(one, 1 if everything else len(some))))


def _of_finding(one: SideFinding, alike: int) -> Iterator[str]:
    kind = f" ({one.kind})" if one.kind else ""
    place = "" if one.connection is None else f", connection {one.connection}"
    request = f", {shorten(one.request, SHORT_REQUEST_LENGTH)}" if one.request else ""
    worst = f"; the worst of {alike:,} (--all shows them)" if alike > 1 else ""
    yield f"{one.rule}{kind}: {_SEEN[one.seen]}{place}{request}{worst}"
    if one.shares and any((one.shares.client, one.shares.between, one.shares.server)):
        yield (
            f"from the finding's first packet to its last, {duration(one.shares.client)} was spent on the client's side, "
            f"{duration(one.shares.between)} between the points, and {duration(one.shares.server)} on the server's side"
        )
    if one.lost:
        frames = f"frame{'s' if len(one.lost) > 1 else ''} {_some(list(map(str, one.lost)), ', ')}"
        yield f"{count(len(one.lost), 'packet')} of this connection lost between the points during this time ({frames})"
    if one.why:
        yield one.why


def _some(texts: list[str], comma: str) -> str:
    more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
    return f"{comma.join(texts[:_SHOWN])}{more}"


# changes, packets, connections and files


def _change_text(one: Changed) -> str:
    what = f"{one.what[:1].upper()}{one.what[1:]}"
    frames = f"frame {one.client_frame} of the client's capture, frame {one.server_frame} of the server's"
    where = f"{count(one.packets, 'packet')} on {count(one.connections, 'connection')}"
    return f"{what}, from the {one.sender}: {one.sent} becomes {one.received}: {where} ({frames})."


def _packets(result: TwoPoints, *, everything: bool) -> Iterator[Part]:
    """Yield the packets that only one capture has.

    Packets from times when the other point was not capturing are left out, because the other capture cannot contain them.
    """
    telling = [one for one in result.packets if one.kind != "outside"]
    if not telling:
        return
    yield Heading("Packets in one capture only")
    groups: dict[tuple[str, ...], list[OneSided]] = {}
    for one in sorted(telling, key=lambda one: _KINDS.index(one.kind)):
        groups.setdefault((one.recording, one.sender, one.kind, one.why), []).append(one)
    for (recording, sender, kind, why), some in groups.items():
        frames = [f"{one.frame} ({one.elapsed:.6f} s, {one.what})" for one in some]
        shown = "; ".join(frames) if everything else _some(frames, "; ")
        which = f"{count(len(some), 'packet')} from the {sender}, in the {recording}'s capture only"
        yield Line(f"{kind.replace('-', ' ').capitalize()}: {which}: {why}", None, (f"frame {shown}",))


_KINDS = ("lost", "injected", "not-recorded", "lost-or-not-recorded", "outside")


def _alone(result: TwoPoints, *, everything: bool) -> Iterator[Part]:
    if not result.alone:
        return
    yield Heading("Connections in one capture only")
    lines = (
        Line(
            f"the {one.recording}'s: connection {one.connection}, {one.client} -> {one.server}, "
            f"{count(one.packets, 'packet')}, from frame {one.frame}"
        )
        for one in result.alone
    )
    yield from limited_lines(lines, len(result.alone), MAX_ROWS, everything=everything)


def _file_facts(one: ComparedFile) -> str:
    return (
        f"{one.point}: {one.name}: {count(one.packets, 'packet')}, {count(one.connections, 'TCP connection')}, "
        f"{count(one.exchanges, 'HTTP exchange')}"
    )


def _match_counts(result: TwoPoints) -> str:
    by = {"addresses": 0, "rewritten-addresses": 0, "rewritten-numbers": 0}
    for pair in result.connections:
        by[pair.matched_by] += 1
    packets = sum(way.arrived for way in result.ways)
    how = [
        f"{n:,} by sequence numbers alone, because addresses are rewritten"
        if name == "rewritten-addresses"
        else f"{n:,} by offsets"
        for name, n in by.items()
        if n and name != "addresses"
    ]
    text = f"{count(len(result.connections), 'connection')} and {count(packets, 'packet')} were found in both captures"
    return f"{text} ({', '.join(how)})." if how else f"{text}."
