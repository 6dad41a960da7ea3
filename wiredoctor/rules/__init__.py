"""The rules: a folder per family, a file per rule. `shared` holds what several rules need; `wiredoctor.rule_engine` runs them.

Rules of other packages import the classes and functions that they need from here (docs/pages/writing-a-rule.md).
"""

from __future__ import annotations

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import Nanoseconds, Packet, packets
from wiredoctor.tables import MILLISECOND, PROTOCOLS, SECOND
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.world import Wait, World
from wiredoctor.world.numbers import DURATION

__all__ = ["DURATION", "MILLISECOND", "PROTOCOLS", "SECOND", "Advice", "Nanoseconds", "Packet", "Reference", "Rule", "Threshold"]
__all__ += ["Wait", "World", "candidate", "confidence", "duration_text", "packets", "redact"]
