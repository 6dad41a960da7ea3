"""What each packet says: link, network and transport headers of packet records become rows of tables.PACKETS."""

from __future__ import annotations

from wiredoctor.decode.decoding import decode
from wiredoctor.decode.shares import Shares
from wiredoctor.decode.state import DecodeState, Oddity

__all__ = ["DecodeState", "Oddity", "Shares", "decode"]
