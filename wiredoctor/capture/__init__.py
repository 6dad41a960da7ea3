"""Where packets come from: a capture file, whatever its format, becomes epochs of packet records."""

from __future__ import annotations

from wiredoctor.capture.capture import EPOCH, Capture
from wiredoctor.capture.model import CaptureError, Interface, Records
from wiredoctor.capture.opening import open_capture, open_merged

__all__ = ["EPOCH", "Capture", "CaptureError", "Interface", "Records", "open_capture", "open_merged"]
