"""Every rule's ladders: it speaks where it must and keeps quiet where it must, at every capture point."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladders import check, ladders_in, to_pcap
from tests.pipeline import feeding
from tests.pipeline.ladders import ends, together
from tests.rules.together import check_together, stands_alone
from tests.sweeps import FULL
from wiredoctor.rule_engine import catalogue
from wiredoctor.testing import EPOCHS, POINTS

FILES = sorted(Path(__file__).parent.glob("*/*.txt"))
LADDERS = [(path, number, title, text) for path in FILES for number, (title, text) in enumerate(ladders_in(path))]

AT_POINTS = [
    pytest.param(text, at, id=f"{at}-{path.stem}: {title}")
    for path, number, title, text in LADDERS
    for place, at in enumerate(POINTS)
    if FULL or number % len(POINTS) == place or stands_alone(title, text)
]
"""Each ladder by itself, at one point in turn; at the others together with its neighbours, which costs a twentieth."""

ALONE = 2 * len(EPOCHS)
"""Of so many ladders of a file one is fed by itself in the smallest epochs, and one in the others."""
IN_EPOCHS = [
    pytest.param(text, EPOCHS[number % ALONE // 2], id=f"{path.stem}: {title}")
    for path, number, title, text in LADDERS
    if number % 2 == 0 and (FULL or number < ALONE or stands_alone(title, text))
]
"""The first of each file; all others are fed in epochs of one packet of each connection, below."""


@pytest.mark.parametrize(("text", "at"), AT_POINTS)
def test_ladder(text: str, at: str) -> None:
    check(text, at)


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_ladders_together(file: Path, at: str) -> None:
    check_together(file, at)


@pytest.mark.parametrize(("text", "epoch_packets"), IN_EPOCHS)
def test_where_epochs_end_does_not_matter(text: str, epoch_packets: int) -> None:
    check(text, epoch_packets=epoch_packets)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_where_epochs_end_between_any_two_packets_of_a_connection(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ladders of a file at once, of each connection one packet in an epoch: the whole report stays what it is."""
    path = tmp_path / "ladders.pcap"
    packets = together(file)
    path.write_bytes(to_pcap(packets))
    expected = feeding.report(path)
    feeding.cut_everything(monkeypatch, ends(packets, 1))
    assert feeding.report(path) == expected


ELSEWHERE = ("damaged-file", "clock-step", "limited-transfer")
"""Rules about faults of a file (tests/rules/capture), and about bodies too long to be written down (tests/rules/stalls)."""

NO_TCP = ("kind dropped", "kind prohibited", "kind unreachable", "kind too-large")
"""Kinds of which no TCP packet tells: tests/report/test_dropped.py, tests/rules/stalls/test_refusals.py."""


def test_every_rule_speaks_for_each_kind_and_is_silent_somewhere() -> None:
    text = {path.stem.replace("_", "-"): path.read_text() for path in FILES}
    for name, module in catalogue().items():
        if name in ELSEWHERE:
            continue
        severity = module.rule.severity
        kinds = [f"kind {kind}" if kind else "" for kind in severity] if not isinstance(severity, str) else [""]
        titles = module.rule.title
        kinds = kinds if isinstance(titles, str) else [f"kind {kind}" if kind else "" for kind in titles]
        kinds = [kind for kind in kinds if kind not in NO_TCP]
        said = [line for line in text[name].splitlines() if f"=> {name}" in line]
        assert not [k for k in kinds if not any((k in line) if k else ("kind" not in line) for line in said)]
        assert "silent" in text[name]
