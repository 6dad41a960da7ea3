"""Limits can be configured: they are read while the analysis runs, and nothing else decides in their place."""

from __future__ import annotations

import ast
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier

import polars as pl
import pytest

import wiredoctor
from tests.support.recordings import find_recording
from wiredoctor import rule_engine
from wiredoctor.core.cutoffs import Cutoffs as CoreCutoffs
from wiredoctor.core.http1 import bursts
from wiredoctor.core.tcp import closes
from wiredoctor.engine.run import core_cutoffs
from wiredoctor.findings import Threshold, configured
from wiredoctor.protocols.http1 import pieces
from wiredoctor.rule_engine import RuleModule, catalogue, cutoffs, set_thresholds
from wiredoctor.rule_engine.cutoffs import UNREACHABLE, Cutoffs
from wiredoctor.rules.round_trips import redirect_loop
from wiredoctor.rules.shared.evidence import grouped
from wiredoctor.settings import Settings
from wiredoctor.testing import findings, ladders_in

RULES = Path(sys.modules["wiredoctor.rules"].__file__ or "").parent


@pytest.mark.parametrize(
    ("default", "given", "text", "value"),
    [
        ("30 ms", "46ms", "46 ms", 46_000_000),
        ("30 ms", " 2 s ", "2 s", 2_000_000_000),
        ("30 ms", "1.5 us", "1.5 us", 1_500),
        ("8 segments", "9", "9 segments", 9),
        ("8 segments", "1 segment", "1 segments", 1),
        ("3 idle times", "4 idle times", "4 idle times", 4),
        ("3 idle times", "4 rests", "4 idle times", 4),
        ("25 %", "30 %", "30 %", 30),
        ("25 %", "30", "30 %", 30),
        ("3", "4", "4", 4),
    ],
)
def test_what_a_user_may_write(default: str, given: str, text: str, value: int) -> None:
    threshold = Threshold(default, "")
    assert threshold.parse(given) == text
    threshold.key = ("some-rule", "limit")
    with configured({("some-rule", "limit"): text}):
        assert (threshold.current, threshold.value) == (text, value)
    assert threshold.current == threshold.text == default


@pytest.mark.parametrize(
    "given",
    ["", "30", "ms", "30 m", "-30 ms", "30 ms ago", "1e3 ms", "nan ms", "inf s", "３０ ms", "30 ms\n30 ms", "1" * 10 + " ms"],
)
def test_what_is_no_time(given: str) -> None:
    with pytest.raises(ValueError, match='is not a time such as "30 ms"'):
        Threshold("30 ms", "").parse(given)


@pytest.mark.parametrize("given", ["", "x", "-1", "1.5", "8 s", "8 ms", "8 packets", "1_000", "８"])
def test_what_is_no_number(given: str) -> None:
    with pytest.raises(ValueError, match='is not a whole number such as "8 segments"'):
        Threshold("8 segments", "").parse(given)


def test_every_threshold_takes_its_own_default() -> None:
    for rule in catalogue().values():
        for name, threshold in rule.thresholds.items():
            assert threshold.parse(threshold.text) == threshold.text, f"{rule.name}: {name}"
            assert set_thresholds(catalogue(), {rule.name: {name: threshold.text}}) == {threshold.key: threshold.text}
            assert threshold.key == (rule.name, name.lower().replace("_", "-")) or rule.name not in (threshold.key or ())


@pytest.mark.parametrize("path", sorted((RULES / "shared").glob("*.py")), ids=lambda path: path.stem)
def test_every_shared_threshold_belongs_to_a_rule(path: Path) -> None:
    catalogue()
    module = import_module(f"wiredoctor.rules.shared.{path.stem}")
    assert [name for name, one in vars(module).items() if isinstance(one, Threshold) and one.key is None] == []


def test_a_reason_is_not_written_twice() -> None:
    """Two rules that need one number for one reason share it. How much is shown as evidence decides nothing."""
    numbers: dict[tuple[str, str], set[int]] = {}
    for rule in catalogue().values():
        for name, threshold in rule.thresholds.items():
            if name != "SHOWN":
                numbers.setdefault((threshold.text, threshold.reason), set()).add(id(threshold))
    assert [one for one, objects in numbers.items() if len(objects) > 1] == []


def test_numbers_that_the_core_repeats_are_those_of_the_rules() -> None:
    """The core imports no rules, and the rule engine imports no core."""
    repeated = CoreCutoffs()
    own = Cutoffs().of_all_segments()
    for name in own._asdict():
        if getattr(own, name) not in (UNREACHABLE, -UNREACHABLE):
            assert getattr(repeated, name) == getattr(own, name), name
    assert catalogue()["nagle-delayed-ack"].thresholds["MAX_ACK_DELAY"].value == bursts.ACK_TIMER


