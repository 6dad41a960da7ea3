"""Format the changes between two captures for people: fixed, new, stayed, slower and faster."""

from __future__ import annotations

from collections.abc import Iterator

from wiredoctor.compare import LEAST_TIMES
from wiredoctor.compare.before_after.result import Changes, EndpointChange, FindingChange, RuleChange, Shift, Source
from wiredoctor.report.terminal.document import MAX_ROWS, Grid, Heading, Line, Part, Title, limited_lines, line_about_others
from wiredoctor.report.words import count, duration, shorten

HEADINGS = {"new": "New", "stayed": "Stayed", "not-seen-again": "Not seen again (may still exist)", "fixed": "Fixed"}
ENDPOINT_HEADINGS = ("endpoint", "before", "median", "p95", "after", "median", "p95", "difference", "")
RULE_HEADINGS = ("rule", "before", "per 100", "after", "per 100", "lost before", "lost after")
_MAX_SHOWN = 10
_MAX_PLACE = 120
_CHANGED = ("slower", "faster")


def page(changes: Changes, *, everything: bool = False, quiet: bool = False) -> Iterator[Part]:
    """Yield the parts of the page. `everything` lists all findings and endpoints; `quiet` omits the inputs."""
    yield Title(headline(changes))
    for status, heading in HEADINGS.items():
        findings = [one for one in changes.findings if one.status == status]
        if findings:
            yield Heading(heading)
            lines = (Line(_finding(one), one.severity, _below(one)) for one in findings)
            yield from limited_lines(lines, len(findings), _MAX_SHOWN, everything=everything)
    yield from _endpoints(changes, everything=everything)
    if changes.rules:
        yield Heading("By rule: occurrences, and occurrences per 100 exchanges")
        yield Grid(RULE_HEADINGS, tuple(rule_rows(changes)))
    if not quiet:
        yield Heading("What was compared")
        yield Line(source_sentence("before", changes.before))
        yield Line(source_sentence("after", changes.after))
        yield from map(Line, other_notes(changes))


def other_notes(changes: Changes) -> list[str]:
    """Return all notes except the one that the headline contains."""
    return [note for note in changes.notes if note != changes.mismatch]


def headline(changes: Changes) -> str:
    """Return a headline such as "2 new problems, 3 stayed, 1 fixed; 1 endpoint slower."

    If no requests can be compared, the headline begins with the reason.
    """
    first = f"{changes.mismatch[0].upper()}{changes.mismatch[1:]}. " if changes.mismatch else ""
    numbers = {status: len(changes.of(status)) for status in ("new", "stayed", "fixed", "not-seen-again")}
    parts = [f"{n:,} {_STATUS.get(status, status)}" for status, n in numbers.items() if n]
    if parts:
        number, _, word = parts[0].partition(" ")
        noun = "problem" if number == "1" else "problems"
        parts[0] = f"{number} {word} {noun}" if word == "new" else f"{number} {noun} {word}"
    found = ", ".join(parts) or "No problems before or after"
    slower, faster = (sum(is_(one, verdict) for one in changes.endpoints) for verdict in _CHANGED)
    times = [f"{count(n, 'endpoint')} {word}" for n, word in ((slower, "slower"), (faster, "faster")) if n]
    verdicts = {one.total.verdict for one in changes.endpoints}
    if "same" in verdicts:
        quiet = "no endpoint slower or faster"
    else:
        quiet = _too_few(changes) if verdicts - {"unknown"} else "no times to compare"
    return f"{first}{found}; {', '.join(times) or quiet}."


_STATUS = {"not-seen-again": "not seen again"}


def _too_few(changes: Changes) -> str:
    both = max(min(one.exchanges_before, one.exchanges_after) for one in changes.endpoints)
    return (
        f"too few exchanges to compare times (an endpoint needs {LEAST_TIMES} in each capture; "
        f"none has more than {both:,} in both)"
    )


def is_(one: EndpointChange, verdict: str) -> bool:
    """Return whether any reported time of an endpoint has this verdict, "slower" or "faster"."""
    return verdict in (one.total.verdict, one.total.tail, one.server_time.verdict, one.server_time.tail)


def _finding(one: FindingChange) -> str:
    kind = f" ({one.kind})" if one.kind else ""
    place = shorten(" ".join(part for part in (one.server, one.request) if part), _MAX_PLACE)
    return f"{one.rule}{kind}{f', {place}' if place else ''}"


def _below(one: FindingChange) -> tuple[str, ...]:
    before = format_hits(one.before, one.chances_before, one.of)
    after = format_hits(one.after, one.chances_after, one.of)
    lines = [f"before: {before}; after: {after}{_FREQUENCY.get(one.frequency, '')}"]
    if one.delay_before or one.delay_after:
        lines.append(f"time lost: {duration(one.delay_before)} before, {duration(one.delay_after)} after{_longer(one.delay)}")
    if one.why:
        lines.append(one.why)
    return tuple(lines)


_FREQUENCY = {"more-often": " (more often, significant)", "less-often": " (less often, significant)"}


def format_hits(hits: int, chances: int | None, of: str) -> str:
    """Format a number of occurrences as "3 in 12 exchanges", or as "3" if `chances` is None or `of` is "captures".

    `chances`: how many exchanges or other things could have been affected; `of` is their name, in the plural.
    """
    if chances is None or of == "captures":
        return f"{hits:,}"
    return f"{hits:,} in {count(chances, of[:-1])}"


def _longer(shift: Shift) -> str:
    if shift.before is None or shift.after is None:
        return ""
    words = {"slower": " (longer, significant)", "faster": " (shorter, significant)"}
    middle = f", median {duration(shift.before.median)} before and {duration(shift.after.median)} after"
    return middle + words.get(shift.verdict, "")


