"""Every rule's ladders: it speaks where it must and keeps quiet where it must, at every capture point."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladders import check, ladders_in
from wiredoctor.rules import catalogue

FILES = sorted(Path(__file__).parent.glob("*/*.txt"))
LADDERS = [pytest.param(text, id=f"{path.stem}: {title}") for path in FILES for title, text in ladders_in(path)]


@pytest.mark.parametrize("text", LADDERS)
@pytest.mark.parametrize("at", ["client", "middle", "server"])
def test_ladder(text: str, at: str) -> None:
    check(text, at)


@pytest.mark.parametrize("text", LADDERS)
@pytest.mark.parametrize("epoch_packets", [1, 3])
def test_where_epochs_end_does_not_matter(text: str, epoch_packets: int) -> None:
    check(text, epoch_packets=epoch_packets)


def test_every_rule_speaks_for_each_kind_and_is_silent_somewhere() -> None:
    text = {path.stem.replace("_", "-"): path.read_text() for path in FILES}
    for name, module in catalogue().items():
        if name in ("damaged-file", "clock-step"):  # faults of a file, not of a conversation; see tests/rules/capture
            continue
        severity = module.rule.severity
        kinds = [f"kind {kind}" if kind else "" for kind in severity] if not isinstance(severity, str) else [""]
        titles = module.rule.title
        kinds = kinds if isinstance(titles, str) else [f"kind {kind}" if kind else "" for kind in titles]
        said = [line for line in text[name].splitlines() if f"=> {name}" in line]
        assert not [k for k in kinds if not any((k in line) if k else ("kind" not in line) for line in said)]
        assert "silent" in text[name]
