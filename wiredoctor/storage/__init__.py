"""Keep rows in memory and on disk, and write files completely or not at all."""
