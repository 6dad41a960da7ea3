"""Test that a live capture reports the same as the analysis of the file, and withdraws nothing."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wiredoctor
from tests.captures.papers import EACH_RULE, ONE_EACH, PATHS, read
from tests.ladders import Packet, ladder_packets, set_back, to_pcap
from tests.live.playing import Played, Stop, block_ends, pcapng, play, with_silence
from tests.pipeline import recording
from tests.pipeline.ladders import FILES, ends, no_gateways_between, together
from tests.support.recordings import find_recording
from tests.support.sweeps import FORMS, SLOW, in_turn, sweep
from wiredoctor import diagnosis, limits, pipeline, rule_engine
from wiredoctor.findings import Finding, Report
from wiredoctor.live import Ring, session
from wiredoctor.report.data import json as report_json
from wiredoctor.rule_engine import catalogue
from wiredoctor.settings import Settings
from wiredoctor.storage import spill
from wiredoctor.tables import SECOND

SHORT = 200
"""Packets up to which a capture, every fourth of them, is played packet by packet."""

PLAYED = sorted({*ONE_EACH[::2], *EACH_RULE})
"""Packet by packet or in steps of seven. All captures are fed in such steps as files (tests/pipeline/test_fed_every_way.py)."""

SUMMARIES = {name for name, module in catalogue().items() if module.rule.summary}


def of_file(path: Path) -> str:
    """What `analyze` says of a file, but for what only the end of a file can tell: of events, `live` tells what is known when
    they are over, and takes nothing back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.rule_engine, "decide_batch", partial(rule_engine.decide_batch, live=True))
        patch.setattr(pipeline.diagnosis, "diagnose", partial(diagnosis.diagnose, live=True))
        return as_json(wiredoctor.analyze(path))


def written(folder: Path, packets: list[Packet]) -> tuple[Path, list[Stop]]:
    """Write a trace with these packets; return its path and where its packets end."""
    (folder / "ladder.pcap").write_bytes(to_pcap(packets))
    trace = folder / "trace.pcapng"
    return trace, pcapng(folder / "ladder.pcap", trace)


def as_json(report: Report) -> str:
    out = io.BytesIO()
    report_json.write(report, out)
    return out.getvalue().decode()


def comparable(finding: Finding) -> str:
    """Return a finding without what is known only at the end: whether a summary is its cause, and its position."""
    said: dict[str, Any] = report_json.finding(finding)
    said["caused_by"] = [cause for cause in said["caused_by"] if cause["rule"] not in SUMMARIES]
    del said["number"]
    return json.dumps(said)


EARLY = "unanswered"
"""A rule whose findings are told while data is still sent again: the report counts the copies that come later, too."""


def identity(finding: Finding) -> str:
    """Return what a live finding shares with the one in the report, whose cause may have become known later."""
    if finding.rule == EARLY:
        return f"{EARLY} on connection {finding.connection}, frame {finding.evidence[0].frame}"
    return comparable(replace(finding, caused_by=()))


def assert_true_to(played: Played) -> None:
    """Each live finding was reported once, and is in the report with at least its causes."""
    told = [identity(finding) for _, finding in played.told]
    assert len(set(told)) == len(told)
    reported = {identity(finding): finding for finding in played.report.findings}
    missing = set(told) - reported.keys()
    assert not missing, sorted(missing)[:2]
    for one, (_, finding) in zip(told, played.told, strict=True):
        assert {*finding.caused_by} <= {*reported[one].caused_by}


@FORMS
@pytest.mark.parametrize("path", sweep(PLAYED, EACH_RULE[::16].__contains__), ids=lambda path: path.stem)
def test_recordings(path: Path, tmp_path: Path) -> None:
    stops = pcapng(path, tmp_path / "trace.pcapng")
    step = 1 if read(path).packets <= SHORT and path in ONE_EACH[::4] else 7
    played = play([(tmp_path / "trace.pcapng", 0)], [*stops[step - 1 : -1 : step], stops[-1]])
    assert_true_to(played)
    assert as_json(played.report) == of_file(tmp_path / "trace.pcapng")


