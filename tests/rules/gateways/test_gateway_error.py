"""Test what ladders cannot express about `gateway-error`: sentences, causes, and whose time is counted."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.ladders import ladder_packets, ladders_in, to_pcap
from tests.support.analysis import analyze_bytes
from tests.support.recordings import find_stem
from wiredoctor import limits
from wiredoctor.findings import Cause, Evidence, Finding, total_delay
from wiredoctor.gateways.kinds import failures, kind_of, last_of
from wiredoctor.gateways.loose_attempts import assign_attempts
from wiredoctor.gateways.tries import Front
from wiredoctor.report.data import json as report_json
from wiredoctor.rule_engine.across_tries import CertainTries
from wiredoctor.rules.gateways.gateway_error import Facts, words
from wiredoctor.rules.shared.gateway_words import gateway_software
from wiredoctor.tables import NOTHING, TRIES, WHOLE
from wiredoctor.testing import capture, findings
from wiredoctor.world.exchange import Attempt, Connection, Exchange, ExchangeRow

LADDERS = dict(ladders_in(Path(__file__).with_name("gateway_error.txt")))
SLOW = dict(ladders_in(Path(__file__).parents[1] / "stalls" / "slow_response.txt"))
MS = 1_000_000
S = 1_000_000_000


def of(words: str, rule: str = "gateway-error") -> Finding:
    """Return the finding of a rule in the ladder whose title contains these words."""
    [text] = [text for title, text in (LADDERS | SLOW).items() if words in title]
    [found] = [one for one in found_in(text) if one.rule == rule]
    return found


@cache
def found_in(text: str) -> list[Finding]:
    """Return the findings in a ladder; several tests ask for the same."""
    return findings(text)


def test_the_sentence_names_both_sides() -> None:
    told = of("closed, and 502 in front")
    assert told.message == (
        "GET /1/a/order got 502 from the gateway 10.0.0.2:80 after 16 ms: the server behind it (10.0.0.3:8001) closed the "
        "connection (FIN) 13.4 ms after the request, without a response."
    )
    assert told.title == "The gateway answered 502: the server behind it closed the connection without a response"
    assert (told.client, told.server, told.delay) == ("10.0.0.1:40001", "10.0.0.2:80", None)


def test_the_last_health_check_explains_a_503_only_if_it_failed() -> None:
    failed = of("after two failed health checks")
    assert "failed before: GET /up?token=(masked) from 10.0.0.2 to 10.0.0.3:8080 (status 500)), so" in failed.message
    assert failed.remedy.startswith("If this is the gateway's health check, find out why the server fails it:")
    succeeded = of("after a health check that succeeded")
    assert "health check" not in succeeded.message + succeeded.remedy


def test_refused_connections_before_a_503_may_be_health_checks() -> None:
    failed = of("after two refused connections")
    assert "(but connection attempts that may be the gateway's health checks failed before: 10.0.0.3:8080)" in failed.message
    assert "connection attempts that failed before (10.0.0.3:8080), they are the cause" in failed.remedy
    accepted = of("after a refused connection and one that was accepted")
    assert "failed before" not in accepted.message + accepted.remedy


def test_the_error_page_of_haproxy_names_it_and_says_what_it_means() -> None:
    told = of("a 503 of haproxy")
    assert "looks like one from haproxy. With this status haproxy says that it has no server for the request" in told.message


def test_a_response_that_does_not_arrive_is_neither_late_nor_time_of_the_gateway() -> None:
    words = "because the response of the server does not arrive"
    told = of(words)
    assert told.title == "The gateway answered 504: the response of the server behind it did not arrive"
    assert "did not arrive (it was never acknowledged), and the gateway gave up after 2.3 s." in told.message
    assert "answer sooner" not in told.remedy
    [text] = [text for title, text in LADDERS.items() if words in title]
    assert not findings(text, select=["slow-response"])


def test_a_response_of_which_a_part_does_not_arrive_is_a_loss_on_the_path() -> None:
    told = of("truncated, because a segment of the response behind never arrives, although")
    assert told.title == "The gateway broke off its 200: part of the response of the server behind it did not arrive"
    assert "did not arrive (it was never acknowledged), and the gateway gave up." in told.message
    assert told.remedy.startswith("Find out what drops the packets")
    timed_out = of("never arrives, and the gateway had forwarded nothing")
    assert timed_out.title == "The gateway answered 504: part of the response of the server behind it did not arrive"
    headless = of("because the first segment of the response never arrives, as")
    assert ": the beginning of the response of the server behind it (10.0.0.3:8001) did not arrive" in headless.message


def test_a_gateway_that_could_not_send_the_rest_of_an_upload_did_not_reject_the_response() -> None:
    told = of("the server refused and closed in the middle of an upload")
    assert told.title == "The gateway answered 503: the server behind it closed before it had received the complete request"
    assert "sent a 413 and closed the connection (FIN) before it had received the complete request" in told.message
    assert " after 400 ms: " in told.message
    assert "the server's FIN, before it had the complete request" in [packet.note for packet in told.evidence]


def test_a_gateway_that_gave_up_a_stalled_response_is_told_from_a_server_that_broke_off() -> None:
    stalled = of("because the server stalled in its response")
    assert stalled.title == "The gateway broke off its 200: the response of the server behind it stopped in the middle"
    assert (
        "only part of the response of the server behind it (10.0.0.3:8001) had come, and then nothing for 2 s," in stalled.message
    )
    assert "raise the timeout of the gateway, which was 2 s here" in stalled.remedy
    closed = of("because the gateway itself closed")
    assert closed.title == "The gateway broke off its 200: it gave up the response of the server behind it"
    assert "gateway's log" in closed.remedy


def test_the_cause_is_the_client_if_it_did_not_read_until_its_gateway_gave_up() -> None:
    told = of("client-stalled: the client did not read")
    assert told.title == "The gateway broke off its 200: its client did not read"
    assert "the client's receive window had been closed for 2 s" in told.message
    assert [(cause.rule, cause.frame) for cause in told.caused_by] == [("zero-window-stall", 12)]  # the 12th in time
    broke_off = of("but the server closed in the middle of its response")
    assert [cause.rule for cause in broke_off.caused_by] == ["truncated-response"]


def test_the_gateway_that_made_the_error_is_named_and_not_the_one_that_passed_it_on() -> None:
    told = of("timed-out at the inner gateway")
    assert (
        "the server behind it (10.0.0.3:8001) had not answered after 2.01 s, and the gateway 10.0.0.4:81 gave up" in told.message
    )
    assert "httpd: ProxyTimeout" in told.remedy
    assert "nginx" not in told.remedy


def test_a_close_in_the_middle_of_a_request_is_not_counted_from_the_last_part_of_it() -> None:
    told = of("in the middle of an upload that the gateway forwards")
    assert " after 505 ms: " in told.message
    assert "closed the connection (RST) in the middle of the request, 500 ms after its start, without a response" in told.message
    assert [packet.note for packet in told.evidence][:2] == [
        "the client's request begins",
        "the gateway's request to 10.0.0.3:8001",
    ]


def test_a_close_after_bytes_that_are_not_http_is_not_said_to_lack_a_response() -> None:
    told = of("closed after a traceback")
    assert "the server's FIN, after a response that is not HTTP" in [packet.note for packet in told.evidence]


def test_a_wait_ends_with_the_response_even_if_the_client_goes_on_sending() -> None:
    assert "the median wait was 2 s" in of("a 504 in the middle of an upload").message


def test_the_server_of_another_protocol_behind_a_gateway_is_named() -> None:
    told = of("and FastCGI behind it")
    assert "to a server behind the gateway (but a protocol other than HTTP/1.x is spoken with 10.0.0.3:9000), so" in told.message


def test_what_closed_without_an_answer_is_no_crash_of_the_gateway() -> None:
    told = of("a silent close in front")
    assert "got no response from the gateway 10.0.0.2:80, which closed the connection after 16 ms" in told.message
    assert told.status is None


@pytest.mark.parametrize(
    ("words", "causes"),
    [
        ("closed, and 502 in front", [("no-response", 1, 0)]),
        ("refused, and only attempts", [("connect-failed", 2, None), ("connect-failed", 3, None)]),
        ("two SYNs", [("connect-failed", 2, None)]),
        ("the head behind broke off", [("truncated-response", 1, 0)]),
        ("two gateways in a row", [("no-response", 2, 0)]),
        ("timed out, and 504", []),
    ],
)
def test_it_names_the_finding_of_each_failed_try_in_order(words: str, causes: list[tuple[Any, ...]]) -> None:
    assert [(c.rule, c.connection, c.exchange) for c in of(words).caused_by] == causes


def test_json_names_causes_by_rule_kind_and_place(tmp_path: Path) -> None:
    [text] = [text for title, text in LADDERS.items() if "closed, and 502 in front" in title]
    (tmp_path / "l.pcap").write_bytes(to_pcap(ladder_packets(text)))
    out = io.BytesIO()
    report_json.write(wiredoctor.analyze(tmp_path / "l.pcap"), out)
    found = json.loads(out.getvalue())["findings"]
    [told] = [one for one in found if one["rule"] == "gateway-error"]
    [cause] = [one for one in found if one["rule"] == "no-response"]
    assert told["caused_by"] == [
        {"rule": "no-response", "frame": cause["evidence"][0]["frame"], "kind": cause["kind"], "connection": 1, "exchange": 0}
    ]
    assert cause["number"] < told["number"]


def test_gateways_between_are_evidence() -> None:
    told = of("two gateways in a row")
    assert told.message.endswith("without a response. On its way there, the request passed through 10.0.0.5:8081.")
    assert "the server behind it (10.0.0.3:8001)" in told.message
    assert "10.0.0.5:8081's response: 502" in [step.note for step in told.evidence]


def test_what_the_client_never_saw_says_so() -> None:
    told = of("that the client never saw", "no-response")
    assert told.message.endswith(
        "The gateway's own client noticed nothing: the gateway repeated the request on 10.0.0.4:8001 and answered 200."
    )
    told = of("a gateway that gave up one server", "client-abort")
    assert told.title == "The gateway gave up after 2 s and tried another server"


def test_time_is_counted_once(tmp_path: Path) -> None:
    """The server took 1.5 s, and the gateway's client waited for that."""
    [text] = [text for title, text in SLOW.items() if "one slow request, once" in title]
    (tmp_path / "l.pcap").write_bytes(to_pcap(ladder_packets(text)))
    report = wiredoctor.analyze(tmp_path / "l.pcap")
    [told] = report.findings
    assert told.message.endswith(
        "The gateway's client (10.0.0.1) waited 1.5 s for its response, including 3.2 ms in the gateway."
    )
    assert report.delay == pytest.approx(1.495)


