"""Rules about waiting for nothing."""
