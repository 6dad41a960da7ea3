"""Draw ladder diagrams of findings and connections: choose packets, caption them, and draw them."""

from __future__ import annotations

from wiredoctor.report.ladder.build import of_connection, of_findings

__all__ = ["of_connection", "of_findings"]
