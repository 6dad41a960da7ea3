"""Choose the reader for the format of a capture file."""

from __future__ import annotations

from typing import Final

from wiredoctor.capture.formats import detect_format
from wiredoctor.capture.model import CaptureError
from wiredoctor.core.capture.records import Records, Source

HEAD: Final = 64


def open_records(source: Source, name: str) -> Records:
    """Return the reader of a capture file's records. Raise CaptureError if its format is unknown; the message contains `name`."""
    head = source.read(0, HEAD)
    file_format = detect_format(head)
    if file_format == "pcapng":
        from wiredoctor.core.capture.pcapng import PcapngRecords

        return PcapngRecords(source)
    if file_format == "pcap":
        from wiredoctor.core.capture.pcap import PcapRecords

        return PcapRecords(source, name)
    if file_format == "snoop":
        from wiredoctor.core.capture.pcap import SnoopRecords

        return SnoopRecords(source, name)
    from wiredoctor.capture.spool import not_a_capture

    raise CaptureError(not_a_capture(name, head))
