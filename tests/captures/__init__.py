"""The captures of this project against their papers."""
