"""Parsers of protocol text and of rare structures, a folder per protocol. The core calls them; they keep no state per packet."""
