"""Rules about when connections begin and end."""
