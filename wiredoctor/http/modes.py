"""What a reader is at, and which side it reads."""

from __future__ import annotations

HEAD, BODY, CHUNK_SIZE, CHUNK_END, CLOSE, SEEK, OFF, TLS = range(8)
"""What the next bytes are: a head; body up to `until`; a chunk-size line or a trailer line; the CRLF behind a chunk;
body up to the close; anything until something looks like a head again; no HTTP any more; a TLS
handshake, of which the hello is read."""

REQUEST, RESPONSE = 0, 1

NO_END = 1 << 61
"""Offset behind a head or a message that is not at its end."""