def _endpoints(changes: Changes, *, everything: bool) -> Iterator[Part]:
    if not changes.endpoints:
        return
    told = [one for one in changes.endpoints if is_(one, "slower") or is_(one, "faster")]
    for verdict in _CHANGED:
        some = [one for one in told if is_(one, verdict)]
        if some:
            yield Heading(verdict.capitalize())
            lines = (Line(_place(one), None, tuple(endpoint_sentences(one, verdict))) for one in some)
            yield from limited_lines(lines, len(some), _MAX_SHOWN, everything=everything)
    servers = {one.server for one in changes.endpoints}
    where = f" of {next(iter(servers))}" if len(servers) == 1 and None not in servers else ""
    yield Heading(f"By endpoint{where}: time from the first byte of the request to the last byte of the response")
    rows = changes.endpoints if everything else changes.endpoints[:MAX_ROWS]
    yield Grid(ENDPOINT_HEADINGS, tuple((_request_first(one, where), *endpoint_row(one)[1:]) for one in rows))
    yield from line_about_others(len(changes.endpoints) - len(rows))


def _place(one: EndpointChange) -> str:
    request = f"{one.method} {one.path}"
    return shorten(" ".join(part for part in (one.server, request.strip()) if part), _MAX_PLACE)


def _request_first(one: EndpointChange, heading: str) -> str:
    """Return the name of an endpoint for a narrow table. The method comes first, so it stays visible if the name is cut.

    The server comes last. It is left out if there is a `heading`, because the heading names the server.
    """
    request = f"{one.method} {one.path}".strip()
    return request if heading or not one.server else f"{request} ({one.server})"


def endpoint_sentences(one: EndpointChange, verdict: str) -> Iterator[str]:
    """Yield a sentence for each kind of time that became slower or faster (`verdict`) at an endpoint, with the difference."""
    parts = {"total": one.total, "until the response began": one.server_time}
    for name, shift in parts.items():
        if shift.before is None or shift.after is None:
            continue
        if shift.verdict == verdict and shift.low is not None and shift.high is not None and shift.difference is not None:
            yield (
                f"{name}: median {_signed_duration(shift.difference)}, from {duration(shift.before.median)} to "
                f"{duration(shift.after.median)} (between {_signed_duration(shift.low)} and {_signed_duration(shift.high)}, "
                "99 % confidence)"
            )
        if shift.tail == verdict and shift.before.p95 is not None and shift.after.p95 is not None:
            yield f"{name}, the slowest 5 %: at least {duration(shift.before.p95)} before, {duration(shift.after.p95)} after"


def _signed_duration(seconds: float) -> str:
    return f"{'+' if seconds >= 0 else ''}{duration(seconds)}"


_WORDS = {"same": "-", "too-few": "too few", "unknown": "", "slower": "slower", "faster": "faster"}


def endpoint_row(one: EndpointChange) -> tuple[str, ...]:
    """Return the texts in the row of an endpoint, in the order of ENDPOINT_HEADINGS."""
    before, after = one.total.before, one.total.after
    verdict = next((v for v in _CHANGED if is_(one, v)), one.total.verdict)
    return (
        _place(one),
        f"{one.exchanges_before:,}",
        duration(before.median) if before else "",
        duration(before.p95) if before and before.p95 is not None else "",
        f"{one.exchanges_after:,}",
        duration(after.median) if after else "",
        duration(after.p95) if after and after.p95 is not None else "",
        "" if one.total.difference is None else _signed_duration(one.total.difference),
        _WORDS[verdict],
    )


def rule_rows(changes: Changes) -> Iterator[tuple[str, ...]]:
    """Yield a row of texts for each rule, in the order of RULE_HEADINGS."""
    for one in changes.rules:
        before = _rate(one.before, changes.before, judged=one.judged_before)
        after = _rate(one.after, changes.after, judged=one.judged_after)
        yield (one.rule, *before, *after, *_lost_times(one))


def _rate(hits: int, source: Source, *, judged: bool) -> tuple[str, str]:
    if not judged:
        return "not judged", ""
    return f"{hits:,}", f"{100 * hits / source.exchanges:.3g}" if source.exchanges else ""


def _lost_times(one: RuleChange) -> tuple[str, str]:
    before, after = (duration(delay) if delay else "" for delay in (one.delay_before, one.delay_after))
    return before, after


def source_sentence(name: str, source: Source) -> str:
    """Describe one of the two inputs: its name, its kind, its numbers of connections, exchanges and occurrences, and the time
    lost.
    """
    files = f" of {count(len(source.captures), 'capture')}" if len(source.captures) != 1 else ""
    kind = "JSON report" if source.kind == "report" else "analyzed"
    lost = f", {duration(source.delay)} lost to waiting" if source.delay else ""
    numbers = f"{count(source.connections, 'TCP connection')}, {count(source.exchanges, 'HTTP exchange')}"
    return f"{name}: {source.name} ({kind}{files}): {numbers}, {count(source.findings, 'occurrence')}{lost}"


def got_worse(changes: Changes, what: str) -> bool:
    """Return whether something got worse.

    `what`: the kind of change that counts. "slower": endpoints that became slower. "new": new findings. Any other value: findings
    that became more frequent or cost more time. Notes and findings about the captures themselves never count, because they need
    no action.
    """
    if what == "slower":
        return any(is_(one, "slower") for one in changes.endpoints)
    serious = [one for one in changes.findings if one.severity != "note" and one.family != "capture"]
    if what == "new":
        return any(one.status == "new" for one in serious)
    return any(one.frequency == "more-often" or (one.status == "stayed" and one.delay.verdict == "slower") for one in serious)
