"""Stage 5, what is wrong: tables -> candidates -> findings. A folder per family, a file per rule.

The door: `catalogue` finds the rules, `select` chooses among them, `cutoffs` collects which rows they need, `find_candidates`
runs them batch by batch, `find_summaries` once at the end, `judge` says what is left of what they found, and `settle` makes
findings of it: one cause, one finding.
"""

from __future__ import annotations

from wiredoctor.rules.across_gateways import ACROSS_GATEWAYS, given_up_by_gateways, through_gateways, with_pieces_behind
from wiredoctor.rules.candidates import are_few, beside_others, concluded, find_candidates, find_summaries, joined, judge, limited
from wiredoctor.rules.clock import unstepped, unsure_across, without_times_across
from wiredoctor.rules.modules import RuleError, RuleModule, catalogue, cutoffs, select, set_thresholds, with_causes
from wiredoctor.rules.plugins import begin, failures, give_up
from wiredoctor.rules.rests import TOGETHER
from wiredoctor.rules.settle import settle
from wiredoctor.rules.software import passed_on
from wiredoctor.rules.stopped_reading import after_stalls
from wiredoctor.rules.unjudged import Explained, Left, explained, suspect_connections, suspect_exchanges, unjudged
from wiredoctor.rules.window import seen, window

__all__ = [
    "ACROSS_GATEWAYS",
    "TOGETHER",
    "Explained",
    "Left",
    "RuleError",
    "RuleModule",
    "after_stalls",
    "are_few",
    "begin",
    "beside_others",
    "catalogue",
    "concluded",
    "cutoffs",
    "explained",
    "failures",
    "find_candidates",
    "find_summaries",
    "give_up",
    "given_up_by_gateways",
    "joined",
    "judge",
    "limited",
    "passed_on",
    "seen",
    "select",
    "set_thresholds",
    "settle",
    "suspect_connections",
    "suspect_exchanges",
    "through_gateways",
    "unjudged",
    "unstepped",
    "unsure_across",
    "window",
    "with_causes",
    "with_pieces_behind",
    "without_times_across",
]
