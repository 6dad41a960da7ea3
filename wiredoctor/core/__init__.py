"""The core: reads a capture packet by packet and writes event tables."""
