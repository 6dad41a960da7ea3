"""Record captures of this project again, each with its label.

    python captures/lab/record.py NAME... | all | list [--into FOLDER]

Run as root on Debian 12 or similar. Packets travel between two network namespaces and nowhere else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import tomllib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import applications
import asynchronous
import broken_framing
import browsers
import closes
import connects
import contents
import copies
import credentials
import damage
import distances
import far_clients
import far_ends
import far_round_trips
import far_streams
import far_waits
import flushing
import folders
import foreign_resets
import framing
import gateway_failures
import idle_cuts
import lifetimes
import listing
import lookalikes
import losses
import meetings
import others
import pages
import papers
import passing_on
import proxies
import receivers
import refusals
import refused_forms
import reuse
import services
import siblings
import silence
import small_servers
import software
import stalls
import static_servers
import threaded
import transfers
import upgrades
import views
import waiting
import windows
from network import Host, cable, tcpdump, until_quiet, user_before
from scenario import SCENARIOS, Lab, Scenario

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from wire import Wire

CAPTURES = folders.CAPTURES
RECORDINGS = (
    contents,
    static_servers,
    small_servers,
    asynchronous,
    threaded,
    passing_on,
    browsers,
    others,
    far_clients,
    applications,
    stalls,
    receivers,
    distances,
    losses,
    meetings,
    waiting,
    closes,
    credentials,
    lifetimes,
    framing,
    broken_framing,
    refused_forms,
    far_ends,
    far_streams,
    far_round_trips,
    far_waits,
    flushing,
    pages,
    proxies,
    reuse,
    views,
    damage,
    connects,
    refusals,
    copies,
    silence,
    idle_cuts,
    siblings,
    services,
    foreign_resets,
    transfers,
    gateway_failures,
    upgrades,
    windows,
    lookalikes,
)
"""These modules fill SCENARIOS."""

TRIES = 5
"""The number of attempts. A busy machine is sometimes late, and a recording is then not as intended."""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="a recording, or all, or list")
    parser.add_argument("--into", type=Path, default=CAPTURES, metavar="FOLDER", help="instead of captures/")
    words = parser.parse_args()
    names: list[str] = words.names
    if names == ["list"]:
        print("\n".join(f"{s.name:28} {s.title}" for s in SCENARIOS.values()))
        return 0
    wanted = list(SCENARIOS) if names == ["all"] else names
    complaint = _complaint(wanted)
    if complaint:
        print(complaint, file=sys.stderr)
        return 1
    worst = max(record(SCENARIOS[name], words.into) for name in wanted)
    if words.into == CAPTURES:
        listing.list_all(CAPTURES)
    return worst


def _complaint(wanted: list[str]) -> str:
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        return f"no recording is called {', '.join(unknown)}; `list` names them"
    if os.geteuid() != 0:
        return "network namespaces and tcpdump need root"
    needed = {*software.LAB, *(name for wish in wanted for name in SCENARIOS[wish].software)}
    return "\n".join(software.missing(needed))


def record(scenario: Scenario, into: Path) -> int:
    """Record until the recording is as intended. Return 0 on success, 1 after TRIES failures."""
    for attempt in range(1, TRIES + 1):
        try:
            paths = _record(scenario, into)
        except (papers.Mismatch, RuntimeError) as error:
            print(f"{scenario.name}: try {attempt}: {error}", file=sys.stderr, flush=True)
        else:
            print("\n".join(f"{path.name}: {path.stat().st_size} bytes" for path in paths), flush=True)
            return 0
    return 1


def _record(scenario: Scenario, into: Path) -> list[Path]:
    """Record once, at all points at the same time, and keep captures and labels if they agree."""
    with tempfile.TemporaryDirectory() as name, cable(scenario.wire, offload=scenario.offload) as (client, server, wire):
        folder = Path(name)
        paths = {point: folder / f"{stem}.{scenario.suffix}" for point, stem in scenario.captures}
        hosts = {"client": client, "proxy": client}
        with ExitStack() as recorders:
            user = recorders.enter_context(user_before(client)) if scenario.proxied else None
            processes = [
                recorders.enter_context(_recorder(scenario, point, path, hosts.get(point, server), wire))
                for point, path in paths.items()
            ]
            scenario.traffic(Lab(client, server, folder, next((process for process in processes if process), None), user))
        for point, path in paths.items():
            if scenario.mend:
                scenario.mend(path)
            papers.check(scenario, path)
            if scenario.lose:
                scenario.lose(path)
            papers.write(scenario, path, point, [software.version(program) for program in scenario.software])
        kept = [place(path, into) / path.name for path in paths.values()]
        for path, copy in zip(paths.values(), kept, strict=True):
            shutil.copyfile(path, copy)
            shutil.copyfile(path.with_suffix(".toml"), copy.with_suffix(".toml"))
    return kept


def place(path: Path, into: Path) -> Path:
    """Return the folder in which to keep a recording with a label beside it: below captures/, the folder of its family."""
    if into != CAPTURES:
        return into
    return CAPTURES / folders.folder_of(tomllib.loads(path.with_suffix(".toml").read_text()))


@contextmanager
def _recorder(
    scenario: Scenario, point: str, path: Path, host: Host, wire: Wire | None
) -> Iterator[subprocess.Popen[bytes] | None]:
    """Record at a point: with the wire if only the wire sees what must be captured, otherwise with tcpdump on a host."""
    if wire and scenario.wire and (point == "middle" or point in scenario.wire.ack_delay):
        with wire.recorded(point, path):
            yield None
            until_quiet(path)
        return
    with tcpdump(
        host,
        path,
        interface=scenario.interface,
        expression=scenario.expression,
        ring=scenario.ring,
        options=scenario.options,
        pcapng=scenario.suffix == "pcapng",
        may_lose=scenario.loses,
    ) as captured:
        yield captured.process


if __name__ == "__main__":
    sys.exit(main())
