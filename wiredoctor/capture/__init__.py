"""Open capture files: single ones, compressed ones, and several that are read as one."""

from __future__ import annotations

from wiredoctor.capture.budget import Budget
from wiredoctor.capture.model import CaptureError, Interface, NoRoom, TooManyFiles
from wiredoctor.capture.sets import Input, inputs
from wiredoctor.capture.steps import ClockSteps

__all__ = ["Budget", "CaptureError", "ClockSteps", "Input", "Interface", "NoRoom", "TooManyFiles", "inputs"]
