"""Rules about where a message ends, RFC 9112 section 6."""
