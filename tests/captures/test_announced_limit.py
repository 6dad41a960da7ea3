"""Test that a server's announced idle timeout takes precedence over common defaults."""

from __future__ import annotations

from tests.captures.reports import report_of
from tests.support.recordings import find_recording


def test_the_announcement_of_node_is_named_and_no_other_software() -> None:
    """node announces `Keep-Alive: timeout=1` and closes after 2 s, which is the default of another server."""
    [finding] = report_of(find_recording("node-announces-one-second.pcap")).findings
    assert finding.rule == "idle-close"
    assert "timeout=1" in finding.message
    assert "gunicorn" not in finding.message
