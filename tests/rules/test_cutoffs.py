"""Test that thresholds are declared only in rule files: findings depend on them, and the engine writes the rows that the running
rules need.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from wiredoctor.engine.run import core_cutoffs
from wiredoctor.findings import Threshold, configured, threshold_name
from wiredoctor.rule_engine import catalogue, cutoffs, select, set_thresholds
from wiredoctor.rule_engine.catalogue import RuleError
from wiredoctor.rule_engine.cutoffs import UNREACHABLE, Cutoffs, least_demanding
from wiredoctor.tables import MILLISECOND as MS
from wiredoctor.testing import findings

modules: Any = importlib.import_module("wiredoctor.rule_engine.catalogue")

OPEN = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
"""
GET = '>  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n'
HEAD = '<  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n"\n'


def split(delay: float, think: float = 0.0, times: int = 1) -> str:
    """Head and body apart; the ACK of the head is delayed, and the body leaves when it comes, or `think` later."""
    once = f'  +0.001 {GET}  +0.011 {HEAD}  +{delay} >  .\n  +{0.010 + think} <  P.   "hello"\n  +0.000 >  .\n'
    return once if times == 1 else f"  repeat {times}\n{once}  end\n"


def probe(wait: float) -> str:
    """Head and body apart, and no ACK of the head: the body leaves that long after it."""
    return f'  +0.001 {GET}  +0.011 {HEAD}  +{wait} <  P.   "hello"\n  +0.000 >  .\n'


def one_segment(delay: float, times: int = 1) -> str:
    """A full segment, whose ACK is delayed, and the next, which leaves when that comes: of responses of two segments."""
    once = (
        f'  +0.001 {GET}  +0.011 <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2879\\r\\n\\r\\n" + body*1419\n'
        f"  +{delay} >  .\n  +0.010 <  P.   body*1460\n  +0.000 >  .\n"
    )
    return once if times == 1 else f"  repeat {times}\n{once}  end\n"


def corked(wait: float) -> str:
    """Three responses whose small end leaves that long, and a round trip, after the ACK of the full segment before it."""
    once = (
        f'  +0.001 {GET}  +0.011 <  .    "HTTP/1.1 200 OK\\r\\nContent-Length: 1719\\r\\n\\r\\n" + body*1419\n'
        f"  +0.000 >  .\n  +{wait + 0.020} <  P.   body*300\n  +0.000 >  .\n"
    )
    return f"  repeat 3\n{once}  end\n"


def lost(gap: float, tries: tuple[float, ...] = (), answer: float = 0.011) -> str:
    """A request that is sent again until it is answered; `gap` and `tries`: how long after it."""
    get = '>  P.   1:28 "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n'
    again = "".join(f"  {0.1 + at} {get}" for at in (*tries, gap))
    response = '"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello" ack 28'
    return f"  0.100 {get}{again}  {0.1 + gap + answer} <  P.   {response}\n"


def closed(wait: float) -> str:
    """A client whose window is closed for so long while a response is under way."""
    return (
        f'  0.011 {GET}  0.022 <  .    "HTTP/1.1 200 OK\\r\\nContent-Length: 7240\\r\\n\\r\\n" + body*1419\n'
        f"  0.022 >  .    win 0\n  {0.022 + wait} >  .    win 64240\n  {0.032 + wait} <  .    1461:2921(1460)\n"
    )


def crumbs(count: int, interval: float = 0.001, size: int = 10) -> str:
    """A response of so many small segments."""
    head = f'<  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: {size * count}\\r\\n\\r\\n"\n'
    return f"  0.011 {GET}  0.022 {head}  repeat {count}\n  +{interval} <  P.   x*{size}\n  end\n  +0.300 >  .\n"


def flushed(interval: float) -> str:
    """A response of 20 small chunks that come at this interval."""
    head = '<  P.   "HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"\n'
    return f'  0.011 {GET}  0.022 {head}  repeat 20\n  +{interval} <  P.   "a\\r\\n" + x*10 + "\\r\\n"\n  end\n  +0.300 >  .\n'


