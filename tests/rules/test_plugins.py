"""Test rules of other packages: an error disables only the rule, one line reports it, and everything else is unchanged."""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wiredoctor
from tests.ladders import ladder_packets, set_back, to_pcap
from tests.live.playing import pcapng, play
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import in_turn
from wiredoctor.findings import Report
from wiredoctor.report.coverage import find_coverage
from wiredoctor.rule_engine import catalogue
from wiredoctor.rule_engine.plugins import ENTRY_POINTS, EXPLAINING, SCOPES
from wiredoctor.testing import capture

settling: Any = importlib.import_module("wiredoctor.rule_engine.root_cause")

SLOW = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  1.522  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  1.522  >  F.
  1.533  <  F.
"""

SPLIT = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
  0.025  >  .
  0.035  <  P.   "hello"
"""

CLOSED = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /report HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"
  0.023  <  F.
  0.023  >  .
  0.500  >  F.
  0.510  <  .
"""

GOOD = '''"""Every response."""
from typing import NamedTuple
import polars as pl
from wiredoctor.rules import Rule, packets
RULE = Rule(severity="note", title="A response", message="{status} after {wait}", remedy="None.", display_filter="")
class Facts(NamedTuple):
    frame: int
    start: int
def find(exchanges):
    return exchanges.select(
        "connection", "exchange", kind=pl.lit(None, pl.String), side=pl.lit("server"), confidence=pl.lit("high"),
        frame="response_frame", start="response_start", end="response_end", delay=pl.lit(None, pl.Int64),
        wait=pl.col("server_time"),
    )
def words(x):
    return {"evidence": packets((x.frame, x.start, "it"))}
'''
ASKS = (
    GOOD.replace("wait=", 'endpoint=pl.lit(None, pl.Int64), final_at="response_end", is_new=pl.lit(value=True), wait=')
    + """
from wiredoctor.world import Wait
from wiredoctor.world.server import Servers
ASKS = (Servers,)
def decide(x, world):
    world.of(Servers)
    until = x.start + 3_000_000_000
    return Wait(until) if world.may_change(until) else x
