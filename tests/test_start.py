"""What an ordinary run loads: a small capture pays for what it needs, and not for what others may need.

No clock is looked at: the modules that are loaded say it, on any machine.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.recordings import ROOT, find_recording

RUN = """
import sys
import numpy, polars, typer, rich
before = set(sys.modules)
sys.argv = ["wiredoctor", *sys.argv[1:]]
from wiredoctor.cli import main
try:
    main()
finally:
    print("loaded:", *(set(sys.modules) - before), file=sys.stderr)
"""

RARE = {
    "another format": ["wiredoctor.core.capture.pcapng", "bz2", "lzma", "zstandard", "lz4"],
    "packets off the fast path": ["wiredoctor.protocols.ip.fragments", "scapy"],
    "gateways": ["wiredoctor.gateways.pairs", "wiredoctor.gateways.edges"],
    "another command": [
        f"wiredoctor.cli.commands.{name}" for name in ("connections", "exchanges", "interfaces", "rules", "explain", "schema")
    ],
    "another report": [
        *(f"wiredoctor.report.terminal.{name}" for name in ("text", "markdown", "manual")),
        *(f"wiredoctor.report.data.{name}" for name in ("json_rows", "json_schema")),
    ],
    "a second process": ["wiredoctor.engine.processes", "multiprocessing.pool", "concurrent.futures"],
    "conversion of parameters": ["pydantic"],
    "other ways to hand over tables": ["pandas", "pyarrow"],
}
"""What is not loaded for a pcap file whose report is JSON, by what it would be for."""


def loaded(*words: str, run: str = RUN) -> set[str]:
    """The modules that a command line loads, besides those of the libraries that every run imports."""
    done = subprocess.run([sys.executable, "-c", run, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("loaded:")[2].split())


@pytest.fixture(scope="module")
def ordinary() -> set[str]:
    return loaded("analyze", str(find_recording("server-head-body-split.pcap")), "--format", "json")


@pytest.mark.parametrize("purpose", RARE)
def test_what_is_rarely_needed_is_not_loaded(ordinary: set[str], purpose: str) -> None:
    assert not ordinary & set(RARE[purpose])


def test_polars_loads_no_modules_for_its_readers_of_other_formats() -> None:
    """They take 6 MB: OpenSSL, which only the ids of findings need, and the parser of mail headers of importlib.metadata."""
    words = ["analyze", str(find_recording("apache-curl.pcap")), "--format", "json"]
    alone = RUN.replace("import numpy, polars, typer, rich", "")
    found = loaded(*words, run=alone)
    assert {"polars", "numpy"} <= found
    assert not {"_hashlib", "email.message", "importlib.metadata._meta"} & found


def test_what_is_needed_is_loaded(ordinary: set[str]) -> None:
    """Else the test above would hold for a run that does nothing."""
    assert {"wiredoctor.core.capture.pcap", "wiredoctor.rule_engine.render", "wiredoctor.report.data.json"} <= ordinary


@pytest.mark.slow
def test_what_judges_held_segments_is_loaded_with_the_first_of_them(ordinary: set[str]) -> None:
    modules = {"wiredoctor.rules.shared.held_segments", "wiredoctor.rules.shared.held_segment_verdicts"}
    assert modules <= ordinary
    assert not modules & loaded("analyze", str(find_recording("unreachable.pcap")), "--format", "json")


def test_the_names_are_those_of_modules_that_exist() -> None:
    package = ROOT / "wiredoctor"
    own = [name for names in RARE.values() for name in names if name.startswith("wiredoctor.")]
    missing = [name for name in own if not package.parent.joinpath(*name.split(".")).with_suffix(".py").exists()]
    assert not missing


@pytest.mark.slow
def test_another_command_loads_its_own() -> None:
    assert "wiredoctor.cli.commands.connections" in loaded("connections", str(find_recording("server-head-body-split.pcap")))


def test_interfaces_are_listed_without_an_analysis() -> None:
    found = loaded("interfaces")
    assert "wiredoctor.interfaces.netlink" in found
    assert not {"wiredoctor.capture", "wiredoctor.tables", "wiredoctor.pipeline", "scapy"} & found


def test_help_loads_no_analysis() -> None:
    found = loaded("--help")
    assert "wiredoctor.cli.commands.schema" in found
    assert not {"wiredoctor.pipeline", "wiredoctor.rules", "wiredoctor.engine", "wiredoctor.core.capture.packet_headers"} & found


THREADS = """
import os
from wiredoctor.pipeline import catalogue
catalogue()
if os.environ.get("COLLECTS"):
    import polars
    polars.DataFrame({"a": [1]}).lazy().select("a").collect(engine="streaming")
names = (open(f"/proc/self/task/{number}/comm").read().strip() for number in os.listdir("/proc/self/task"))
print(*(name for name in names if name.removeprefix("polars-").isdigit()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("collects", [False, True])
def test_nothing_runs_in_polars_before_processes_are_forked(*, collects: bool) -> None:
    """Its threads do not survive a fork: a process that has one waits for it for ever. Second, the test can see them."""
    environment = {**os.environ, "COLLECTS": "1" if collects else ""}
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, env=environment)
    assert bool(done.stdout.split()) is collects