def uneven(interval: float) -> str:
    """The same, of which every third comes after this interval and the others at once."""
    text = crumbs(21).replace("repeat 21", "repeat 7")
    return text.replace("  +0.001 <  P.   x*10\n", f"  +{interval} <  P.   x*10\n" + "  +0.001 <  P.   x*10\n" * 2)


def streamed(pause: float) -> str:
    """A response without framing in two bursts."""
    return (
        f'  0.011 {GET}  0.022 <  P.   "HTTP/1.1 200 OK\\r\\n\\r\\n<html>"\n  0.022 >  .\n'
        f'  +{pause} <  P.   "</html>"\n  +0.000 >  .\n  +0.001 <  F.\n  +0.000 >  F.\n'
    )


def held(wait: float, events: int = 3, bursts: int = 3) -> str:
    """An event stream that comes in bursts that end inside events, each after a wait of the application."""
    head = '<  P.   "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n"\n'
    begins, ends = ["", *["ta: 1\\n\\n"] * (bursts - 1)], "da"
    texts = [begin + "data: 1\\n\\n" * (events - bool(begin)) + ends for begin in begins]
    burst = "".join(f'  +{wait} <  P.   "{text}"\n  +0.000 >  .\n' for text in texts)
    return f"  0.011 {GET}  0.022 {head}  0.022 >  .\n{burst}  +0.001 <  F.\n  +0.000 >  F.\n"


def after_head(wait: float) -> str:
    """A response whose body comes that many seconds after its head."""
    head = r'<  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"'
    return f'  0.011 {GET}  0.022 {head}\n  0.022 >  .\n  +{wait} <  P.   "ok"\n  +0 >  .\n'


def repeated(*times: float, gives_up: bool = False) -> str:
    """A request that is sent at these times and never acknowledged; the capture goes on for 10 s, or the client resets."""
    get = '>  P.   1:28 "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n'
    after = f"  {times[-1] + 1} >  R.   28:28\n" if gives_up else "  connection 2, start 20\n  0.000 >  S    win 64240\n"
    return "".join(f"  {time} {get}" for time in times) + after


def limited(rounds: int) -> str:
    """A response of so many round trips of 10 ms, each of which fills the window of the client."""
    head = f'<  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: {5840 * rounds}\\r\\n\\r\\n"\n'
    flight = "".join(f"  +{wait} <  .    x*1460\n" for wait in (0.010, 0, 0, 0))
    return f"  0.011 {GET}  0.022 {head}  0.022 >  .    win 5840\n  repeat {rounds}\n{flight}  +0.000 >  .\n  end\n"


NAGLE, WHOLE, RETRANSMISSION, WINDOW = "nagle-delayed-ack", "delayed-ack-stall", "retransmission-stall", "zero-window-stall"
TINY, UNCHUNKED, BUFFERED, LIMITED = "tinygrams", "unchunked-streaming", "buffered-stream", "limited-transfer"
UNANSWERED, SLOW = "unanswered", "slow-response"
COUNTER_EVIDENCE = split(0.002, 0.060, 3) + split(0.041)