@FORMS
@pytest.mark.slow
@pytest.mark.parametrize("path", sweep(ONE_EACH[::9], ONE_EACH[::180].__contains__), ids=lambda path: path.stem)
def test_how_many_packets_are_analyzed_at_once_makes_no_difference(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = pcapng(path, tmp_path / "trace.pcapng")
    expected = of_file(tmp_path / "trace.pcapng")
    for batch in (1, 7, session.BATCH):
        monkeypatch.setattr(session, "BATCH", batch)
        played = play([(tmp_path / "trace.pcapng", 0)], [stops[-1]], looks=len(stops))
        assert_true_to(played)
        assert as_json(played.report) == expected


@SLOW
def test_thresholds_are_those_of_the_session(tmp_path: Path) -> None:
    """Without this, runs of so few segments have no row."""
    trace = tmp_path / "trace.pcapng"
    stops = pcapng(find_recording("haproxy-uvicorn-rtt-20-server.pcap"), trace)
    thresholds = {"tinygrams": {"min-segments": "2"}}
    expected = wiredoctor.analyze(trace, thresholds=thresholds)
    assert len(expected.findings) > len(wiredoctor.analyze(trace).findings)
    settings = Settings(thresholds=thresholds)
    with rule_engine.load(settings).configured():
        played = play([(trace, 0)], stops, settings=settings)
    assert_true_to(played)
    assert "tinygrams" in {finding.rule for _, finding in played.told}
    assert as_json(played.report) == as_json(expected)


@FORMS
@pytest.mark.parametrize("path", sweep(ONE_EACH[::6], ONE_EACH[::120].__contains__), ids=lambda path: path.stem)
def test_silence_behind_the_last_packet(path: Path, tmp_path: Path) -> None:
    """Findings that wait for time to pass are reported then. The file records how long it was silent, so its report agrees."""
    trace = tmp_path / "trace.pcapng"
    stops = with_silence(trace, pcapng(path, trace), 10.0)
    played = play([(trace, 0)], stops[-10:])
    assert_true_to(played)
    assert as_json(played.report) == of_file(trace)


def test_a_stall_is_told_with_the_packet_that_ends_its_exchange(tmp_path: Path) -> None:
    """Nine bodies are held back, each until a delayed ACK; the held-back segment ends the response."""
    stops = pcapng(find_recording("server-head-body-split.pcap"), tmp_path / "trace.pcapng")
    played = play([(tmp_path / "trace.pcapng", 0)], stops)
    assert [analysed for analysed, _ in played.told] == [finding.evidence[-1].frame for _, finding in played.told]
    assert len(played.told) == 9


def test_a_file_that_somebody_cuts_off_is_read_so_far(tmp_path: Path) -> None:
    """The recorder continues at its offset, after zeros: the analysis still ends, and says why no packets follow."""
    trace = tmp_path / "trace.pcapng"
    stops = pcapng(find_recording("server-head-body-split.pcap"), trace)
    data = trace.read_bytes()
    half = stops[len(stops) // 2].end
    trace.write_bytes(data[:half] + bytes(2000) + data[half + 2000 :])
    played = play([(trace, 0)], stops)
    assert played.told
    assert_true_to(played)
    (sentence,) = played.report.incomplete
    assert sentence.startswith("The capture was read only in part: ")
    played.report.incomplete.clear()  # `analyze` cannot know that the file was whole once
    assert as_json(played.report) == of_file(trace)
    assert len(played.notes) == 1
    assert "was changed while it was written" in played.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", sweep(range(10), range(3).__contains__))
def test_whatever_somebody_writes_into_the_file_the_capture_ends_with_a_report(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    trace = tmp_path / "trace.pcapng"
    stops = pcapng(find_recording("server-head-body-split.pcap"), trace)
    data = bytearray(trace.read_bytes())
    for _ in range(3):
        at = chance.randrange(stops[2].end, len(data))
        data[at : at + chance.choice((1, 4, 400))] = chance.randbytes(chance.choice((1, 4, 400)))
    trace.write_bytes(data[: chance.choice((None, chance.randrange(stops[2].end, len(data))))])
    played = play([(trace, 0)], stops)
    assert_true_to(played)
    read_all = played.report.captures[0].packets == len(stops)
    assert read_all or played.report.incomplete


@FORMS
@pytest.mark.parametrize("path", sweep(FILES[1::2], FILES[11:12].__contains__), ids=lambda path: path.stem)
def test_ladders(path: Path, tmp_path: Path) -> None:
    """Up to three packets of each connection at a time; the other files packet by packet."""
    play_ladders(path, tmp_path, 3)


@FORMS
@SLOW
@pytest.mark.parametrize("path", FILES[::2], ids=lambda path: path.stem)
def test_ladders_packet_by_packet(path: Path, tmp_path: Path) -> None:
    play_ladders(path, tmp_path, 1)


LOST_SYN_WITH_DATA = r"""
connection 1
  0.0000  >  S    "GET / HTTP/1.1\r\nHost: a\r\n\r\n" mss 1460
  1.0200  >  S    0:0 mss 1460
  1.0400  <  S.   mss 1460 ack 1
  1.0400  >  P.   1:28 "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  1.0620  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
  1.0620  >  .
  1.1000  >  F.
  1.1200  <  F.
  1.1200  >  .
"""


def test_a_wait_for_a_lost_syn_is_not_told_as_the_servers(tmp_path: Path) -> None:
    packets = ladder_packets(LOST_SYN_WITH_DATA)
    (tmp_path / "lost.pcap").write_bytes(to_pcap(packets))
    played = play([(tmp_path / "trace.pcapng", 0)], pcapng(tmp_path / "lost.pcap", tmp_path / "trace.pcapng"))
    assert_true_to(played)
    assert [finding.rule for finding in played.report.findings] == ["connect-retry"]


WITHDRAWN = {
    # told three seconds after the fourth copy, when nobody can know that the FIN will acknowledge the data
    "retransmission_stall": (
        "speaks: no ACK reaches the server until the FIN of the client, which gives up",
        "speaks: the FIN of a client that gives up is the first to acknowledge data, more than 5 s after the last retransmission",
        "silent: the response was complete, so nobody waited for the ACKs that were lost",
    ),
    # told when the connection ends; that the port speaks another protocol is known from all connections, at the end
    "no_response": ("speaks: unread, a server that rejects a PROXY protocol header, and announces the close",),
    "wrong_protocol": ("speaks: HTTP without an answer, on a port that speaks TLS", "speaks: HTTP, answered by a TLS alert"),
    "malformed_head": ("silent: a head of two packets; the server answers the first of them with a TLS alert",),
}
"""Ladders with a finding that is true until later packets, or the whole capture, say more (docs/pages/how-it-works.md)."""


def play_ladders(path: Path, tmp_path: Path, step: int) -> None:
    """Play all ladders of a file, `step` packets of each connection at a time."""
    packets = together(path, WITHDRAWN.get(path.stem, ()))
    (tmp_path / "ladders.pcap").write_bytes(to_pcap(packets))
    stops = pcapng(tmp_path / "ladders.pcap", tmp_path / "trace.pcapng")
    cuts = [*ends(packets, step), len(stops)]
    with no_gateways_between():
        played = play([(tmp_path / "trace.pcapng", 0)], [stops[cut - 1] for cut in cuts])
        assert_true_to(played)
        assert as_json(played.report) == of_file(tmp_path / "trace.pcapng")


def test_a_capture_that_says_how_long_it_was_silent_says_it_of_all_its_packets_only(tmp_path: Path) -> None:
    """Packets were removed from the file, but its statistics were kept, so the length of the silence is unknown."""
    whole, cut, plain = tmp_path / "whole.pcapng", tmp_path / "cut.pcapng", tmp_path / "plain.pcapng"
    stops = pcapng(find_recording("unauthorized-closes.pcap"), whole)
    silent = with_silence(whole, stops, 10.0)
    data = whole.read_bytes()
    cut.write_bytes(data[: stops[-2].end] + data[stops[-1].end :])
    plain.write_bytes(data[: stops[-2].end])
    assert silent[-1].end == len(data)
    assert as_json(wiredoctor.analyze(cut)).count("capture-end") == as_json(wiredoctor.analyze(plain)).count("capture-end")
    assert findings(cut) == findings(plain)
    assert findings(whole) != findings(plain)


def findings(path: Path) -> list[str]:
    return [comparable(replace(finding, capture="")) for finding in wiredoctor.analyze(path).findings]


@SLOW
@pytest.mark.parametrize(
    "name",
    ["server-head-body-split", "race-client", "unauthorized-rtt-120-middle", "wrk-rtt-20", "idle-close-inverted", "apache-ab"],
)
def test_what_is_forgotten_is_not_missed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Like days of capturing, but small: rows are stored and dropped all the time, and the report equals that of the file."""
    path = next(path for path in PATHS if path.stem == name)
    stops = pcapng(path, tmp_path / "trace.pcapng")
    most = max(wiredoctor.analyze(path).connection_count // 3, 1)
    for limit, value in ((limits.ROWS_HELD, 2), (limits.LIVE_CANDIDATES_HELD, 2), (limits.COMPARED_ROWS, most)):
        monkeypatch.setattr(limit, "value", value)
    monkeypatch.setattr(spill, "MIN_WRITTEN", 2)
    expected = of_file(tmp_path / "trace.pcapng")
    monkeypatch.setattr(session, "CLEANING", 0.0)
    # in a process that holds all tests it takes half a second, and it forgets nothing
    monkeypatch.setattr(session, "gc", SimpleNamespace(collect=int))
    played = play([(tmp_path / "trace.pcapng", 0)], stops)
    assert_true_to(played)
    assert without_servers(as_json(played.report)) == without_servers(expected)


@SLOW
@pytest.mark.parametrize("name", ["race-client", "apache-met", "client-gives-up"])
@pytest.mark.parametrize("near", [4, 64])
def test_what_too_much_happened_near_is_decided_at_the_end(
    name: str, near: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rows near a candidate only so many are read; the report equals that of the file."""
    stops = pcapng(next(path for path in PATHS if path.stem == name), tmp_path / "trace.pcapng")
    expected = of_file(tmp_path / "trace.pcapng")
    monkeypatch.setattr(limits.LIVE_NEAR, "value", near)
    monkeypatch.setattr(spill, "MIN_WRITTEN", 2)
    played = play([(tmp_path / "trace.pcapng", 0)], stops)
    assert_true_to(played)
    assert json.loads(as_json(played.report))["findings"] == json.loads(expected)["findings"]


def test_candidates_that_are_too_many_for_the_end_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for its decision, and others are stored one by one, of which all but the newest are dropped."""
    stops = pcapng(next(path for path in PATHS if path.stem == "apache-met"), tmp_path / "trace.pcapng")
    whole = of_file(tmp_path / "trace.pcapng")
    for limit, value in ((limits.LIVE_WAITING, 1), (limits.LIVE_LEFT, 1), (limits.LIVE_CANDIDATES_HELD, 1)):
        monkeypatch.setattr(limit, "value", value)
    monkeypatch.setattr(spill, "MIN_WRITTEN", 1)
    played = play([(tmp_path / "trace.pcapng", 0)], stops)
    assert_true_to(played)
    [said] = played.report.limits
    assert said.startswith("1 candidates were too many to be decided during the capture and were decided at its end; ")
    assert len(played.report.findings) < len(json.loads(whole)["findings"])


@SLOW
@pytest.mark.parametrize("name", ["behind-nginx-race", "behind-two-gateways", "behind-haproxy-crash"])
def test_what_was_told_about_gateways_is_in_the_report_though_they_are_not_searched_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last two exchanges are searched for gateways at the end, and the report says so."""
    stops = pcapng(next(path for path in PATHS if path.stem == name), tmp_path / "trace.pcapng")
    exchanges = wiredoctor.analyze(tmp_path / "trace.pcapng").exchange_count
    monkeypatch.setattr(limits.LIVE_PAIRED_AT_END, "value", 2)
    stops = with_silence(tmp_path / "trace.pcapng", stops, 10.0)
    played = play([(tmp_path / "trace.pcapng", 0)], stops)
    assert played.told
    assert_true_to(played)
    [said] = played.report.limits
    assert said.startswith(f"2 exchanges, the newest, were searched for what gateways did; {exchanges - 2} earlier ")


def times_of_day(text: str) -> list[tuple[Any, ...]]:
    """Return the findings other than `clock-step`, with their times of day.

    If the clock was set back, only a file can be read again: its elapsed times count from the earliest packet, those of a live
    capture from the first one, and only the packets of a file can be sorted, which changes ids and frame numbers.
    """
    names = ("rule", "kind", "client", "server", "request", "status", "delay", "time")
    return sorted(tuple(str(one[name]) for name in names) for one in json.loads(text)["findings"] if one["rule"] != "clock-step")


def without_servers(text: str) -> dict[str, Any]:
    """Return the report without its servers, which are counted over the exchanges that are kept."""
    report: dict[str, Any] = json.loads(text)
    del report["servers"]
    return report


def test_what_the_ring_overwrites_before_it_is_read_is_passed_over_and_told(tmp_path: Path) -> None:
    """Six files of a ring of two were written before the analysis began: it reads the four that are still available."""
    paths = [tmp_path / f"{number}.pcapng" for number in range(6)]
    stops = [pcapng(find_recording("server-head-body-split.pcap"), path) for path in paths]
    size = paths[0].stat().st_size
    files = [(path, number * size) for number, path in enumerate(paths)]
    end = [Stop(6 * size, stops[-1][-1].time)]
    removed = [size * (number + 1) for number in range(4)]
    played = play(files, end, removed=removed, ring=Ring(2, size))
    packets = len(stops[0])
    [capture] = played.report.captures
    assert (capture.packets, capture.dropped, capture.dropped_of) == (4 * packets, 2 * packets, 6 * packets)
    assert len([note for note in played.notes if "the ring overwrites unread packets" in note]) == 1
    assert play(files, end, removed=removed[:2], ring=Ring(2, size)).report.captures[0].packets == 6 * packets


@SLOW
def test_a_clock_that_is_set_back_is_told_while_it_is_news(tmp_path: Path) -> None:
    """After the tenth packet, all timestamps are an hour earlier."""
    packets = recording.read(find_recording("server-head-body-split.pcap"))
    stepped = set_back(packets, 10, 3600 * SECOND)
    trace = tmp_path / "trace.pcapng"
    recording.write(trace, stepped)
    played = play([(trace, 0)], [Stop(end, p.time) for end, p in zip(block_ends(trace.read_bytes()), stepped, strict=True)])
    assert_true_to(played)
    assert [note for note in played.notes if "clock" in note] == [
        "the clock was set back by 1 h (frame 11): times across the step are not judged"
    ]
    assert times_of_day(as_json(played.report)) == times_of_day(of_file(trace))


LATE = """
  connection {0}, start {1}, client 10.0.0.1:400{0}, server 10.0.0.2:80
  0.000  >  S    mss 1460
  0.001  <  S.   mss 1460
  0.001  >  .
  0.002  >  P.   "GET /{0} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.003  <  .
  3.002  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  3.003  >  F.
  3.004  <  F.
  3.005  >  .
"""


def test_findings_are_told_at_once_after_the_clock_was_set_back(tmp_path: Path) -> None:
    """Six responses take three seconds each. The clock is set back by an hour after the SYN and SYN/ACK of the third."""
    packets = ladder_packets("".join(LATE.format(number, 8 * number) for number in range(1, 7)))
    trace, stops = written(tmp_path, set_back(packets, 20, 3600 * SECOND))
    played = play([(trace, 0)], stops)
    assert_true_to(played)
    assert [(analysed, one.rule) for analysed, one in played.told] == [(9 * number + 6, "slow-response") for number in range(6)]
    assert times_of_day(as_json(played.report)) == times_of_day(of_file(trace))


GIVEN_UP = """
  connection {0}, start {1}, client 10.0.0.1:400{0}, server 10.0.0.2:80
  0.000  >  S    mss 1460
  0.001  <  S.   mss 1460
  0.001  >  .
  0.002  >  P.   "GET /{0} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.003  <  .
  0.300  <  F.
  0.301  >  F.
  0.302  <  .
"""

TEN_YEARS = 10 * 365 * 86_400 * SECOND


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", sweep([False, True], bool))
def test_a_packet_stamped_years_ahead_finishes_nothing(tmp_path: Path, *, shuffled: bool) -> None:
    """Six requests, 8 s apart, which the server does not answer. A finding of one is final when the next begins.

    The SYN ACK of the third is stamped ten years ahead. Two packets of the first may be out of order, so that all are sorted.
    """
    packets = ladder_packets("".join(GIVEN_UP.format(number, 8 * number) for number in range(1, 7)))
    stamped = [replace(p, time=p.time + (TEN_YEARS if i == 17 else 0)) for i, p in enumerate(packets)]
    if shuffled:
        stamped[5], stamped[6] = stamped[6], replace(stamped[5], time=stamped[6].time - 5 * SECOND // 1000)
    trace, stops = written(tmp_path, stamped)
    played = play([(trace, 0)], stops)
    assert_true_to(played)
    told = [(one.connection, analysed) for analysed, one in played.told if one.rule == "no-response"]
    assert [connection for connection, _ in told] == [*range(5)]
    later = 7 if shuffled else 0  # packets of the next request that are held because one before them may be late
    assert all(analysed <= 8 * (number + 1) + 1 + later for number, (_, analysed) in enumerate(told))
    assert shuffled or as_json(played.report) == of_file(trace)  # a file is sorted from its beginning on


REPEATED = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.012  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
  0.0221 <  F.
  0.0222 >  F.
  0.0229 <  .
  connection 2, start {start}, client 10.0.0.1:4002
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /{again} HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.030  >  F.
  0.041  <  F.
  0.041  >  .
"""


@pytest.mark.parametrize(
    ("start", "again", "listed", "step"),
    in_turn([("0.1", "b", []), ("30", "b", ["GET /b"]), ("0.1", "a", ["GET /b"])], [1, 3, 40]),
)
def test_a_request_that_is_repeated_on_a_healthy_connection_is_not_listed(
    start: str, again: str, listed: list[str], step: int, tmp_path: Path
) -> None:
    """`live` keeps other rows of healthy connections than of those that may have failed."""
    trace, stops = written(tmp_path, ladder_packets(REPEATED.format(start=start, again=again)))
    played = play([(trace, 0)], [*stops[step - 1 : -1 : step], stops[-1]])
    assert [(one.reason, one.request) for one in played.report.not_judged] == [("after-close-announced", each) for each in listed]
    assert as_json(played.report) == of_file(trace)


NEIGHBOR = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   1:29 "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
  0.022  >  .
  8.022  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  8.232  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  8.652  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  9.492  >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  11.192 >  P.   29:57 "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  connection 2, start 9, client 10.0.0.1:4002{server}
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
  0.022  >  .
  {more}
"""
CLOSED = "0.030  >  F.\n  0.041  <  F.\n  0.041  >  ."


@pytest.mark.parametrize("more", [CLOSED, ""], ids=["closed", "open"])
@pytest.mark.parametrize(
    ("server", "confidence", "step"), in_turn([("", "high"), (", server 10.0.0.3:80", "medium")], [1, 3, 40])
)
def test_a_new_connection_to_the_same_server_that_is_answered(
    more: str, server: str, confidence: str, step: int, tmp_path: Path
) -> None:
    """It confirms that the path forgot the first connection, open or closed, also in findings that are reported at once."""
    trace, stops = written(tmp_path, ladder_packets(NEIGHBOR.format(server=server, more=more)))
    silent = with_silence(trace, stops, 10.0)
    played = play([(trace, 0)], [*silent[step - 1 : -1 : step], silent[-1]])
    assert_true_to(played)
    told = [one for _, one in played.told if one.rule == EARLY]
    reported = [one for one in played.report.findings if one.rule == EARLY]
    # of steps of several packets the report comes first
    for found in (told, reported) if step == 1 else (reported,):
        assert [(one.kind, one.confidence) for one in found] == [("after-idle", confidence)]
    assert as_json(played.report) == of_file(trace)


def test_a_stall_in_a_response_that_goes_on_is_told_while_it_does(tmp_path: Path) -> None:
    """An upload waited for a delayed ACK. It has ended; its response has begun and continues for a minute."""
    trace, stops = written(tmp_path, ladder_packets(LONG_ANSWER))
    played = play([(trace, 0)], stops)
    assert_true_to(played)
    [(analysed, found)] = [(analysed, f) for analysed, f in played.told if f.rule == "nagle-delayed-ack"]
    assert (found.side, found.status) == ("client", 200)
    assert analysed == 8  # the packet with the head of the answer
    assert as_json(played.report) == of_file(trace)


LONG_ANSWER = """
    0.000  >  S    0:0(0)                  win 64240 mss 1460
    0.010  <  S.   0:0(0)        ack 1     win 64240 mss 1460
    0.010  >  .    1:1(0)        ack 1
    0.011  >  P.   "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\n"
    0.211  <  .    ack 48
    0.211  >  P.   "hello"
    0.221  <  .    ack 53
    0.222  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
    0.222  >  .    ack 84
    30.00  <  P.   "9\\r\\ndata: 1\\n\\n\\r\\n"
    30.00  >  .    ack 98
    60.00  <  P.   "9\\r\\ndata: 2\\n\\n\\r\\n0\\r\\n\\r\\n"
    60.00  >  .    ack 117
"""


SLOW_LADDER = """
    0.000  >  S    0:0(0)                  win 64240 mss 1460
    0.010  <  S.   0:0(0)        ack 1     win 64240 mss 1460
    0.010  >  .    1:1(0)        ack 1
    0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    0.021  <  .    ack 28
    1.600  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello"
    1.601  >  .    ack 44
"""

WAITED = """
    0.000  >  S    0:0(0)                  win 64240 mss 1460
    0.010  <  S.   0:0(0)        ack 1     win 64240 mss 1460
    0.010  >  .    1:1(0)        ack 1
    0.011  >  P.   "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\nExpect: 100-continue\\r\\n\\r\\n"
    0.021  <  .    ack 70
    1.011  >  P.   "hello"
    1.021  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello" ack 75
    1.022  >  .    ack 44
"""


@pytest.mark.parametrize(("rule", "text"), [("slow-response", SLOW_LADDER), ("expect-continue-stall", WAITED)])
def test_what_a_finished_response_proves_is_told_though_the_connection_stays_open(rule: str, text: str, tmp_path: Path) -> None:
    """The finding is reported with the last packet of the response; the capture ends with an ACK, without a close."""
    trace, stops = written(tmp_path, ladder_packets(text))
    played = play([(trace, 0)], stops)
    assert_true_to(played)
    assert [(analysed, found.rule) for analysed, found in played.told] == [(len(stops) - 1, rule)]
    assert as_json(played.report) == of_file(trace)


REJECTED = r"""
    0.000  >  S    win 64240 mss 1460
    0.010  <  S.   win 64240 mss 1460
    0.010  >  .
    0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    0.021  <  P.   "HTTP/1.1 204 No Content\r\n\r\n"
    0.022  >  P.   "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    0.032  <  .
    0.122  <  P.   "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    0.123  >  .
"""


def test_a_fault_of_a_request_is_told_with_the_status_of_its_response(tmp_path: Path) -> None:
    """The fault is in the packet with which its exchange begins, so the exchange is not over when the fault is."""
    trace, stops = written(tmp_path, ladder_packets(REJECTED))
    played = play([(trace, 0)], stops)
    assert_true_to(played)
    assert [(analysed, found.rule, found.status) for analysed, found in played.told] == [(8, "invalid-chunk", 400)]


LOST = """
    0.000  >  S    0:0(0)                  win 64240 mss 1460
    0.010  <  S.   0:0(0)        ack 1     win 64240 mss 1460
    0.010  >  .    1:1(0)        ack 1
    0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    0.021  <  .    ack 28
    1.100  <  P.   39:44(5)   "hello"   ack 28
    1.100  >  .    ack 1
    1.600  <  P.   1:39(38)   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n" ack 28
    1.610  >  .    ack 44
"""

PROBED = """
    0.000  >  S    0:0(0)                  win 64240 mss 1460
    0.010  <  S.   0:0(0)        ack 1     win 64240 mss 1460
    0.010  >  .    1:1(0)        ack 1
    0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    0.021  <  .    ack 28
    0.350  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nContent-Length: 27\\r\\n\\r\\n" ack 28
    0.600  <  P.   "data: 1\\n\\ndata: 2\\n\\ndata: 3\\n\\n" ack 28
    0.601  >  .    ack 100
"""


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        pytest.param("retransmission-stall", LOST, id="slow-response: its first segment comes last, and had been lost"),
        pytest.param("nagle-delayed-ack", PROBED, id="buffered-stream: a probe sent the events that Nagle held back"),
    ],
)
def test_what_an_ack_may_explain_waits_for_it(rule: str, text: str, tmp_path: Path) -> None:
    """The response ends with the last packet but one; the last packet shows what took so long."""
    trace, stops = written(tmp_path, ladder_packets(text))
    played = play([(trace, 0)], stops)
    assert_true_to(played)
    assert [(analysed, found.rule) for analysed, found in played.told] == [(len(stops), rule)]


ABORTED = """
    0.000  >  S    0:0(0)                  win 64240 mss 1460
    0.010  <  S.   0:0(0)        ack 1     win 64240 mss 1460
    0.010  >  .    1:1(0)        ack 1
    0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
    0.021  <  .    ack 28
    1.300  >  F.   28:28(0) ack 1
    1.310  <  .    ack 29
    1.600  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello" ack 29
    1.601  >  R    29:29(0)
"""


def test_what_was_told_before_is_named_as_a_cause(tmp_path: Path) -> None:
    """The late response is reported when it arrives, and the client's abort when the close is decided."""
    trace, stops = written(tmp_path, ladder_packets(ABORTED))
    played = play([(trace, 0)], with_silence(trace, stops, 10.0))
    assert_true_to(played)
    assert [(analysed, f.rule, len(f.caused_by)) for analysed, f in played.told] == [
        (8, "slow-response", 0),
        (9, "client-abort", 1),
    ]


SENT_AGAIN = [0.011, 0.221, 0.641, 1.481, 3.181, 6.581]
"""When a request leaves, and its copies, whose pauses double."""


def unanswered(tmp_path: Path, more: str) -> Played:
    """Play a request that is never acknowledged, and what follows its last copy."""
    request = '"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"'
    copies = "".join(f"{time} > P. 1:28 {request}\n" for time in SENT_AGAIN)
    text = f"0.000 > S win 64240 mss 1460\n0.010 < S. win 64240 mss 1460\n0.010 > .\n{copies}{more}"
    trace, stops = written(tmp_path, ladder_packets(text))
    played = play([(trace, 0)], stops)
    assert as_json(played.report) == of_file(trace)
    return played


def test_unanswered_data_is_told_three_seconds_after_the_fourth_copy(tmp_path: Path) -> None:
    """The fourth copy is frame 7, at 1.481 s, and frame 9 the first packet later than 4.481 s. The report knows of the client's
    FIN, too."""
    played = unanswered(tmp_path, "8.000 > F. 28:28\n")
    [(analysed, told)] = played.told
    assert (analysed, told.rule, told.kind) == (9, EARLY, "gone")
    [final] = played.report.findings
    assert [step.frame for step in told.evidence] == [2, 4, 5, 9]
    assert [step.frame for step in final.evidence] == [2, 4, 5, 9, 10]


def test_what_is_acknowledged_later_than_that_is_a_stall_in_the_report(tmp_path: Path) -> None:
    answer = '"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello"'
    played = unanswered(tmp_path, f"6.592 < P. {answer} ack 28\n6.592 > .\n")
    assert [finding.rule for _, finding in played.told] == [EARLY, "retransmission-stall"]
    assert [finding.rule for finding in played.report.findings] == ["retransmission-stall"]


HOLE = r"""
  0.000 > S mss 1460
  0.020 < S. mss 1460
  0.020 > .
  0.021 > P. "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.041 < .
  0.060 < P. 2921:3021(100) x*100
  0.060 > . ack 1
  1.500 > F. ack 1
  1.520 < . 3021:3021(0)
"""
"""Of a response only the last, small segment came. The client gives up, and an ACK of the server is ahead of all that came."""

COMES = r"""
  12.500 < . 1:1461(1460) "HTTP/1.1 200 OK\r\nContent-Length: 2980\r\n\r\n" x*1419
  12.501 < . 1461:2921(1460) x*1460
  12.502 > . ack 3021
  12.520 < F. 3021:3021(0)
  12.521 > . ack 3022
"""
COMES_IN_PART = COMES.splitlines()[1] + "\n  12.502 > . ack 1461\n  17.000 < . 3021:3021(0)\n  21.000 < . 3021:3021(0)\n"
ACKNOWLEDGED = """
  12.502 > . ack 3021
  12.520 < F. 3021:3021(0)
  12.521 > . ack 3022
"""
ACKNOWLEDGED_LAST = "\n  12.502 > . ack 3021\n"


@pytest.mark.parametrize(
    ("more", "remains"),
    [
        pytest.param("", True, id="never comes"),
        pytest.param(COMES, False, id="comes"),
        # it has a full segment: no black hole
        pytest.param(COMES_IN_PART, False, id="comes in part", marks=SLOW),
        # the capture lost it
        pytest.param(ACKNOWLEDGED, False, id="is acknowledged", marks=SLOW),
        pytest.param(ACKNOWLEDGED_LAST, False, id="is acknowledged by the last packet"),
    ],
)
def test_missing_data_is_told_early_and_not_reported_if_it_comes_later(more: str, tmp_path: Path, *, remains: bool) -> None:
    trace, stops = written(tmp_path, ladder_packets(HOLE + more))
    end, time = stops[8].end, stops[8].time
    quiet = [Stop(end, time + n * SECOND, time + (n + 1) * SECOND) for n in range(10)]
    played = play([(trace, 0)], with_silence(trace, [*stops[:8], *quiet, *stops[9:]], 5.0))
    assert (played.told[0][0], played.told[0][1].rule, played.told[0][1].kind) == (9, EARLY, "large-only")
    assert as_json(played.report) == of_file(trace)
    assert (EARLY in {finding.rule for finding in played.report.findings}) is remains


@pytest.mark.parametrize(
    "name",
    sweep(
        ["behind-nginx-siblings", "behind-nginx-race", "haproxy-uvicorn-rtt-20-middle", "varnish-lighttpd"],
        {"behind-nginx-race"}.__contains__,
    ),
)
def test_gateways_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    stops = pcapng(find_recording(f"{name}.pcap"), tmp_path / "trace.pcapng")
    played = play([(tmp_path / "trace.pcapng", 0)], stops)
    [live], [file] = (report.gateways.values() for report in (played.report, wiredoctor.analyze(tmp_path / "trace.pcapng")))
    assert live.fronts
    assert live.tries.rows() == file.tries.rows()
    assert (live.fronts, live.doubtful, live.clients) == (file.fronts, file.doubtful, file.clients)
