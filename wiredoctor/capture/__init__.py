"""Where packets come from: a capture file, whatever its format, becomes epochs of packet records."""

from __future__ import annotations

from wiredoctor.capture.budget import Budget
from wiredoctor.capture.capture import EPOCH, Capture
from wiredoctor.capture.model import CaptureError, Interface, NoRoom, Records, TooManyFiles, longest_cut
from wiredoctor.capture.opening import open_capture, open_descriptor, open_merged
from wiredoctor.capture.sets import Input, inputs
from wiredoctor.capture.steps import ClockSteps

__all__ = [
    "EPOCH",
    "Budget",
    "Capture",
    "CaptureError",
    "ClockSteps",
    "Input",
    "Interface",
    "NoRoom",
    "Records",
    "TooManyFiles",
    "inputs",
    "longest_cut",
    "open_capture",
    "open_descriptor",
    "open_merged",
]
