"""A recording made before a change against one made after it."""
