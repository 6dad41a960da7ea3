"""Read a capture: records of files, their order, and headers up to the TCP segment."""