def test_a_gateway_that_does_not_wait_for_a_slow_server() -> None:
    """After a second, nginx asks another server, which answers at once; the first server takes 1.8 s."""
    report = wiredoctor.analyze(find_stem("behind-nginx-late"))
    [told] = [one for one in report.findings if one.rule == "slow-response"]
    assert told.message.endswith(
        "The request came from a gateway, which did not wait for that: its own client (10.9.1.1) had a response 1.01 s after its "
        "request."
    )


def test_the_wait_of_a_client_is_the_union_of_what_it_waited_for(tmp_path: Path) -> None:
    """A 504 after 2 s, 0.4 s of which went to retransmissions with the server behind the gateway: 2 s in total."""
    text = """
        connection 1
        0.0000  >  S    mss 1460
        0.0004  <  S.   mss 1460
        0.0004  >  .
        0.0010  >  P.   "GET /slow HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
        2.0050  <  P.   "HTTP/1.1 504 Gateway Time-out\\r\\nContent-Length: 3\\r\\n\\r\\nbad"
        2.0060  >  F.
        2.0065  <  F.
        connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001
        0.0020  >  S    mss 1460
        0.0024  <  S.   mss 1460
        0.0024  >  .
        0.0026  >  P.   "GET /slow HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
        0.4026  >  P.   1:32(31) "GET /slow HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
        0.4030  <  .    ack 32
        2.0045  >  F.
        2.0049  <  F.
        2.0050  >  .
    """
    (tmp_path / "l.pcap").write_bytes(to_pcap(ladder_packets(text)))
    report = wiredoctor.analyze(tmp_path / "l.pcap")
    assert {(f.rule, f.kind) for f in report.findings} == {("retransmission-stall", "timeout"), ("gateway-error", "timed-out")}
    assert sum(f.delay or 0 for f in report.findings) == pytest.approx(2.404, abs=0.002)
    assert report.delay == pytest.approx(2.004, abs=0.002)


# Kinds, by the columns of the tables


def exchange(**given: Any) -> Exchange:
    nothing: dict[str, Any] = dict.fromkeys((*ExchangeRow._fields, *Connection._fields))
    asked = {
        "connection": 1,
        "exchange": 0,
        "server": "10.0.0.2:80",
        "client": "10.0.0.1:4",
        "request_end": 0,
        "request_start": 0,
    }
    usual = {"has_response": False, "upgraded": False, "handshake": True, "request_end_reason": "complete"}
    row = nothing | asked | usual | given
    of_exchange = ExchangeRow._make([row.pop(name) for name in ExchangeRow._fields])
    of_connection = Connection._make([row.pop(name) for name in Connection._fields])
    assert not row, "no such column"
    return Exchange(of_exchange, of_connection)