CASES: list[tuple[str, str, float, str, int, int]] = [
    (NAGLE, "MIN_ACK_DELAY", 10, split(0.200), 1, 0),
    (NAGLE, "MIN_ACK_DELAY", 0.1, split(0.006), 0, 1),
    (NAGLE, "MAX_ACK_DELAY", 10, split(0.600), 0, 1),
    (NAGLE, "MAX_ACK_DELAY", 0.1, split(0.200), 1, 0),
    (NAGLE, "MIN_SHORT_ACK_DELAY", 10, split(0.010, times=6), 2, 0),
    (NAGLE, "MIN_SHORT_ACK_DELAY", 0.1, split(0.0055, times=6), 0, 2),
    (NAGLE, "QUICK_ACK", 10, split(0.041), 1, 0),
    (NAGLE, "QUICK_ACK", 0.1, COUNTER_EVIDENCE, 0, 1),
    (NAGLE, "TAIL_LOSS_PROBE", 10, probe(0.220), 1, 0),
    (NAGLE, "TAIL_LOSS_PROBE", 0.1, probe(0.035), 0, 1),
    (NAGLE, "MIN_CORK", 10, corked(0.205), 3, 0),
    (NAGLE, "MIN_CORK", 0.1, corked(0.100), 0, 3),
    (NAGLE, "MAX_CORK", 10, corked(0.300), 0, 3),
    (NAGLE, "MAX_CORK", 0.1, corked(0.205), 3, 0),
    (WHOLE, "MIN_ACK_DELAY", 10, one_segment(0.200), 1, 0),
    (WHOLE, "MIN_ACK_DELAY", 0.1, one_segment(0.006), 0, 1),
    (WHOLE, "MAX_ACK_DELAY", 10, one_segment(0.600), 0, 1),
    (WHOLE, "MAX_ACK_DELAY", 0.1, one_segment(0.200), 1, 0),
    (WHOLE, "MIN_SHORT_ACK_DELAY", 10, one_segment(0.010, times=6), 2, 0),
    (WHOLE, "MIN_SHORT_ACK_DELAY", 0.1, one_segment(0.0055, times=6), 0, 2),
    (WHOLE, "QUICK_ACK", 10, one_segment(0.041), 1, 0),
    (RETRANSMISSION, "MIN_GAP", 10, lost(0.200), 1, 0),
    (RETRANSMISSION, "MIN_GAP", 0.1, lost(0.030), 0, 1),
    (RETRANSMISSION, "MAX_ANSWER", 10, lost(0.200, answer=8), 0, 1),
    (RETRANSMISSION, "MAX_ANSWER", 0.1, lost(0.200, answer=2), 1, 0),
    (WINDOW, "MIN_WAIT", 10, closed(0.500), 1, 0),
    (WINDOW, "MIN_WAIT", 0.1, closed(0.015), 0, 1),
    (TINY, "MIN_SEGMENTS", 10, crumbs(20), 1, 0),
    (TINY, "MIN_SEGMENTS", 0.1, crumbs(4), 0, 1),
    (TINY, "LONGEST_LOOK", 0.1, crumbs(20), 1, 0),
    (TINY, "MAX_INTERVAL", 10, uneven(0.050), 0, 1),
    (TINY, "MAX_INTERVAL", 0.1, uneven(0.010), 1, 0),
    (TINY, "FLUSHED", 10, crumbs(20, 0.010), 0, 1),
    (TINY, "FLUSHED", 0.1, crumbs(20), 1, 0),
    (TINY, "CHUNK_FLUSHED", 10, flushed(0.002), 0, 1),
    (TINY, "CHUNK_FLUSHED", 0.1, flushed(0.001), 1, 0),
    (LIMITED, "MIN_TIME", 10, limited(110), 1, 0),
    (LIMITED, "MIN_TIME", 0.1, limited(50), 0, 1),
    (UNCHUNKED, "MIN_PAUSE", 10, streamed(0.200), 1, 0),
    (UNCHUNKED, "MIN_PAUSE", 0.1, streamed(0.030), 0, 1),
    (UNCHUNKED, "MIN_PAUSE", 0.1, OPEN.replace("0.010", "0.001") + streamed(0.007), 0, 1),
    (BUFFERED, "MIN_WAIT", 10, held(0.600), 1, 0),
    (BUFFERED, "MIN_WAIT", 0.1, held(0.060), 0, 1),
    (BUFFERED, "MIN_EVENTS", 10, held(0.600), 1, 0),
    (BUFFERED, "MIN_EVENTS", 0.1, held(0.600, events=1), 0, 1),
    (SLOW, "MIN_WAIT", 0.1, after_head(0.5), 0, 1),
    (UNANSWERED, "COPIES", 0.1, repeated(1, 3), 0, 1),
    (UNANSWERED, "GAVE_UP", 10, repeated(1, 1.2, 1.6, gives_up=True), 1, 0),
    (UNANSWERED, "GAVE_UP", 0.1, repeated(1, 1.2, gives_up=True), 0, 1),
]
"""Rule, threshold, a tenth or ten times of it, ladder, findings before and after."""


