"""Rules about needless waits."""
