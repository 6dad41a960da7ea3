"""HTTP/1 as text: message heads, header fields, framing (RFC 9112), chunks, event streams."""
