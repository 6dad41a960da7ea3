"""Opens the packet records of a capture, for the first pass over it and for every later one."""

from __future__ import annotations

from wiredoctor.capture import Capture
from wiredoctor.core.formats import open_records
from wiredoctor.core.records import Records, Source


def open_capture_records(capture: Capture) -> Records:
    """Return the records of an open capture, from its first packet on. Raise CaptureError if it is no capture file."""
    return open_records(Source(capture.descriptor, 0), capture.file)