def test_rules_that_share_a_threshold_are_configured_together_and_not_against_each_other() -> None:
    rules = catalogue()
    shared = {"delayed-ack-stall": {"min-ack-delay": "60 ms"}}
    with configured(set_thresholds(rules, shared)):
        assert rules["nagle-delayed-ack"].thresholds["MIN_ACK_DELAY"].value == 60_000_000
    assert set_thresholds(rules, shared | {"nagle-delayed-ack": {"min-ack-delay": "60ms"}})
    with pytest.raises(
        ValueError,
        match=r"^thresholds.nagle-delayed-ack.min-ack-delay: 50 ms, but thresholds.delayed-ack-stall.min-ack-delay, which",
    ):
        set_thresholds(rules, shared | {"nagle-delayed-ack": {"min-ack-delay": "50 ms"}})


@pytest.mark.parametrize("rule", [rule for rule in catalogue().values() if rule.cutoffs], ids=lambda rule: rule.name)
@pytest.mark.parametrize("factor", [0.5, 2], ids=["half", "double"])
def test_the_core_writes_all_rows_that_a_configured_rule_needs(rule: RuleModule, factor: float) -> None:
    """The other rules are not asked, so nothing but this rule may decide."""
    assert rule.cutoffs is not None
    texts = {t.key: re.sub("[0-9]+", lambda n: str(round(int(n[0]) * factor)), t.text) for t in rule.thresholds.values() if t.key}
    with configured(texts):
        declared = rule.cutoffs()
        made = core_cutoffs(cutoffs({rule.name: rule}))
    for name, value in declared.items():
        row_is_written = getattr(made, name) >= value if name.startswith("max_") else getattr(made, name) <= value
        assert row_is_written, name


@pytest.mark.parametrize(
    ("rule", "name", "recorded"),
    [
        ("tiny-chunks", "tiny", pieces.LARGEST),
        ("buffered-stream", "min-chunks", pieces.EARLY),
        ("premature-close", "decided", closes.SHORTEST_GRACE_PERIOD),
    ],
)
def test_what_the_analysis_does_not_record_cannot_be_asked_for(rule: str, name: str, recorded: int) -> None:
    threshold = catalogue()[rule].thresholds[name.upper().replace("-", "_")]
    assert set_thresholds(catalogue(), {rule: {name: threshold.most}}) == {threshold.key: threshold.most}
    with configured({threshold.key or ("", ""): threshold.most}):
        assert threshold.value == recorded
    more = re.sub("[0-9]+", lambda n: str(int(n[0]) + 1), threshold.most)
    with pytest.raises(ValueError, match=f"^thresholds.{rule}.{name}: '{more}' has no effect: the analysis records at most"):
        set_thresholds(catalogue(), {rule: {name: more}})


def test_one_analysis_is_configured_and_the_next_is_not() -> None:
    capture = find_recording("server-head-body-split.pcap")
    usual = wiredoctor.analyze(capture).findings
    limit = sorted(f.delay or 0 for f in usual)[4]
    strict = {"nagle-delayed-ack": {"min-ack-delay": f"{round(limit * 1e6)} us"}}
    fewer = wiredoctor.analyze(capture, thresholds=strict).findings
    assert 0 < len(fewer) < len(usual)
    assert all((f.delay or 0) >= limit - 0.001 for f in fewer)
    assert len(wiredoctor.analyze(capture).findings) == len(usual)


CAPTURE = find_recording("server-head-body-split.pcap")


def find_slow_responses(settings: Settings, exchanges: pl.DataFrame) -> int:
    """Run one rule, in whatever process this is, and count its candidates."""
    rules = rule_engine.load(settings)
    with rules.configured():
        return rules.modules["slow-response"].find(exchanges.lazy()).collect().height


def test_a_spawned_process_runs_a_rule_with_the_configured_threshold() -> None:
    """It inherits nothing: what it does not get with the settings is the default."""
    path = find_recording("behind-nginx-slow-sibling.pcap")
    exchanges = wiredoctor.analyze(path, keep=True).packets[str(path)].tables(["exchanges"])["exchanges"]
    waits = (exchanges["response_start"] - exchanges["request_end"] - exchanges["rtt_server"]).drop_nulls().sort()
    usual, slow = Settings(select=["slow-response"]), waits.filter(waits >= 1_000_000_000).len()
    shorter = Settings(select=["slow-response"], thresholds={"slow-response": {"min-wait": "100 ms"}})
    with get_context("spawn").Pool(1) as pool:
        counts = [pool.apply(find_slow_responses, (settings, exchanges)) for settings in (usual, shorter, usual)]
    assert counts == [slow, waits.filter(waits >= 100_000_000).len(), slow]
    assert counts[0] < counts[1]


