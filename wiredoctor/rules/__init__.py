"""The rules: a folder per family, a file per rule. `shared` holds what several rules need; `wiredoctor.rule_engine` runs them.

Rules of other packages import the classes and functions that they need from here (docs/pages/writing-a-rule.md).
"""

from __future__ import annotations

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence, evidence
from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.world.numbers import DURATION, duration

close_confidence = confidence
"""The earlier name of `confidence`, kept for rules of other packages."""

__all__ = [
    "DURATION",
    "MILLISECOND",
    "SECOND",
    "Advice",
    "Reference",
    "Rule",
    "Threshold",
    "candidate",
    "close_confidence",
    "confidence",
    "duration",
    "evidence",
]
