"""List the heads and chunk size lines that RFC 9110 and RFC 9112 forbid: who refuses each of them, and with which words.

Each form was sent to real clients in response to a request: curl 7.88, Node 20 (http and fetch), Go 1.19, and Python 3.11
(http.client, requests 2.34, httpx 0.28, aiohttp 3.14). The others that are named were tried, too: Java 17 (HttpClient) and
HttpURLConnection. Clients that are not named read the response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from wiredoctor.tables import SERVER


class OddForm(NamedTuple):
    """A form that the RFCs forbid, and that some recipients refuse.

    `kind`: the kind of finding. `what`: completes the sentence of that kind. `clients`: who refuses it in a response, with the
    messages. `servers`: what servers do with it in a request.
    """

    kind: str
    what: str
    clients: str
    servers: str = ""


_DROP_NAME = "nginx drops such a field (ignore_invalid_headers); Node, haproxy and Apache httpd answer 400."
_BAD_NAME = "Node (HPE_INVALID_HEADER_TOKEN, Invalid header token), httpx (illegal header line), aiohttp (Invalid header token)"
_JAVA = 'Java (Invalid header name "...")'
_LOSE = "http.client and requests lose all fields after it and may wait until their timeout."
_STATUS = "aiohttp (Bad status line)"

FORMS: Mapping[str, OddForm] = {
    "bare-lf": OddForm(
        "bare-lf",
        "",
        "Node (HPE_CR_EXPECTED, Missing expected CR after response line) and fetch (HPE_INVALID_HEADER_TOKEN, Invalid header "
        "value char) refuse such a response.",
    ),
    "space-before-colon": OddForm(
        "space-before-colon",
        "",
        f"Node (HPE_INVALID_HEADER_TOKEN, Invalid header token), httpx (illegal header line), aiohttp and {_JAVA} refuse such a "
        f"response; {_LOSE}",
        "Node, haproxy and Apache httpd answer 400; nginx drops the field (ignore_invalid_headers).",
    ),
    "folding": OddForm(
        "folding", "", "Node (HPE_INVALID_HEADER_TOKEN, Unexpected whitespace after header value) refuses such a response."
    ),
    "control-byte": OddForm(
        "control-byte",
        "",
        'Node and fetch (HPE_INVALID_HEADER_TOKEN, Invalid header value char) and Java (Invalid header value "...") refuse '
        "such a response. After a NUL, curl (Nul byte in header), httpx and aiohttp refuse it, too; after a CR without LF, "
        "httpx and aiohttp.",
    ),
    "content-length": OddForm(
        "content-length",
        "",
        "Node and fetch (HPE_INVALID_CONTENT_LENGTH, Invalid character in Content-Length), Go (bad Content-Length), httpx (bad "
        "Content-Length) and aiohttp (Invalid character in Content-Length) refuse such a response.",
    ),
    "no-colon": OddForm(
        "no-colon",
        "",
        "curl (Header without colon), Node and fetch (HPE_INVALID_HEADER_TOKEN, Invalid header token), Go (malformed MIME "
        "header: missing colon), httpx (illegal header line) and aiohttp (Invalid header token) refuse such a response; " + _LOSE,
    ),
    "empty-name": OddForm("field-name", "it is empty", f"{_BAD_NAME} and haproxy refuse such a response.", _DROP_NAME),
    "space-in-name": OddForm(
        "field-name", "it contains white space", f"{_BAD_NAME} and {_JAVA} refuse such a response; {_LOSE}", _DROP_NAME
    ),
    "eight-bit-name": OddForm(
        "field-name",
        "it contains bytes above 127",
        f"{_BAD_NAME}, fetch and {_JAVA} refuse such a response; {_LOSE}",
        _DROP_NAME,
    ),
    "name-character": OddForm(
        "field-name",
        "it contains a character that names cannot have, such as a parenthesis, a quote or a slash",
        f"{_BAD_NAME}, fetch and {_JAVA} refuse such a response.",
        _DROP_NAME,
    ),
    "length-twice": OddForm(
        "repeated-length",
        "two fields have the same length",
        "Node and fetch (HPE_UNEXPECTED_CONTENT_LENGTH, Duplicate Content-Length) and aiohttp (Duplicate Content-Length) "
        "refuse such a response.",
        "nginx (client sent duplicate header line) and Node answer 400.",
    ),
    "length-list": OddForm(
        "repeated-length",
        "one field has a list of equal lengths",
        "Node and fetch (HPE_INVALID_CONTENT_LENGTH, Invalid character in Content-Length), Go (bad Content-Length), aiohttp "
        "and Java refuse such a response; http.client, requests and HttpURLConnection wait until their timeout.",
        "nginx (client sent invalid Content-Length header) and Node answer 400.",
    ),
    "identity-coding": OddForm(
        "identity",
        "",
        "Node and fetch (Content-Length can't be present with Transfer-Encoding), Go (unsupported transfer encoding), httpx "
        "(Only Transfer-Encoding: chunked is supported), aiohttp and haproxy refuse such a response; curl ignores the length and "
        "waits for the close, until its timeout.",
        "Node answers 400, nginx 501 (unknown Transfer-Encoding).",
    ),
    "status-digits": OddForm(
        "status-line",
        "the status is not a number of three digits from 100 to 999",
        "curl (Unsupported response code in HTTP response), Node (HPE_INVALID_STATUS), fetch, Go (malformed HTTP status code), "
        f"http.client and requests (BadStatusLine), httpx (illegal status line), {_STATUS} and haproxy refuse such a response.",
    ),
    "status-spacing": OddForm(
        "status-line",
        "its parts are not separated by single spaces",
        f"Node (HPE_INVALID_STATUS or HPE_INVALID_VERSION), fetch, httpx (illegal status line) and {_STATUS} refuse such a "
        f"response; "
        "after a tab, curl (Unsupported HTTP version in response) and Go (malformed HTTP response), too.",
    ),
    "status-case": OddForm(
        "status-line",
        "HTTP is not in upper case",
        "Node (HPE_INVALID_CONSTANT, Expected HTTP/), fetch, Go (malformed HTTP version), http.client and requests "
        "(BadStatusLine), "
        f"httpx (illegal status line), {_STATUS} and Java (Invalid status line) refuse such a response.",
    ),
    "minor-version": OddForm(
        "status-line",
        "there is no such version of HTTP",
        "curl (Unsupported HTTP version in response), Node and fetch (HPE_INVALID_VERSION, Invalid HTTP version) and aiohttp "
        "(Invalid HTTP version) refuse such a response.",
    ),
    "major-version": OddForm(
        "status-line",
        "that version of HTTP has no status line",
        "http.client and requests (UnknownProtocol) and Java (Invalid status line) refuse such a response.",
    ),
    "empty-line": OddForm(
        "empty-line",
        "",
        'curl (Received HTTP/0.9 when not allowed), Go (malformed HTTP response ""), http.client and requests '
        "(BadStatusLine), httpx (no response line received) and Java (Invalid status line) refuse such a response.",
    ),
    "chunk-trailing-space": OddForm(
        "size-line",
        "has white space after the size",
        "Node and fetch (HPE_INVALID_CHUNK_SIZE, Invalid character in chunk size) refuse such a response.",
        "Node answers 400.",
    ),
    "chunk-leading-space": OddForm(
        "size-line",
        "has white space before the size",
        "curl (Illegal or missing hexadecimal sequence in chunked-encoding), Node and fetch (HPE_INVALID_CHUNK_SIZE), Go "
        "(invalid byte in chunk length), httpx (illegal chunk header), aiohttp and Java refuse such a response.",
        "Node and Go answer 400.",
    ),
    "chunk-empty-extension": OddForm(
        "size-line",
        "has a semicolon without a chunk extension",
        "Node and fetch (HPE_STRICT, Invalid character in chunk extensions) and aiohttp refuse such a response.",
        "Node answers 400.",
    ),
    "chunk-bare-lf": OddForm(
        "size-line",
        "ends with LF alone",
        "Node (HPE_CR_EXPECTED, Missing expected CR after chunk size), fetch, Go (malformed chunked encoding), http.client, "
        "requests, aiohttp (Expected LF after chunk size) and Java refuse such a response.",
        "Node and Go answer 400.",
    ),
    "trailer-no-colon": OddForm(
        "trailer",
        "has no colon",
        "curl (Failed reading the chunked-encoded stream), Node and fetch (HPE_INVALID_HEADER_TOKEN, Invalid header token), Go "
        "(malformed MIME header: missing colon), httpx (illegal header line), aiohttp (Invalid header token) and "
        "HttpURLConnection (Malformed tailer) refuse such a response.",
        "Node, Go and haproxy answer 400.",
    ),
    "trailer-name": OddForm(
        "trailer", "has a name that is not a token", f"{_BAD_NAME} refuse such a response.", "Node and haproxy answer 400."
    ),
}
"""The forms by the name of their fault (table faults). Detection: protocols/http1/fields.py, head.py and fault_words.py."""

_RULES = {"identity": "conflicting-framing", "size-line": "invalid-chunk", "trailer": "invalid-chunk"}
"""The rules that report a kind of FORMS, if not malformed-head."""
REFUSALS = tuple(
    (f"{_RULES.get(kind, 'malformed-head')}/{kind}", "pair") for kind in dict.fromkeys(form.kind for form in FORMS.values())
)
"""Entries for `explained_by`: a client that refuses the responses of a server closes its connections."""


def refusal_words(fault: str, role: int) -> str:
    """Return a sentence, after a space, about who refuses a message with this fault; "" if nothing is known."""
    form = FORMS.get(fault)
    words = "" if form is None else form.clients if role == SERVER else form.servers
    return f" {words}" if words else ""
