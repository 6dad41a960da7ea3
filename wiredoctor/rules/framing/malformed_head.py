"""A head breaks the grammar of HTTP, or an answer has none.

What it means
    A head is a start line and fields, name: value, each ended by CRLF. Kinds: bare-lf, a line ends with LF alone;
    space-before-colon, blanks stand between a field's name and its colon; folding, a line begins with a blank and so goes on with
    the field before it; control-byte, a line holds a NUL, a lone CR or another control character; content-length, the field is
    there, but its value is no number; no-colon, a line of the head is no field.

    Kind no-status-line, an error: where the response to a request should begin came bytes that are no HTTP, such as the
    traceback of a program that failed before it had written a head.

Why it hurts
    Readers differ in what they make of it: some refuse the message (400, "invalid header"), some skip the field, some mend it.
    What one of them skips and the next one heeds is how requests are smuggled and responses split. With a Content-Length that is
    no number the end of the message is unknown, too. A request whose answer has no status line has failed: clients report an
    invalid response, and most proxies answer 502; nginx passes such bytes on as they are, Apache httpd as the body of a 200.

How it is proved
    The bytes of the head. Kind no-status-line: the server acknowledged the request and had not answered it when it sent bytes
    that do not begin with HTTP/; nothing is missing before them, and no head followed them.

What it is not
    The rest of a body that is longer than announced, in the packet in which the body ends or before the head of the next
    response: excess-body. What follows 101 Switching Protocols, or CONNECT; a protocol whose server speaks first;
    Shoutcast (ICY). One that only begins like HTTP: before any response, a request of HTTP/1.1 without Host, or one behind which
    the client sends what is no HTTP either, may be none. Bytes above 127, tabs and blanks around a value, empty values, an
    unknown field: allowed. A head that is not whole. Two lengths that differ: conflicting-framing.

What to do
    Build heads with an HTTP library, and put nothing into a field that has not been checked for line ends and control characters.
    Write nothing to the connection, or to the standard output of a CGI program, but what goes through that library.

References
    RFC 9112 sections 2.2, 4, 5.1, 5.2 and 11.1. RFC 9110 sections 5.5 and 8.6.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.faulty import SMUGGLING, candidates, quoted, whose
from wiredoctor.rules.memory import Recent
from wiredoctor.rules.proof import EVIDENCE, packet

_NO_STATUS = "no-status-line"

_TITLES: dict[str | None, str] = {
    "bare-lf": "A line in the head of a {what} ends with LF alone",
    "space-before-colon": "Blanks stand before the colon of a field in a {what}",
    "folding": "A field in a {what} is folded over two lines",
    "control-byte": "The head of a {what} holds a control character",
    "content-length": "The Content-Length of a {what} is no number",
    "no-colon": "A line in the head of a {what} is no field",
    _NO_STATUS: "The answer to a request is not HTTP",
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
    "no-colon": "a line is no field: it has no colon ({place}). Some readers refuse the {what}, others skip the line, or take it "
    "for the end of the head.",
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
    "no-colon": "Look for what writes into the head besides the HTTP library: a program that prints a message or a warning "
    "before its head is complete, or a value with a line end in it.",
    _NO_STATUS: "Look into the server's log at that time: a program failed before it had written the head of its response, "
    "and what it printed (a traceback, a message) went to the client. Let it print to standard error, and let the server answer "
    "500. If another program listens on that port, send the request elsewhere.",
}
_ONCE = "{also} Said once per connection and kind."
_ANSWER = (
    "The server acknowledged {request}, and the first bytes that it sent in answer, {place}, are no status line. The client "
    "cannot read them as a response: the request has failed. No head came after them on this connection."
)

RULE = Rule(
    severity={kind: "error" if kind == _NO_STATUS else "warning" for kind in _TITLES},
    title=_TITLES,
    message={_NO_STATUS: _ANSWER} | {kind: "In the head of the {what} " + text + _ONCE for kind, text in _WHAT.items()},
    remedy=_REMEDIES,
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 2.2, message parsing", "https://www.rfc-editor.org/rfc/rfc9112.html#section-2.2"),
        Reference("RFC 9112 section 4, status line", "https://www.rfc-editor.org/rfc/rfc9112.html#section-4"),
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
    told = candidates(rows, c("fault"), begins, head, c("shown").alias("place"), also, _answer().alias("answer"))
    answered = c("kind") == _NO_STATUS
    place = pl.when(answered).then(pl.format('"{}"', "place")).otherwise("place")
    told = told.with_columns(pl.when(answered).then("answer").otherwise("evidence").alias("evidence"), place.alias("place"))
    return told.drop("answer")


def _answer() -> pl.Expr:
    """The evidence of an answer without a head."""
    asked = pl.format("the request: {}, {}", "request_method", "request_version")
    came = pl.format("the answer begins: {}, which is no status line", quoted())
    return pl.concat_list(packet("message_frame", "message_time", asked), packet("frame", "time", came)).cast(EVIDENCE)


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
