"""Compare captures made on both sides of a proxy."""
