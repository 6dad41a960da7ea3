"""Without what Windows lacks, commands that read captures print and write what they do on Linux, byte for byte."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.captures.papers import EACH_RULE
from tests.support.recordings import ROOT, find_recording
from tests.support.sweeps import FORMS, SLOW
from tests.support.system_trial import EACH, ONCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is compared is a run on Linux")

QUICK = (
    *("analyze CAP -o OUT/a.json -o OUT/copy.pcapng", "show CAP --finding 1", "exchanges CAP"),
    *("live --help", "run --help", "interfaces --help"),
)
REFUSED = ("live -i 1", "live -", "run -- true", "interfaces")
GROUP = 6
"""The number of captures that one process reads."""

RECORDINGS = [*(find_recording(name) for name in ("overrun-counted.pcapng", "nginx-requests.pcapng")), *EACH_RULE]
"""Recordings in which each rule finds something, and two that are pcapng."""


def unusual_files(folder: Path) -> list[Path]:
    """Write captures that are compressed, damaged, empty, or none, with unusual names."""
    content = find_recording("server-head-body-split.pcap").read_bytes()
    deep = folder.joinpath(*["long" * 30] * 3)  # 300 characters and more
    deep.mkdir(parents=True)
    files = {
        folder / "a b.pcap.gz": gzip.compress(content),
        folder / "Prüfung.pcap.zst": zstandard.compress(content),
        folder / "\N{GRINNING FACE}.pcap": content[:-500],
        deep / "c.pcap": content,
        folder / "header.pcap": content[:24],
        folder / "empty.pcap": b"",
        folder / "none.pcap": b"no capture",
    }
    for path, written in files.items():
        path.write_bytes(written)
    return [*files]


def run_trial(*words: str, core: str, captures: Sequence[Path], lines: Sequence[str], also_others: bool = False) -> Any:
    """Return a process that runs commands, and its results when they are asked for."""
    asked = json.dumps({"captures": [*map(str, captures)], "lines": lines, "also_others": also_others})
    command = [sys.executable, "-m", "tests.support.system_trial", *words]
    environment = {**os.environ, "WIREDOCTOR_CORE": core}
    done = subprocess.run(command, input=asked, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_commands_that_read_captures_work_and_those_that_capture_say_what_does(tmp_path: Path) -> None:
    from tests.support.system_trial import results

    packed = tmp_path / "Prüfung 1.pcap.gz"
    packed.write_bytes(gzip.compress(find_recording("server-head-body-split.pcap").read_bytes()))
    found = run_trial("hidden", core="python", captures=[packed], lines=[*QUICK, *REFUSED])
    for line in REFUSED:
        code, out, errors, written, _ = found.pop(f"0 {line}")
        assert (code, out, written) == (2, "", {})
        [said] = errors.splitlines()
        assert "dumpcap -i N -w FILE.pcapng" in said
        assert "wiredoctor analyze FILE.pcapng" in said
    assert found == json.loads(json.dumps(results([str(packed)], QUICK)))
    assert [code for code, *_ in found.values()] == [0] * len(QUICK)


@SLOW
@FORMS
@pytest.mark.parametrize("first", range(0, len(RECORDINGS), GROUP))
def test_what_each_rule_finds(first: int) -> None:
    captures = RECORDINGS[first : first + GROUP]
    ordinary = run_trial(core="", captures=captures, lines=EACH)
    assert run_trial("hidden", core="python", captures=captures, lines=EACH) == ordinary


@SLOW
def test_unusual_files_and_other_commands(tmp_path: Path) -> None:
    captures = unusual_files(tmp_path)
    ordinary = run_trial(core="", captures=captures, lines=EACH, also_others=True)
    assert run_trial("hidden", core="python", captures=captures, lines=EACH, also_others=True) == ordinary
    assert {*ONCE} <= ordinary.keys()