def scaled(threshold: Threshold, factor: float) -> str:
    """A tenth or ten times, at least 1 of what is counted."""
    number, _, unit = threshold.text.partition(" ")
    times = float(number) * factor
    return f"{times:g} {unit}" if unit in ("ns", "us", "ms", "s") else f"{max(round(times), 1)} {unit}"


def name_of(case: tuple[Any, ...]) -> str:
    return f"{case[0]}-{case[1]}-{case[2]}-{CASES.index(case)}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_findings_follow_each_threshold(case: tuple[str, str, float, str, int, int]) -> None:
    rule, threshold, factor, ladder, before, after = case
    text = ladder if ladder.startswith(OPEN[:30]) else OPEN + ladder
    changed = {rule: {threshold_name(threshold): scaled(catalogue()[rule].thresholds[threshold], factor)}}

    def count(**how: Any) -> int:
        return len([f for f in findings(text, select=[rule], **how) if f.rule == rule])

    assert (count(), count(thresholds=changed)) == (before, after)


def test_all_thresholds_behind_a_cutoff_are_tried() -> None:
    """A threshold is behind a cutoff if the cutoffs change with it."""
    behind: set[tuple[str, str, float]] = set()
    for name, module in catalogue().items():
        for constant, threshold in module.thresholds.items() if module.cutoffs else ():
            for factor in (0.1,) if threshold.most else (10, 0.1):  # a value that is not recorded is refused
                with configured(set_thresholds({name: module}, {name: {threshold_name(constant): scaled(threshold, factor)}})):
                    changed = cutoffs({name: module})
                if changed != cutoffs({name: module}):
                    behind.add((name, constant, factor))
    tried = {case[:3] for case in CASES}
    # a longer look, and retransmissions that count sooner or later, are tried below
    assert behind - tried == {
        (TINY, "LONGEST_LOOK", 10),
        (RETRANSMISSION, "EARLIEST_RETRANSMISSION", 10),
        (RETRANSMISSION, "EARLIEST_RETRANSMISSION", 0.1),
        (WINDOW, "PACE_WAIT", 10),
        (WINDOW, "PACE_WAIT", 0.1),
    }


def test_short_closed_windows_show_the_pace() -> None:
    """A window opens every 100 ms, one segment at a time. Twice it was closed for 90 ms only."""
    again = "  +0.010 <  .    x*1460\n  +0     >  .    win 0\n  +0.090 >  .    win 1460\n"
    text = OPEN + closed(0.100).replace("win 64240", "win 1460").replace("  0.132 <  .    1461:2921(1460)\n", 2 * again)
    text += "  +0.010 <  .    x*1460\n"
    assert [f.kind for f in findings(text, select=[WINDOW])] == ["own-pace"]
    assert [f.kind for f in findings(text, select=[WINDOW], thresholds={WINDOW: {"pace-wait": "95 ms"}})] == [None]


def test_a_longer_look_at_a_run() -> None:
    """Nagle's algorithm is proved off by the speed of the run, which is not yet small enough on average when 64 segments came."""
    large, small = crumbs(64, 0.001, 600), "  repeat 200\n  +0.001 <  P.   x*10\n  end\n  +0.300 >  .\n"
    text = OPEN + large.replace("38400", "40400").replace("  +0.300 >  .\n", small)
    assert [f.rule for f in findings(text, select=[TINY])] == []
    assert [f.rule for f in findings(text, select=[TINY], thresholds={TINY: {"longest-look": "640"}})] == [TINY]


@pytest.mark.parametrize(
    ("delay", "tries"),
    [(None, [0.2]), ("5 ms", [0.02, 0.06, 0.2]), ("30 ms", [0.06, 0.2]), ("500 ms", [0.2])],
)
def test_which_retransmissions_count(delay: str | None, tries: list[float]) -> None:
    """Those at 20 ms and 60 ms; none that come sooner than a stall of which there is a finding are left out."""
    how: dict[str, Any] = {} if delay is None else {"thresholds": {RETRANSMISSION: {"earliest-retransmission": delay}}}
    expected = [0.06, 0.2] if delay is None else tries
    [found] = findings(OPEN + lost(0.200, (0.020, 0.060)), select=[RETRANSMISSION], **how)
    first = 4 + [0.02, 0.06, 0.2].index(expected[0]) + 1
    assert [e.frame for e in found.evidence] == [*dict.fromkeys([4, first, 7, 8])]


