"""Test candidates stored in files: none is lost or changed, and which ones a limit drops does not depend on their order."""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

import dpkt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from tests.captures.papers import EACH_KIND, EACH_RULE
from tests.pipeline.processes import report, reports
from tests.support.recordings import find_recording
from tests.support.sweeps import FORMS, SLOW, sweep
from wiredoctor import limits, pipeline
from wiredoctor.limits import LimitsReached
from wiredoctor.rule_engine import summary_columns
from wiredoctor.rule_engine.candidates import CandidateStore, StoredCandidates, together
from wiredoctor.storage.spill import Folder

EVIDENCE = pl.List(pl.Struct({"frame": pl.Int64, "time": pl.Int64, "note": pl.String}))
NOTED = [{"frame": 1, "time": 2, "note": "seen"}]


def rows(start: int, count: int) -> pl.DataFrame:
    numbers = range(start, start + count)
    columns = {"connection": [n // 3 for n in numbers], "frame": [*numbers], "evidence": [NOTED] * count}
    return pl.DataFrame(columns, {"connection": pl.Int64, "frame": pl.Int64, "evidence": EVIDENCE})


EPOCHS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20)


@pytest.mark.slow
@given(EPOCHS, st.integers(1, 30), st.lists(st.integers(0, 10**6), max_size=20))
def test_candidates_come_back_by_epoch_and_by_rule(epochs: list[tuple[int, int]], held: int, asked: list[int]) -> None:
    given_ones = [{"a": rows(100 * n, a), "b": rows(7 * n, b)} for n, (a, b) in enumerate(epochs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.CANDIDATES_HELD, "value", held)
        waiting = CandidateStore(Folder())
        for found in given_ones:
            waiting.append(found)
    for found, back in zip(given_ones, waiting, strict=True):
        assert all(back[name].equals(found[name]) for name in ("a", "b"))
    for name, parts in waiting.of_rules().items():
        whole, stored = pl.concat([found[name] for found in given_ones]), together(parts)
        assert isinstance(stored, StoredCandidates) == (sum(a + b for a, b in epochs) >= held)
        assert stored.schema == whole.schema
        assert stored.height == whole.height
        slices = [*stored.iter_slices(4)]
        assert all(some.height <= 4 for some in slices)
        assert (pl.concat(slices) if slices else whole.head(0)).equals(whole)
        if whole.height:
            numbers = pl.Series([n % whole.height for n in asked], dtype=pl.Int64)
            assert stored[numbers].equals(whole[numbers])


@given(EPOCHS, st.integers(1, 60), st.integers(1, 5))
def test_candidates_of_a_few_epochs_are_joined_where_none_is_told_apart(
    epochs: list[tuple[int, int]], held: int, loose: int
) -> None:
    given_ones = [{"a": rows(100 * n, a), "b": rows(7 * n, b)} for n, (a, b) in enumerate(epochs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.CANDIDATES_HELD, "value", held)
        patch.setattr("wiredoctor.rule_engine.candidates.LOOSE", loose)
        waiting = CandidateStore(Folder(), apart=False)
        for found in given_ones:
            waiting.append(found)
    assert len(waiting) <= len(epochs) // loose + loose + sum(a + b for a, b in epochs) // held + 1
    for name, parts in waiting.of_rules().items():
        stored = together(parts)
        back = pl.concat([*stored.iter_slices(4)] or [stored.schema.to_frame()])
        assert back.equals(pl.concat([found[name] for found in given_ones]))


@FORMS
@pytest.mark.parametrize("path", sweep(EACH_KIND, is_quick=lambda path: path in EACH_RULE[::3]), ids=lambda path: path.stem)
def test_candidates_may_be_judged_one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = pipeline.analyze(path)
    monkeypatch.setattr(limits.CANDIDATES_AT_ONCE, "value", 1)
    monkeypatch.setattr(limits.CANDIDATES_HELD, "value", 2)
    alone = pipeline.analyze(path)
    assert alone.findings == together.findings
    assert alone.not_judged == together.not_judged


def test_files_of_judged_candidates_are_gone_when_the_findings_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    new_file = Folder.new_file

    def noted(self: Folder, name: str) -> Path:
        written.append(new_file(self, name))
        return written[-1]

    monkeypatch.setattr(Folder, "new_file", noted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(limits.CANDIDATES_AT_ONCE, "value", 1)
    report = pipeline.analyze(find_recording("apache-met.pcap"))
    assert report.findings
    assert written
    assert not [*tmp_path.rglob("candidates-*")]


@pytest.mark.parametrize("name", ["behind-haproxy-timeout.pcap", "behind-two-gateways.pcap"])
def test_judging_leaves_no_reference_cycles(name: str) -> None:
    """The collector is off during an analysis, so the objects of each candidate would stay until its end."""
    path = find_recording(name)
    assert pipeline.analyze(path).findings
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        pipeline.analyze(path)
        gc.collect()
        left = [one for one in gc.garbage if type(one).__module__.startswith("wiredoctor")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert not left


@given(st.permutations(range(30)), st.integers(1, 29), st.integers(1, 5))
def test_which_are_kept_does_not_depend_on_their_order(order: list[int], most: int, at_once: int) -> None:
    """Of each rule as many, those with the longest delays first, then the earliest."""
    made = [{"connection": n % 4, "exchange": 0, "frame": n, "start": n, "end": n + 9, "delay": n % 5 or None} for n in range(30)]
    schema = dict.fromkeys(made[0], pl.Int64)
    by_rule = {"few": [made[n] for n in order if n < 6], "many": [made[n] for n in order if n >= 6]}
    met = LimitsReached()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.CANDIDATES, "value", most)
        patch.setattr(limits.CANDIDATES_AT_ONCE, "value", at_once)
        core = summary_columns.candidate_frame({name: pl.DataFrame(some, schema) for name, some in by_rule.items()}, met)
    best = {
        name: [row["frame"] for row in sorted(some, key=lambda row: (-(row["delay"] or 0), row["frame"]))]
        for name, some in by_rule.items()
    }
    turns = [(place, name) for name, frames in best.items() for place in range(len(frames))]
    expected = {(name, best[name][place]) for place, name in sorted(turns)[:most]}
    assert {*core.select("rule", "frame").iter_rows()} == expected
    assert met.counts == {"candidates": 30 - most}
    for name, row, frame in core.select("rule", "row", "frame").iter_rows():
        assert by_rule[name][row]["frame"] == frame


def stalled_clients(count: int) -> bytes:
    """A capture of so many clients at the same time, each with five stalls."""
    packets: list[Packet] = []
    for n in range(count):
        with find_recording("client-split-200-ms-client.pcap").open("rb") as file:
            reader: Any = dpkt.pcap.Reader(file)
            for time, frame in reader:
                ethernet: Any = dpkt.ethernet.Ethernet(frame)
                tcp = ethernet.data.data
                name = "sport" if tcp.sport > tcp.dport else "dport"
                setattr(tcp, name, 40_000 + n)
                ethernet.data.sum = tcp.sum = 0
                made = bytes(ethernet)
                packets.append(Packet(round(time * 10**6) + n, made, len(made)))
    return files.pcap(sorted(packets, key=lambda packet: packet.ticks))


FEW = "limits.CANDIDATES.value = 9; limits.FINDINGS.value = 5; limits.CANDIDATES_HELD.value = 3"


@pytest.fixture(scope="module")
def stalls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a capture with more candidates than FEW."""
    path = tmp_path_factory.mktemp("stalls") / "stalls.pcap"
    path.write_bytes(stalled_clients(8))
    return path


@SLOW
@pytest.mark.skipif(sys.platform != "linux", reason="captures are shared by processes on Linux only")
def test_a_report_of_too_many_candidates_does_not_depend_on_processes(stalls: Path) -> None:
    [[once]] = reports([stalls], [1], before=FEW)
    candidates, findings = report(once)["limits"]
    assert candidates.startswith("9 candidates for findings of a capture are compared")
    assert findings.startswith("5 findings of a capture are reported")
    assert reports([stalls], [1, 2], before=FEW, steps=(7, 50, 1_000)) == [[once] * 6]
