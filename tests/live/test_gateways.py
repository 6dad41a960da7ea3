"""Test that failures at gateways are reported during a capture, and that the final report agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.gateways.made import Traffic
from tests.ladders import Packet, ladder_packets, ladders_in, to_pcap
from tests.live.playing import Played, Stop, pcapng, play, with_silence
from tests.live.test_played import as_json, assert_true_to, of_file, times_of_day
from tests.support.analysis import analyze_bytes
from tests.support.recordings import find_recording
from tests.support.sweeps import FORMS, SLOW, WHOLE, sweep
from wiredoctor import gateways, limits, rule_engine
from wiredoctor.engine import open_exchanges
from wiredoctor.engine.live import LiveAnalysis
from wiredoctor.findings import Finding
from wiredoctor.gateways import TRIES, Doubt, Gateways
from wiredoctor.live import quota
from wiredoctor.live.gateway_groups import SLACK, Pairing, Until, times_of
from wiredoctor.live.quota import Quota
from wiredoctor.rule_engine.candidates import Candidates
from wiredoctor.tables import MILLISECOND, SECOND

RULE = "gateway-error"
STEP = SECOND // 4

LADDERS = {
    name.partition(": ")[2]: text
    for name, text in ladders_in(Path(__file__).parents[1] / "rules" / "gateways" / "gateway_error.txt")
    if name.startswith("speaks") and "=> gateway-error" in text and "kind unseen" not in text
}
SOON = 3.5
"""Seconds after the client got it, within which a failure is told."""

NOT_PROVEN = {
    # the only pair of exchanges in the capture, and the front says nothing of a server behind it: that may be chance
    "truncated on both sides",
    "rejected-response: the gateway has the complete response, and closes both connections without a byte for its client",
    "truncated, where the client did not read, but the server closed in the middle of its response",
    "timed out, and 408 in front, as of e2guardian and ziproxy",
    # a response had begun, and its server has not closed: more of it may come
    "truncated, because the server stalled in its response until the gateway gave up",
    "truncated, because the gateway itself closed while the response was arriving",
    "client-stalled: the client did not read, and the gateway gave up",
    "stream-timed-out: the gateway ends an event stream after 3 s without data",
    "stream-timed-out: the server sends the next event after the gateway has closed",
    "stream-timed-out: as an error of an answer to a POST, after any silence",
    "a gateway gives up a silent server, and ends the body of its answer as if it were complete",
    "truncated: an event stream that answers a POST, and that its server ends",
    # a segment of the response never came: until the capture ends, it may still come
    "timed out, because the first segment of a later response never arrives",
    "timed out, because the first segment of the response never arrives, although its FIN does",
    "truncated, because a segment of the response behind never arrives",
    "truncated, because a segment of the response behind never arrives, although its FIN does",
    "truncated, because a segment of a chunked response behind never arrives",
    # the inner gateway's connection stays half-open: only the final report knows that its server sends nothing more
    "timed-out at the inner gateway, whose 502 the outer one passes on",
    # the gateway has answered, but goes on sending its request to the server: only the final report knows that nothing came of it
    "unsent: the server behind still reads, but slowly, when the gateway gives up",
    # no pair at all: only the final report knows that no request shows what is behind them
    "two gateways on one host were refused at the same time, and no other request shows that they are gateways",
    # the main server has not answered yet, and the copy's server has: only the final report knows which of them decided
    "timed-out: the main server does not answer, and the copy for another server got a 200",
    # nothing shows that the server is a gateway for the called one: its failed call is left to the final report
    "an application answers 500 because a second service hangs, not because of the first, which answered 200",
    "nginx asks an authorization service for the same target (auth_request), which answers 500: a page of its own",
    # the health check is paired with no client's request, and only the final report knows that it never will be
    "queued, then not passed on, while the gateway checked the health of the server behind it",
}
UNEVEN = {
    *NOT_PROVEN,
    # that the other address is the gateway's is known from the second attempt on: it depends on which packets a look has
    "the gateway has another address behind, and its server refuses every connection",
}
"""Failures that are left to the final report."""


def silently(path: Path, stops: list[Stop], seconds: float) -> list[Stop]:
    """Return the same as with_silence, but look four times per second, also between packets."""
    found = with_silence(path, stops, seconds)
    return [
        Stop(one.end, time, min(time + STEP, after.time))
        for one, after in pairwise(found)
        for time in range(one.time, max(after.time, one.time + 1), STEP)
    ] + found[-1:]


def played(text: str, tmp_path: Path, seconds: float = 12.0) -> Played:
    """Play a ladder packet by packet, and the silence after it. Check that the report has all live findings, as the file's."""
    return play_packets(ladder_packets(text), tmp_path, seconds)


