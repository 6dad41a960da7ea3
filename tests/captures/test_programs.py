"""Test that the scripts of captures/lab can be imported, and that programs.py expects only rules that exist."""

from __future__ import annotations

import sys
from typing import Any

from tests.support.recordings import CAPTURES, find_recording
from tests.support.sweeps import SLOW
from wiredoctor.rule_engine import catalogue


def test_scripts_can_be_imported(lab: Any) -> None:
    """No other test runs most of them, so this one finds an import of a name that is gone."""
    scripts = sorted(path.stem for path in (CAPTURES / "lab").glob("*.py"))
    assert [script for script in scripts if not getattr(lab, script).__doc__] == []


@SLOW
def test_scores_ask_the_wiredoctor_of_an_interpreter(lab: Any) -> None:
    [report] = lab.batch.reports(sys.executable, [find_recording("server-head-body-split.pcap")], 1)
    assert [one["packets"] for one in report["captures"]] == [57]
    assert len(report["connections"]) == 1


def test_what_programs_expect_are_rules(lab: Any) -> None:
    rules = catalogue()
    for program in lab.programs.PROGRAMS.values():
        for way in lab.programs.WAYS:
            truth = lab.programs.truth(program, way, 40)
            for named in (*truth.may, *truth.must, *(one for at_end in truth.fault.values() for one in at_end)):
                rule, _, kind = named.partition(" ")
                assert kind in rules[rule].doc, program.name


def test_programs_go_wrong_in_ways_that_exist(lab: Any) -> None:
    assert len(lab.programs.PROGRAMS) >= 40
    for program in lab.programs.PROGRAMS.values():
        assert program.must.keys() <= lab.programs.WAYS.keys()
        assert program.fault.keys() <= {"client", "server", *(["gateway"] if program.gateway else [])}
        assert program.use
        assert program.needs
