"""Determine the length of a body by the steps of RFC 9112 section 6.3. The comments give the numbers of these steps."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.http1.heads import BAD_LENGTH, CHUNKED_LAST, NO_LENGTH, OTHER_LAST, Head
from wiredoctor.core.http1.message import BROKEN, CHUNKED, LENGTH, NO_BODY, TUNNEL, UNTIL_CLOSE
from wiredoctor.protocols.http1 import framing

CODES: Final = (NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE, TUNNEL, BROKEN)
assert CODES == (framing.NO_BODY, framing.LENGTH, framing.CHUNKED, framing.UNTIL_CLOSE, framing.TUNNEL, framing.BROKEN)


RAW_STREAMS: Final = ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream")
"""Docker's and Podman's media types for exec and attach: after the header section, both sides send raw process data."""


def response_framing(head: Head, length: i64, method: str) -> i64:
    """Return the framing of a response by RFC 9112 section 6.3.

    `length`: the value of Content-Length, NO_LENGTH or BAD_LENGTH. `method` is empty if the request was not captured.
    """
    # 1. HEAD, 1xx, 204, 304: no body, whatever the fields are
    status = head.status
    if method == "HEAD" or 100 <= status < 200 or status == 204 or status == 304:
        return NO_BODY
    # 2. 2xx to CONNECT: a tunnel
    if method == "CONNECT" and 200 <= status < 300:
        return TUNNEL
    # 3. Transfer-Encoding overrides Content-Length; 4. chunked is final, or the body runs to the close
    if head.coding == CHUNKED_LAST:
        return CHUNKED
    if head.coding == OTHER_LAST:
        return UNTIL_CLOSE
    # 5. an invalid Content-Length: the end of the body is unknown
    if length == BAD_LENGTH:
        return BROKEN
    # 6. a valid Content-Length
    if length != NO_LENGTH:
        return LENGTH
    # 8. neither field: the body ends at the close; after a POST to Docker's exec or attach, the client sends data too
    if status == 200 and method in ("POST", "") and head.fields.content_type in RAW_STREAMS:
        return TUNNEL
    return UNTIL_CLOSE


def request_framing(head: Head, length: i64) -> i64:
    """Return the framing of a request by RFC 9112 section 6.3.

    `length`: the value of Content-Length, NO_LENGTH or BAD_LENGTH.
    """
    # 3. and 4. chunked must be the final coding: otherwise the server cannot determine the end
    if head.coding == CHUNKED_LAST:
        return CHUNKED
    # 5. an invalid Content-Length
    if head.coding == OTHER_LAST or length == BAD_LENGTH:
        return BROKEN
    # 6. a valid Content-Length
    if length != NO_LENGTH:
        return LENGTH
    # 7. neither field: no body
    return NO_BODY
