"""Two recordings of the same traffic, made at two points of its path."""
