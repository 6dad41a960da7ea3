"""Name link types (LINKTYPE_ values, tcpdump.org/linktypes.html), and list the ones that Wireshark knows."""

from __future__ import annotations

ETHERNET, NULL, LOOP, RAW, LINUX_SLL, LINUX_SLL2 = 1, 0, 108, 101, 113, 276

_NAMES = {
    0: "NULL",
    1: "ETHERNET",
    6: "IEEE802_5",
    7: "ARCNET_BSD",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    12: "RAW",
    14: "RAW",
    50: "PPP_HDLC",
    51: "PPP_ETHER",
    100: "ATM_RFC1483",
    101: "RAW",
    104: "C_HDLC",
    105: "IEEE802_11",
    107: "FRELAY",
    108: "LOOP",
    113: "LINUX_SLL",
    114: "LTALK",
    117: "PFLOG",
    119: "IEEE802_11_PRISM",
    122: "IP_OVER_FC",
    123: "SUNATM",
    127: "IEEE802_11_RADIOTAP",
    129: "ARCNET_LINUX",
    137: "JUNIPER_MLPPP",
    138: "APPLE_IP_OVER_IEEE1394",
    143: "DOCSIS",
    144: "LINUX_IRDA",
    163: "IEEE802_11_AVS",
    165: "BACNET_MS_TP",
    166: "PPP_PPPD",
    169: "GPRS_LLC",
    177: "LINUX_LAPD",
    178: "JUNIPER_ETHER",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    192: "PPI",
    195: "IEEE802_15_4_WITHFCS",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    204: "PPP_WITH_DIR",
    220: "USB_LINUX_MMAPPED",
    224: "FC_2",
    226: "IPNET",
    227: "CAN_SOCKETCAN",
    228: "IPV4",
    229: "IPV6",
    230: "IEEE802_15_4_NOFCS",
    231: "DBUS",
    239: "NFLOG",
    240: "NETANALYZER",
    242: "IPOIB",
    243: "MPEG_2_TS",
    248: "SCTP",
    249: "USBPCAP",
    251: "BLUETOOTH_LE_LL",
    253: "NETLINK",
    258: "PKTAP",
    264: "ISO_14443",
    271: "VSOCK",
    272: "NORDIC_BLE",
    274: "ETHERNET_MPACKET",
    276: "LINUX_SLL2",
}

_KNOWN = (
    (0, 3), (6, 14), (16, 16), (18, 19), (32, 32), (50, 51), (99, 101), (104, 109), (112, 114), (117, 119), (121, 123),
    (127, 131), (133, 133), (135, 144), (147, 163), (165, 165), (167, 167), (169, 173), (177, 181), (183, 184), (186, 190),
    (192, 192), (195, 197), (199, 204), (209, 215), (220, 220), (224, 231), (235, 237), (239, 243), (245, 245), (248, 256),
    (258, 260), (264, 264), (266, 266), (268, 268), (270, 276), (279, 280), (283, 283), (287, 288), (290, 290), (292, 295),
)  # fmt: skip
"""The ranges of link types for which Wireshark 4.0 has a name, found by testing each one."""


def link_type_name(link_type: int) -> str:
    """Return the name of a link type without LINKTYPE_; its number as text if it has no name here."""
    return _NAMES.get(link_type, str(link_type))


def is_known(link_type: int) -> bool:
    """Return whether Wireshark 4.0 knows this link type. Wireshark finds no packets in a pcap file with another link type."""
    return any(first <= link_type <= last for first, last in _KNOWN)
