"""What the core asks of plain Python: fragments that wait, SACK blocks for graphs, and the names of what headers announce."""
