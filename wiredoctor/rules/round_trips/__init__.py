"""Rules about needless round trips."""
