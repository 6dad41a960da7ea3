"""Rules about TLS handshakes."""
