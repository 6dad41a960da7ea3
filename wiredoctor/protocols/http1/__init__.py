"""Parse the text of HTTP/1: header sections, fields, framing (RFC 9112), chunks, event streams."""
