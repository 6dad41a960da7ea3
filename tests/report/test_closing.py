"""How far a report reaches."""

from __future__ import annotations

from typing import Any

from tests.report.examples import connection, exchange, finding, report, without_request, without_response
from tests.report.test_text import page
from wiredoctor.findings import Checked, LeftOut, Report
from wiredoctor.report.closing import healthy, not_judged

CHECKED = {
    "capture-loss": Checked("capture", "connections"),
    "damaged-file": Checked("capture", "captures"),
    "premature-close": Checked("lifetime", "exchanges"),
    "nagle-delayed-ack": Checked("stalls", "segments"),
    "late-flush": Checked("streaming", "messages"),
}


def told(one: Report) -> list[tuple[str, int, str]]:
    """What could not be judged, by the first word of the reason."""
    return [(n.what, n.count, n.reason.split()[0].strip(",:")) for n in not_judged(one)]


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


def test_all_was_judged() -> None:
    assert told(of(connection(1))) == []


def test_what_a_connection_hides() -> None:
    assert told(of(connection(1, protocol="tls"), connection(2, protocol="http2"), connection(3, protocol="unknown"))) == [
        ("connections", 1, "TLS"),
        ("connections", 1, "HTTP/2"),
        ("connections", 1, "neither"),
    ]
    assert told(of(connection(1, protocol="none", server_packets=0))) == [("connections", 1, "carried")]


def test_what_the_capture_lacks() -> None:
    late, half = connection(1, handshake=False), connection(2, client_packets=0, handshake=False, server_unseen_bytes=9)
    assert told(of(late, half, connection(3, server_unseen_bytes=7))) == [
        ("connections", 1, "only"),
        ("connections", 1, "bytes"),
        ("connections", 1, "began"),
    ]


def test_half_exchanges() -> None:
    halves = [exchange(0), exchange(1, **without_response()), exchange(2, **without_request())]
    assert told(report([], [connection(1)], halves)) == [("exchanges", 1, "no"), ("exchanges", 1, "no")]


def test_rules_with_nothing_to_look_at() -> None:
    assert told(of(connection(1), exchanges=0)) == [("rules", 2, "no")]
    assert told(of(exchanges=0)) == [("rules", 4, "no")]


def test_it_stands_in_the_text() -> None:
    out = [LeftOut("ignore", "known since May", 2, ("tinygrams",)), LeftOut("confidence", "high", 1, ("late-flush",))]
    text = page(of(connection(1, protocol="tls"), connection(2), left_out=out), 120)
    assert text.startswith("Nothing was found but 3 findings left out below.\n")
    assert text.endswith(
        """
Checked and healthy
  capture: capture-loss, damaged-file
  lifetime: premature-close
  stalls: nagle-delayed-ack

Not judged
  1 of 2 connections: TLS, not decrypted: whatever HTTP is in it is not read

Left out
  2 findings (tinygrams) ignored by the configuration: known since May
  1 finding (late-flush) of less than high confidence
"""
    )
