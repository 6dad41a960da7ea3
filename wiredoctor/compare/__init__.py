"""Compare two captures: before and after a change, two points of a network path, or both sides of a proxy.

The functions take tables and findings; their callers open the captures.
"""

from __future__ import annotations

from wiredoctor.compare.before_after.compare import compare
from wiredoctor.compare.before_after.from_json import NoReport, from_json
from wiredoctor.compare.before_after.from_report import ComparedSide, from_report
from wiredoctor.compare.input import collect_capture, collect_proxy_side
from wiredoctor.compare.proxy.compare import compare_proxy
from wiredoctor.compare.proxy.plausibility import is_significant, without_shared_connections
from wiredoctor.compare.statistics import LEAST as LEAST_TIMES
from wiredoctor.compare.two_points.compare import two_points

__all__ = ["LEAST_TIMES", "ComparedSide", "NoReport", "collect_capture", "collect_proxy_side", "compare", "compare_proxy"]
__all__ += ["from_json", "from_report", "is_significant", "two_points", "without_shared_connections"]
