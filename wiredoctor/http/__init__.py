"""The text of HTTP/1: heads, header fields, framing (RFC 9112), event streams; and of TLS what is not encrypted."""
