"""Compare two captures of the same traffic made at two points of its path."""
