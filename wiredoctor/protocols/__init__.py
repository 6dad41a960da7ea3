"""Parsers of text and of rare structures, one folder per protocol. The core calls these parsers.

They keep no state per packet.
"""
