"""Rules about message framing, which determines where a message ends (RFC 9112 section 6)."""
