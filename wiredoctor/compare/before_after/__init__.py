"""Compare a capture made before a change with one made after it."""
