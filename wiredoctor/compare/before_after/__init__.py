"""Compare two captures: one made before a change, and one made after the change."""