def answered(status: int, at: int, reason: str = "complete", **given: Any) -> Exchange:
    said = {"has_response": True, "response_status": status, "response_start": at, "response_end_reason": reason}
    return exchange(**{"response_framing": "content-length", "connection": 2, **said, **given})


def attempt(at: int, refused: int | None = None, number: int = 9, syns: int = 1, rejected: int | None = None) -> Attempt:
    nothing: dict[str, Any] = dict.fromkeys(Connection._fields)
    said = {"connection": number, "server": "10.0.0.3:8001", "client": "10.0.0.2:5", "syn_time": at, "refused_time": refused}
    row = nothing | said | {"syns": syns, "syn_error_time": rejected}
    return Attempt(Connection._make([row[name] for name in Connection._fields]))


BAD = answered(502, 10 * MS, connection=1)
DROPPED = exchange(connection=2, server_close_time=9 * MS, server_close_frame=7)
SAID = exchange(connection=2, server_close_time=9 * MS, server_close_frame=7, server_sent_more=1)
SILENT = exchange(server_close_time=10 * MS, server_close_frame=9)


@pytest.mark.parametrize(
    ("front", "tries", "kind"),
    [
        (BAD, [], "not-passed-on"),
        (answered(500, 10 * MS, connection=1), [], None),
        (SILENT, [], "not-passed-on"),
        (BAD, [answered(502, 9 * MS)], None),
        (BAD, [answered(500, 9 * MS)], "rejected-response"),
        (BAD, [answered(200, 9 * MS)], "rejected-response"),
        (BAD, [answered(200, 9 * MS, response_end=9 * MS)], "rejected-response"),
        (answered(502, 300 * MS, connection=1), [answered(200, 9 * MS, response_end=9 * MS)], None),
        (answered(502, 300 * MS, connection=1), [answered(500, 9 * MS, response_end=9 * MS)], "rejected-response"),
        (answered(504, 10 * MS, connection=1), [answered(200, 9 * MS, response_end=9 * MS)], None),
        (answered(500, 10 * MS, connection=1), [answered(200, 9 * MS, response_end=9 * MS)], None),
        (answered(500, 10 * MS, connection=1), [answered(200, 9 * MS, response_head_bytes=5_000)], "rejected-response"),
        (answered(500, 10 * MS, connection=1), [answered(503, 9 * MS, response_end=9 * MS)], "rejected-response"),
        (SILENT, [answered(200, 9 * MS, response_end=9 * MS)], None),
        (SILENT, [answered(503, 9 * MS, response_end=9 * MS)], "rejected-response"),
        (BAD, [answered(502, 11 * MS)], "timed-out"),
        (BAD, [attempt(MS, refused=2 * MS)], "refused"),
        (BAD, [attempt(MS)], None),
        (BAD, [attempt(MS, rejected=2 * MS)], "unreachable"),
        (BAD, [attempt(MS, rejected=11 * MS)], None),
        (BAD, [attempt(MS, refused=3 * MS, rejected=2 * MS)], "refused"),
        (BAD, [attempt(MS, syns=2)], "unreachable"),
        (answered(504, S, connection=1), [attempt(MS)], "unreachable"),
        (SILENT, [DROPPED], "closed"),
        (SILENT, [exchange(connection=2, server_close_time=12 * MS, server_close_frame=12)], "timed-out"),
        (SILENT, [SAID], "rejected-response"),
        (SILENT, [answered(200, 8 * MS, "fin", server_close_time=9 * MS, server_close_frame=7)], "truncated"),
        (SILENT, [exchange(connection=2, history="ShADaw", client_unacknowledged=5)], "unsent"),
        (SILENT, [exchange(connection=2, history="ShADaw", client_unacknowledged=0)], "timed-out"),
        (answered(200, 5 * MS, connection=1), [answered(200, 4 * MS)], None),
        (exchange(client_close_time=10 * MS, client_close_frame=9), [exchange(connection=2, client_close_time=11 * MS)], None),
    ],
)  # fmt: skip
def test_kinds(front: Exchange, tries: list[Exchange | Attempt], kind: str | None) -> None:
    assert kind_of(front, tries) == kind


def struct(one: Exchange | Attempt) -> dict[str, Any]:
    """Return the fact of type TRY about an exchange or an attempt."""
    values = one.values._asdict() if isinstance(one, Exchange) else dict.fromkeys(ExchangeRow._fields)
    return values | one.ends._asdict()


def worded(front: Exchange, *tries: Exchange | Attempt, software: str = "") -> dict[str, Any]:
    """Return the words about a failure of a gateway, and its kind."""
    kind, last = kind_of(front, tries), last_of(tries)
    said = {"kind": kind, "wait": front.answered - front.asked, "end": front.answered, "software": software, "whole": True}
    sides = {"front": struct(front), "tries": [struct(one) for one in tries], "through": []}
    number = next((number for number, one in enumerate(tries) if one is last), None)
    return {"kind": kind} | words(Facts(**{**dict.fromkeys(Facts._fields), **said, **sides, "last": number}))


@pytest.mark.parametrize("status", [500, 408, 504, 599])
def test_any_status_of_a_server_error_shows_that_the_gateway_failed(status: int) -> None:
    """Many gateways answer 500; 408 stands for a request that took too long."""
    told = worded(answered(status, 10 * MS, connection=1), DROPPED)
    assert (told["kind"], told["outcome"]) == ("closed", f"The gateway answered {status}")


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({}, ""),
        ({"exchange": 1, "previous_end": -2 * S}, "change the pool of the gateway"),
        ({"exchange": 1, "previous_end": -MS}, "have the gateway repeat idempotent requests"),
    ],
    ids=["a new connection", "kept for 2 s", "too soon for an idle timeout"],
)
def test_the_pool_is_named_only_if_the_connection_was_kept(given: dict[str, Any], advice: str) -> None:
    look = worded(BAD, exchange(connection=2, server_close_time=9 * MS, server_close_frame=7, **given))["look"]
    assert advice in look
    assert bool(look) == bool(advice)
    assert ("pool" in look) == ("pool" in advice)