def test_two_runs_in_two_threads_have_their_own_thresholds() -> None:
    """Each waits in the middle of its run until the other is there, too."""
    limits, both = ("30 ms", "10 s"), Barrier(2, timeout=60)

    def count(limit: str) -> int:
        def meet(done: float) -> None:
            if done < 1:
                both.wait()

        thresholds = {"nagle-delayed-ack": {"min-ack-delay": limit}}
        report = wiredoctor.analyze(CAPTURE, thresholds=thresholds, epoch_packets=50, progress=meet)
        return len(report.findings)

    alone = [
        len(wiredoctor.analyze(CAPTURE, thresholds={"nagle-delayed-ack": {"min-ack-delay": one}}).findings) for one in limits
    ]
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(count, limits)] == alone
    assert alone[0] > alone[1]


def readings(tree: ast.Module) -> list[str]:
    """Thresholds whose value is read while a module is imported."""
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.Lambda) for n in ast.walk(f) if n is not f}
    return [
        n.value.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and n.attr in ("value", "current") and isinstance(n.value, ast.Name)
        if n.value.id.isupper() and id(n) not in inside
    ]


@pytest.mark.parametrize("path", sorted(RULES.rglob("*.py")), ids=lambda p: p.name)
def test_no_rule_remembers_a_limit(path: Path) -> None:
    assert readings(ast.parse(path.read_text("utf-8"))) == []


def test_a_remembered_limit_is_seen() -> None:
    assert readings(ast.parse("A = Threshold('1 s', '')\nB = A.value\ndef f():\n    return A.value\n")) == ["A"]


def test_a_limit_that_polars_asks_for_in_a_thread_of_its_own_would_be_the_default() -> None:
    """So that no function that Polars calls may read one: none does."""
    for path in RULES.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        functions = {f.name: f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}
        for call in ast.walk(tree):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ("map_batches", "map_elements")
            ):
                for argument in call.args:
                    called = functions.get(argument.id) if isinstance(argument, ast.Name) else argument
                    read = [n for n in ast.walk(called or tree) if isinstance(n, ast.Attribute) and n.attr == "value"]
                    assert not read, f"{path.name}, line {call.lineno}"


def test_a_function_that_groups_all_rows_reads_the_configured_limits() -> None:
    """Polars may call it in any thread."""
    enough = redirect_loop.ENOUGH
    assert enough.key is not None

    def group(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(enough=pl.lit(enough.value, pl.Int64))

    with configured({enough.key: "77 requests"}):
        rows = grouped(pl.LazyFrame({"enough": [0]}), group, {"enough": pl.Int64()})
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(rows.collect).result()["enough"].to_list() == [77]


@pytest.mark.parametrize("shown", [0, 1, 2])
def test_a_finding_of_which_less_is_shown_is_still_told(shown: int) -> None:
    """keep-alive-disabled fetches its names with its evidence."""
    limits = {"keep-alive-disabled": {"shown": f"{shown} connections"}}
    path = find_recording("gunicorn-sync-closes.pcap")
    usual = wiredoctor.analyze(path, select=["keep-alive-disabled"]).findings
    [finding] = wiredoctor.analyze(path, select=["keep-alive-disabled"], thresholds=limits).findings
    assert (finding.message, finding.client, finding.server) == (usual[0].message, usual[0].client, usual[0].server)
    assert finding.evidence == usual[0].evidence[:shown]


@pytest.mark.parametrize(
    ("rule", "threshold", "least", "title"),
    [
        ("client-abort", "several", "1 connection", "speaks: RST while nothing of the response has come, after a timeout of 2 s"),
        ("gateway-error", "no-neighbor", "1 ns", "speaks: not passed on, no server was asked"),
        ("redirect-loop", "enough", "1 request", "speaks: a URL redirects to itself"),
        ("repeated-auth-challenge", "enough", "1 request", "silent: one 401, then credentials at once"),
    ],
)
def test_zero_is_as_good_as_the_least_number(rule: str, threshold: str, least: str, title: str) -> None:
    """Nothing divides by it, and nothing is taken from an empty list."""
    [path] = Path(__file__).parent.rglob(f"{rule.replace('-', '_')}.txt")
    ladder = dict(ladders_in(path))[title]
    zero, one = (findings(ladder, thresholds={rule: {threshold: text}}) for text in (re.sub("1", "0", least), least))
    assert [(f.rule, f.kind, f.message) for f in zero] == [(f.rule, f.kind, f.message) for f in one]
    assert bool(one) == title.startswith("speaks")
