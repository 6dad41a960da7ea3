"""What the report calls the encapsulations: a bit each, so that a packet can be in several."""

from __future__ import annotations

NAMES = (
    "PPPoE", "PPP", "MPLS", "802.1ah", "802.1BR", "VN-tag", "FabricPath", "TRILL", "HSR", "NSH", "MACsec", "IP in IP", "AH",
    "GRE", "ERSPAN", "Ethernet in IP", "VXLAN", "GENEVE", "GTP-U", "Teredo", "L2TP", "LISP", "TZSP", "CAPWAP", "AYIYA",
)  # fmt: skip

BIT = {name: 1 << number for number, name in enumerate(NAMES)}


def names_of(bits: int) -> list[str]:
    """The names of these bits."""
    return [name for name, bit in BIT.items() if bits & bit]
