"""Two recordings held against each other: before and after a change, two points of one wire, or both sides of a proxy.

It works on tables and findings alone; what opens captures hands them in.
"""

from __future__ import annotations

from wiredoctor.compare.before_after.compare import compare
from wiredoctor.compare.before_after.from_json import NoReport, of_json
from wiredoctor.compare.before_after.from_report import Seen, of_report
from wiredoctor.compare.input import material, recorded
from wiredoctor.compare.proxy.compare import proxied
from wiredoctor.compare.proxy.plausibility import beyond_chance, parted
from wiredoctor.compare.two_points.compare import two_points

__all__ = [
    "NoReport",
    "Seen",
    "beyond_chance",
    "compare",
    "material",
    "of_json",
    "of_report",
    "parted",
    "proxied",
    "recorded",
    "two_points",
]
