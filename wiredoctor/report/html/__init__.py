"""The report as one HTML file that needs nothing else: the diagnosis with pictures, all exchanges and connections, and graphs."""

from wiredoctor.report.html.page import write

__all__ = ["write"]
