"""Rules about the capture itself, so that none of its faults is blamed on a server."""
