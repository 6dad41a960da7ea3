"""The first two lines of every report: rank, numbers and causes, derived from reports made by hand."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest

import wiredoctor
from tests.report.counted import written
from tests.report.examples import capture, capture_loss, connection, exchange, finding, report, without_response
from tests.support.recordings import find_recording
from wiredoctor.findings import Cause, Checked, Evidence, Finding, LeftOut, Report, RuleTotal
from wiredoctor.report import formats
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.exclude import without_known
from wiredoctor.report.formats import Options
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import Counts, counts, headline
from wiredoctor.report.row_choice import Grouping
from wiredoctor.report.server_statistics import server_statistics


def said(one: Report, shown: str = "") -> str:
    return headline(one, group_findings(one.findings), find_coverage(one), shown)


def lost(number: int, **changes: Any) -> Finding:
    """A request that met the close of its connection, on connection `number`."""
    values: dict[str, Any] = {
        "rule": "keep-alive-race", "family": "lifetime", "kind": "race", "severity": "error", "side": "client",
        "title": "A request was lost: the server closed the connection while the request was on its way",
        "connection": number, "exchange": 0, "delay": None, "measures": {"limit": 2.0, "idle": 2.0},
        "evidence": (Evidence(10 + number, 1.0, "the request"),),
    }  # fmt: skip
    return finding(**{**values, **changes})


def of(*findings: Finding, requests: int = 33, **changes: Any) -> Report:
    failed = {f.connection for f in findings if f.severity == "error"}
    rows = [exchange(n, **(without_response() if n in failed else {})) for n in range(requests)]
    return report([*findings], [connection(n) for n in range(requests)], rows, **changes)


def test_requests_failed_how_many_of_how_many_and_why() -> None:
    three = [lost(1), lost(2), lost(3)]
    assert said(of(*three)) == "3 of 33 requests failed because 10.0.0.2:80 closes idle connections after 2 s."
    assert said(of(lost(1), requests=2)).startswith("1 of 2 requests failed because ")
    assert said(of(lost(0), requests=1)).startswith("The only request failed because ")


def test_an_idle_timeout_is_said_only_where_it_is_known() -> None:
    early = lost(1, measures={"limit": 0.007, "idle": 0.005})
    because = "because 10.0.0.2:80 closed the connection while the request was on its way."
    assert said(of(early)) == f"1 of 33 requests failed {because}"
    met = lost(1, kind="at-limit", measures={}, title="A request was lost: it came as the server was closing the idle connection")
    assert said(of(met)) == "1 of 33 requests failed because 10.0.0.2:80 was closing the connection, which had been idle."
    known = finding(
        rule="idle-close", family="lifetime", kind=None, severity="note", measures={"limit": 5.0}, delay=None, connection=None
    )
    assert said(of(early, known)) == "1 of 33 requests failed because 10.0.0.2:80 closes idle connections after 5 s."


def test_several_causes_say_how_many_of_the_failures_the_first_explains() -> None:
    other = lost(
        9, rule="no-response", kind="later", title="The server closed the connection without an answer, 50 ms after the request"
    )
    text = said(of(lost(1), other, lost(2)))
    assert text == "3 of 33 requests failed, 2 of them because 10.0.0.2:80 closes idle connections after 2 s."
    assert said(of(other)).endswith(" because 10.0.0.2:80 closed the connection without an answer, 50 ms after the request.")
    same = lost(8, rule="no-response", kind="later", title=other.title)
    assert said(of(other, same)).endswith(" closed the connection without an answer, 50 ms after the request.")
    later = replace(same, title=other.title.replace("50", "90"))
    assert said(of(other, later)) == "2 of 33 requests failed because 10.0.0.2:80 closed the connection without an answer."


def test_of_one_cause_the_longest_occurrence_is_shown() -> None:
    title = "The server was silent for {} ms"
    three = [
        lost(n, rule="no-response", kind="later", delay=ms / 1000, title=title.format(ms)) for n, ms in enumerate((20, 90, 50))
    ]
    assert said(of(*three)).endswith(" was silent for up to 90 ms.")


def test_the_cause_of_a_cause_is_named() -> None:
    back = lost(5, rule="no-response", kind="at-once", server="10.0.9.9:8001", exchange=None,
                title="The server closed the connection at once, without an answer")  # fmt: skip
    front = lost(1, rule="gateway-error", family="gateways", kind="closed", caused_by=(back.place[1],),
                 title="The gateway answered 502: the server behind it closed the connection without a response")  # fmt: skip
    expected = "1 of 33 requests failed because 10.0.9.9:8001 closed the connection at once, without an answer."
    assert said(of(front, back)) == expected
    alone = lost(1, rule="gateway-error", family="gateways", kind="closed", title=front.title)
    assert said(of(alone)).endswith(" because the server behind 10.0.0.2:80 closed the connection without a response.")


def test_the_last_try_of_a_gateway_is_the_cause() -> None:
    down = lost(5, rule="connect-failed", kind="refused", server="10.0.9.8:8001", exchange=None, title="Connection refused")
    back = lost(6, rule="malformed-head", family="framing", kind="no-status-line", server="10.0.9.9:8001")
    front = lost(1, rule="gateway-error", family="gateways", kind="rejected-response",
                 caused_by=(down.place[1], back.place[1]))  # fmt: skip
    known = of(front, down, back)
    assert said(known).endswith(" because what 10.0.9.9:8001 sent is not HTTP.")
    stalled = lost(1, rule="zero-window-stall", family="stalls", kind=None, title="The client did not read")
    cut = replace(front, caused_by=(stalled.place[1], back.place[1]))
    assert " because the client did not read" in said(of(cut, stalled))


def test_a_rejected_response_is_not_placed_at_the_gateway() -> None:
    title = "The gateway answered 502: it did not pass on the response of the server behind it"
    front = lost(1, rule="gateway-error", family="gateways", kind="rejected-response", title=title)
    assert said(of(front)).endswith(" because the gateway 10.0.0.2:80 did not pass on the response of the server behind it.")


def test_causes_in_a_circle_end() -> None:
    one = lost(1)
    two = lost(2, caused_by=(Cause("keep-alive-race", 11, "race", 1, 0),))
    assert said(of(lost(1, caused_by=(two.place[1],)), two)).startswith("2 of 33 requests failed")
    assert one.place[1] == two.caused_by[0]


def test_one_request_with_two_findings_failed_once() -> None:
    assert said(of(lost(1), lost(1, kind="stale-pool"))).startswith("1 of 33 requests failed")


def test_a_client_that_gave_up_did_not_get_its_response() -> None:
    gave_up = lost(
        1, rule="client-abort", kind="timeout", severity="warning", title="The client gave up 2 s after its request, before ..."
    )
    assert said(of(gave_up)).startswith("1 of 33 requests failed because the client gave up 2 s after its request")
    seek = lost(1, rule="client-abort", kind="seek", severity="note", title="The client requested another part")
    stopped = lost(1, rule="client-abort", kind="timeout", severity="note", title="The client gave up 3 s after its request")
    assert "failed" not in said(of(seek)) + said(of(stopped))


def test_a_client_cannot_read_a_response_with_an_invalid_chunk() -> None:
    """But the server answers a request with one, if only with 400."""
    chunks = lost(1, rule="invalid-chunk", family="framing", kind=None, side="server", title="The response has an invalid chunk")
    assert said(of(chunks)) == "1 of 33 requests failed because the response has an invalid chunk (10.0.0.2:80)."
    chunks = replace(chunks, side="client", title="The request has an invalid chunk")
    assert "failed" not in said(of(chunks))
    text = said(wiredoctor.analyze(find_recording("decimal-chunk-sizes.pcap")))
    assert text == "2 of 2 requests failed because the response has an invalid chunk (10.9.0.2:8080)."


def test_a_stale_pool_is_no_fault_of_the_server() -> None:
    text = said(of(lost(1, kind="stale-pool")))
    assert text == "1 of 33 requests failed because the client used a connection that 10.0.0.2:80 had closed."


def test_a_limit_makes_the_number_a_least_one() -> None:
    text = said(of(lost(1), lost(2), totals={"keep-alive-race": RuleTotal(7, 0.0)}))
    assert text.startswith("At least 2 of 33 requests failed")


def test_connections_that_failed_without_a_request() -> None:
    refused = lost(2, rule="connect-failed", family="stalls", kind="refused", exchange=None, count=2, title="Connection refused")
    text = said(report([refused], [connection(n) for n in range(3)], []))
    assert text == "2 of 3 connections failed because 10.0.0.2:80 refused the connection."


def test_other_errors_then_time_then_warnings() -> None:
    framing = finding(rule="excess-body", family="framing", severity="error", title="The server sent more", delay=None)
    slow = finding(delay=0.4, title="The server held back a small write")
    plain = finding(rule="malformed-head", family="framing", kind="folding", title="A field is folded", delay=None)
    fine = report([framing, slow, plain], [connection(1)], [exchange(1)])
    assert said(fine) == "The server sent more (10.0.0.2:80)."
    fine = report([slow, plain, plain], [connection(1)], [exchange(1)])
    assert said(fine) == "No request failed, but 400 ms was lost to waiting: the server held back a small write (10.0.0.2:80)."
    fine = report([plain, plain], [connection(1)], [exchange(1)])
    assert said(fine) == "A field is folded (10.0.0.2:80, 2 times)."


def test_no_request_failed_is_said_only_where_it_is_certain() -> None:
    slow = finding(delay=0.4)
    sure = "No request failed"
    assert said(report([slow], [connection(1)], [exchange(1)])).startswith(sure)
    left = [LeftOut("ignore", "r", 1, ("truncated-response",))]
    assert sure not in said(report([slow], [connection(1)], [exchange(1)], left_out=left))
    assert sure not in said(report([slow, capture_loss()], [connection(1)], [exchange(1)]))
    assert sure not in said(report([slow], [connection(1)], [exchange(1, **without_response())]))


@pytest.mark.parametrize(
    ("kind", "severity", "lead"),
    [
        ("down", "warning", "Connection attempts failed, and 400 ms was lost to waiting: "),
        ("not-up-yet", "note", "400 ms was lost to waiting: "),
        ("tried-next", "note", "No request failed, but 400 ms was lost to waiting: "),
        ("tried-next", "warning", "No request failed, but 400 ms was lost to waiting: "),
    ],
)
def test_a_program_whose_connections_were_refused_did_not_succeed(kind: str, severity: str, lead: str) -> None:
    """Its requests were never sent, so none of them failed."""
    refused = finding(rule="connect-failed", kind=kind, severity=severity, exchange=None, delay=None, title="Refused for 3.7 s")
    text = said(report([finding(delay=0.4), refused], [connection(1)], [exchange(1)]))
    assert text.startswith(lead)


def test_what_was_not_checked_is_not_called_healthy() -> None:
    """Not even a report without findings, and one that counts failures may have missed some."""
    slow_response, tinygrams = Checked("stalls", "exchanges"), Checked("round_trips", "segments")
    no_response = {"no-response": Checked("lifetime", "exchanges", ends=True)}
    two, one = {"slow-response": slow_response, "tinygrams": tinygrams}, {"tinygrams": tinygrams}
    tables = [connection(1)], [exchange(1)]
    slow = finding(delay=0.4)
    assert said(report([slow], *tables, checked=two, unasked=no_response)).startswith("400 ms was lost to waiting: Nagle's")
    assert said(report([], *tables, checked=two, unasked=no_response)) == "The 2 selected rules found nothing."
    assert said(report([], *tables, checked=one, unasked=no_response)) == "The selected rule found nothing."
    cut = capture_loss(rule="damaged-file", title="The capture file could not be read to its end")
    text = said(report([cut], *tables, checked=two, unasked=no_response))
    assert text.endswith(" The 2 selected rules found no fault in what was captured.")
    assert said(of(lost(1), unasked=no_response)).startswith("At least 1 of 33 requests failed because ")
    assert said(of(lost(0), requests=1, unasked=no_response)).startswith("The only request failed because ")
    noted = report([finding(severity="note", delay=None)], *tables, checked=two, unasked=no_response)
    assert said(noted) == "The 2 selected rules found no errors or warnings, only 1 note."
    harmless = {"late-flush": Checked("streaming", "segments")}
    assert said(report([], *tables, checked=two, unasked=harmless)) == "Nothing wrong was found."
    assert said(report([slow], *tables, checked=two, unasked=harmless)).startswith("No request failed, but ")


SLOW_RULES = "slow-response,nagle-delayed-ack,delayed-ack-stall"


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("gives-up-rtt-20-client.pcap", "2.01 s was lost to waiting: "),
        (
            "foreign-reset-of-a-request-server.pcap",
            "The 3 selected rules found nothing, but the only request was not answered completely (rules that did not run may "
            "explain why).",
        ),
    ],
)
def test_a_failure_that_no_selected_rule_looks_for_is_not_denied(name: str, first: str) -> None:
    """The client of the first recording gave up, and the request of the second was reset by a firewall."""
    chosen = wiredoctor.analyze(find_recording(name), select=SLOW_RULES.split(","))
    assert said(chosen).startswith(first)
    left = wiredoctor.analyze(find_recording(name), ignore=["client-abort", "foreign-reset", "no-response"])
    assert not said(left).startswith(("No request failed", "Nothing wrong"))


@pytest.mark.parametrize("form", ["text", "markdown", "concise", "github", "json", "jsonl", "sarif", "junit"])
def test_the_headline_of_every_format_says_what_was_left_out(form: str) -> None:
    fine = report([], [connection(1)], [exchange(1)])
    assert "Nothing wrong was found (port 81)." in written(fine, form, shown="port 81").replace("\\", "")
    assert "port 81" not in written(fine, form)


def test_the_headline_of_a_copy_says_what_was_left_out() -> None:
    whole, out = wiredoctor.analyze(find_recording("stale-pool.pcap"), keep=True), io.BytesIO()
    formats.write(whole, "pcapng", out, Options(shown="port 81"))
    assert b" (port 81)." in out.getvalue()


def test_a_faulty_capture_is_not_called_healthy() -> None:
    cut = capture_loss(rule="damaged-file", title="The capture file could not be read to its end")
    fine = "No known fault was found in what was captured."
    assert said(report([cut], [connection(1)], [exchange(1)])) == f"The capture file could not be read to its end. {fine}"
    assert said(report([capture_loss()], [connection(1)], [exchange(1)])) == f"The capture lacks packets. {fine}"


@pytest.mark.parametrize(("status", "more"), [(503, "; the only response has status 503"), (200, "")])
def test_failed_connections_do_not_hide_an_error_that_nothing_explains(status: int, more: str) -> None:
    refused = lost(2, rule="connect-failed", family="stalls", kind="refused", exchange=None, count=2, title="Connection refused")
    text = said(report([refused], [connection(n) for n in range(3)], [exchange(1, response_status=status)]))
    assert text == f"2 of 3 connections failed because 10.0.0.2:80 refused the connection{more}."


@pytest.mark.parametrize(
    ("kind", "severity", "more"),
    [
        ("refused", "error", "; 26 connection attempts failed"),
        ("down", "warning", "; 26 connection attempts failed"),
        ("not-up-yet", "note", ""),
        ("tried-next", "warning", ""),
    ],
)
def test_a_failed_request_does_not_hide_failed_connections(kind: str, severity: str, more: str) -> None:
    """When a server dies, one request fails, and the connections for all later ones."""
    refused = lost(2, rule="connect-failed", family="stalls", kind=kind, severity=severity, exchange=None, count=26)
    stale = lost(1, kind="stale-pool")
    because = "because the client used a connection that 10.0.0.2:80 had closed"
    assert said(of(stale, refused)) == f"1 of 33 requests failed {because}{more}."


def test_the_connections_of_a_gateway_are_the_cause() -> None:
    refused = lost(2, rule="connect-failed", family="stalls", kind="refused", exchange=None, title="Connection refused")
    error = lost(1, rule="gateway-error", family="gateways", kind="refused", caused_by=(refused.place[1],))
    assert said(of(error, refused)) == "1 of 33 requests failed because 10.0.0.2:80 refused the connection."
    broken = lost(3, rule="truncated-response", kind=None, title="The server closed the connection early")
    several = said(of(broken, replace(broken, connection=4), error, refused))
    assert several.startswith("3 of 33 requests failed, 2 of them because ")
    assert "attempt" not in several


def test_time_lost_does_not_hide_what_nothing_explains() -> None:
    one = report([finding(delay=0.4)], [connection(1)], [exchange(1, response_status=503)])
    assert said(one).startswith("400 ms was lost to waiting: Nagle")
    assert said(one).endswith("; the only response has status 503.")


@pytest.mark.parametrize("severity", ["warning", "note"])
def test_time_lost_does_not_hide_rejections(severity: str) -> None:
    rows = [exchange(1, exchange=number, response_status=status) for number, status in enumerate((200, 417, 400, 413))]
    told = said(report([finding(delay=0.4, severity=severity)], [connection(1)], rows))
    assert "3 of 4 responses have status 400, 413 or 417" in told
    assert "No request failed" not in told


def test_a_warning_does_not_hide_rejections_but_explains_a_414() -> None:
    rows = [exchange(1, exchange=number, response_status=status) for number, status in enumerate((200, 414))]
    warning = finding(delay=None, severity="warning")
    assert said(report([warning], [connection(1)], rows)).endswith("; 1 of 2 responses has status 414.")
    assert "414" not in said(report([replace(warning, rule="oversized-head")], [connection(1)], rows))


def test_what_nothing_explains_comes_before_notes() -> None:
    note = finding(delay=0.4, severity="note")
    one = report([note], [connection(1)], [exchange(1, response_status=503)])
    assert said(one).startswith("The only response has status 503; 400 ms was lost to waiting: Nagle")
    fine = report([note], [connection(1)], [exchange(1)])
    assert said(fine).startswith("No request failed, but 400 ms was lost to waiting: Nagle")


@pytest.mark.parametrize(
    ("statuses", "but"),
    [
        ([200, 404], ""),
        ([400], ", but the only response has status 400"),
        ([200, 413], ", but 1 of 2 responses has status 413"),
        ([429, 408, 200], ", but 2 of 3 responses have status 408 or 429"),
        ([401, 401, 200], ""),
        ([401, 400], ", but 2 of 2 responses have status 4xx"),
        ([404], ", but the only response has status 4xx"),
    ],
)
def test_requests_that_were_rejected_are_named(statuses: list[int], but: str) -> None:
    rows = [exchange(1, exchange=number, response_status=status) for number, status in enumerate(statuses)]
    assert said(report([], [connection(1)], rows)) == f"Nothing wrong was found{but}."


def test_only_notes() -> None:
    note = finding(severity="note", delay=None)
    one = report([note, note], [connection(1)], [exchange(1)])
    assert said(one) == "No errors or warnings, only 1 note."


@pytest.mark.parametrize(
    ("protocol", "number", "why", "judged"),
    [
        (
            *("tls", 14, "No HTTP could be read: each of the 14 connections is encrypted (TLS, not decrypted)"),
            "connection attempts and stalls were judged",
        ),
        (
            "tls",
            1,
            "No HTTP could be read: the only connection is encrypted (TLS, not decrypted)",
            "connection attempts and stalls were judged",
        ),
        (
            "http2",
            2,
            "No HTTP could be read: each of the 2 connections uses HTTP/2, which is not parsed",
            "connection attempts and stalls were judged",
        ),
    ],
)
def test_without_http_the_headline_says_what_was_judged(protocol: str, number: int, why: str, judged: str) -> None:
    rows = [connection(n, protocol=protocol) for n in range(number)]
    assert said(report([], rows, [])) == f"{why}; {judged}, and nothing wrong was found."
    encrypted = capture_loss(rule="encrypted", severity="note", title="TLS was not decrypted")
    assert said(report([encrypted], rows, [])) == f"{why}; {judged}, and nothing wrong was found."
    lossy = said(report([capture_loss()], rows, []))
    assert lossy == f"The capture lacks packets. {why}; {judged}, and no known fault was found in what was captured."
    doubtful = replace(report([], rows, []), not_judged_counts={("a.pcap", "silence"): 1})
    assert re.fullmatch(rf"{re.escape(why)}; .*failed for an unknown reason\.", said(doubtful))
    assert why not in said(report([finding(delay=0.4)], rows, []))
    assert why not in said(report([], [*rows, connection(99)], [exchange(99)]))


def test_connections_without_data_are_judged_for_connects() -> None:
    rows = [connection(n, protocol="none") for n in range(3)]
    why = "none of the 3 connections carried data"
    assert said(report([], rows, [])) == f"Nothing could be judged: {why}."
    connects = report([], rows, [], checked={"connect-failed": Checked("stalls", "connections", ends=True)})
    assert said(connects) == f"No HTTP was seen: {why}; connection attempts were judged, and nothing wrong was found."


def test_nothing_could_be_judged_of_one_direction_of_tls() -> None:
    rows = [connection(0, protocol="tls", server_packets=0)]
    assert said(report([], rows, [])) == "Nothing could be judged: the only connection is encrypted (TLS, not decrypted)."


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (1, "the only connection carries neither HTTP/1.x nor TLS"),
        (5, "each of the 5 connections carries neither HTTP/1.x nor TLS"),
    ],
)
def test_other_protocols_are_judged_for_stalls(number: int, why: str) -> None:
    rows = [connection(n, protocol="unknown") for n in range(number)]
    only = "only stalls and connection attempts could be judged"
    assert said(report([], rows, [])) == f"Nothing wrong was found, but {only}: {why}."
    assert only not in said(report([finding(delay=0.4)], rows, []))
    assert only not in said(report([], [*rows, connection(99)], [exchange(99)]))


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (1, "the only connection began before the capture, so its protocol is unknown"),
        (5, "each of the 5 connections began before the capture, so its protocol is unknown"),
    ],
)
def test_a_protocol_is_unknown_if_the_connection_began_before_the_capture(number: int, why: str) -> None:
    rows = [connection(n, protocol="unknown", handshake=False) for n in range(number)]
    told = report([], rows, [])
    assert said(told) == f"Nothing wrong was found, but only stalls and connection attempts could be judged: {why}."
    [reason] = [one.reason for one in find_coverage(told).not_judged if "recognized" in one.reason]
    assert reason.startswith("the beginning was not captured, and neither HTTP/1.x nor TLS was recognized in the rest")
    seen = [*rows, connection(99, protocol="unknown")]
    assert "carries neither" in said(report([], seen, []))


def test_what_the_capture_lost_comes_first() -> None:
    dropped = capture(dropped=1_024, dropped_of=20_480)
    assert said(of(lost(1), captures=[dropped])).startswith(
        "1,024 of 20,480 packets were dropped while capturing. 1 of 33 requests failed because "
    )
    assert said(of(lost(1), capture_loss())).startswith("The capture lacks packets. 1 of 33 requests failed")
    several = [capture(file=name, dropped=5 if name == "b" else None, dropped_of=9) for name in "abc"]
    text = said(of(lost(1), captures=several))
    assert text.startswith("Packets are missing from 1 of 3 captures. 1 of 33 requests failed")
    cut = said(of(lost(1), captures=[dropped], incomplete=["Only a part was read."]))
    assert cut.startswith("Only a part was read. 1,024 of 20,480 packets were dropped")


def test_known_findings() -> None:
    known = [LeftOut("baseline", "b.json", 6, ("tinygrams",))]
    note = finding(rule="http10-downgrade", severity="note", delay=None)
    assert said(of(note, left_out=known)) == "No new errors or warnings (6 known), only 1 note."
    assert said(of(left_out=known)) == "No new findings (6 known)."
    more = [*known, LeftOut("ignore", "r", 2, ("tinygrams",)), LeftOut("confidence", "high", 1, ("tinygrams",))]
    assert said(of(left_out=more)) == "No new findings (6 known, 2 ignored, 1 of lower confidence)."


def test_counts() -> None:
    assert str(Counts({"error": 2, "warning": 1, "note": 0}, 9, 5.0)) == "2 errors and 1 warning, 9 occurrences. Time lost: 5 s."
    assert str(Counts({"error": 3, "warning": 1, "note": 3}, 9, 0.0)) == "3 errors, 1 warning, 3 notes; 9 occurrences."
    assert str(Counts({"error": 2, "warning": 0, "note": 0}, 2, 0.0)) == "2 errors."
    assert str(Counts({"error": 0, "warning": 0, "note": 0}, 0, 0.0)) == ""
    many = [lost(n, client=f"10.0.0.{n}:5000", request=f"GET /{n}") for n in range(1, 5)]
    assert str(counts(of(*many, finding(delay=0.2)), group_findings([*many, finding(delay=0.2)]))) == (
        "1 error and 1 warning, 5 occurrences. Time lost: 200 ms."
    )


def test_the_time_of_the_worst_occurrence_is_not_that_of_all() -> None:
    times = [
        finding(delay=delay, elapsed=delay, title=f"The server held back a small write for {delay * 1000:g} ms")
        for delay in (0.04, 0.05)
    ]
    assert "held back a small write for up to 50 ms (10.0.0.2:80, 2 times)" in said(of(*times))
    assert "held back a small write for 50 ms (10.0.0.2:80)" in said(of(times[1]))


def test_what_was_known_before_failed_nevertheless() -> None:
    """Connections 1 to 3 lost a request each; the baseline knows those of 10.0.0.3."""
    old = [lost(n, server="10.0.0.3:80", fingerprint="0" * 16) for n in (2, 3)]
    one = without_known(of(lost(1), *old), {"0" * 16}, "b.json")
    assert said(one) == "3 of 33 requests failed (2 known), 1 of them because 10.0.0.2:80 closes idle connections after 2 s."
    assert str(counts(one, group_findings(one.findings))).startswith("1 error.")
    [whole] = server_statistics(one, Grouping.server)
    assert whole.failed == 3
    both = [LeftOut("ignore", "r", 1, ("keep-alive-race",), (lost(4),)), *one.left_out]
    assert said(replace(one, left_out=both)).startswith("4 of 33 requests failed (2 known, 1 ignored), 1 of them because")
    assert said(without_known(of(*old), {"0" * 16}, "b.json")) == "No new findings (2 known)."


def test_connections_that_failed_as_before_are_counted_with_the_new_ones() -> None:
    def refused(number: int, **changes: Any) -> Finding:
        return lost(number, rule="connect-failed", kind="refused", exchange=None, family="stalls", **changes)

    new, old = refused(1), refused(2, server="10.0.0.3:80", fingerprint="0" * 16)
    one = without_known(of(new, old, lost(3, fingerprint="0" * 16)), {"0" * 16}, "b.json")
    assert said(one) == "2 of 33 connections failed (1 known), 1 of them because 10.0.0.2:80 refused the connection."


def test_failures_of_other_captures_do_not_count() -> None:
    other = LeftOut("baseline", "b.json", 1, ("keep-alive-race",), (lost(4, capture="other.pcap"),))
    assert said(of(lost(1), left_out=[other])).startswith("1 of 33 requests failed because")
