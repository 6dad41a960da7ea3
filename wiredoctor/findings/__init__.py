"""The data types that analysis and reports share: rules, findings and reports.

Rules and reports import this package, `text` and `tables`.
"""

from __future__ import annotations

from wiredoctor.findings.finding import Cause, Evidence, Finding, causes_first, fingerprint, group_key, host, total_delay
from wiredoctor.findings.levels import CONFIDENCES, SEVERITIES, Confidence, Origin, Severity, Side
from wiredoctor.findings.packets import Names, PacketAccess, Portion
from wiredoctor.findings.report import (
    LEFT_OUT_BY,
    UNJUDGED,
    CaptureSummary,
    Checked,
    LeftOut,
    LeftOutBy,
    Report,
    RuleTotal,
    Unjudged,
    sum_totals,
)
from wiredoctor.findings.rule import (
    CANDIDATE_COLUMNS,
    Advice,
    Reference,
    Rule,
    Threshold,
    ThresholdKey,
    by_kind,
    cached_for_thresholds,
    configured,
    configured_thresholds,
    threshold_name,
)
from wiredoctor.text.escape import printable, shorten
from wiredoctor.text.time_of_day import rfc3339

__all__ = ["CANDIDATE_COLUMNS", "CONFIDENCES", "LEFT_OUT_BY", "SEVERITIES", "UNJUDGED", "Advice", "CaptureSummary", "Cause"]
__all__ += ["Checked", "Confidence", "Evidence", "Finding", "LeftOut", "LeftOutBy", "Names", "Origin", "PacketAccess", "Portion"]
__all__ += ["Reference", "Report", "Rule", "RuleTotal", "Severity", "Side", "Threshold", "ThresholdKey", "Unjudged", "by_kind"]
__all__ += ["cached_for_thresholds", "causes_first", "configured", "configured_thresholds", "fingerprint", "group_key", "host"]
__all__ += ["printable", "rfc3339", "shorten", "sum_totals", "threshold_name", "total_delay"]
