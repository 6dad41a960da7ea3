"""TLS: what the hello messages show before encryption begins."""