@pytest.mark.parametrize(("length", "long"), [(999, False), (1_000, True), (None, True)])
def test_the_length_of_a_head_is_named_only_if_it_may_be_too_long(length: int | None, long: bool) -> None:
    told = worded(BAD, answered(200, 9 * MS, response_end=9 * MS, response_head_bytes=length))
    assert told["kind"] == "rejected-response"
    assert ("proxy_buffer_size" in told["look"]) is long


@pytest.mark.parametrize(
    ("server", "setting"),
    [
        ("nginx/1.22.1", "nginx: proxy_read_timeout"),
        ("Varnish", "Varnish: first_byte_timeout"),
        ("squid/5.7", "Squid: read_timeout"),
        ("", "haproxy: timeout server)"),
        ("our own", "nginx proxy_read_timeout, haproxy timeout server, "),
    ],
)
def test_the_timeout_has_the_name_that_the_software_of_the_gateway_gives_it(server: str, setting: str) -> None:
    software = gateway_software(server, "Gateway Time-out", 504, "text/html", 92)
    told = worded(answered(504, 2 * S, connection=1), exchange(connection=2), software=software)
    assert told["kind"] == "timed-out"
    assert f"which was 2 s here ({setting}" in told["in_time"]


def test_other_attempts_are_named_by_their_servers_or_counted() -> None:
    first, last = attempt(MS, refused=2 * MS), attempt(3 * MS, refused=4 * MS, number=10)
    assert worded(BAD, first, last)["more"] == " The gateway tried this server 2 times."
    first = Attempt(first.ends._replace(server="10.0.0.3:8003"))
    assert worded(BAD, first, last)["more"] == " This was one of 2 attempts; the other went to 10.0.0.3:8003."


@pytest.mark.parametrize(("ended", "starved"), [("fin", True), ("complete", False)])
def test_a_client_that_stopped_in_its_request_is_named_and_not_the_server(ended: str, starved: bool) -> None:
    told = worded(answered(504, 2 * S, connection=1, request_end_reason=ended), exchange(connection=2, request_end_reason=ended))
    late = "the client had not sent its complete request" if starved else "the server behind it did not answer in time"
    assert (told["kind"], told["late"]) == ("timed-out", late)
    assert told["in_time"].startswith("Find out what the client was waiting for" if starved else "Make the server behind the")


def test_a_port_that_refuses_because_its_process_died_of_the_request_does_not_count_as_last() -> None:
    died = exchange(connection=2, server="10.0.0.3:8001", server_close_time=5 * MS, server_close_frame=5)
    assert kind_of(BAD, [died, attempt(6 * MS, refused=7 * MS)]) == "closed"


def test_a_request_that_met_a_close_was_not_refused() -> None:
    """Only a connection attempt belongs to the exchange, and the gateway's close acknowledges none of its bytes."""
    met = exchange(server_close_time=10 * MS, server_close_frame=9, request_arrived=NOTHING, previous_end=-5 * S)
    assert kind_of(met, [attempt(MS, refused=2 * MS)]) is None
    read = exchange(server_close_time=10 * MS, server_close_frame=9, request_arrived=WHOLE, previous_end=-5 * S)
    assert kind_of(read, [attempt(MS, refused=2 * MS)]) == "refused"


def test_doubtful_tries_tell_a_kind_only_where_all_failed_alike() -> None:
    closed = [exchange(connection=n, server_close_time=5 * MS, server_close_frame=5) for n in (2, 3)]
    [failure] = failures({(1, 0): Front(BAD, tuple(closed), certain=False)}).values()
    assert (failure.kind, failure.whole) == ("closed", False)
    assert not failures({(1, 0): Front(BAD, (closed[0], answered(200, 5 * MS)), certain=False)})


def test_attempts_of_nobody_belong_to_those_that_were_answered_next() -> None:
    fronts = {(n, 0): Front(answered(503, (5 + n) * MS, connection=n)) for n in (1, 2, 3)}
    made = assign_attempts(fronts, {"10.0.0.2:80": [attempt(MS, refused=5 * MS)]}, {})
    assert [front.certain for front in made.values()] == [False, True, True]


def test_attempts_of_nobody_belong_to_those_whose_route_leads_to_that_server() -> None:
    gone, refused = (
        Front(answered(503, -8 * MS, request_end=-9 * MS, connection=1)),
        Front(BAD, (attempt(-5 * MS, refused=-4 * MS),)),
    )
    waiting = {(n, 0): Front(answered(502, (5 + n) * MS, connection=n)) for n in (3, 4, 5)}
    fronts = {(1, 0): gone, (2, 0): refused, **waiting}
    one = {"10.0.0.2:80": [attempt(MS, refused=5 * MS)]}

    def owners(*routes: str) -> list[int]:
        made = assign_attempts(fronts, one, {(number, 0): route for number, route in enumerate(routes, start=1)})
        return [number for number, _ in waiting if not made[number, 0].certain]

    assert owners("/gone", "/refused", "/gone", "/gone", "/refused") == [5]
    assert owners("/gone", "/refused", "/gone", "/new", "/gone") == [4]
    assert owners("/gone", "/refused", "/new", "/new", "/new") == [3]


@pytest.mark.parametrize(("route", "kind"), [("/refused", "refused"), ("/up", "not-passed-on"), ("/new", "not-passed-on")])
def test_a_busy_gateway_connects_late_where_the_route_leads_to_that_server(route: str, kind: str) -> None:
    """nginx on a machine at its limit: 28 ms from the request to its SYN, and 39 ms from the refusal to its response."""
    fronts = {(1, 0): Front(answered(502, 72 * MS, connection=1))}
    lead = {("10.0.0.2:80", "/up"): {"10.0.0.4:8001"}, ("10.0.0.2:80", "/refused"): {"10.0.0.3:8001"}}
    late = {"10.0.0.2:80": [attempt(28 * MS, refused=33 * MS)]}
    [failure] = failures(assign_attempts(fronts, late, {(1, 0): route}, lead)).values()
    assert failure.kind == kind
    assert not assign_attempts(fronts, {"10.0.0.2:80": [attempt(-MS, refused=33 * MS)]}, {(1, 0): route}, lead)[1, 0].tries


@pytest.mark.parametrize("words", ["whose path led to that server", "whose host led to that server"])
def test_what_a_route_led_to_is_learned_from_requests_that_succeeded(words: str) -> None:
    """The other request was answered first, so only the route shows whose attempt was refused."""
    [text] = [text for title, text in LADDERS.items() if words in title]
    found = {f.kind: f.message for f in findings(text) if f.rule == "gateway-error"}
    told = {kind: (text.split()[1].rpartition("/")[2], text.rpartition("probably ")[2]) for kind, text in found.items()}
    assert told == {"refused": ("b", "belonged to this request."), "not-passed-on": ("a", "belonged to other requests.")}


