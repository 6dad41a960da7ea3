"""How long a body is: the steps of RFC 9112 section 6.3, in their order and with their numbers."""

from __future__ import annotations

from wiredoctor.http.fields import Fields

NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE, TUNNEL = 0, 1, 2, 3, 4
"""Indices of tables.FRAMINGS."""

BROKEN = 5
"""The framing is contradictory or unreadable: where the message ends cannot be known."""


def response_framing(status: int, method: str | None, fields: Fields) -> int:
    """Framing of a response; `method` is that of its request, None where that was not captured."""
    # 1. HEAD, 1xx, 204, 304: no body whatever the fields say
    if method == "HEAD" or 100 <= status < 200 or status in (204, 304):
        return NO_BODY
    # 2. 2xx to CONNECT: a tunnel
    if method == "CONNECT" and 200 <= status < 300:
        return TUNNEL
    return _by_fields(fields, UNTIL_CLOSE, UNTIL_CLOSE)


def request_framing(fields: Fields) -> int:
    """Framing of a request; one without Content-Length and Transfer-Encoding has no body (step 7)."""
    return _by_fields(fields, NO_BODY, BROKEN)


def _by_fields(fields: Fields, silent: int, unfinished: int) -> int:
    # 3. Transfer-Encoding overrides Content-Length
    if fields.transfer_codings:
        # 4. chunked is final, or (in a response) the body runs to the close
        return CHUNKED if fields.transfer_codings[-1] == "chunked" else unfinished
    # 5. an invalid Content-Length cannot be recovered from
    if fields.bad_content_length:
        return BROKEN
    # 6. a valid one
    if fields.content_length is not None:
        return LENGTH
    # 7. and 8.
    return silent


def announces_close(version: str, response: Fields) -> bool:
    """Whether a response says by itself that the connection will close behind it, RFC 9112 section 9.3."""
    return response.connection_close or (version < "HTTP/1.1" and not response.connection_keep_alive)


def is_persistent(request_version: str, request: Fields | None, response_version: str, response: Fields) -> bool:
    """RFC 9112 section 9.3, as both sides see it; an unseen request is taken for one that asks for nothing special."""
    if response.connection_close or (request is not None and request.connection_close):
        return False
    old = response_version < "HTTP/1.1" or (request is not None and request_version < "HTTP/1.1")
    if not old:
        return True
    return response.connection_keep_alive and (request is None or request.connection_keep_alive)
