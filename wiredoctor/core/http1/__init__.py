"""Read HTTP/1: bytes in order, heads, bodies, pairs of requests and responses, and how they end."""
