"""Ladder diagrams of a finding or a connection: which packets, what they say, and how they are drawn."""
