"""How bad a finding is, how sure, and who has to change something."""

from __future__ import annotations

from typing import Literal

Severity = Literal["error", "warning", "note"]
Confidence = Literal["high", "medium", "low"]
Side = Literal["client", "server"]
Origin = Literal["endpoint", "between"]
"""Who sent a FIN or an RST: the host whose address it carries, or something else."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first."""

CONFIDENCES: tuple[Confidence, ...] = ("high", "medium", "low")
"""Surest first."""
