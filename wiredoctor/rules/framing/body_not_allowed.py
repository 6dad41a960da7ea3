"""A response has a body although its status, or the method of the request, forbids one.

What it means
    204 No Content, 304 Not Modified, the interim responses (1xx) and every response to HEAD end with their head, whatever
    their fields say (RFC 9112 section 6.3, rule 1). Here the head is followed by bytes that do not begin another response. Kind
    announced: no bytes follow, but the head of a 204 or 1xx announces a body. If the client accepted such a 101 and went on in
    the new protocol, the finding is a note.

Why it hurts
    The client has finished with the response. If the connection stays open, many clients read the bytes as the beginning of
    the next response, so the next request on this connection fails or gets the wrong response. Clients that notice the bytes
    in time discard them, or close the connection. After the last response on a connection, the bytes are only wasted. A body
    that is only announced makes some gateways reject the response (Varnish answers 503, nghttpx 502). Others forward it.

How it is proved
    The proof is the status (or the method HEAD), and bytes after the end of the head that are not a status line. Kind
    announced: a 204 or 1xx has Transfer-Encoding, or a Content-Length other than 0.

What it is not
    Content-Length in a response to HEAD or in a 304 is the length that the body would have, so it is allowed. Bytes that
    begin another response are not a fault: requests were pipelined, or a final response follows a 1xx. Bytes after 101
    Switching Protocols belong to another protocol. If the request or the response announces that the connection closes, the
    finding is a note.

What to do
    Have handlers write nothing after the head of a 204, a 304 or a response to HEAD. Frameworks ensure this unless a handler
    writes to the connection directly. Kind announced: send a 204 without Content-Length and Transfer-Encoding.

References
    RFC 9112 sections 6.1 and 6.3. RFC 9110 sections 8.6, 9.3.2, 15.2, 15.3.5 and 15.4.5.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import Facts, candidates, words_of_fault

_HARM = (
    "If the connection stays open, a client that does not discard these bytes takes them for the beginning of the next response, "
    "and the next request on this connection fails."
)
_ACCEPTED = " Here, the client accepted the response and sent data of the new protocol."
_WASTED = "The connection closes after this response, so the bytes are only wasted."

RULE = Rule(
    symptom="*unsolicited response*, an answer that belongs to another request",
    severity={None: "error", "announced": "warning"},
    title={
        None: "{of_the} is followed by a body, which it must not have",
        "announced": "{of_the} announces a body, which it cannot have",
    },
    message={
        None: "{of_the} ends with its head, whatever its fields say, but the server sent more bytes after the head, and these do "
        "not begin another response. {harm}",
        "announced": "{of_the} ends with its head, but the head says {fields}, which a server must not send with this status. "
        "Most clients ignore the fields. Some gateways reject such a response and answer with their own error: Varnish with "
        "503, nghttpx with 502.{accepted}",
    },
    remedy={
        None: "Have the server write nothing after the head of {of}. Such bodies come from handlers that answer HEAD like "
        "GET, from error pages and JSON that a framework or filter adds to each response, from the last chunk (0) of an "
        "empty chunked body, and from proxies that forward the body of an application.",
        "announced": "Have the server send {of} without Content-Length and Transfer-Encoding. If the handler sets them itself "
        "(Node's writeHead and CGI programs send them unchecked), remove them. If a filter or framework adds them to "
        "each response, exempt this status.",
    },
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
    """Return a row for each response that has or announces a forbidden body."""
    c = pl.col
    kind = pl.when(c("fault") != "body-not-allowed").then(pl.lit("announced"))
    closes = (c("announces_close") | c("request_connection_close")) & (c("status") >= 200)
    harmless = (closes & (c("fault") == "body-not-allowed")) | (c("fault") == "body-announced-accepted")
    severity = pl.when(harmless).then(pl.lit("note"))
    return candidates(faults, ["body-not-allowed", "body-announced", "body-announced-accepted"], kind=kind, severity=severity)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the body, or about the fields that announce it."""
    status = x.status or 0
    of = f"a {status}" if status < 200 or status in (204, 304) else f"the answer to HEAD ({status})"
    closes = status >= 200 and (x.announces_close or x.request_connection_close)
    proof = f'after the head: "{x.excerpt}", which is not the start of a response'
    accepted = _ACCEPTED if x.fault == "body-announced-accepted" else ""
    if x.fault != "body-not-allowed":
        proof = f'its head says "{x.excerpt}"'
    texts = {"of": of, "of_the": of[0].upper() + of[1:], "fields": x.excerpt, "harm": _WASTED if closes else _HARM}
    texts |= {"accepted": accepted}
    return texts | words_of_fault(x, proof, f"the response, {status}, which ends with its head")
