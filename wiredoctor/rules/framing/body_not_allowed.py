"""A response has a body that it must not have.

What it means
    204 No Content, 304 Not Modified, the interim responses (1xx) and every answer to HEAD end with their head, whatever their
    fields say (RFC 9112 section 6.3, rule 1). Here bytes follow that do not begin another response. Announced: none follow, but
    the head of a 204 or 1xx says that they do.

Why it hurts
    The client has done with the response. The bytes lie in front of the next one and are read as its beginning: the next request
    on this connection fails, or gets another's answer. Clients that notice close the connection. A body that is only announced
    makes gateways refuse the response: Varnish answers 503 in its place, nghttpx 502. Others pass it on.

How it is proved
    The status (or the request: HEAD), the end of the head, and the bytes behind it, which are no status line. Announced: a 204 or
    1xx with Transfer-Encoding, or with a Content-Length other than 0.

What it is not
    Content-Length in the answer to HEAD or in a 304, which says how long the body would be. Another response that follows. What
    comes behind 101 Switching Protocols.

What to do
    Let the handler of HEAD, 204 and 304 write nothing behind the head; frameworks do so unless a handler writes by itself. Let a
    204 say neither Content-Length nor Transfer-Encoding.

References
    RFC 9112 sections 6.1 and 6.3. RFC 9110 sections 8.6, 9.3.2, 15.2, 15.3.5 and 15.4.5.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.faulty import candidates, quoted

RULE = Rule(
    severity={None: "error", "announced": "warning"},
    title={
        None: "A body follows {of}, which must not have one",
        "announced": "{of_the} announces a body, which it cannot have",
    },
    message={
        None: "{of_the} ends with its head, whatever its fields say; yet bytes of the server follow that do not begin another "
        "response. The client has done with it: these bytes stand in front of its next response and spoil that, so that the next "
        "request on this connection fails.",
        "announced": "{of_the} ends with its head, and yet this says {fields}, which a server must not send with it. Most "
        "clients go on. Some gateways refuse such a response and answer with an error of their own: Varnish with 503, nghttpx "
        "with 502.",
    },
    remedy={
        None: "Let the server write nothing behind the head of {of}. Such bodies come from handlers that answer HEAD as they "
        "answer GET, from error pages and JSON that a framework or filter adds to each response, from the last chunk (0) of an "
        "empty chunked body, and from proxies that pass on the body of an application.",
        "announced": "Let the server send {of} without Content-Length and Transfer-Encoding: where the handler sets them itself "
        "(Node's writeHead and CGI programs send what they are told), take them out; where a filter or framework adds them to "
        "each response, exempt this status.",
    },
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 8.6, Content-Length", "https://www.rfc-editor.org/rfc/rfc9110.html#section-8.6"),
        Reference("RFC 9112 section 6.1, Transfer-Encoding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.1"),
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
    """A row per response that has, or announces, a body and must not."""
    c = pl.col
    bodiless = (c("status") < 200) | c("status").is_in([204, 304])
    of = pl.when(bodiless).then(pl.format("a {}", "status")).otherwise(pl.format("the answer to HEAD ({})", "status"))
    of_the = pl.when(bodiless).then(pl.format("A {}", "status")).otherwise(pl.format("The answer to HEAD ({})", "status"))
    head = pl.format("the response, {}: it ends with its head", "status")
    proof = pl.format("behind the head: {}, which begins no response", quoted())
    said = pl.format("its head says {}", quoted())
    texts = (of.alias("of"), of_the.alias("of_the"), c("shown").alias("fields"))
    sent = faults.filter(c("fault") == "body-not-allowed")
    # of a body that was sent as it was announced only that is told
    announced = faults.filter(c("fault") == "body-announced").join(sent, on=["connection", "exchange", "frame"], how="anti")
    return pl.concat(
        [
            candidates(sent, pl.lit(None, pl.String), head, proof, *texts),
            candidates(announced, pl.lit("announced"), head, said, *texts),
        ]
    )
