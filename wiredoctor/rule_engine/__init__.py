"""Run the rules: tables become candidates, and candidates become findings.

A candidate is a row that a rule found in the tables and that may become a finding.

`load` finds and selects the rules and sets their thresholds. `find_candidates` runs them batch by batch, `find_summaries` once at
the end. `decide_batch` and `decide` keep the candidates that prove a problem, and `resolve` turns these into findings, one per
cause.
"""

from __future__ import annotations

from wiredoctor.rule_engine.abnormal_ends import suspect_connections, suspect_exchanges
from wiredoctor.rule_engine.across_gateways import ACROSS_GATEWAYS, Sides, with_facts_of_others
from wiredoctor.rule_engine.catalogue import (
    RuleError,
    RuleModule,
    RuleSet,
    catalogue,
    cutoffs,
    load,
    select,
    set_thresholds,
    with_causes,
)
from wiredoctor.rule_engine.plugins import disable, failures
from wiredoctor.rule_engine.root_cause import TOLD_LIVE, resolve
from wiredoctor.rule_engine.run import are_few, decide, decide_batch, find_candidates, find_summaries, is_compared, join_batches
from wiredoctor.rule_engine.software import passed_on
from wiredoctor.rule_engine.summaries import apart, newest_exchanges, restrict_to_window, since_frame, window_start
from wiredoctor.rule_engine.unjudged import Explained, Remainder, explained_keys, unjudged
from wiredoctor.rule_engine.unreliable_times import (
    drop_across_clock_steps,
    drop_timed,
    replay_rate,
    replay_text,
    split_at_clock_steps,
    unsure_across,
)
from wiredoctor.world.server import TOGETHER

__all__ = ["ACROSS_GATEWAYS", "TOGETHER", "TOLD_LIVE", "Explained", "Remainder", "RuleError", "RuleModule", "RuleSet"]
__all__ += ["Sides", "apart"]
__all__ += ["are_few", "catalogue", "cutoffs", "decide", "decide_batch", "disable", "drop_across_clock_steps", "explained_keys"]
__all__ += ["failures", "find_candidates", "find_summaries", "is_compared", "join_batches", "load", "newest_exchanges"]
__all__ += ["passed_on", "resolve", "restrict_to_window", "select", "set_thresholds", "since_frame", "split_at_clock_steps"]
__all__ += ["suspect_connections", "suspect_exchanges", "unjudged", "unsure_across", "window_start", "with_causes"]
__all__ += ["drop_timed", "replay_rate", "replay_text", "with_facts_of_others"]
