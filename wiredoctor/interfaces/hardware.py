"""Map hardware types of Linux (ARPHRD_) to link types, as libpcap does."""

from __future__ import annotations

COOKED = "LINUX_SLL"
"""The link type of unknown hardware and of the interface `any`: libpcap puts its own header before each packet."""

_RAW = (15, 256, 257, 258, 259, 264, 518, 519, 768, 776, 0xFFFE)
"""The ARPHRD_ numbers of hardware whose packets begin with IP.

They are DLCI, SLIP and its variants, raw HDLC, raw IP, IP in IP, SIT, and interfaces without a header (tun, WireGuard).
"""

_NAMES = {
    1: "ETHERNET",
    2: "EXP_ETHERNET",
    3: "AX25_KISS",
    4: "PRONET",
    5: "CHAOS",
    6: "IEEE802_5",
    7: "ARCNET_LINUX",
    23: "ETHERNET",
    24: "APPLE_IP_OVER_IEEE1394",
    280: "CAN_SOCKETCAN",
    513: "C_HDLC",
    772: "ETHERNET",
    773: "LTALK",
    774: "FDDI",
    783: "LINUX_IRDA",
    784: "FC_2",
    785: "FC_2",
    786: "FC_2",
    787: "FC_2",
    800: "IEEE802_5",
    801: "IEEE802_11",
    802: "IEEE802_11_PRISM",
    803: "IEEE802_11_RADIOTAP",
    804: "IEEE802_15_4_NOFCS",
    824: "NETLINK",
    826: "VSOCK",
    **dict.fromkeys(_RAW, "RAW"),
}


def link_type(hardware: int) -> str:
    """Return the name of the LINKTYPE with which libpcap captures on this hardware."""
    return _NAMES.get(hardware, COOKED)
