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


def test_the_default_of_gunicorn_is_that_of_a_server_which_names_itself_so() -> None:
    """Both close after 2 s and announce nothing. gunicorn always sends a Server field, Go's net/http never does."""
    of_gunicorn = [finding.message for finding in report_of(find_recording("gunicorn-met.pcap")).findings]
    of_go = [finding.message for finding in report_of(find_recording("go-met.pcap")).findings]
    assert all("2 s is the default of gunicorn" in message for message in of_gunicorn)
    assert of_go
    assert not any("default" in message for message in of_go)