def play_packets(packets: Sequence[Packet], tmp_path: Path, seconds: float = 12.0) -> Played:
    """Do the same as `played`, with these packets."""
    (tmp_path / "ladder.pcap").write_bytes(to_pcap(packets))
    trace = tmp_path / "trace.pcapng"
    found = play([(trace, 0)], silently(trace, pcapng(tmp_path / "ladder.pcap", trace), seconds))
    assert_true_to(found)
    live, file = as_json(found.report), of_file(trace)
    if all(before.time <= after.time for before, after in pairwise(packets)):
        assert live == file
    assert times_of_day(live) == times_of_day(file)
    return found


def failures(findings: list[Finding]) -> list[tuple[str | None, int | None, int | None]]:
    return [(one.kind, one.connection, one.exchange) for one in findings if one.rule == RULE]


def waits(found: Played) -> list[float]:
    """Return how long (s) after its last evidence packet each failure was reported."""
    first = found.begun
    return [
        (now - first) / SECOND - max(step.elapsed for step in one.evidence)
        for now, (_, one) in zip(found.times, found.told, strict=True)
        if one.rule == RULE
    ]


@FORMS
@pytest.mark.parametrize("name", sweep(LADDERS, [*LADDERS][::12].__contains__))
def test_every_kind_is_told_with_its_causes(name: str, tmp_path: Path) -> None:
    """A close is decided a second after it, and a SYN without an answer, too. That nothing came is known a second late; there are
    two searches in a second, and four looks."""
    found = played(LADDERS[name], tmp_path)
    told, report = failures([one for _, one in found.told]), failures(found.report.findings)
    assert report
    assert told == ([] if name in NOT_PROVEN else report)
    assert max(waits(found), default=0) <= SOON


