"""Ladder diagrams of a finding or a connection: which packets, what they say, and how they are drawn."""

from __future__ import annotations

from wiredoctor.report.ladder.build import of_connection, of_findings

__all__ = ["of_connection", "of_findings"]
