"""Sentences about captures and other inputs: what they contain, what could not be read, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from wiredoctor.findings import CaptureSummary, Report
from wiredoctor.report.capture_points import shared_sentence
from wiredoctor.report.words import SECOND, count, duration, size
from wiredoctor.text.time_of_day import nanoseconds, time_text, zone_name

MAX_REASONS = 5
MAX_PACKET_KINDS = 3
MAX_SERVERS = 3
"""The maximum number of servers that are named with their addresses before and after address translation."""

MAX_INCOMPLETE = 3
"""The maximum number of lines about one kind of missing data: unreadable inputs, dropped packets, or captures out of order."""


def incomplete(report: Report, most: int = MAX_INCOMPLETE) -> list[str]:
    """Return a sentence for each input that could not be read completely. If there are too many, the last sentence counts the
    rest.
    """
    return _at_most(most, report.incomplete, "more input", "{} could not be read completely.")


def _at_most(most: int, sentences: Sequence[str], noun: str, others: str) -> list[str]:
    """Return the first `most` sentences. If there are more, add `others`, with their number and `noun` in place of {}."""
    rest = len(sentences) - most
    return [*sentences[:most], *([others.format(count(rest, noun))] if rest > 0 else [])]


def opening(report: Report) -> list[str]:
    """Return the sentences at the start of a report.

    They are about unreadable inputs, dropped packets, captures out of order, and conversations that several captures contain.
    """
    return [*incomplete(report), *lacking(report), *unordered(report.captures), *shared_sentence(report)]


def unordered(captures: Iterable[CaptureSummary]) -> list[str]:
    """Return a sentence for each capture that is not in time order, with the remedy.

    If there are too many captures, the last sentence counts the others.
    """
    lines = [
        f"{capture.file} is not in time order, so its packets were sorted: frame numbers are those in the output "
        "of reordercap IN OUT, but connection numbers are those of the file itself."
        if capture.sorted and not capture.clock_steps
        else f"{capture.file} is not in time order: its timestamps go backward {_times(capture.clock_steps)}, and its packets "
        "were sorted between these jumps. Frame numbers count packets in this order, which is not that of reordercap. "
        "No finding depends on times across such a jump."
        if capture.sorted
        else f"{capture.file} is not in time order: its timestamps go backward {_times(capture.clock_steps)}. No finding depends "
        "on times across such a jump. If files were appended, sort the result first: reordercap IN OUT."
        for capture in captures
        if capture.sorted or capture.clock_steps
    ]
    return _at_most(MAX_INCOMPLETE, lines, "more capture", "{} are not in time order.")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def lacking(report: Report) -> list[str]:
    """Return a sentence for each capture with dropped packets. If there are too many, the last sentence counts the others."""
    lines = [
        f"{capture.dropped:,} of {count(capture.dropped_of, 'packet')} were dropped while {capture.file} was captured. "
        "Packets that seem lost may only be missing from the capture."
        for capture in report.captures
        if capture.dropped
    ]
    return _at_most(MAX_INCOMPLETE, lines, "more capture", "Packets of {} were dropped.")


def other_packets(report: Report) -> str:
    """Describe the packets without TCP in all captures: " in 3 packets: ARP", " in 9 packets: UDP (6), ICMP (2), ARP (1)"."""
    reasons: Counter[str] = Counter()
    for capture in report.captures:
        reasons.update(capture.not_analysed)
    among = f" in {count(sum(capture.packets for capture in report.captures), 'packet')}"
    if len(reasons) < 2:
        return "".join(f"{among}: {reason}" for reason in reasons)
    most = sorted(reasons.items(), key=lambda r: (-r[1], r[0]))
    shown, rest = most[:MAX_PACKET_KINDS], most[MAX_PACKET_KINDS:]
    others = [f"{count(len(rest), 'other kind')} ({sum(packets for _, packets in rest):,})"] if rest else []
    return f"{among}: {', '.join([*(f'{reason} ({packets:,})' for reason, packets in shown), *others])}"


def capture_facts(capture: CaptureSummary) -> str:
    """Describe a capture in one line: format, link types, packets, size, start and duration."""
    return ", ".join(part for part in (capture_contents(capture), _span(capture)) if part)


def capture_contents(capture: CaptureSummary) -> str:
    """Describe a capture in one line: format, link types, packets and size."""
    links = ", ".join(f"link type {name}" if name.isdecimal() else name for name in capture.link_types)
    return ", ".join(part for part in (capture.format, links, count(capture.packets, "packet"), size(capture.bytes)) if part)


def encapsulated(capture: CaptureSummary) -> list[str]:
    """Return a line that names the encapsulations of TCP in a capture; an empty list if there are none."""
    inside = sorted(capture.encapsulations.items(), key=lambda e: (-e[1], e[0]))
    parts = [f"{name} ({count(packets, 'packet')})" for name, packets in inside]
    return [f"TCP inside {', '.join(parts)}"] if parts else []


def not_analysed(capture: CaptureSummary) -> list[str]:
    """Return lines about packets not analyzed, by reason, then about duplicates, address translation and dropped packets."""
    reasons = sorted(capture.not_analysed.items(), key=lambda r: (-r[1], r[0]))
    lines = [f"not analyzed: {reason}, {count(packets, 'packet')}" for reason, packets in reasons[:MAX_REASONS]]
    if rest := reasons[MAX_REASONS:]:
        lines.append(f"not analyzed: {count(len(rest), 'other reason')}, {count(sum(n for _, n in rest), 'packet')}")
    if capture.duplicates:
        lines.append(f"captured twice and left out: {count(capture.duplicates, 'packet')}")
    lines += translated(capture)
    if capture.dropped:
        lines.append(f"dropped while capturing: {count(capture.dropped, 'packet')}")
    return lines


def translated(capture: CaptureSummary) -> list[str]:
    """Return a line about connections captured before and after address translation; an empty list if there are none."""
    if not capture.translations:
        return []
    servers = sorted(((n, *pair) for pair, n in capture.translations.items()), key=lambda one: (-one[0], one[1:]))
    names = [f"{before} became {after}" for _, before, after in servers if before != after]
    rest = len(names) - MAX_SERVERS
    shown = [*names[:MAX_SERVERS], *([f"{count(rest, 'other')}"] if rest > 0 else [])]
    inside = f" ({', '.join(shown)})" if names else ""
    number = count(sum(capture.translations.values()), "connection")
    return [f"captured before and after address translation (NAT), and counted once: {number}{inside}"]


def contents_lines(capture: CaptureSummary) -> list[str]:
    """Return lines about encapsulations, packets that were not analyzed, and damage of the file."""
    lines = encapsulated(capture) + not_analysed(capture)
    return [*lines, f"damaged: {capture.damage}"] if capture.damage else lines


def _span(capture: CaptureSummary) -> str:
    """Return start and duration of a capture: "from 2026-01-31 12:00:00 UTC for 12.5 s"; "" if there are no timestamps."""
    first, last = nanoseconds(capture.first_time), nanoseconds(capture.last_time)
    if first is None or last is None:
        return ""
    begin = time_text(first, date=True).partition(".")[0]
    return f"from {begin} {zone_name(first)}" + (f" for {duration((last - first) / SECOND)}" if last > first else "")
