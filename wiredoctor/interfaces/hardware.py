"""What captures on a kind of hardware look like: ARPHRD_ numbers of Linux, as libpcap turns them into link types."""

from __future__ import annotations

COOKED = "LINUX_SLL"
"""What libpcap makes of all that it does not know, and of the interface `any`: a header of its own in front of each packet."""

_RAW = (15, 256, 257, 258, 259, 264, 518, 519, 768, 776, 0xFFFE)
"""DLCI, SLIP and its kin, raw HDLC, raw IP, IP in IP, SIT, and what has no header at all (tun, WireGuard)."""

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
    """The name of the LINKTYPE that libpcap captures with."""
    return _NAMES.get(hardware, COOKED)
