"""Define the kinds of framing, and detect that a response announces a close (RFC 9112 sections 6.3 and 9.3)."""

from __future__ import annotations

from wiredoctor.protocols.http1.fields import Fields

NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE, TUNNEL = 0, 1, 2, 3, 4
"""The kinds of framing: indices of tables.FRAMINGS."""

BROKEN = 5
"""The framing is contradictory or unreadable, so the end of the message is unknown."""


def announces_close(version: str, response: Fields) -> bool:
    """Return whether a response with this version and these fields announces that the connection closes after it.

    See RFC 9112 section 9.3.
    """
    return response.connection_close or (version < "HTTP/1.1" and not response.connection_keep_alive)
