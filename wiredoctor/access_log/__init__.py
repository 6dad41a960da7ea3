"""Read the lines of access logs, and find the exchange in a capture that each line describes."""