def test_who_owns_an_attempt_that_several_requests_may_own_is_told_as_a_guess() -> None:
    fronts = {(n, 0): Front(answered(503, (5 + n) * MS, connection=n)) for n in (1, 2)}
    routes = {(1, 0): "/refused", (2, 0): "/up"}
    attempts = {"10.0.0.2:80": [attempt(MS, refused=5 * MS)]}
    up = {("10.0.0.2:80", "/up"): {"10.0.0.4:8001"}}
    found = failures(assign_attempts(fronts, attempts, routes, up))
    assert {key: (one.kind, one.guessed) for key, one in found.items()} == {
        (1, 0): ("refused", True),
        (2, 0): ("not-passed-on", True),
    }
    [alone] = failures(assign_attempts({(1, 0): fronts[1, 0]}, attempts, routes, up)).values()
    assert (alone.kind, alone.guessed) == ("refused", False)
    lead = {("10.0.0.2:80", "/up"): {"10.0.0.3:8001"}, ("10.0.0.2:80", "/refused"): {"10.0.0.4:8001"}}
    assert failures(assign_attempts(fronts, attempts, routes, lead))[2, 0].kind == "refused"


def test_a_chain_is_followed_to_its_end() -> None:
    rows = [(0, 0, 1, 0, True, 1), (1, 0, 2, 0, True, 2), (5, 0, 6, None, False, 3)]
    behind = CertainTries(pl.DataFrame(rows, schema=TRIES.schema, orient="row"))
    places = behind.whole_chain().select("front_connection", "connection").rows()
    assert sorted(places) == [(0, 1), (0, 2), (1, 2)]
    core = pl.DataFrame({"id": [7, 8], "connection": [2, 9], "exchange": [0, 0]}, schema_overrides={"exchange": pl.Int32})
    assert behind.with_fronts(core)["front"].to_list() == [0, None]


ATTEMPT = """
  connection 2, start {start}, client 10.9.0.2:50002, server 10.9.0.3:8001
  0.0000  >  S    mss 1460
  0.0004  <  R.   ack 1
"""
EMPTY = """
  connection 2, start {start}, client 10.9.0.2:50002, server 10.9.0.3:8001
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0020  >  F.
  0.0024  <  F.
  0.0024  >  .
"""
UNOPENED = """
  connection 2, start {start}, client 10.9.0.2:50002, server 10.9.0.3:8001
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.2000  >  S    mss 1460
  0.2004  <  S.   mss 1460
"""
TLS = r"""
  connection 2, start 0.1, client 10.9.0.2:50002, server 10.9.0.3:8443
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"
  0.0020  <  P.   "\x16\x03\x03\x00\x05\x02\x00\x00\x01\x03"
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", ""),
        (ATTEMPT.format(start=0.1), " (but connection attempts failed meanwhile: 10.9.0.3:8001)"),
        (ATTEMPT.format(start=0.6), ""),
        (EMPTY.format(start=0.1), " (but a connection without a request was opened meanwhile to 10.9.0.3:8001)"),
        (EMPTY.format(start=0.1).replace("10.9.0.2", "10.0.0.1"), ""),
        (EMPTY.format(start=0.6), ""),
        (UNOPENED.format(start=0.1), " (but meanwhile nothing acknowledged the SYN-ACKs of 10.9.0.3:8001)"),
        (TLS, " (but there is TLS with 10.9.0.3:8443)"),
        (TLS.replace("10.9.0.2", "10.0.0.1"), ""),
        (TLS.replace("start 0.1", "start 0.6"), ""),
    ],
)
def test_what_may_be_behind_a_gateway_with_another_address_is_told(more: str, said: str) -> None:
    """The attempt was made by another host than the client, whose request waits from 1 to 500 ms."""
    [text] = [text for title, text in LADDERS.items() if "a 504 where no gateway is in the capture" in title]
    [found] = [one for one in findings(text + more) if one.rule == "gateway-error"]
    assert f"The capture has no readable connection to a server behind the gateway{said}, so" in found.message
    begins = {
        "without a request": "Check the gateway's log",
        "nothing acknowledged": "Check whether the SYN-ACKs of that server reach",
        "attempts failed": "If the gateway made the",
    }
    assert found.remedy.startswith(next((begin for words, begin in begins.items() if words in said), "Capture both sides"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hung inside its response", "had sent only part of its response, and then nothing for 7 s."),
        ("the client left first, and the gateway ended its try", "had not answered in 3 s."),
    ],
)
def test_a_client_that_left_a_waiting_gateway_says_for_whom_that_waited(words: str, said: str) -> None:
    assert of(words, "client-abort").message.endswith(f"The gateway was waiting for 10.0.0.3:8001, which {said}")


def test_a_client_that_left_a_stream_did_not_leave_a_waiting_gateway() -> None:
    assert "The gateway was waiting" not in of("passed on piece by piece", "client-abort").message


UNREACHABLE = r"""
connection 1, client 10.0.0.1:4001, server 10.0.0.2:80
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.020  >  P.   "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
  0.060  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.060  >  .
  1.020  >  P.   "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
  1.030  <  .
  5.326  >  R.
connection 2, client 10.0.0.2:5001, server 10.0.0.3:8001
  0.026  >  S    win 64240 mss 1460
  0.027  <  S.   win 64240 mss 1460
  0.027  >  .
  0.028  >  P.   "GET /ok HTTP/1.0\r\nHost: a\r\n\r\n"
  0.040  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.041  <  F.
  0.042  >  F.
  0.043  <  .
connection 3, client 10.0.0.2:5002, server 10.0.0.3:8001
  1.026  >  S    mss 1460
  2.026  >  S    mss 1460
  4.026  >  {last}
"""


@pytest.mark.parametrize(("last", "waits"), [("S    mss 1460", True), ("S    mss 1460\n  4.027  <  R.   ack 1", False)])
def test_a_client_that_left_while_the_gateway_was_not_connected(last: str, waits: bool) -> None:
    """It leaves 1.3 s after the gateway's last SYN, and 4.3 s after the first; a refusal ends the wait before."""
    said = "The gateway was waiting for 10.0.0.3:8001, which had not answered its SYN in 4.3 s."
    messages = [one.message for one in findings(UNREACHABLE.replace("{last}", last))]
    assert any(message.endswith(said) for message in messages) == waits


def test_a_gateway_that_gave_up_is_called_so_where_only_its_back_was_captured() -> None:
    assert of("only the back", "client-abort").title.startswith("The gateway gave up 2 s after its request")