"""
)
SCREEN = GOOD + "def may_match():\n    return "
DECIDE = GOOD + "def decide(x, world):\n    return "

BROKEN = {
    "no_syntax": ("def find(:\n", "SyntaxError"),
    "no_rule": ("", "no RULE"),
    "no_import": ("import not_installed_anywhere\n" + GOOD, "not_installed_anywhere"),
    "ends_the_import": ("raise RuntimeError('first line\\nsecond line')\n", "RuntimeError: first line"),
    "unknown_table": (GOOD.replace("exchanges", "packet_bytes"), "packet_bytes"),
    "unknown_severity": (GOOD.replace('"note"', '"fatal"'), "fatal"),
    "unknown_protocol": (GOOD.replace('filter=""', 'filter="", protocols=("https",)'), "https"),
    "unknown_scope": (GOOD.replace('filter=""', 'filter="", explained_by=(("stalls", "page"),)'), "page"),
    "find_raises": (GOOD.replace("    return", "    1 / 0\n    return"), "ZeroDivisionError"),
    "find_asks_for_too_much": (GOOD.replace('"server_time"', '"no_such_column"'), "no_such_column"),
    "find_fails_late": (
        GOOD.replace('"server_time")', '"server_time").map_elements(lambda n: 1 // 0, return_dtype=pl.Int64)'),
        "",
    ),
    "no_evidence": (GOOD.replace('"evidence":', '"proof":'), "evidence"),
    "evidence_is_text": (re.sub(r"packets[(][(].*[)][)]", "'frame 5'", GOOD), ""),
    "unknown_fact": (GOOD.replace("    start: int", "    begin: int"), "begin"),
    "words_raise": (GOOD.replace("packets((x.frame", "packets((1 // 0"), "ZeroDivisionError"),
    "wrong_type": (GOOD.replace('frame="response_frame"', 'frame=pl.lit("first")'), ""),
    "wrong_side": (GOOD.replace('pl.lit("server")', 'pl.lit("proxy")'), "proxy"),
    "wrong_confidence": (GOOD.replace('pl.lit("high")', 'pl.lit("sure")'), "sure"),
    "unknown_name": (GOOD.replace("{wait}", "{weight}"), "weight"),
    "unknown_format": (GOOD.replace("{wait}", "{wait:nonsense}"), "ValueError"),
    "screen_raises": (SCREEN + "1 / 0\n", "ZeroDivisionError"),
    "screen_fails": (SCREEN + "pl.col('no_such_column')\n", "no_such_column"),
    "decide_raises": (DECIDE + "1 / 0\n", "ZeroDivisionError"),
    "decide_returns_a_flag": (DECIDE + "True\n", ""),
    "no_cutoffs": (
        GOOD.replace("find(exchanges)", "find(releases)").replace("exchanges.select", "releases.select"),
        "no function cutoffs",
    ),
    "cutoffs_raise": (GOOD + "def cutoffs():\n    return {'min_run': 1 // 0}\n", "ZeroDivisionError"),
    "cutoff_is_text": (GOOD + "def cutoffs():\n    return {'min_run': '8'}\n", "TypeError"),
    "unknown_cutoff": (GOOD + "def cutoffs():\n    return {'min_walk': 1}\n", "min_walk"),
    "decide_without_facts": (re.sub(r"class Facts.*\n    frame.*\n    start.*\n", "", DECIDE) + "None\n", "no NamedTuple Facts"),
    "asks_no_tuple": (ASKS.replace("(Servers,)", "Servers"), "ASKS must be a tuple"),
    "groups_what_live_holds": (ASKS + "def group(rows, world):\n    return rows\n", "summary=True"),
    "explains_and_cannot_tell": (GOOD.replace("{wait}", "{weight}").replace('start="response', 'start="request'), "weight"),
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """install(module path, source, package) makes an installed package that has this rule."""
    packages: dict[str, list[str]] = {}

    def put(module: str, source: str, package: str = "acme") -> None:
        file = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        packages.setdefault(package, []).append(f"{module.rpartition('.')[2]} = {module}\n")
        about = tmp_path / f"{package}-1.0.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{''.join(packages[package])}")
        catalogue.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield put
    catalogue.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] in ("acme", "other")]:
        del sys.modules[name]


@pytest.fixture
def analysed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., tuple[Report, list[str]]]:
    """The report of a slow response, and the lines that were said."""

    def analyse(**how: Any) -> tuple[Report, list[str]]:
        path = tmp_path / "slow.pcap"
        path.write_bytes(capture(SLOW))
        caplog.clear()
        with caplog.at_level(logging.ERROR, "wiredoctor"):
            report = wiredoctor.analyze(path, **how)
        assert not any(r.exc_info for r in caplog.records)
        return report, [r.getMessage() for r in caplog.records]

    return analyse


ABOUT_PACKETS = '''"""Rows of packets."""
from typing import NamedTuple
import polars as pl
from wiredoctor.rules import Rule, packets
RULE = Rule(severity="note", title="A packet", message="", remedy="None.", display_filter="")
class Facts(NamedTuple):
    frame: int
    start: int
def cutoffs():
    return {CUTOFFS}
def find(TABLE):
    return TABLE.select(
        "connection", exchange=pl.lit(None, pl.Int32), kind=pl.lit(None, pl.String), side=pl.lit(None, pl.String),
        confidence=pl.lit("high"), frame="frame", start="time", end="time", delay=pl.lit(None, pl.Int64),
    )
def words(x):
    return {"evidence": packets((x.frame, x.start, "it"))}
'''


def about_packets(table: str, cutoffs: dict[str, int]) -> str:
    """A rule with a finding for each row of a table of packets."""
    return ABOUT_PACKETS.replace("TABLE", table).replace("{CUTOFFS}", repr(cutoffs))


Install = Callable[..., None]
Analyse = Callable[..., tuple[Report, list[str]]]


def test_a_good_one_is_a_rule_like_any_other(install: Install, analysed: Analyse) -> None:
    install("acme.timing.every_response", GOOD)
    report, lines = analysed()
    assert [f.rule for f in report.findings] == ["slow-response", "every-response"]
    assert lines == report.limits == []
    assert catalogue()["every-response"].source == "acme 1.0"
    assert catalogue()["slow-response"].source == "wiredoctor"
    assert report.checked["every-response"].family == "timing"


def test_a_path_that_python_ignores_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analysed: Analyse) -> None:
    """Scripts add objects of pathlib to sys.path, from which Python imports nothing."""
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    catalogue.cache_clear()
    assert [f.rule for f in analysed()[0].findings] == ["slow-response"]


@pytest.mark.parametrize(("name", "epoch_packets"), in_turn(BROKEN, [1000, 1]))
def test_a_broken_one_costs_itself_only(name: str, epoch_packets: int, install: Install, analysed: Analyse) -> None:
    source, word = BROKEN[name]
    family = "stalls" if name.startswith("explains") else "timing"
    install(f"acme.{family}.{name}", source)
    install("acme.timing.every_response", GOOD)
    report, lines = analysed(epoch_packets=epoch_packets)
    rule = name.replace("_", "-")
    assert [f.rule for f in report.findings] == ["slow-response", "every-response"]
    assert rule not in report.checked
    assert rule not in find_coverage(report).healthy
    [line] = lines
    assert "\n" not in line
    assert "acme 1.0" in line
    assert word in line
    assert name in line.replace("-", "_")
    assert [limit for limit in report.limits if rule in limit] == ([] if rule not in catalogue() else report.limits)


BROKEN_FACTS = {
    "no_endpoint": (ASKS.replace("endpoint=", "server_id="), "no column endpoint"),
    "no_final_at": (ASKS.replace("final_at=", "closed_at="), "no column final_at"),
    "wrong_endpoint": (ASKS.replace("endpoint=pl.lit(None, pl.Int64)", "endpoint=pl.lit('a')"), ""),
    "wrong_decision": (ASKS.replace("class Facts(NamedTuple):", "class Facts(NamedTuple):\n    side: str").replace(
        "else x\n", "else x._replace(side='proxy')\n"
    ), "proxy"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_FACTS)
@pytest.mark.parametrize("live", [False, True])
def test_facts_that_the_world_cannot_use_cost_no_other_rule(
    name: str, live: bool, install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The rules of wiredoctor ask the same index about the same close."""
    source, word = BROKEN_FACTS[name]
    install(f"acme.timing.{name}", source)
    assert [f.rule for f in closed(tmp_path, live=live).findings] == ["premature-close"]
    [line] = caplog.messages
    assert name.replace("_", "-") in line
    assert word in line


