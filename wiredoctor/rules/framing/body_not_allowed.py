"""A response has a body that it must not have.

What it means
    204 No Content, 304 Not Modified, the interim responses (1xx) and every answer to HEAD end with their head, whatever their
    fields say (RFC 9112 section 6.3, rule 1). Here bytes follow that do not begin another response.

Why it hurts
    The client has done with the response. The bytes lie in front of the next one and are read as its beginning: the next request
    on this connection fails, or gets another's answer. Clients that notice close the connection.

How it is proved
    The status (or the request: HEAD), the end of the head, and the bytes behind it, which are no status line.

What it is not
    Content-Length in the answer to HEAD or in a 304, which says how long the body would be. Another response that follows. What
    comes behind 101 Switching Protocols.

What to do
    Let the handler of HEAD, 204 and 304 write nothing behind the head; frameworks do so unless a handler writes by itself.

References
    RFC 9112 section 6.3. RFC 9110 sections 9.3.2, 15.2, 15.3.5 and 15.4.5.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.faulty import faulty, quoted

RULE = Rule(
    severity="error",
    title="A body follows {of}, which must not have one",
    message="{of_the} ends with its head, whatever its fields say; yet bytes of the server follow that do not begin another "
    "response. The client has done with it: these bytes stand in front of its next response and spoil that, so that the next "
    "request on this connection fails.",
    remedy="Let the server write nothing behind the head of {of}. Such bodies come from handlers that answer HEAD as they answer "
    "GET, from error pages and JSON that a framework or filter adds to each response, from the last chunk (0) of an empty "
    "chunked body, and from proxies that pass on the body of an application.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9110 section 9.3.2, HEAD", "https://www.rfc-editor.org/rfc/rfc9110.html#section-9.3.2"),
        Reference("RFC 9110 section 15.3.5, 204 No Content", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.3.5"),
        Reference("RFC 9110 section 15.4.5, 304 Not Modified", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.4.5"),
    ),
    advice=(
        Advice("server", "Python/", "Python's http.server: do_HEAD must end after end_headers()."),
        Advice("server", "PHP", "PHP: exit after the head of a 204 or 304, before anything is printed."),
    ),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """A row per response that has a body and must not."""
    c = pl.col
    bodiless = (c("status") < 200) | c("status").is_in([204, 304])
    of = pl.when(bodiless).then(pl.format("a {}", "status")).otherwise(pl.format("the answer to HEAD ({})", "status"))
    of_the = pl.when(bodiless).then(pl.format("A {}", "status")).otherwise(pl.format("The answer to HEAD ({})", "status"))
    head = pl.format("the response, {}: it ends with its head", "status")
    proof = pl.format("behind the head: {}, which begins no response", quoted())
    return faulty(faults, "body-not-allowed", head, proof, of.alias("of"), of_the.alias("of_the"))
