"""Where packets come from: a capture file, whatever its format, becomes epochs of packet records."""

from __future__ import annotations

from wiredoctor.capture.capture import EPOCH, Capture
from wiredoctor.capture.model import CaptureError, Interface, Records
from wiredoctor.capture.opening import open_capture, open_merged
from wiredoctor.capture.sets import Input, inputs

__all__ = ["EPOCH", "Capture", "CaptureError", "Input", "Interface", "Records", "inputs", "open_capture", "open_merged"]