# Cutoffs


def chosen(*names: str, **thresholds: dict[str, str]) -> Cutoffs:
    """The cutoffs of these rules, with these thresholds by rule."""
    some = select(catalogue(), names)
    given = {rule.replace("_", "-"): values for rule, values in thresholds.items()}
    with configured(set_thresholds(some, given)):
        return cutoffs(some)


def test_the_least_demanding_rule_decides() -> None:
    both = (NAGLE, WHOLE)
    slow = {"min-ack-delay": "90 ms", "min-short-ack-delay": "80 ms", "max-ack-delay": "1 s"}
    found = chosen(*both, nagle_delayed_ack=slow)  # the rules share these thresholds
    assert (found.min_ack_delay, found.max_ack_delay) == (80 * MS, 1000 * MS)
    found = least_demanding(
        [{"min_ack_delay": 80 * MS, "max_ack_delay": 1000 * MS}, {"min_ack_delay": 8 * MS, "max_ack_delay": 0}]
    )
    assert (found.min_ack_delay, found.max_ack_delay) == (8 * MS, 1000 * MS)


def test_a_rule_that_is_not_selected_needs_no_rows() -> None:
    none, whole = Cutoffs(), chosen(WHOLE)
    assert chosen("slow-response") == none
    assert (none.min_stall, none.max_run) == (UNREACHABLE, -UNREACHABLE)
    assert whole.min_ack_delay == 8 * MS
    assert (whole.max_quick_ack, whole.min_probe_wait, whole.min_stall) == (-UNREACHABLE, UNREACHABLE, UNREACHABLE)


def burst_gap(cutoffs: Cutoffs) -> int:
    """Return the shortest pause in ns between two bursts, which the core derives from the cutoffs."""
    return core_cutoffs(cutoffs).burst_gap()


def test_columns_of_exchanges_have_a_default() -> None:
    assert (chosen().min_pause, burst_gap(chosen()), chosen().min_event_pause) == (50 * MS, 10 * MS, 500 * MS)
    assert chosen(UNCHUNKED, unchunked_streaming={"min-pause": "2 s"}).min_pause == 50 * MS  # other rules count pauses, too
    lower = chosen(UNCHUNKED, unchunked_streaming={"min-pause": "7 ms"})
    assert (lower.min_pause, burst_gap(lower)) == (7 * MS, 7 * MS)
    assert chosen(BUFFERED, buffered_stream={"min-wait": "2 s", "min-events": "1"}).min_event_pause == 2000 * MS


def test_unions() -> None:
    one, other = {"min_stall": 5, "max_run": 5}, {"min_stall": 9, "max_run": 9}
    found = least_demanding([one, other])
    assert (found.min_stall, found.max_run, found.min_run) == (5, 9, UNREACHABLE)
    assert found.widened([{"min_stall": 7, "max_run": 10}]) == Cutoffs(min_stall=5, max_run=10)


def test_who_reads_all_segments_reads_what_their_columns_describe() -> None:
    tiny = catalogue()[TINY]._replace(tables=("segments",), cutoffs=None)
    found = cutoffs({"a": tiny, WINDOW: catalogue()[WINDOW]})
    assert (found.min_closed_window, found.max_run_interval, found.min_stall) == (20 * MS, 20 * MS, UNREACHABLE)


def test_a_rule_that_reads_an_event_table_declares_cutoffs() -> None:

    def find(runs: pl.LazyFrame) -> pl.LazyFrame:
        return runs

    module = ModuleType("acme.stalls.crumbs")
    module.__dict__.update(RULE=catalogue()[TINY].rule, find=find)
    with pytest.raises(RuleError, match="find requests runs, but the module has no function cutoffs"):
        modules._describe(module)
    module.__dict__.update(cutoffs=lambda: {"min_run": 3})
    assert modules._describe(module).tables == ("runs",)
