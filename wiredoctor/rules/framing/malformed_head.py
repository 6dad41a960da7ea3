"""A head breaks the grammar of HTTP.

What it means
    A head is a start line and fields, name: value, each ended by CRLF. Kinds: bare-lf, a line ends with LF alone;
    space-before-colon, blanks stand between a field's name and its colon; folding, a line begins with a blank and so goes on with
    the field before it; control-byte, a line holds a NUL, a lone CR or another control character; content-length, the field is
    there, but its value is no number.

Why it hurts
    Readers differ in what they make of it: some refuse the message (400, "invalid header"), some skip the field, some mend it.
    What one of them skips and the next one heeds is how requests are smuggled and responses split. With a Content-Length that is
    no number the end of the message is unknown, too.

How it is proved
    The bytes of the head.

What it is not
    Bytes above 127, tabs and blanks around a value, empty values, an unknown field: allowed. A head that is not whole. Two
    lengths that differ: conflicting-framing.

What to do
    Build heads with an HTTP library, and put nothing into a field that has not been checked for line ends and control characters.

References
    RFC 9112 sections 2.2, 5.1, 5.2 and 11.1. RFC 9110 sections 5.5 and 8.6.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.faulty import SMUGGLING, candidates, whose
from wiredoctor.rules.memory import Recent

_TITLES: dict[str | None, str] = {
    "bare-lf": "A line in the head of a {what} ends with LF alone",
    "space-before-colon": "Blanks stand before the colon of a field in a {what}",
    "folding": "A field in a {what} is folded over two lines",
    "control-byte": "The head of a {what} holds a control character",
    "content-length": "The Content-Length of a {what} is no number",
}
_WHAT: dict[str | None, str] = {
    "bare-lf": "a line ends with LF and not with CRLF ({place}). Many readers accept that, others refuse the {what}, and some do "
    "not see the line's end at all.",
    "space-before-colon": "blanks stand between the name {place} and its colon. Servers must refuse such a request, proxies must "
    "remove the blanks from such a response, and others take name and blanks for another field.",
    "folding": "the field {place} goes on in a line that begins with a blank. That has been obsolete since RFC 7230: servers may "
    "refuse it, and some readers take the second line for a field of its own.",
    "control-byte": "it holds a byte that no line of a head may hold ({place}): a control character, or a CR without LF. Readers "
    "refuse the message, drop the byte, or end the line there.",
    "content-length": 'it says "{place}", which is no number. The end of the message is unknown: a server has to answer such a '
    "request with 400 and close, a client has to throw away such a response.",
}
_REMEDIES: dict[str | None, str] = {
    "bare-lf": "End every line with CRLF: programs, scripts and devices that write heads by themselves often print a newline "
    "only.",
    "space-before-colon": "Put the colon right behind the name.",
    "folding": "Write each field on one line; what folds them are programs that take their rules from mail, and long values that "
    "hold a line end, such as certificates passed on in a field.",
    "control-byte": "Put nothing into a field that has not been checked for control characters and line ends: they get there "
    "from user input, from binary data, and from strings with their terminating NUL.",
    "content-length": "Let the HTTP library count the body; what comes there instead of a number is an empty or unset variable, "
    "a sign, a unit, or digits of another base.",
}
_ONCE = "{also} Said once per connection and kind."

RULE = Rule(
    severity="warning",
    title=_TITLES,
    message={kind: "In the head of the {what} " + text + _ONCE for kind, text in _WHAT.items()},
    remedy=_REMEDIES,
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 2.2, message parsing", "https://www.rfc-editor.org/rfc/rfc9112.html#section-2.2"),
        Reference("RFC 9112 section 5.1, field line parsing", "https://www.rfc-editor.org/rfc/rfc9112.html#section-5.1"),
        Reference("RFC 9112 section 5.2, obsolete line folding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-5.2"),
        Reference("RFC 9110 section 5.5, field values", "https://www.rfc-editor.org/rfc/rfc9110.html#section-5.5"),
    ),
    advice=(Advice("client", "", SMUGGLING),),
    ends=True,
)

CONNECTIONS = Threshold("16384 connections", "bounds the memory of what was said before; the least recently seen is forgotten")


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """A row per head and kind, the first of its side."""
    c = pl.col
    rows = faults.filter(c("fault").is_in([*_TITLES]))
    head = pl.format("the head of the {}: {} ({})", whose(), "fault", "shown")
    begins = pl.format("the {} begins", whose())
    also = pl.lit("", pl.String).alias("also")
    return candidates(rows, c("fault"), begins, head, c("shown").alias("place"), also)


def judge(rows: pl.DataFrame, said: Recent[set[str]] | None) -> tuple[pl.DataFrame, Recent[set[str]]]:
    """Each kind once per connection; several in one head are one finding, that of the first."""
    memory = Recent[set[str]](set, CONNECTIONS.value) if said is None else said
    kept: dict[tuple[int, int], int] = {}
    also: dict[int, list[str]] = {}
    for i, (connection, frame, kind) in enumerate(rows.select("connection", "frame", "kind").iter_rows()):
        if kind in memory[connection]:
            continue
        memory[connection].add(kind)
        first = kept.setdefault((connection, frame), i)
        if first != i:
            also.setdefault(first, []).append(kind)
    texts = [f" The same head has more: {', '.join(also[i])}." if i in also else "" for i in kept.values()]
    return rows[list(kept.values())].with_columns(pl.Series("also", texts, dtype=pl.String)), memory
