"""Rules about round trips that buy nothing."""
