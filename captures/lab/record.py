"""Records the captures of this project again, each with its papers.

    python captures/lab/record.py NAME... | all | list

Run as root on Debian 12 or the like. Packets travel between two network namespaces and nowhere else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import applications
import closes
import damage
import framing
import papers
import software
import stalls
import static_servers
from network import cable, tcpdump
from scenario import SCENARIOS, Lab, Scenario

CAPTURES = Path(__file__).resolve().parents[1]
RECORDINGS = (static_servers, applications, stalls, closes, framing, damage)
"""These modules fill SCENARIOS."""

TRIES = 5
"""A busy machine is late now and then, and then a recording does not hold what it was meant to hold."""


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="a recording, or all, or list")
    names: list[str] = parser.parse_args().names
    if names == ["list"]:
        print("\n".join(f"{s.name:28} {s.title}" for s in SCENARIOS.values()))
        return 0
    wanted = list(SCENARIOS) if names == ["all"] else names
    complaint = _complaint(wanted)
    if complaint:
        print(complaint, file=sys.stderr)
        return 1
    worst = max(record(SCENARIOS[name]) for name in wanted)
    papers.list_all(CAPTURES)
    return worst


def _complaint(wanted: list[str]) -> str:
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        return f"no recording is called {', '.join(unknown)}; `list` names them"
    if os.geteuid() != 0:
        return "network namespaces and tcpdump need root"
    needed = {*software.LAB, *(name for wish in wanted for name in SCENARIOS[wish].software)}
    return "\n".join(software.missing(needed))


def record(scenario: Scenario) -> int:
    """Records until the recording holds what it was meant to hold; 0 when it does, 1 when it does not after five times."""
    for attempt in range(1, TRIES + 1):
        try:
            path = _record(scenario)
        except (papers.Mismatch, RuntimeError) as error:
            print(f"{scenario.name}: try {attempt}: {error}", file=sys.stderr, flush=True)
        else:
            print(f"{scenario.name}: {path.stat().st_size} bytes", flush=True)
            return 0
    return 1


def _record(scenario: Scenario) -> Path:
    """Records once, and keeps capture and papers when both agree."""
    with tempfile.TemporaryDirectory() as name, cable() as (client, server):
        folder = Path(name)
        path = folder / f"{scenario.name}.{scenario.suffix}"
        host = client if scenario.at == "client" else server
        how = {"interface": scenario.interface, "ring": scenario.ring, "options": scenario.options, "may_lose": scenario.loses}
        with tcpdump(host, path, pcapng=scenario.suffix == "pcapng", **how) as captured:
            scenario.traffic(Lab(client, server, folder, captured.process))
        if scenario.mend:
            scenario.mend(path)
        papers.check(scenario, path)
        papers.write(scenario, path, [software.version(program) for program in scenario.software])
        for file in (path, path.with_suffix(".toml")):
            shutil.copyfile(file, CAPTURES / file.name)
    return CAPTURES / path.name


if __name__ == "__main__":
    sys.exit(main())
