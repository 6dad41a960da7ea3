"""What is rare in front of TCP, packet by packet: fragments, packets quoted in ICMP errors, uncommon headers."""