def test_the_time_lost_behind_a_gateway_ends_with_its_error() -> None:
    """The gateway's client had its 504 1 s after the request; the window behind stayed closed for another second."""
    told = of("closed, and 502 in front")

    def found(rule: str, elapsed: float, end: float, front: int | None, caused_by: tuple[Cause, ...] = ()) -> Finding:
        evidence = (Evidence(1, elapsed, "the first packet"), Evidence(2, end, "the last packet"))
        return replace(
            told, rule=rule, kind=None, connection=0 if front is None else 1, exchange=0, elapsed=elapsed,
            delay=end - elapsed, evidence=evidence, front=front, caused_by=caused_by,
        )  # fmt: skip

    window = found("zero-window-stall", 0.5, 2.0, front=0)
    error = found("gateway-error", 0.0, 1.0, None, (window.place[1],))
    assert total_delay([window, error]) == pytest.approx(1.0)
    alone = found("slow-response", 0.0, 1.0, None)
    assert total_delay([window, alone]) == pytest.approx(2.0)


@pytest.mark.parametrize(("wait", "said"), [(1.1, "got its response 1.1 s later because of that"), (0.95, "noticed nothing")])
def test_a_server_that_ignores_a_syn_costs_the_time_until_the_gateway_tries_another(
    tmp_path: Path, wait: float, said: str
) -> None:
    at = 0.002 + wait
    text = f"""
        connection 1
        0.0000  >  S    mss 1460
        0.0004  <  S.   mss 1460
        0.0004  >  .
        0.0010  >  P.   "GET /one HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
        {at + 0.002:.4f}  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
        {at + 0.003:.4f}  >  F.
        {at + 0.004:.4f}  <  F.
        connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001
        0.0020  >  S    mss 1460
        connection 3, client 10.0.0.2:50003, server 10.0.0.4:8001
        {at:.4f}  >  S    mss 1460
        {at + 0.0004:.4f}  <  S.   mss 1460
        {at + 0.0004:.4f}  >  .
        {at + 0.0006:.4f}  >  P.   "GET /one HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
        {at + 0.0010:.4f}  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
        {at + 0.003:.4f}  >  F.
        {at + 0.004:.4f}  <  F.
    """
    (tmp_path / "l.pcap").write_bytes(to_pcap(ladder_packets(text)))
    report = wiredoctor.analyze(tmp_path / "l.pcap")
    [told] = report.findings
    assert (told.rule, told.kind, told.connection) == ("connect-failed", "timed-out", 1)
    assert said in told.message
    assert report.delay == pytest.approx(wait, abs=0.001)


ASKED_FAR = r"""
  connection 1
  0.0000  >  S    mss 1460 id 100
  0.0204  <  S.   mss 1460 id 0 ttl 52
  0.0204  >  .    id 101
  0.0210  >  P.   "GET /1/a/order HTTP/1.1\r\nHost: a\r\n\r\n" id 102
"""
TRY_FAR = r"""
  connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001
  0.0220  >  S    mss 1460
  0.0424  <  S.   mss 1460 ttl 52 id 0
  0.0424  >  .
  0.0426  >  P.   "GET /1/a/order HTTP/1.1\r\nHost: a\r\n\r\n"
"""
GOT_502 = r"""
  0.0900  <  P.   "HTTP/1.1 502 Bad Gateway\r\nServer: nginx/1.22.1\r\nContent-Length: 3\r\n\r\nbad" id 7001 ttl 52
  0.0910  >  F.   id 103
  0.1115  <  F.   id 7002 ttl 52
"""
GOT_PART = r"""
  0.0900  <  P.   "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 30\r\n\r\nbad" id 7001 ttl 52
  0.0920  <  F.   id 7002 ttl 52
  0.0925  >  F.   id 103
"""
ANSWER_FAR = r"""
  0.0630  <  .    ttl 52 id 7001
  0.0640  <  .    ttl 52 id 7002
  0.0700  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nbad" ttl 52 id 7003
"""


def test_a_device_that_resets_the_try_is_named_and_not_the_server() -> None:
    found = findings(ASKED_FAR + GOT_502 + TRY_FAR + "  0.0430  <  R.   ttl 253 id 7001 ack 37\n")
    foreign, told = found
    assert (foreign.rule, told.rule, told.kind, told.origin, told.side) == (
        *("foreign-reset", "gateway-error", "closed", "between", None),
    )
    assert told.title == (
        "The gateway answered 502: a device on the path to the server behind it closed the connection without a response"
    )
    assert "a device on the path, not the server behind it (10.0.0.3:8001), closed the connection (RST)" in told.message
    assert told.remedy.startswith("The cause is behind the gateway: look for the device that ended the connection")
    assert "log" not in told.remedy
    assert "the RST that a device on the path sent in the server's name, without a response" in [e.note for e in told.evidence]
    assert [cause.rule for cause in told.caused_by] == ["foreign-reset"]


def test_a_device_that_breaks_off_the_response_behind_the_gateway() -> None:
    found = findings(ASKED_FAR + GOT_PART + TRY_FAR + ANSWER_FAR + "  0.0720  <  R.   ttl 253 id 0\n")
    [told] = [one for one in found if one.rule == "gateway-error"]
    assert (told.kind, told.origin, told.side) == ("truncated", "between", None)
    assert told.title == "The gateway broke off its 200: a device on the path broke off the response of the server behind it"
    assert "a device on the path broke off the response of the server behind it (10.0.0.3:8001) (RST in its name)" in told.message
    assert told.remedy.startswith("Look for the device that ended the connection in the name of the server behind it")
    assert not [one for one in found if one.rule == "truncated-response"]


@pytest.mark.parametrize(("ttl", "origin", "confidence"), [(52, "endpoint", "high"), (63, None, "medium")])
def test_a_close_behind_the_gateway_with_another_ttl_is_doubted(ttl: int, origin: str | None, confidence: str) -> None:
    for close in ("F.", "R."):
        found = findings(ASKED_FAR + GOT_502 + TRY_FAR + f"  0.0830  <  {close}   ttl {ttl} id 7001\n")
        [told] = [one for one in found if one.rule == "gateway-error"]
        assert (told.kind, told.side, told.origin, told.confidence) == ("closed", "server", origin, confidence)
        [note] = [e.note for e in told.evidence if "without a response" in e.note]
        assert ("its TTL differs" in note) == (ttl == 63)


def test_a_device_that_resets_the_front_makes_no_failure_of_the_gateway() -> None:
    """The gateway then gives up its try, because it believes that its client has left."""
    found = findings(ASKED_FAR + "  0.0220  <  R.   ttl 253 id 7001 ack 37\n" + TRY_FAR + "  0.0830  >  F.\n")
    assert [(one.rule, one.origin) for one in found] == [("foreign-reset", "between")]


