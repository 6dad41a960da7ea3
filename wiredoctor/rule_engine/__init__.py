"""Run the rules: tables -> candidates -> findings.

`catalogue` finds the rules, `select` chooses among them, `cutoffs` collects which rows they need, `find_candidates`
runs them batch by batch, `find_summaries` once at the end, `judge` says what is left of what they found, and `settle` makes
findings of it: one cause, one finding.
"""

from __future__ import annotations

from wiredoctor.rule_engine.across_gateways import ACROSS_GATEWAYS, given_up_by_gateways, through_gateways, with_pieces_behind
from wiredoctor.rule_engine.catalogue import RuleError, RuleModule, catalogue, cutoffs, select, set_thresholds, with_causes
from wiredoctor.rule_engine.clock_steps import unstepped, unsure_across, without_times_across
from wiredoctor.rule_engine.plugins import begin, failures, give_up
from wiredoctor.rule_engine.root_cause import settle
from wiredoctor.rule_engine.run import are_few, beside_others, concluded, find_candidates, find_summaries, joined, judge, limited
from wiredoctor.rule_engine.software import passed_on
from wiredoctor.rule_engine.stopped_reading import after_stalls
from wiredoctor.rule_engine.summaries import seen, window
from wiredoctor.rule_engine.unjudged import Explained, Left, explained, suspect_connections, suspect_exchanges, unjudged
from wiredoctor.rules.shared.idle_times import TOGETHER

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
