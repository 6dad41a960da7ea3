"""Say that a ClientHello takes more than one segment, which some servers and devices on the path cannot read."""

from __future__ import annotations

from wiredoctor.findings import Threshold

ONE_SEGMENT = Threshold(
    "1460 bytes",
    "a larger ClientHello takes more than one segment in most networks; some servers and devices on the path cannot read it then",
)


def large_hello_text(size: int) -> str:
    """Return the sentence about a ClientHello of `size` bytes; "" if it fits into a segment."""
    if size <= ONE_SEGMENT.value:
        return ""
    return (
        f" The ClientHello has {size:,} bytes, more than one segment: a server or a device on the path may not accept that. Try "
        "it without the large (post-quantum) key share."
    )
