"""Disturbs captures, and tells every finding that blames a host for what a worse capture lacks.

    python -m tests.pipeline.disturb captures/*/*.pcap --seeds 5 [--only lose-run,middle] [--ladders] [--keep FOLDER]

A line of JSON for each such finding, and a table at the end: disturbance, captures, findings that are new. Each disturbance of
each capture has a random source of its own, seeded with their names and a number, so that a line can be had again by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import wiredoctor
from tests.ladders import ladder_packets, ladders_in, to_pcap
from tests.pipeline import judging, recording
from tests.pipeline.disturbances import DISTURBANCES
from tests.pipeline.ladders import FILES
from wiredoctor.pipeline import CaptureError


def main(words: Sequence[str]) -> int:
    """Returns 1 when a finding is new."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pipeline.disturb", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="how often each disturbance is drawn (default 1)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="disturbances, by comma (default all)")
    parser.add_argument("--some", type=int, help="so many disturbances of each capture, drawn (default all)")
    parser.add_argument("--ladders", action="store_true", help="also every ladder of the rules' tests")
    parser.add_argument("--keep", type=Path, help="folder for the disturbed captures in which something is new")
    given = parser.parse_args(words)
    names = given.only.split(",") if given.only else list(DISTURBANCES)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    tries, new = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="ladders") as folder:
        for path in [*given.captures, *(_ladders(Path(folder)) if given.ladders else ())]:
            drawn = Random(f"{path.stem} {given.first_seed}").sample(names, given.some) if given.some else names
            for name, seed, kind, finding, disturbed in _of(path, drawn, seeds, tries):
                new[f"{name} {kind}"] += 1
                frames = judging.origins(disturbed, [e.frame for e in finding.evidence])
                told = {"capture": path.stem, "disturbance": name, "seed": seed, "what": kind, **judging.told(finding)}
                sys.stdout.write(json.dumps({**told, "original": frames}) + "\n")
                sys.stdout.flush()
                if given.keep:
                    given.keep.mkdir(exist_ok=True)
                    recording.write(given.keep / f"{path.stem}.{name}.{seed}.pcapng", disturbed)
    for name in names:
        sys.stderr.write(f"{name:20} {tries[name]:6} {new[f'{name} new']:6} {new[f'{name} shifted']:6}\n")
    return int(bool(new))


OF_TIME = ("jitter", "queues", "round-1ms", "round-10ms", "two-interfaces")
"""Left out for ladders, of which many lie at the edge of a threshold."""


def _ladders(folder: Path) -> Iterator[Path]:
    for file in FILES:
        for number, (title, text) in enumerate(ladders_in(file)):
            if title.startswith("speaks"):
                path = folder / f"{file.stem}-{number}.pcap"
                path.write_bytes(to_pcap(ladder_packets(text)))
                yield path


def _of(
    path: Path, names: Sequence[str], seeds: Sequence[int], tries: Counter[str]
) -> Iterator[tuple[str, int, str, wiredoctor.findings.Finding, list[recording.Seen]]]:
    try:
        packets = recording.read(path)
        world = judging.World(packets, wiredoctor.analyze(path).findings)
    except CaptureError:
        return
    if not packets:
        return
    timeless = path.parent.name.startswith("ladders")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "disturbed.pcapng"
        for name in names:
            if timeless and name in OF_TIME:
                continue
            for seed in seeds:
                disturbed = DISTURBANCES[name](packets, Random(f"{path.stem} {name} {seed}"))
                if not disturbed or disturbed == packets:
                    continue
                recording.write(file, disturbed)
                tries[name] += 1
                try:
                    report = wiredoctor.analyze(file)
                except Exception:
                    sys.stderr.write(f"{path} {name} {seed}\n")
                    raise
                for kind, finding in judging.news(world, disturbed, report):
                    yield name, seed, kind, finding, disturbed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
