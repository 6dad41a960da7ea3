"""Two recordings held against each other: before and after a change, two points of one wire, or both sides of a proxy.

It works on tables and findings alone; what opens captures hands them in.
"""

from __future__ import annotations

from wiredoctor.comparing.before_after import compare
from wiredoctor.comparing.material import material, recorded
from wiredoctor.comparing.plausible import beyond_chance, parted
from wiredoctor.comparing.proxies import proxied
from wiredoctor.comparing.seen import Seen, of_report
from wiredoctor.comparing.two_points import two_points
from wiredoctor.comparing.written import NoReport, of_json

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
