"""Open capture files: single ones, compressed ones, and several that are read as one."""

from __future__ import annotations

from wiredoctor.capture.budget import Budget
from wiredoctor.capture.clock_steps import ClockSteps
from wiredoctor.capture.find import Input, find_inputs
from wiredoctor.capture.model import CaptureError, Interface, NoRoom, TooManyFiles

__all__ = ["Budget", "CaptureError", "ClockSteps", "Input", "Interface", "NoRoom", "TooManyFiles", "find_inputs"]
