"""Every rule's ladders: it speaks where it must and keeps quiet where it must, at every capture point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.ladders import Packet, check, ladder_packets, ladders_in, to_pcap
from tests.pipeline import feeding
from tests.pipeline.ladders import ends, together
from tests.rules.together import check_together, stands_alone
from tests.support.figures import absurd_figures, counts_milliseconds
from tests.support.sweeps import FORMS, SLOW, WHOLE, quick_if, sweep
from wiredoctor.rule_engine import catalogue
from wiredoctor.testing import EPOCHS, POINTS, findings
from wiredoctor.testing.expectations import compare, expectations

FILES = sorted(Path(__file__).parent.glob("*/*.txt"))
LADDERS = [(path, number, title, text) for path in FILES for number, (title, text) in enumerate(ladders_in(path))]

AT_POINTS = [
    pytest.param(
        *(text, at),
        id=f"{at}-{path.stem}: {title}",
        marks=quick_if(stands_alone(title, text) and number % len(POINTS) == place),
    )
    for path, number, title, text in LADDERS
    for place, at in enumerate(POINTS)
    if stands_alone(title, text) or (number % 2 and number % len(POINTS) == place)
]
"""Ladders by themselves: every other one at one point in turn, those that must stand alone at all. All ladders of a file at once,
which costs a twentieth, are fed at all points; a quick run does that instead."""

IN_EPOCHS = [
    pytest.param(
        *(text, None if stands_alone(title, text) else POINTS[number % len(POINTS)], EPOCHS[number // 2 % len(EPOCHS)]),
        id=f"{path.stem}: {title}",
        marks=quick_if(stands_alone(title, text) and number % 4 == 0),
    )
    for path, number, title, text in LADDERS
    if number % 2 == 0
]
"""The others by themselves, in steps. That steps change nothing is also asked of all ladders of a file at once, below."""

TOGETHER = [
    pytest.param(file, at, id=f"{file.stem}-{at}", marks=quick_if(number % len(POINTS) == place))
    for place, at in enumerate(POINTS)
    for number, file in enumerate(FILES)
]
"""A quick run feeds each file at one point in turn."""

CUTS = 6
"""Places where epochs end in a file of ladders, at random."""


@FORMS
@pytest.mark.parametrize(("text", "at"), AT_POINTS)
def test_ladder(text: str, at: str) -> None:
    packets, found = ladder_packets(text, at), findings(text, at)
    compare(expectations(text, packets), found)
    assert absurd_figures(found, in_milliseconds=counts_milliseconds(packets)) == []


@WHOLE  # and no form: the planted faults of tests/power show that one point alone misses some
@pytest.mark.parametrize(("file", "at"), TOGETHER)
def test_ladders_together(file: Path, at: str) -> None:
    check_together(file, at)


@FORMS
@pytest.mark.parametrize(("text", "at", "epoch_packets"), IN_EPOCHS)
def test_where_epochs_end_does_not_matter(text: str, at: str | None, epoch_packets: int) -> None:
    check(text, at, epoch_packets=epoch_packets)


@FORMS
@pytest.mark.parametrize("file", sweep(FILES, FILES[::6].__contains__), ids=lambda file: file.stem)
def test_cut_at_random(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ladders of a file at once: wherever epochs end, the whole report stays what it is."""
    packets = together(file)
    assert_cuts_do_not_matter(packets, sorted(Random(file.stem).sample(range(1, len(packets)), CUTS)), tmp_path, monkeypatch)


@FORMS
@SLOW
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_where_epochs_end_between_any_two_packets_of_a_connection(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ladders of a file at once, of each connection one packet in an epoch."""
    packets = together(file)
    assert_cuts_do_not_matter(packets, ends(packets, 1), tmp_path, monkeypatch)


def assert_cuts_do_not_matter(
    packets: Sequence[Packet], cuts: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ladders.pcap"
    path.write_bytes(to_pcap(packets))
    expected = feeding.report(path)
    feeding.cut_everything(monkeypatch, cuts)
    assert feeding.report(path) == expected


ELSEWHERE = ("damaged-file", "clock-step", "limited-transfer")
"""Rules about faults of a file (tests/rules/capture), and about bodies too long to be written down (tests/rules/stalls)."""

NO_TCP = ("kind dropped", "kind overwritten", "kind prohibited", "kind unreachable", "kind too-large")
"""Kinds of which no TCP packet tells: tests/report/test_dropped.py, tests/live/test_overwritten.py,
tests/rules/stalls/test_refusals.py."""

TOO_MANY = ("kind rate-limit",)
"""Kinds that need more requests than can be written down: tests/rules/gateways/test_gateway_error.py."""


def test_every_rule_speaks_for_each_kind_and_is_silent_somewhere() -> None:
    text = {path.stem.replace("_", "-"): path.read_text() for path in FILES}
    for name, module in catalogue().items():
        if name in ELSEWHERE:
            continue
        severity = module.rule.severity
        kinds = [f"kind {kind}" if kind else "" for kind in severity] if not isinstance(severity, str) else [""]
        titles = module.rule.title
        kinds = kinds if isinstance(titles, str) else [f"kind {kind}" if kind else "" for kind in titles]
        kinds = [kind for kind in kinds if kind not in (*NO_TCP, *TOO_MANY)]
        said = [line for line in text[name].splitlines() if f"=> {name}" in line]
        assert not [k for k in kinds if not any((k in line) if k else ("kind" not in line) for line in said)]
        assert "silent" in text[name]
