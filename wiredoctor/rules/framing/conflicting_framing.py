"""A message has header fields that disagree on where its body ends.

What it means
    A head has both Content-Length and Transfer-Encoding, or several different values of Content-Length. A message has one end,
    but these fields name two.

Why it hurts
    Each reader decides which field counts, and two readers in a row may decide differently: a proxy sees one request, the
    server behind it sees two. Attackers use that to smuggle requests past access rules or into the connections of other
    users. Careful servers answer with 400, careful clients report an invalid response, and both close the connection.

How it is proved
    The head contains the conflicting fields.

What it is not
    The same length may occur twice, as two fields or as a list (RFC 9110 section 8.6); that is not a conflict.
    Transfer-Encoding: identity counts as missing. In responses to HEAD and CONNECT, and in 1xx, 204 and 304, the fields do
    not frame a body.

What to do
    Send only one of them: Transfer-Encoding: chunked, or one Content-Length.

References
    RFC 9112 sections 6.1, 6.2, 6.3 and 11.2. RFC 9110 section 8.6.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import SMUGGLING, candidates_of_fault, message_begins

RULE = Rule(
    symptom="400, 502, requests that nobody sent",
    severity="error",
    title="The framing fields of the {what} contradict each other",
    message='The head of the {what} has the fields "{excerpt}", but a message can have only one end. {valid} A reader that '
    "decides differently takes the remaining bytes for another {what}. Careful readers reject the message and close the "
    "connection.",
    remedy="Let only one component frame the message: the server, the framework or the HTTP library. {origin}",
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 6.1, Transfer-Encoding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.1"),
        Reference("RFC 9112 section 11.2, request smuggling", "https://www.rfc-editor.org/rfc/rfc9112.html#section-11.2"),
    ),
    advice=(
        Advice("client", "", SMUGGLING),
        Advice("client", r"\.NET|MS Web Services", ".NET: set either ContentLength or SendChunked."),
        Advice(
            "client",
            "python-requests|urllib3",
            "requests: a generator passed as data is sent in chunks; leave Content-Length out.",
        ),
        Advice(
            "client", "^node|axios|undici", "Node: if the headers of a stream have Content-Length, set no other framing field."
        ),
    ),
    ends=True,
)


_BOTH = (
    "Both fields together come from programs that set Content-Length by hand on a chunked message, and from proxies and gateways "
    "that copy Transfer-Encoding or Content-Length from the message that they received: Transfer-Encoding belongs to one "
    "connection and must not be copied."
)
_TWO_LENGTHS = (
    "Two lengths come from programs that set Content-Length by hand although the library adds its own, and from filters that "
    "change the body (compression, inserted text) and add a field instead of replacing it."
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each message whose framing fields contradict each other."""
    head = pl.format("its head: {}", "excerpt")
    both = pl.col("excerpt").str.contains("(?i)transfer-encoding")
    texts = (
        pl.when(both)
        .then(pl.lit("In RFC 9112 Transfer-Encoding takes precedence."))
        .otherwise(pl.lit("RFC 9112 calls different lengths invalid."))
        .alias("valid"),
        pl.when(both).then(pl.lit(_BOTH)).otherwise(pl.lit(_TWO_LENGTHS)).alias("origin"),
    )
    return candidates_of_fault(faults, "conflicting-framing", message_begins(), head, pl.col("excerpt"), *texts)
