"""Parse the text of protocols, and structures that few packets contain. There is one folder per protocol.

The core calls these parsers. They keep no state per packet.
"""
