"""Stage 5, what is wrong: tables -> candidates -> findings. A folder per family, a file per rule.

The door: `catalogue` finds the rules, `select` chooses among them, `find_candidates` runs them epoch by epoch,
`find_summaries` once at the end, and `settle` makes findings of what they found: one cause, one finding.
"""

from __future__ import annotations

from wiredoctor.rules.candidates import find_candidates, find_summaries
from wiredoctor.rules.modules import RuleError, RuleModule, catalogue, select, with_causes
from wiredoctor.rules.settle import settle

__all__ = [
    "RuleError",
    "RuleModule",
    "catalogue",
    "find_candidates",
    "find_summaries",
    "select",
    "settle",
    "with_causes",
]
