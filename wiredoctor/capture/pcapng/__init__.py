"""Blocks of pcapng (draft-ietf-opsawg-pcapng): which are read, and how they are written."""
