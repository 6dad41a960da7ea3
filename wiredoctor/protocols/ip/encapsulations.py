"""Name encapsulations, and the protocols of packets that are not analyzed, for reports."""

from __future__ import annotations

NAMES = (
    "PPPoE", "PPP", "MPLS", "802.1ah", "802.1BR", "VN-tag", "FabricPath", "TRILL", "HSR", "NSH", "MACsec", "IP in IP", "AH",
    "GRE", "ERSPAN", "Ethernet in IP", "VXLAN", "GENEVE", "GTP-U", "Teredo", "L2TP", "LISP", "TZSP", "CAPWAP", "AYIYA",
)  # fmt: skip
"""The names of encapsulations, one per bit, because a packet can be in several."""

BIT = {name: 1 << number for number, name in enumerate(NAMES)}


def names_of(bits: int) -> list[str]:
    """Return the names of the encapsulations that these bits stand for."""
    return [name for name, bit in BIT.items() if bits & bit]


def name_type(type_: int) -> str:
    """Return the name of an EtherType that does not lead to TCP."""
    return _TYPES.get(type_) or f"EtherType 0x{type_:04x}"


def name_link(link_type: int) -> str:
    """Return the name of a link type that is not supported."""
    if link_type < 0:
        return "record without a packet"
    name = _LINKS.get(link_type)
    return f"link type {link_type} ({name})" if name else f"link type {link_type}"


def name_protocol(protocol: int) -> str:
    """Return the name of an IP protocol that does not lead to TCP."""
    return _PROTOCOLS.get(protocol, f"IP protocol {protocol}")


_TYPES = {
    0x0806: "ARP",
    0x8035: "RARP",
    0x809B: "AppleTalk",
    0x80F3: "AppleTalk ARP",
    0x8137: "IPX",
    0x8808: "Ethernet flow control",
    0x8809: "LACP",
    0x8863: "PPPoE discovery",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
    0x88E5: "MACsec (encrypted)",
    0x88F7: "PTP",
    0x9000: "loopback test",
    0xFFFF: "not IP",
}

_LINKS = {
    3: "AX.25",
    8: "SLIP",
    105: "IEEE 802.11",
    140: "SS7 MTP2",
    143: "DOCSIS",
    147: "private use",
    148: "private use",
    149: "private use",
    165: "BACnet MS/TP",
    186: "USB",
    187: "Bluetooth",
    189: "USB",
    195: "IEEE 802.15.4",
    201: "Bluetooth",
    209: "I2C",
    215: "IEEE 802.15.4",
    220: "USB",
    227: "CAN",
    230: "IEEE 802.15.4",
    231: "D-Bus",
    247: "InfiniBand",
    248: "SCTP",
    249: "USB",
    251: "Bluetooth LE",
    252: "exported PDUs of Wireshark",
    253: "netlink",
    254: "Bluetooth",
    255: "Bluetooth",
    256: "Bluetooth LE",
    266: "USB",
    271: "vsock",
    272: "Bluetooth LE",
    283: "IEEE 802.15.4",
    288: "USB",
    293: "USB",
    294: "USB",
    295: "USB",
}

_PROTOCOLS = {
    1: "ICMP", 2: "IGMP", 17: "UDP", 33: "DCCP", 46: "RSVP", 50: "ESP (encrypted)", 58: "ICMPv6", 59: "IPv6 without TCP",
    88: "EIGRP", 89: "OSPF", 103: "PIM", 108: "IPComp (compressed)", 112: "VRRP", 115: "L2TP", 132: "SCTP", 136: "UDP-Lite",
}  # fmt: skip
