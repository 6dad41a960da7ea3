"""Test what reports state about their coverage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.report.examples import capture, connection, exchange, finding, report, without_request, without_response
from tests.report.test_text import page
from wiredoctor.findings import Checked, LeftOut, Report
from wiredoctor.report.coverage import CheckedCount, find_coverage
from wiredoctor.report.terminal.sentences import checked_heading, checked_lines

CHECKED = {
    "capture-loss": Checked("capture", "connections"),
    "damaged-file": Checked("capture", "captures"),
    "premature-close": Checked("lifetime", "exchanges"),
    "nagle-delayed-ack": Checked("stalls", "releases"),
    "late-flush": Checked("streaming", "messages"),
}


def healthy(one: Report) -> list[str]:
    return [*find_coverage(one).healthy]


def told(one: Report) -> list[tuple[str, int, str]]:
    """What could not be judged, by the first word of the reason."""
    return [(n.what, n.count, n.reason.split()[0].strip(",:")) for n in find_coverage(one).not_judged]


def of(*connections: dict[str, Any], exchanges: int = 1, **changes: Any) -> Report:
    return report([], [*connections], [exchange(i) for i in range(exchanges)], checked=CHECKED, **changes)


def test_a_rule_is_healthy_when_it_had_something_to_look_at_and_found_nothing() -> None:
    assert healthy(of(connection(1))) == [*CHECKED]
    assert healthy(of(connection(1), exchanges=0)) == ["capture-loss", "damaged-file", "nagle-delayed-ack"]
    assert healthy(of(exchanges=0)) == ["damaged-file"]


def test_a_rule_that_found_something_is_not_healthy_also_where_that_was_left_out() -> None:
    one = report([finding()], [connection(1)], [exchange(1)], checked=CHECKED)
    assert "nagle-delayed-ack" not in healthy(one)
    one = of(connection(1), left_out=[LeftOut("baseline", "b.json", 3, ("nagle-delayed-ack", "late-flush"))])
    assert healthy(one) == ["capture-loss", "damaged-file", "premature-close"]


def test_what_has_a_known_finding_is_not_healthy() -> None:
    clean = of(connection(1))
    known = replace(clean, left_out=[LeftOut("baseline", "b.json", 1, ("late-flush",))])
    assert [checked_heading(one, find_coverage(one)) for one in (clean, known)] == ["Checked and healthy", "Checked"]


def test_all_was_judged() -> None:
    assert told(of(connection(1))) == []


def test_what_a_connection_hides() -> None:
    assert told(of(connection(1, protocol="tls"), connection(2, protocol="http2"), connection(3, protocol="unknown"))) == [
        ("connections", 1, "TLS"),
        ("connections", 1, "HTTP/2"),
        ("connections", 1, "neither"),
    ]
    assert told(of(connection(1, protocol="none", server_packets=0))) == [("connections", 1, "carried"), ("rules", 1, "the")]


def test_of_an_open_connection_the_close_is_unknown() -> None:
    still = connection(1, closed_by="", close="")
    assert told(of(still, connection(2, protocol="tls", closed_by="", close=""))) == [
        ("connections", 1, "TLS"),
        ("connections", 1, "no"),
    ]
    cut = report([], [still], [exchange(1)], not_judged_counts={("trace.pcap", "response-unfinished"): 1})
    assert told(cut) == [("exchanges", 1, "the"), ("connections", 1, "no")]


def test_one_direction_is_no_proof_of_health() -> None:
    half = report(
        [], [connection(1, client_packets=0)], [exchange(1, **without_request(), both_directions=False)], checked=CHECKED
    )
    assert healthy(half) == ["capture-loss", "damaged-file"]
    assert checked_lines(find_coverage(half)) == ["the capture itself"]
    assert told(half)[-1] == ("rules", 3, "the")


def test_a_table_that_nobody_knows_is_no_health() -> None:
    one = of(connection(1))
    one.checked = {**CHECKED, "new-rule": Checked("stalls", "nonsense")}
    with pytest.raises(KeyError, match="nonsense"):
        find_coverage(one)


def test_what_was_checked_and_for_what() -> None:
    some = [connection(1), connection(2), connection(3, protocol="tls"), connection(4, protocol="unknown", client_packets=0)]
    one = of(*some, connection(5, protocol="none"), exchanges=7)
    one.checked = {**CHECKED, "connect-failed": Checked("stalls", "connections"), "slow-response": Checked("stalls", "exchanges")}
    assert checked_lines(find_coverage(one)) == [
        "7 exchanges on 2 connections: stalls, connection attempts, closes, streaming",
        "1 TLS connection: stalls, connection attempts",
        "1 connection without data: connect-failed",
        "the capture itself",
    ]
    assert find_coverage(one).checked[0] == CheckedCount("http", 2, 7, ("lifetime", "stalls", "streaming"), ())


def test_a_family_that_was_asked_for_in_part_is_named_by_its_rules() -> None:
    one = of(connection(1), exchanges=2, unasked={"slow-response": Checked("stalls", "exchanges")})
    assert checked_lines(find_coverage(one))[0] == "2 exchanges on 1 connection: closes, streaming, nagle-delayed-ack"
    one.checked = {"nagle-delayed-ack": CHECKED["nagle-delayed-ack"]}
    assert page(one).endswith("Checked and healthy\n  2 exchanges on 1 connection: nagle-delayed-ack\n")


def test_what_ignored_rules_might_explain_is_not_called_healthy() -> None:
    one = of(connection(1), exchanges=2, unasked={"no-response": Checked("lifetime", "exchanges", ends=True)})
    assert "\nChecked\n" in page(one)
    assert "healthy" not in page(one)


def test_without_packets() -> None:
    empty = report([], captures=[capture(packets=0, first_time=None, last_time=None, not_analysed={})], checked=CHECKED)
    assert page(empty).startswith("Nothing to diagnose: there are no packets.\n")
    assert "healthy" not in page(empty)
    assert page(report([], checked=CHECKED)).startswith(
        "Nothing to diagnose: no TCP connection was seen in 1,234 packets: UDP (12), ARP\n(3).\n"
    )


def test_what_the_capture_lacks() -> None:
    late, half = connection(1, handshake=False), connection(2, client_packets=0, handshake=False, server_unseen_bytes=9)
    assert told(of(late, half, connection(3, server_unseen_bytes=7))) == [
        ("connections", 1, "only"),
        ("connections", 1, "bytes"),
        ("connections", 1, "began"),
    ]


def test_half_exchanges() -> None:
    halves = [exchange(0), exchange(1, **without_response()), exchange(2, **without_request())]
    assert told(report([], [connection(1)], halves)) == [("exchanges", 1, "request")]


def test_rules_with_nothing_to_look_at() -> None:
    assert told(of(connection(1), exchanges=0)) == [("rules", 2, "no")]
    assert told(of(exchanges=0)) == [("rules", 4, "no")]


def test_it_stands_in_the_text() -> None:
    out = [LeftOut("ignore", "known since May", 2, ("tinygrams",)), LeftOut("confidence", "high", 1, ("late-flush",))]
    text = page(of(connection(1, protocol="tls"), connection(2), left_out=out), 120)
    assert text.startswith(
        "No findings (2 ignored, 1 of lower confidence), but 1 of 2 connections is encrypted (TLS, not decrypted).\n"
    )
    assert text.endswith(
        """
Checked
  1 exchange on 1 connection: stalls, connection attempts, closes, streaming
  1 TLS connection: stalls, connection attempts
  the capture itself
  4 of 5 rules found nothing:
    capture: capture-loss, damaged-file
    lifetime: premature-close
    stalls: nagle-delayed-ack

Not judged
  1 of 2 connections: TLS, not decrypted: only handshakes, stalls and connection attempts were checked, not
    HTTP

Left out
  2 occurrences (tinygrams) ignored by the configuration: known since May
  1 occurrence (late-flush) with less than high confidence
"""
    )
