"""Rules about message framing: the end of a message, RFC 9112 section 6."""
