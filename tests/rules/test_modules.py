"""Test finding and selecting rules."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wiredoctor.rule_engine import catalogue, find_candidates, find_summaries, select, with_causes
from wiredoctor.rule_engine.plugins import ENTRY_POINTS

GOOD = '''"""A rule of somebody else."""
from wiredoctor.findings import Rule
RULE = Rule(severity="note", title="", message="", remedy="", display_filter="")
def find(exchanges):
    return exchanges
'''


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package acme.timing with a rule and three files that are none, as entry points."""
    package = tmp_path / "acme" / "timing"
    package.mkdir(parents=True)
    (package / "good_rule.py").write_text(GOOD)
    (package / "broken.py").write_text("def find(:\n")
    (package / "empty.py").write_text("")
    (package / "asks.py").write_text(GOOD.replace("exchanges", "packet_bytes"))
    about = tmp_path / "acme-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    points = [f"{n} = acme.timing.{n}\n" for n in ("good_rule", "broken", "empty", "asks", "missing")]
    (about / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{''.join(points)}[console_scripts]\nacme = acme:main\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue.cache_clear()
    yield tmp_path
    catalogue.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "acme"]:
        del sys.modules[name]


def test_the_path_is_the_name() -> None:
    rules = catalogue()
    assert {(m.family, n) for n, m in rules.items()} >= {
        ("stalls", "nagle-delayed-ack"),
        ("lifetime", "premature-close"),
        ("streaming", "unchunked-streaming"),
        ("framing", "missing-framing"),
        ("capture", "capture-loss"),
        ("capture", "damaged-file"),
    }
    assert all(n == m.name for n, m in rules.items())
    assert rules["nagle-delayed-ack"].tables == ("releases",)
    assert rules["nagle-delayed-ack"].thresholds["MIN_ACK_DELAY"].value == 30_000_000


def test_every_file_of_a_family_is_a_rule() -> None:
    folder = Path(sys.modules["wiredoctor.rules"].__file__ or "").parent
    files = {p.stem.replace("_", "-") for p in folder.glob("*/*.py") if p.stem != "__init__" and p.parent.name != "shared"}
    assert set(catalogue()) == files


def test_other_packages_add_rules_and_their_faults_are_a_line_each(others: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "wiredoctor"):
        rules = catalogue()
    assert (rules["good-rule"].family, rules["good-rule"].tables) == ("timing", ("exchanges",))
    assert "nagle-delayed-ack" in rules
    lines = [r.getMessage() for r in caplog.records]
    assert [line.split()[1] for line in lines] == ["asks", "broken", "empty", "missing"]
    assert all("\n" not in line for line in lines)
    assert not any(r.exc_info for r in caplog.records)


def test_select_by_rule_and_by_family() -> None:
    rules = catalogue()
    assert list(select(rules)) == list(rules)
    assert list(select(rules, ["premature-close"])) == ["premature-close"]
    capture = {name for name, module in rules.items() if module.family == "capture"}
    assert {"capture-loss", "damaged-file"} <= capture
    assert set(select(rules, ["capture", "premature-close"], ["damaged-file"])) == capture - {"damaged-file"} | {
        "premature-close"
    }
    assert "capture-loss" not in select(rules, ignore=["capture"])


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean nagle-delayed-ack") as error:
        select(catalogue(), ["nagle-delayd-ack"])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no rule or family is called 'zzz'"):
        select(catalogue(), ignore=["zzz"])


def test_what_explains_runs_too() -> None:
    rules = catalogue()
    assert list(with_causes(select(rules, ["capture-loss"]), rules)) == ["capture-loss"]
    needed = with_causes(select(rules, ["premature-close"]), rules)
    assert set(needed) >= {"premature-close", "missing-framing", "unchunked-streaming", "nagle-delayed-ack"}


def test_without_rows_no_rule_runs() -> None:
    assert find_candidates(catalogue(), {}) == {}
    assert [*find_summaries(catalogue(), {})] == [{}]