def test_the_origin_of_the_gateways_own_close() -> None:
    found = findings(ASKED_FAR + GOT_502 + TRY_FAR + "  0.0830  >  F.\n")
    [told] = [one for one in found if one.rule == "gateway-error"]
    assert (told.kind, told.origin) == ("timed-out", "endpoint")


def test_the_own_statuses_of_a_gateway_say_why_it_failed() -> None:
    told = of("Cloudflare's 521")
    assert "With this status Cloudflare says that the server behind it refused the connection." in told.message
    assert told.message.endswith("so it is unknown why.")
    assert "log of the server behind Cloudflare" in told.remedy
    told = of("a 503 of AWS ALB")
    assert "no server behind it is registered or in use, or one of its rules sends this response." in told.message
    assert "describe-target-health" in told.remedy
    assert "idle_timeout.timeout_seconds" in of("a 504 of AWS ALB").message
    assert "a gateway reports the failure of a server behind it" in of("a 503 of Squid").message


@pytest.mark.parametrize(("answered", "begun", "causes"), [(3.0, "3.000", ["slow-response"]), (1.2, "1.200", [])])
def test_a_slow_server_behind_is_the_cause_if_the_client_gives_up(answered: float, begun: str, causes: list[str]) -> None:
    """Of the client that gave up after 2.5 s. A server behind that took 1.2 s does not explain most of that wait."""
    of_response = [] if answered < 2.5 else [f"  {answered + 0.001:.3f}  <  P.   {RESPONSE}", f"  {answered + 0.0012:.4f}  >  R"]
    lines = [
        "  connection 1",
        "  0.000  >  S    mss 1460",
        "  0.0004  <  S.   mss 1460",
        "  0.0004  >  .",
        r'  0.001  >  P.   "GET /slow/behind HTTP/1.1\r\nHost: a\r\n\r\n"',
        "  0.0012  <  .",
        "  2.501  >  F.",
        "  2.5012  <  .",
        *of_response,
        "  connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001",
        "  0.002  >  S    mss 1460",
        "  0.0024  <  S.   mss 1460",
        "  0.0024  >  .",
        r'  0.0026  >  P.   "GET /slow/behind HTTP/1.1\r\nHost: a\r\n\r\n"',
        "  0.0028  <  .",
        f"  {begun}  <  P.   {RESPONSE}",
        f"  {answered + 0.0002:.4f}  >  .",
    ]
    found = {(one.rule, one.connection): one for one in findings("\n".join(lines))}
    assert any(rule == "slow-response" for rule, _ in found)
    assert [(cause.rule, cause.connection) for cause in found["client-abort", 0].caused_by] == [(cause, 1) for cause in causes]


RESPONSE = r'"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"'


@pytest.mark.parametrize(("closer", "said", "ends"), [
    (">", "did not finish", ", and the gateway did not end its own response in the 2 s after that."),
    ("<", "broke off", "broke off its response (FIN)."),
])  # fmt: skip
def test_a_gateway_that_leaves_its_client_waiting_after_the_server_broke_off(closer: str, said: str, ends: str) -> None:
    """node http-proxy goes on waiting; others end their response, too."""
    opened = "  0.0000 > S mss 1460\n  0.0004 < S. mss 1460\n  0.0004 > .\n"
    request = '"GET /half HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'
    part = '"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\n" + x*10'
    text = (
        f"connection 1\n{opened}  0.0010 > P. {request}\n  0.0040 < P. {part}\n  0.0045 > .\n  3.0000 {closer} F.\n"
        f"connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001, start 0.001\n{opened}  0.0010 > P. {request}\n"
        f"  0.0020 < P. {part}\n  0.0025 > .\n  0.9990 < F.\n  1.0000 > .\n"
    )
    [found] = [one for one in found_in(text) if one.rule == "gateway-error"]
    assert found.title.startswith(f"The gateway {said} its 200: ")
    assert found.message.endswith(ends)


@pytest.mark.parametrize(
    ("length", "status", "said"),
    [(1800, "504 Gateway Timeout", True), (900, "504 Gateway Timeout", False), (1800, "502 Bad Gateway", False)],
)
def test_an_unseen_gateway_may_have_waited_for_its_client(length: int, status: str, said: bool) -> None:
    text = (
        "connection 1\n  0.0000 > S mss 1460\n  0.0004 < S. mss 1460\n  0.0004 > .\n"
        f'  0.0010 > P. "POST /up HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: {length}\\r\\n\\r\\n" + x*900\n'
        f'  2.0050 < P. "HTTP/1.1 {status}\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nbad"\n'
        "  2.0051 < F.\n  2.0060 > F.\n"
    )
    [found] = [one for one in found_in(text) if one.rule == "gateway-error"]
    sentence = "When this response came, the client had sent only part of its request: it may be the client that stopped."
    assert found.kind == "unseen"
    assert (sentence in found.message) is said


def test_the_report_says_how_many_failures_were_not_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request of the recording failed: haproxy answered it with 504."""
    path = find_stem("behind-haproxy-timeout")
    assert "gateway-error" in {finding.rule for finding in wiredoctor.analyze(path).findings}
    monkeypatch.setattr(limits.GATEWAY_FAILURES, "value", 0)
    report = wiredoctor.analyze(path)
    assert report.limits == ["The newest 0 exchanges that failed are examined for a reason behind a gateway; 1 more was left out"]
    assert "gateway-error" not in {finding.rule for finding in report.findings}


def test_nothing_is_left_out_where_no_host_failed_to_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a known gateway, a failed exchange is only examined together with failed connections of its server."""
    monkeypatch.setattr(limits.GATEWAY_FAILURES, "value", 0)
    text = LADDERS["speaks: unseen, a 504 where no gateway is in the capture"]
    (tmp_path / "l.pcap").write_bytes(to_pcap(ladder_packets(text)))
    report = wiredoctor.analyze(tmp_path / "l.pcap")
    assert [finding.rule for finding in report.findings].count("gateway-error") == 1
    assert not report.limits


def _exchange(number: int, at: float, path: str, status: str, server: str, client: str, took: float) -> str:
    """A connection with one exchange, as a ladder."""
    return f"""connection {number}, start {at}, client {client}:{5000 + number}, server {server}
  0.000  >  S    mss 1460
  0.0001  <  S.   mss 1460
  0.0002  >  .
  0.0003  >  P.   "GET {path} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  {0.0003 + took:.4f}  <  P.   "HTTP/1.1 {status}\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  {0.0008 + took:.4f}  >  F.
  {0.0010 + took:.4f}  <  F.
"""


