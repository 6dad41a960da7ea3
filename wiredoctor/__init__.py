"""wiredoctor reads a packet capture and reports what is wrong with the HTTP in it.

import wiredoctor
report = wiredoctor.analyze("trace.pcap")
report.findings       # a list of Finding
report.exchanges      # a Polars frame, a row per exchange
report.connections    # a Polars frame, a row per connection
"""

from __future__ import annotations

from typing import Any

from wiredoctor.version import __version__

TYPE_CHECKING = False  # importing typing takes time, and no signal is handled until this module is loaded
if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report
    from wiredoctor.pipeline import analyze

__all__ = ["Finding", "Report", "__version__", "analyze"]


def __getattr__(name: str) -> Any:
    """Return an attribute of the package.

    The modules of the analysis are imported on first use, so `wiredoctor --help` does not load Polars.
    """
    if name == "analyze":
        from wiredoctor.pipeline import analyze

        return analyze
    if name in ("Finding", "Report"):
        from wiredoctor import findings

        return getattr(findings, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
