"""Follow TLS handshakes, without keys."""
