"""The severities, confidences and sides of findings."""

from __future__ import annotations

from typing import Literal

Severity = Literal["error", "warning", "note"]
Confidence = Literal["high", "medium", "low"]
Side = Literal["client", "server"]
Origin = Literal["endpoint", "between"]
"""The sender of a FIN or an RST: the host in its source address, or a device between both hosts."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""All severities, worst first."""

CONFIDENCES: tuple[Confidence, ...] = ("high", "medium", "low")
"""All confidences, highest first."""
