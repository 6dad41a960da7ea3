"""Test captures made again from public reports, if they are there: what is wrong is reported, and nothing about healthy twins."""

from __future__ import annotations

from pathlib import Path

import pytest

import wiredoctor

FOUND = Path(__file__).parents[3] / "shared" / "found"
EXPECTED = [line.split() for line in (Path(__file__).parent / "found.txt").read_text().splitlines() if not line.startswith("#")]
TRUE_OF_HEALTHY = {("30-reset-ends-body-fin-healthy", "keep-alive-disabled")}
"""What is rightly reported about a healthy capture, although it is not what the capture is about."""

pytestmark = pytest.mark.skipif(not FOUND.is_dir(), reason="the captures are not there")


@pytest.mark.parametrize(("name", "rule", "kind", "side"), EXPECTED)
def test_the_fault_is_reported(name: str, rule: str, kind: str, side: str) -> None:
    report = wiredoctor.analyze(FOUND / "captures" / f"{name}.pcap")
    assert (rule, kind, side) in {(f.rule, f.kind or "-", f.side or "-") for f in report.findings}


def healthy() -> list[Path]:
    """Return the healthy twins of the captures in EXPECTED."""
    numbers = {name.partition("-")[0].rstrip("b") for name, *_ in EXPECTED}
    return [path for path in sorted((FOUND / "healthy").glob("*.pcap")) if path.name.partition("-")[0].rstrip("b") in numbers]


@pytest.mark.parametrize("twin", healthy(), ids=lambda twin: twin.stem)
def test_healthy_traffic_has_no_warning(twin: Path) -> None:
    wrong = {(twin.stem, f.rule) for f in wiredoctor.analyze(twin).findings if f.severity != "note"}
    assert wrong <= TRUE_OF_HEALTHY
