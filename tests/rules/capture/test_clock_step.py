"""Test a clock that is set back during the capture: findings that depend on times before and after are dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladders import STALL, ladder_packets, set_back, to_pcap
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import sweep
from wiredoctor import diagnosis, limits
from wiredoctor.findings import Finding
from wiredoctor.storage import spill

MS = 1_000_000

ANOTHER = r"""
connection 2, start 0.300, client 10.0.0.9:4000, server 10.0.0.8:80
  0.000  >  S
  0.001  <  S.
  0.001  >  .
"""


def analysed(folder: Path, text: str, behind: int, back: int, epoch: int = 128_000) -> list[Finding]:
    """Return the findings if the clock is set back by `back` nanoseconds after `behind` packets."""
    packets = set_back(ladder_packets(text), behind, back)
    return list(analyze_bytes(folder / "stepped.pcap", to_pcap(packets), epoch_packets=epoch).findings)


def rules(findings: list[Finding]) -> list[str]:
    return sorted(f.rule for f in findings)


@pytest.mark.parametrize("epoch", sweep([1, 3, 128_000], {1}.__contains__))
@pytest.mark.parametrize(
    ("back", "kinds"),
    [
        pytest.param(1_000_000, [], id="a little out of order"),
        pytest.param(1_000_001, ["out-of-order"], id="out of order: no connection shows that the clock was set back"),
        pytest.param(50 * MS, ["out-of-order"], id="as far as threads are behind"),
        pytest.param(50 * MS + 1, [None], id="further"),
    ],
)
def test_more_than_a_millisecond(tmp_path: Path, back: int, kinds: list[str | None], epoch: int) -> None:
    """Between the packets 8 and 9 the clock is set back by what passed between them, and by so much more."""
    found = analysed(tmp_path, STALL + ANOTHER, 8, 68 * MS + back, epoch)
    steps = [f for f in found if f.rule == "clock-step"]
    assert [(f.kind, f.severity) for f in steps] == [(kind, "note" if kind else "warning") for kind in kinds]
    if back == 50 * MS:  # the other two packets are late as well
        assert steps[0].measures["steps"] == 3
    elif steps:
        assert [e.frame for e in steps[0].evidence] == [8, 9]
        assert (steps[0].measures["steps"], steps[0].measures["worst"], steps[0].connection) == (1, back / 1e9, None)


@pytest.mark.parametrize("epoch", sweep([1, 3, 128_000], {1}.__contains__))
@pytest.mark.parametrize(
    ("behind", "stalls"),
    [
        pytest.param(3, 1, id="before the proof begins"),
        pytest.param(4, 1, id="at its first packet"),
        pytest.param(5, 0, id="between the data and its ACK"),
        pytest.param(6, 0, id="between the ACK and what it released"),
        pytest.param(7, 1, id="behind its last packet"),
    ],
)
def test_no_stall_across_a_step(tmp_path: Path, behind: int, stalls: int, epoch: int) -> None:
    """Set back by as much as passed there and 2 ms more: what is far from the step stands."""
    times = [p.time for p in ladder_packets(STALL)]
    found = rules(analysed(tmp_path, STALL, behind, times[behind] - times[behind - 1] + 2 * MS, epoch))
    assert found == ["clock-step"] + ["nagle-delayed-ack"] * stalls


def test_another_connection_keeps_its_findings(tmp_path: Path) -> None:
    assert rules(analysed(tmp_path, STALL + ANOTHER, 9, 500 * MS)) == ["clock-step", "nagle-delayed-ack"]


@pytest.mark.parametrize("epoch", sweep([1, 128_000], {1}.__contains__))
@pytest.mark.parametrize("stepped", [False, True])
def test_no_idle_close_across_a_step(tmp_path: Path, stepped: bool, epoch: int) -> None:
    """A summary has no times of a connection that goes on across a step."""
    idle = (
        STALL.split("\n  0.222", maxsplit=1)[0]
        + r"""
  0.024  <  P.   "hello"
  0.024  >  .
  5.024  <  F.
  5.024  >  .
  5.025  >  F.
  5.035  <  .
"""
    )
    found = rules(analysed(tmp_path, idle, 8, 10_000 * MS if stepped else 0, epoch))
    assert found == (["clock-step"] if stepped else ["idle-close"])


@pytest.mark.parametrize("epoch", sweep([1, 128_000], {1}.__contains__))
def test_what_order_proves_stands(tmp_path: Path, epoch: int) -> None:
    cut = (
        STALL.split("\n  0.222", maxsplit=1)[0].replace("Length: 5", "Length: 9")
        + r"""
  0.024  <  P.   "hello"
  0.025  >  .
  0.030  <  F.
  0.031  >  .
  0.032  >  F.
  0.042  <  .
"""
    )
    assert rules(analysed(tmp_path, cut, 8, 500 * MS, epoch)) == ["clock-step", "truncated-response"]


def test_among_so_many_connections_that_they_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars hands conditions to whoever reads the rows then, and cannot do that with a function of ours."""
    expected = analysed(tmp_path, STALL + ANOTHER, 8, 1_000 * MS)
    monkeypatch.setattr(limits.SUMMARIES_TOGETHER, "value", 0)
    monkeypatch.setattr(spill, "SMALL", -1)
    monkeypatch.setattr(diagnosis, "SMALL", -1)
    assert analysed(tmp_path, STALL + ANOTHER, 8, 1_000 * MS) == expected
    assert "clock-step" in rules(expected)