@FORMS
@pytest.mark.parametrize("name", sweep([name for name in LADDERS if name not in UNEVEN], [*LADDERS][5::30].__contains__))
def test_looks_without_time_tell_the_same_a_little_later(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Each look decides one thing of each kind, the oldest, searches few exchanges, and reports what the look before left."""
    whole = played(LADDERS[name], tmp_path)

    def one_at_a_time(one: Quota, _: int, most: int, *__: float) -> None:
        one.size = 16 if most == limits.LIVE_PAIRED.value else 1

    monkeypatch.setattr(quota, "LOOK", -1.0)
    monkeypatch.setattr(Quota, "__init__", one_at_a_time)
    monkeypatch.setattr(Quota, "learn", lambda *_: None)
    slow = played(LADDERS[name], tmp_path)
    assert [one.rule for _, one in slow.told] != []
    assert sorted(failures([one for _, one in slow.told])) == sorted(failures([one for _, one in whole.told]))
    places = ({(one.rule, one.connection, one.exchange) for _, one in some.told} for some in (slow, whole))
    assert next(places) <= next(places)
    assert as_json(slow.report) == as_json(whole.report)


@pytest.mark.parametrize(
    ("count", "took", "size"),
    [
        pytest.param(100, 0.4, 25, id="too long: fewer"),
        pytest.param(100, 40.0, 10, id="never fewer than the least"),
        pytest.param(50, 0.09, 100, id="just in time: as many"),
        pytest.param(5, 0.2, 10, id="a few that take long"),
    ],
)
def test_a_quota_shrinks_by_what_it_took(count: int, took: float, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "cpu_time", lambda: took)
    one = Quota(10, 100, 0.1)
    assert one.size == 10
    one.size = 100
    one.learn(count, 0.0)
    assert one.size == size


def test_a_quota_grows_again_while_all_of_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([1.0, 0.01, 0.01, 0.01])
    monkeypatch.setattr(quota, "cpu_time", lambda: next(now))
    one, sizes = Quota(10, 100, 0.1), list[int]()
    for count in (100, 4, 10, 20):
        one.learn(count, 0.0)
        sizes.append(one.size)
    assert sizes == [10, 10, 20, 40]


FORWARDED = r"""
connection 11, client 10.0.0.1:4011, server 10.0.0.2:80
  0.000 > S mss 1460
  0.001 < S. mss 1460
  0.001 > .
  0.002 > P. "GET /fine HTTP/1.1\r\nHost: a\r\n\r\n"
  0.010 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.010 > .
connection 12, client 10.0.0.2:50012, server 10.0.0.3:8001
  0.003 > S mss 1460
  0.004 < S. mss 1460
  0.004 > .
  0.005 > P. "GET /fine HTTP/1.1\r\nHost: a\r\n\r\n"
  0.008 < P. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.008 > .
"""


@SLOW
def test_a_408_is_told_at_once_of_a_gateway_that_has_forwarded_before(tmp_path: Path) -> None:
    ladder = LADDERS["timed out, and 408 in front, as of e2guardian and ziproxy"]
    before = [replace(packet, time=packet.time - SECOND) for packet in ladder_packets(FORWARDED)]
    found = play_packets([*before, *ladder_packets(ladder)], tmp_path)
    assert failures([one for _, one in found.told]) == failures(found.report.findings) == [("timed-out", 2, 0)]
    assert max(waits(found)) <= SOON


BEFORE = "connection 9, client 10.0.9.1:4000, server 10.0.9.2:80\n 0.0 > S mss 1460\n 0.1 < S. mss 1460\n 0.2 > .\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    sweep(
        [
            name
            for name in LADDERS
            if name.startswith(("refused, and only", "unreachable", "timed out, and 504", "not passed on"))
        ],
        lambda name: name.startswith("not passed on"),
    ),
)
def test_what_fails_after_the_clock_was_set_back_is_told_as_ever(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Packets of another connection were captured before, and are stamped so much later that rules which compare connections
    would not see what comes now if only time stamps counted."""
    before = [replace(packet, time=packet.time + 5_400 * SECOND) for packet in ladder_packets(BEFORE)]
    ladder = ladder_packets(LADDERS[name])
    alone, after = (play_packets(packets, tmp_path) for packets in (ladder, [*before, *ladder]))
    of_each = [
        [(time, one.rule, one.kind) for time, (_, one) in zip(found.times, found.told, strict=True)] for found in (alone, after)
    ]
    assert of_each[0]
    assert of_each[1] == of_each[0]


@pytest.mark.parametrize(
    ("name", "kind"),
    sweep(
        [
            ("behind-apache-crash", "closed"),
            ("behind-caddy-traceback", "rejected-response"),
            ("behind-haproxy-crash", "closed"),
            ("behind-haproxy-timeout", "timed-out"),
            ("behind-haproxy-unauthorized", "closed"),
            ("behind-nginx-race", "closed"),
            ("behind-nginx-unreachable", "unreachable"),
            ("behind-two-gateways", "closed"),
        ],
        lambda one: one[0] == "behind-haproxy-timeout",
    ),
)
def test_recordings(name: str, kind: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.pcapng"
    found = play([(trace, 0)], silently(trace, pcapng(find_recording(f"{name}.pcap"), trace), 10.0))
    assert_true_to(found)
    assert as_json(found.report) == of_file(trace)
    assert [one for one, *_ in failures([one for _, one in found.told])] == [kind]
    assert max(waits(found)) <= SOON


def test_rules_that_a_failure_at_the_front_explains_wait_for_its_gateway() -> None:
    waiting = {
        name
        for name, module in rule_engine.catalogue().items()
        if (RULE, "front") in module.rule.explained_by and not module.rule.summary
    }
    assert waiting
    assert waiting <= {*rule_engine.ACROSS_GATEWAYS}


CLOSED = """
  connection {front}
  {0:.4f}  >  S    mss 1460
  {0:.4f}4  <  S.   mss 1460
  {0:.4f}4  >  .
  {0:.4f}5  >  P.   "GET /{path} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  {1:.4f}7  <  F.
  {1:.4f}8  >  F.
  connection {back}, client 10.0.0.2:5000{back}, server 10.0.0.3:8001
  {0:.4f}6  >  S    mss 1460
  {0:.4f}7  <  S.   mss 1460
  {0:.4f}7  >  .
  {0:.4f}8  >  P.   "GET /{path} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  {1:.4f}0  <  F.
  {1:.4f}1  >  F.
"""
"""A gateway closes without an answer, as haproxy does, because the server behind has."""


@SLOW
def test_a_failure_from_before_the_gateway_was_known_is_told_with_the_next(tmp_path: Path) -> None:
    """One silent close within another may be chance; two are a gateway. The first is not reported as something else before."""
    first = CLOSED.format(0.0, 0.1, front=1, back=2, path="one")
    second = CLOSED.format(8.0, 8.1, front=3, back=4, path="two")
    found = played(first + second, tmp_path)
    assert failures([one for _, one in found.told]) == [("closed", 0, 0), ("closed", 2, 0)]
    assert {one.rule for _, one in found.told} == {RULE, "no-response"}
    assert min(now - found.begun for now in found.times) > 8 * SECOND
    alone = played(first, tmp_path)
    assert alone.told == []
    assert failures(alone.report.findings) == [("closed", 0, 0)]


ANSWERED = """
  connection {number}, start {start}, client 10.0.0.{client}:{port}, server {server}
  0.000  >  S    mss 1460
  0.001  <  S.   mss 1460
  0.001  >  .
  0.002  >  P.   "GET /{path} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  {end:.4f}  <  P.   "HTTP/1.1 {status} X\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  {end:.4f}5  >  .
"""


def answered(*exchanges: tuple[float, float, int, str, str, int], form: str = ANSWERED) -> str:
    """Return connections with one exchange each: start and end (s), last byte of the client's address, server, path, status."""
    return "".join(
        form.format(
            number=number,
            start=start,
            port=4000 + number,
            client=client,
            server=server,
            path=path,
            end=end - start,
            status=status,
        )
        for number, (start, end, client, server, path, status) in enumerate(exchanges, 1)
    )


FRONT, BACK = "10.0.0.2:80", "10.0.0.3:8000"


@pytest.mark.slow
def test_a_failure_at_another_port_of_a_gateway_is_left_to_the_report(tmp_path: Path) -> None:
    """Two virtual servers are asked for /x at the same time, and one request is sent on. It lies in both exchanges: of port 80 a
    server behind it is known; of port 81, which answers 502, nothing is known. The server behind port 80 took 0.8 of 3 s."""
    proof = [one for n in range(4) for one in ((n, n + 0.5, 1, FRONT, f"p{n}", 200), (n + 0.1, n + 0.4, 2, BACK, f"p{n}", 200))]
    same = [(10.0, 13.0, 1, FRONT, "x", 200), (11.0, 12.0, 1, "10.0.0.2:81", "x", 502), (11.1, 11.9, 2, BACK, "x", 200)]
    found = played(answered(*proof, *same), tmp_path)
    [known] = found.report.gateways.values()
    assert known.fronts == {FRONT: (BACK,)}
    assert [(one.rule, one.kind, one.connection) for one in found.report.findings] == [("slow-response", "in-gateway", 8)]
    assert found.told == []


STUCK = """
  connection {front}, start {start}
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "GET /stuck{back} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  2.0030  <  P.   "HTTP/1.1 504 Gateway Time-out\\r\\nContent-Length: 3\\r\\n\\r\\nbad"
  2.0035  >  .
  connection {back}, start {start}, client 10.0.0.2:5{back}, server 10.0.0.3:8000
  0.0020  >  S    mss 1460
  0.0024  <  S.   mss 1460
  0.0024  >  .
  0.0026  >  P.   "GET /stuck{back} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.0028  <  .
"""
"""The gateway has given up, but the server behind may still answer, so the failure stays undecided."""


ENDED = ANSWERED + "  {end:.4f}6  >  F.\n  {end:.4f}7  <  F.\n  {end:.4f}7  >  .\n"
"""The client closes after the response."""


@SLOW
def test_old_failures_do_not_keep_a_search_from_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More exchanges than a search examines follow some failures that stay undecided. Another failure is told all the same."""

    def least(one: Quota, least: int, *_: float) -> None:
        one.size = least

    monkeypatch.setattr(Quota, "__init__", least)
    monkeypatch.setattr(Quota, "learn", lambda *_: None)
    monkeypatch.setattr(limits.LIVE_PAIRED, "value", 96)  # a search examines half
    starts = [n / 4 for n in range(1, 80)]
    passed = [
        one for at in starts for one in ((at, at + 0.1, 1, FRONT, f"p{at}", 200), (at + 0.01, at + 0.09, 2, BACK, f"p{at}", 200))
    ]
    stuck = (STUCK.format(front=800 + n, back=900 + n, start=1 + n / 2) for n in range(6))
    new = CLOSED.replace(":5000", ":60").replace(":8001", ":8000").format(15.0, 15.1, front=700, back=701, path="new")
    packets = ladder_packets(answered(*passed, form=ENDED) + "".join(stuck) + new)
    found = play_packets(sorted(packets, key=lambda one: one.time), tmp_path, 2.0)
    assert [kind for kind, *_ in failures([one for _, one in found.told])] == ["closed"]
    assert max(waits(found)) <= SOON


SLOW_SERVER = """
  connection 1
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "GET /slow HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  2.0030  <  P.   "HTTP/1.1 504 Gateway Time-out\\r\\nContent-Length: 3\\r\\n\\r\\nbad"
  2.0035  >  .
  connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001
  0.0020  >  S    mss 1460
  0.0024  <  S.   mss 1460
  0.0024  >  .
  0.0026  >  P.   "GET /slow HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.0028  <  .
  {}
"""


@pytest.mark.parametrize(
    "close",
    [
        pytest.param("2.0028 > F.\n  2.0030 < .\n  9.0 < P. ", id="closed"),
        pytest.param("9.0 < P. ", id="left open", marks=SLOW),
    ],
)
def test_a_server_that_still_works_is_not_waited_for_once_the_gateway_has_closed(close: str, tmp_path: Path) -> None:
    """The server responds seven seconds later. If its connection is still open then, the gateway may still use the response."""
    response = '"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"\n  9.0001 > R'
    found = played(SLOW_SERVER.format(close + response), tmp_path)
    told = [
        (one.kind, now - found.begun < 4 * SECOND)
        for now, (_, one) in zip(found.times, found.told, strict=True)
        if one.rule == RULE
    ]
    assert told == ([("timed-out", True)] if "F." in close else [])


HALF = """
  connection 7
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "GET /half HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  1.0030  <  P.   "HTTP/1.1 504 Gateway Time-out\\r\\nContent-Length: 3\\r\\n\\r\\nbad"
  1.0035  >  .
  connection 8, client 10.0.0.2:50008, server 10.0.0.3:8001
  0.0020  >  S    mss 1460
  0.0024  <  S.   mss 1460
  0.0024  >  .
  0.0026  >  P.   "GET /half HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.2000  <  P.   "HTTP/1.1 200 OK\\r\\nConte"
  0.2010  >  .
  1.0028  >  F.
  1.0030  <  .
"""
"""A server sends a part of a head, and does not close when its gateway does."""

SLOW_HEAD = """
  connection 9
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "GET /slow HTTP/1.1\\r\\nHo"
  0.0012  <  .
"""
"""A client does not complete its request."""


@SLOW
@pytest.mark.parametrize("other", [pytest.param(HALF, id="response"), pytest.param(SLOW_HEAD, id="request")])
def test_an_incomplete_head_on_another_connection_is_not_waited_for(other: str, tmp_path: Path) -> None:
    """No request that was sent on before can be paired with a request whose head is complete later, and a response belongs to its
    own request. How that one failed is known only when its head is complete or its connection is over."""
    closed = [CLOSED.format(n, n + 0.1, front=2 * n - 3, back=2 * n - 2, path=f"p{n}") for n in (2, 3)]
    found = played(other + "".join(closed), tmp_path)
    told = failures([one for _, one in found.told])
    assert [kind for kind, *_ in told] == ["closed", "closed"]
    assert max(waits(found)) <= SOON
    assert [one for one in failures(found.report.findings) if one not in told] == ([("timed-out", 0, 0)] if other == HALF else [])


@SLOW
@pytest.mark.parametrize(
    "name",
    sweep(
        ["behind-two-gateways", "behind-nginx-unreachable", "behind-nginx-repeated", "nginx-uvicorn-kept"],
        "behind-nginx-repeated".__eq__,
    ),
)
def test_what_is_open_is_paired_as_if_the_capture_ended_now(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each packet, the pairs are those that `analyze` finds in a file that ends there."""
    trace, cut = tmp_path / "trace.pcapng", tmp_path / "cut.pcapng"
    stops = pcapng(find_recording(f"{name}.pcap"), trace)
    whole = trace.read_bytes()
    seen: list[Gateways] = []

    step = LiveAnalysis.step

    def see(a: LiveAnalysis, most: int) -> Candidates:
        found = step(a, most)
        open_ones = a.core.flows.open_connections()
        rows = (a.exchanges.newest(1000).vstack(open_exchanges.exchanges_as_of(open_ones)), a.connections.newest(1000))
        ends = rows[1].vstack(open_exchanges.rows_as_of(open_ones, a.latest))
        seen.append(gateways.find(rows[0].lazy(), ends.lazy()))
        return found

    monkeypatch.setattr(LiveAnalysis, "step", see)
    play([(trace, 0)], stops)
    for stop, live in zip(stops, seen, strict=True):
        [file] = analyze_bytes(cut, whole[: stop.end]).gateways.values()
        assert live.tries.rows() == file.tries.rows()
        assert (live.fronts, live.doubtful, live.clients) == (file.fronts, file.doubtful, file.clients)


@WHOLE
@pytest.mark.parametrize(("later", "is_final"), [(0, False), (SLACK, False), (SLACK + 1, True)])
def test_a_group_is_final_once_everything_was_read_that_may_be_out_of_order(later: int, is_final: bool) -> None:
    """A packet that is read later may still show that the gateway asked another server before it answered, at 220 ms."""
    failed, pairing = failed_at_220_ms()
    until = Until(220 * MILLISECOND + later, 10 * SECOND, -10 * SECOND)
    assert (failed in pairing.final_groups({failed}, until)[0]) == is_final


def test_an_exchange_after_the_searched_ones_does_not_need_earlier_ones() -> None:
    (connection, exchange), pairing = failed_at_220_ms()
    assert pairing.final_groups({(connection, exchange + 1)}, Until(10 * SECOND, 10 * SECOND, -10 * SECOND)) == ({}, {})


def failed_at_220_ms() -> tuple[tuple[int, int], Pairing]:
    """Return an exchange with a gateway that has forwarded before, and the pairs of these exchanges."""
    made = Traffic()
    for at in (0, 100):
        made.passed(at, at + 20)
    failed, _ = made.passed(200, 220, status=502)
    exchanges, connections = (rows.collect() for rows in made.tables())
    known = gateways.find(exchanges.lazy(), connections.lazy(), possible=True)
    servers = dict(connections.select("connection", "server").iter_rows())
    proofs = {(front, behind): 2 for front, [behind] in known.fronts.items()}
    return failed, Pairing(known, times_of(exchanges), exchanges.clear(), connections, servers, (), proofs)


def test_what_was_told_stays_though_it_would_be_paired_otherwise_now() -> None:
    """(0, 0) was told with the try (1, 0), and an attempt on connection 3; now (1, 0) seems to be of (2, 0)."""
    rows = [(2, 0, 1, 0, True, 5), (4, 0, 5, 0, True, 7)]
    doubt = Doubt(((0, 0), (6, 0)), ((1, 0), (7, 0)))
    other = Doubt(((8, 0),), ((9, 0),))
    known = Gateways(TRIES.to_frame().vstack(frame(rows)), {}, (doubt, other), frozenset({1, 5}))
    told = frame([(0, 0, 1, 0, True, 5), (0, 0, 3, None, True, 6)])
    made = known.with_tries(told)
    assert made.tries.rows() == [(0, 0, 1, 0, True, 5), (0, 0, 3, None, True, 6), (4, 0, 5, 0, True, 7)]
    assert (made.doubtful, made.clients) == ((other,), frozenset({1, 3, 5}))
    assert made.with_tries(told) is made


def frame(rows: list[tuple[Any, ...]]) -> Any:
    return TRIES.to_frame().clear().vstack(type(TRIES.to_frame())(rows, schema=TRIES, orient="row"))