@pytest.mark.parametrize("serves", [True, False])
def test_a_gateway_that_also_answers_itself_is_named_as_a_server(serves: bool, tmp_path: Path) -> None:
    front, back = ("10.0.0.2:80", "10.0.0.1"), ("10.0.0.3:80", "10.0.0.2")
    text = ""
    for number in range(4):
        path = f"/key/{number}"
        text += _exchange(2 * number, 0.2 * number, path, "200 OK", *front, 0.02)
        if number < 3 or not serves:
            text += _exchange(2 * number + 1, 0.2 * number + 0.002, path, "200 OK", *back, 0.01)
    text += _exchange(8, 1.0, "/key/8", "503 Service Unavailable", *front, 0.02)
    report = analyze_bytes(tmp_path / "some.pcap", capture(text))
    [one] = [finding for finding in report.findings if finding.rule == "gateway-error"]
    assert one.kind == "not-passed-on"
    assert ("also answers 25 % of such requests itself" in one.message) is serves
    assert (one.remedy or "").startswith("This server also answers requests itself") is serves


@pytest.mark.parametrize(
    ("own", "failed", "page", "kept"),
    [
        ("/key/own{}", "/key/8", "", False),
        ("/key/own{}", "/key/0", "", True),  # forwarded earlier, as by a cache
        ("/health/{}", "/key/8", "", True),  # a gateway answers health checks of its own
        ("/key/own{}", "/key/8", "Server: nginx\\r\\n", True),
    ],
)
def test_a_503_of_a_peer_is_its_own(own: str, failed: str, page: str, kept: bool, tmp_path: Path) -> None:
    """A peer answers three keys itself and forwards three; then it fails one, asked by a client and by another peer."""
    asked, back, peer = ("10.0.0.2:80", "10.0.0.1"), ("10.0.0.3:80", "10.0.0.2"), ("10.0.0.4:80", "10.0.0.1")
    to_peer = ("10.0.0.2:80", "10.0.0.4")
    text, number = "", 0

    def add(at: float, path: str, status: str, ends: tuple[str, str], took: float, fields: str = "") -> None:
        nonlocal text, number
        text += _exchange(number, at, path, status, *ends, took).replace("Content-Length: 2", f"{fields}Content-Length: 2")
        number += 1

    for key in range(3):
        add(0.4 * key, f"/key/{key}", "200 OK", asked, 0.02)
        add(0.4 * key + 0.002, f"/key/{key}", "200 OK", back, 0.01)
        add(0.4 * key + 0.1, own.format(key), "200 OK", asked, 0.02)
        add(0.4 * key + 0.2, own.format(f"far{key}"), "200 OK", peer, 0.02)
        add(0.4 * key + 0.202, own.format(f"far{key}"), "200 OK", to_peer, 0.01)
    add(2.0, failed, "503 Service Unavailable", asked, 0.02, page)
    add(2.2, "/key/9", "503 Service Unavailable", peer, 0.02, page)
    add(2.202, "/key/9", "503 Service Unavailable", to_peer, 0.01, page)
    report = analyze_bytes(tmp_path / "some.pcap", capture(text))
    found = [finding for finding in report.findings if finding.rule == "gateway-error"]
    assert any(f"GET {failed} " in finding.message for finding in found) is kept
    assert kept or not found


@pytest.mark.parametrize("passes", [(2,), (2, 3, 1)])
def test_a_bucket_that_is_refilled_is_a_limit_of_the_rate(passes: tuple[int, ...], tmp_path: Path) -> None:
    """In each 40 ms, the gateway forwards the first requests and refuses the rest; if it always forwards two, by a limit."""
    front, back = ("10.0.0.2:80", "10.0.0.1"), ("10.0.0.3:80", "10.0.0.2")
    text, number = "", 0
    for turn in range(15):
        for place, slot in enumerate((0.0, 0.002, 0.03, 0.033, 0.036)):
            begun, passed = 0.1 + turn * 0.04 + slot, place < passes[turn % len(passes)]
            status, wait = ("200 OK", 0.005) if passed else ("503 Service Unavailable", 0.0002)
            text += _exchange(number, begun, "/key", status, *front, wait)
            if passed:
                text += _exchange(number + 1, begun + 0.0005, "/key", status, *back, wait - 0.002)
            number += 2
    report = analyze_bytes(tmp_path / "some.pcap", capture(text))
    kind = "rate-limit" if len(passes) == 1 else "not-passed-on"
    assert {one.kind for one in report.findings if one.rule == "gateway-error"} == {kind}


@pytest.mark.parametrize(
    ("slots", "took", "repeats", "kind"),
    [
        ((0.0, 0.012, 0.024), 0.005, True, "rate-limit"),
        ((0.0, 0.0125, 0.0635), 0.005, True, "not-passed-on"),  # a limit of the rate would have let the last one pass
        ((0.0, 0.001, 0.002), 0.011, True, "not-passed-on"),  # refused only while another request is open
        ((0.0, 0.012, 0.024), 0.005, False, "not-passed-on"),  # refused because of its target
    ],
)
def test_a_limit_of_the_rate_is_named(slots: tuple[float, ...], took: float, repeats: bool, kind: str, tmp_path: Path) -> None:
    """Every 40 ms, or twice every 80 ms, the gateway forwards the first of three requests, and refuses two within 0.2 ms."""
    front, back = ("10.0.0.2:80", "10.0.0.1"), ("10.0.0.3:80", "10.0.0.2")
    text, number = "", 0
    early = 0.03 if slots[-1] > 0.04 else 0.0
    for turn in range(14):
        for place, slot in enumerate(slots):
            path = f"/key/{turn}" if repeats or not place else f"/key/{turn}/{place}"
            begun = 0.1 + turn * 0.04 - turn % 2 * early + slot
            status, wait = ("503 Service Unavailable", 0.0002) if place else ("200 OK", took)
            text += _exchange(number, begun, path, status, *front, wait)
            if not place:
                text += _exchange(number + 1, begun + 0.0005, path, status, *back, wait - 0.002)
            number += 2
    report = analyze_bytes(tmp_path / "some.pcap", capture(text))
    found = [finding for finding in report.findings if finding.rule == "gateway-error"]
    assert [(finding.kind, finding.severity) for finding in found] == [
        (kind, "warning" if kind == "rate-limit" else "error")
    ] * 28
    assert ("it forwards one request every 40 ms on average" in found[0].message) == (kind == "rate-limit")
