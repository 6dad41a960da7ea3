"""Describe damage to capture files of all formats, with the offset at which the damage was found."""

from __future__ import annotations

from wiredoctor import limits


def cut_header(number: int, offset: int, size: int, left: int) -> str:
    """Describe a file that ends inside the header of packet `number`."""
    return f"the file ends inside the header of packet {number} (offset {offset}: {size:,} bytes expected, {left:,} found)"


def cut_packet(number: int, offset: int, size: int, left: int) -> str:
    """Describe a file that ends inside packet `number`."""
    return f"the file ends inside packet {number} (offset {offset}: {size:,} bytes announced, {left:,} found)"


def too_long(number: int, offset: int, size: int) -> str:
    """Describe a record of packet `number` that announces more bytes than any packet can have."""
    return f"packet {number} announces {size:,} bytes, more than the maximum of {limits.PACKET.value:,} (offset {offset})"


def zeros(number: int, offset: int) -> str:
    """Describe a pcap file that contains only zeros from packet `number` on."""
    return f"the file contains only zeros from packet {number} on (offset {offset}): it was not written completely"


def snoop_cut_header(number: int, offset: int) -> str:
    """Describe a snoop file that ends inside the header of packet `number`."""
    return f"the file ends inside the header of packet {number} (offset {offset})"


def snoop_short_record(number: int, offset: int, record: int) -> str:
    """Describe a snoop record that is shorter than its packet."""
    return f"packet {number} is longer than its record of {record:,} bytes (offset {offset})"


def impossible_block(offset: int, length: int) -> str:
    """Describe a pcapng block that is shorter or longer than a block can be."""
    return f"a block with an impossible length of {length:,} bytes (offset {offset})"


def cut_block(offset: int, length: int, left: int) -> str:
    """Describe a file that ends inside a pcapng block."""
    return f"the file ends inside a block (offset {offset}: {length:,} bytes announced, {left:,} found)"


def cut_block_header(offset: int, size: int, left: int) -> str:
    """Describe a file that ends inside the type or length at the start of a pcapng block."""
    return f"the file ends inside the header of a block (offset {offset}: {size:,} bytes expected, {left:,} found)"


def unequal_lengths(offset: int, length: int, again: int) -> str:
    """Describe a pcapng block whose length fields at its start and end differ."""
    return f"a block whose two length fields differ: {length:,} and {again:,} bytes (offset {offset})"


def short_block(offset: int) -> str:
    """Describe a packet block that is shorter than its fixed part."""
    return f"a block too short for its type (offset {offset})"


def unknown_interface(offset: int, interface: int) -> str:
    """Describe a packet whose interface is not described in the packet's section."""
    return f"interface {interface} was never described (offset {offset})"


def too_long_in_block(offset: int, size: int) -> str:
    """Describe a packet block that announces more bytes than any packet can have."""
    return f"announces {size:,} bytes, more than the maximum of {limits.PACKET.value:,} (offset {offset})"


def longer_than_block(offset: int, size: int) -> str:
    """Describe a packet block that announces more packet bytes than it contains."""
    return f"announces {size:,} bytes, more than its block holds (offset {offset})"


def no_byte_order(offset: int) -> str:
    """Describe a section header without a byte-order magic."""
    return f"a section header without a byte-order magic (offset {offset})"


def bad_interface(offset: int) -> str:
    """Describe an interface description that is too short or has broken options."""
    return f"an interface description that cannot be read (offset {offset})"


def short_section(offset: int, size: int) -> str:
    """Describe a pcapng section header that is too short."""
    return f"a section header of {size:,} bytes (offset {offset})"


def unsupported_section(offset: int, major: int, minor: int) -> str:
    """Describe a section of an unsupported version of pcapng."""
    return f"a section of pcapng version {major}.{minor}, which is not supported (offset {offset})"


def bad_section_options(offset: int) -> str:
    """Describe a section header with options that reach beyond its end."""
    return f"a section header whose options reach beyond its end (offset {offset})"
