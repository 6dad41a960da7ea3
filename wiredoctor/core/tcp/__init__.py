"""Analyze TCP: connections, which bytes are new, ACKs, windows, retransmissions, stalls, closes, and copies of packets."""
