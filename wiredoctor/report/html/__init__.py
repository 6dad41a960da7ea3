"""Write the report as one self-contained HTML file: the diagnosis with pictures, all exchanges and connections, and graphs."""

from wiredoctor.report.html.page import write

__all__ = ["write"]
