"""Which reader a capture file needs."""

from __future__ import annotations

from typing import Final

from wiredoctor.capture.formats import format_of
from wiredoctor.capture.model import CaptureError
from wiredoctor.core.records import Records, Source

HEAD: Final = 64


def open_records(source: Source, name: str) -> Records:
    """Return the records of a capture file. Raise CaptureError, which calls it `name`, if it is none."""
    head = source.read(0, HEAD)
    file_format = format_of(head)
    if file_format == "pcapng":
        from wiredoctor.core.pcapng import PcapngRecords

        return PcapngRecords(source)
    if file_format == "pcap":
        from wiredoctor.core.pcap import PcapRecords

        return PcapRecords(source, name)
    if file_format == "snoop":
        from wiredoctor.core.pcap import SnoopRecords

        return SnoopRecords(source, name)
    from wiredoctor.capture.spool import not_a_capture

    raise CaptureError(not_a_capture(name, head))