@pytest.mark.parametrize("live", [False, True])
def test_a_rule_may_wait(live: bool, install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new response comes while another one is held, which has to wait for a time that only live awaits."""
    install("acme.timing.waits", ASKS)
    report = closed(tmp_path, live=live)
    assert [(f.rule, f.exchange) for f in report.findings if f.rule == "waits"] == [("waits", 0), ("waits", 0)]
    assert caplog.messages == []


def closed(folder: Path, *, live: bool) -> Report:
    """The report of a close without an announcement, read from a file or as it comes; another connection comes later."""
    later = re.sub(r"^ +([0-9.]+)", lambda m: f"  {float(m[1]) + 2:.3f}", SPLIT, flags=re.MULTILINE)
    path = folder / "closed.pcap"
    path.write_bytes(capture(f"{CLOSED}  connection 2\n{later.lstrip(chr(10))}"))
    if not live:
        return wiredoctor.analyze(path)
    stops = pcapng(path, folder / "closed.pcapng")
    return play([(folder / "closed.pcapng", 0)], stops).report


@pytest.mark.parametrize("name", ["no_evidence", "evidence_is_text", "unknown_fact", "words_raise"])
@pytest.mark.parametrize("steps", [False, True])
def test_words_that_fail_where_times_are_unsure(
    name: str, steps: bool, install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The words say which packets a candidate relies on: across a step of the clock, and among packets out of order."""
    install(f"acme.timing.{name}", BROKEN[name][0])
    install("acme.timing.every_response", GOOD)
    packets = ladder_packets(SLOW)
    if steps:
        packets = set_back(packets, 6, 10**9)
    else:
        packets[3], packets[5] = packets[5], packets[3]
    report = analyze_bytes(tmp_path / "unsure.pcap", to_pcap(packets))
    assert "every-response" in [f.rule for f in report.findings]
    [line] = caplog.messages
    assert name.replace("_", "-") in line


def test_a_rule_that_failed_is_asked_again_in_the_next_analysis(install: Install, analysed: Analyse) -> None:
    install("acme.timing.find_fails_late", BROKEN["find_fails_late"][0])
    assert [len(analysed()[1]) for _ in range(2)] == [1, 1]


def test_ours_cannot_be_replaced(install: Install, analysed: Analyse) -> None:
    install("acme.stalls.slow_response", GOOD)
    report, [line] = analysed()
    assert [f.title for f in report.findings] == ["The server took 1.5 s to start answering GET /a"]
    assert "slow-response of acme 1.0" in line
    assert "another rule or a family has that name" in line


def test_of_two_of_one_name_the_first_package_has_it(install: Install, analysed: Analyse) -> None:
    install("acme.timing.every_response", GOOD)
    install("other.timing.every_response", GOOD, "other")
    report, [line] = analysed()
    assert [f.rule for f in report.findings] == ["slow-response", "every-response"]
    assert "every-response of other 1.0" in line
    assert "another rule or a family has that name" in line


@pytest.mark.parametrize("module", ["acme.slow_response.every_response", "acme.timing.stalls", "acme.same.same"])
def test_a_name_is_a_rule_or_a_family(module: str, install: Install, analysed: Analyse) -> None:
    install(module, GOOD)
    report, [line] = analysed()
    assert [f.rule for f in report.findings] == ["slow-response"]
    assert "that name" in line


@pytest.mark.parametrize("epoch_packets", [1, 1000])
def test_a_rule_may_ask_for_every_segment(epoch_packets: int, install: Install, analysed: Analyse) -> None:
    install("acme.timing.every_packet", about_packets("segments", {}))
    report, lines = analysed(epoch_packets=epoch_packets)
    found = [f for f in report.findings if f.rule == "every-packet"]
    assert [f.evidence[0].frame for f in found] == [1, 2, 3, 4, 5, 6, 7]
    # what names no exchange belongs to the one that waited in its time; the FIN comes at the moment of the response
    assert [f.exchange for f in found] == [None, None, None, 0, 0, 0, None]
    assert [f.rule for f in report.findings if f.rule != "every-packet"] == ["slow-response"]
    assert lines == []


def test_without_such_a_rule_segments_are_never_a_frame(analysed: Analyse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiredoctor.engine.run.SEGMENTS", None)
    assert [f.rule for f in analysed()[0].findings] == ["slow-response"]


@pytest.mark.parametrize(("shortest", "frames"), [(2_000_000, [7]), (4_000_000, [])])
def test_a_rule_gets_the_rows_within_its_own_cutoffs(shortest: int, frames: list[int], install: Install, tmp_path: Path) -> None:
    """The ACK of the head is delayed by 3 ms, for which none of ours looks."""
    install("acme.timing.every_release", about_packets("releases", {"min_ack_delay": shortest, "max_ack_delay": 10**9}))
    found = analyze_bytes(tmp_path / "split.pcap", capture(SPLIT), select=["every-release"]).findings
    assert [f.evidence[0].frame for f in found] == frames


def test_what_can_be_shared_is_known_in_one_place() -> None:
    assert {*SCOPES, *EXPLAINING} - {"tries", "until", "wait", "wait-behind", "front"} == set(settling._SCOPES)
