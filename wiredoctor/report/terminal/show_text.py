"""Write a finding or a connection as text for a terminal."""

from __future__ import annotations

from typing import Any

from wiredoctor.findings import Finding
from wiredoctor.report.ladder.build import Ladder
from wiredoctor.report.ladder.draw_text import write_ladder
from wiredoctor.report.packets.heads import Head
from wiredoctor.report.terminal.sentences import SECRETS, change
from wiredoctor.report.terminal.show import LONGEST, ShownPackets
from wiredoctor.report.terminal.terminal import SEVERITY_STYLE, TerminalWriter
from wiredoctor.report.words import SECOND, clean, count, duration
from wiredoctor.text.time_of_day import Clock

MAX_NUMBERS = 10
"""The maximum number of findings of one rule whose numbers are listed."""


def write(shown: ShownPackets, writer: TerminalWriter, *, secrets: bool) -> None:
    """Write the packets of a finding or connection, and what is known about it. `secrets`: warn that nothing is masked."""
    if secrets:
        writer.paragraph((SECRETS, "bold"))
        writer.blank()
    finding = shown.asked.finding
    if finding is not None:
        _write_finding(writer, finding, shown.causes)
    _write_place(writer, shown.connection, shown.ladder)
    if shown.ladder.steps:
        writer.paragraph((f"{_range(shown.ladder, shown.clock)} {shown.clock.heading()}".rstrip(), "dim"), indent=2, hang=2)
    for line in shown.unordered:
        writer.paragraph((line, "bold"), indent=2)
    if shown.request_id:
        writer.paragraph((f"request id {shown.request_id}", "dim"), indent=2, hang=2)
    writer.blank()
    write_ladder(writer, shown.ladder, shown.clock)
    for head in shown.heads:
        writer.blank()
        _write_head(writer, head)
    if shown.heads_left:
        writer.blank()
        writer.paragraph(f"{count(shown.heads_left, 'more head')}: add --exchange for one exchange, or --all for all.")
    for related in shown.related:
        writer.blank()
        _write_place(writer, related.row, related.ladder, related.role)
        if related.ladder.steps:
            writer.paragraph((_range(related.ladder, shown.clock), "dim"), indent=2, hang=2)
        writer.blank()
        write_ladder(writer, related.ladder, shown.clock)
    if finding is not None:
        writer.blank()
        writer.paragraph((f"{change(finding)}: ", "bold"), finding.remedy, hang=2)
    if shown.findings:
        writer.blank()
        writer.paragraph(("Also found on this connection" if finding else "Found on this connection", "bold"))
        _write_others(writer, shown.findings)


def _write_others(writer: TerminalWriter, findings: list[Finding]) -> None:
    """Write one line per rule, with its finding numbers (such as 3, 5, 8), the time lost, and the title of the first finding."""
    rules: dict[str, list[Finding]] = {}
    for one in findings:
        rules.setdefault(one.rule, []).append(one)
    for same in rules.values():
        numbers = ", ".join(str(one.number) for one in same[:MAX_NUMBERS])
        more = f" and {len(same) - MAX_NUMBERS:,} more" if len(same) > MAX_NUMBERS else ""
        first, lost = same[0], sum(one.delay or 0.0 for one in same)
        delay = f", {duration(lost)}{' in all' if len(same) > 1 else ''}" if lost else ""
        label = f"finding{'s' if len(same) > 1 else ''} {numbers}{more}: "
        kind = (f"{first.severity} ", SEVERITY_STYLE[first.severity])
        writer.paragraph(label, kind, f"{first.rule}{delay}. {first.title}", indent=2, hang=2)


def _write_finding(writer: TerminalWriter, finding: Finding, causes: list[Finding]) -> None:
    label = finding.severity.upper().ljust(9)
    writer.paragraph((label, SEVERITY_STYLE[finding.severity]), (finding.title, "bold"), hang=len(label))
    writer.paragraph((f"finding {finding.number}: {finding.rule_and_kind}, {finding.confidence} confidence", "dim"), indent=2)
    request = ", ".join(
        part for part in (finding.request or "", "" if finding.status is None else f"status {finding.status}") if part
    )
    if request:
        writer.paragraph((request, "dim"), indent=2, hang=2)
    for cause in causes:
        writer.paragraph((f"caused by finding {cause.number}: {cause.rule}. {cause.title}", "dim"), indent=2, hang=2)
    writer.blank()
    writer.paragraph(finding.message, indent=2)
    writer.blank()


def _write_place(writer: TerminalWriter, row: dict[str, Any] | None, ladder: Ladder, role: str = "") -> None:
    if row is None:
        ends = " -> ".join(end for end in (ladder.client, ladder.server) if end)
        which = f"Connections {', '.join(map(str, ladder.connections))}" if ladder.connections else "No connection"
        writer.paragraph((which, "bold"), f"  {ends}" if ends else "")
        if ladder.connections:
            writer.paragraph(("only packets of the evidence; --connection shows all packets of a connection", "dim"), indent=2)
        return
    writer.paragraph((f"Connection {row['connection']}", "bold"), f"  {row['client']} -> {row['server']}{role and f', {role}'}")
    if row["translated_server"] is not None:
        after = f"after address translation: {row['translated_client']} -> {row['translated_server']}"
        writer.paragraph((after, "dim"), indent=2, hang=2)
    closed = f"closed by {row['closed_by']} ({row['close'].upper()})" if row["close"] else "not closed in the capture"
    facts = [
        row["protocol"] if row["protocol"] != "none" else "without data", count(row["packets"], "packet"),
        f"{count(row['client_bytes'], 'byte')} from the client, {row['server_bytes']:,} from the server",
        count(row["exchanges"], "exchange"), closed,
    ]  # fmt: skip
    writer.paragraph(("; ".join(facts), "dim"), indent=2, hang=2)


def _range(ladder: Ladder, clock: Clock) -> str:
    """Return a line with the range of packets that are shown: "Below: frames 15 to 20, 10:42:16.123 to 10:42:17.001."."""
    first, last = ladder.steps[0], ladder.steps[-1]
    one = first.frame == last.frame
    frames = f"frame {first.frame}" if one else f"frames {first.frame} to {last.frame}"
    if clock.first is None:
        return f"Below: {frames}."
    times = clock.at(first.elapsed * SECOND)
    return f"Below: {frames}, {times if one else f'{times} to {clock.at(last.elapsed * SECOND)}'}."


def _write_head(writer: TerminalWriter, head: Head) -> None:
    title = f"{head.message.capitalize()} of exchange {head.exchange}"
    writer.paragraph((title, "bold"), f"  frame {head.frame}, head of {count(head.bytes, 'byte')}")
    if head.lines is None:
        writer.paragraph("not completely captured", indent=2)
        return
    for number, line in enumerate(head.lines):
        writer.unbroken((clean(line), "" if number else "bold"), indent=2)
    if head.more:
        writer.paragraph(f"and {count(head.more, 'more field')}", indent=2)
    if head.bytes > LONGEST:
        writer.paragraph(f"and {count(head.bytes - LONGEST, 'more byte')}", indent=2)
