"""Parse the TLS hello messages, which are sent before encryption begins."""
