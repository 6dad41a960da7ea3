"""The words of `python -m tests.fuzzing`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzzing import found
from tests.fuzzing.guard import tried
from tests.fuzzing.harnesses import HARNESSES


def main(words: Sequence[str] | None = None) -> int:
    """0: nothing went wrong; 1: something did."""
    args = _parser().parse_args(words)
    return args.do(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description="Looks for inputs that break wiredoctor.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="fuzz through these harnesses, or all in turn")
    run.add_argument("harness", nargs="*", choices=[*HARNESSES, []], metavar="HARNESS", help=", ".join(HARNESSES))
    run.add_argument("--minutes", type=float, default=10, help="of CPU, shared by the harnesses (default: 10)")
    run.add_argument("--jobs", type=int, default=1, help="processes at a time (default: 1)")
    run.add_argument("--seed", type=int, default=1)
    run.add_argument("--engine", choices=("atheris", "hypothesis"), help="default: atheris where it is installed")
    run.set_defaults(do=_run)
    mutants = commands.add_parser("mutants", help="change captures at random, and read each change")
    mutants.add_argument("--count", type=int, default=1000)
    mutants.add_argument("--first", type=int, default=0, metavar="N", help="begin with the Nth mutant of the seed")
    mutants.add_argument("--seed", type=int, default=1)
    mutants.add_argument("--harness", choices=("core", "whole"), default="whole", help="what reads them (default: whole)")
    mutants.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    mutants.set_defaults(do=_mutants)
    replay = commands.add_parser("replay", help="read again what was found")
    replay.add_argument("file", type=Path, nargs="+")
    replay.add_argument("--harness", choices=HARNESSES, help="where the name of the file does not say it")
    replay.set_defaults(do=_replay)
    return parser


def _run(args: argparse.Namespace) -> int:
    from tests.fuzzing import campaign

    return 0 if campaign.run(args.harness or list(HARNESSES), args.minutes, args.jobs, args.seed, args.engine) else 1


def _mutants(args: argparse.Namespace) -> int:
    from tests.fuzzing import mutants

    return 0 if mutants.run(args.count, args.seed, args.jobs, args.first, args.harness) else 1


def _replay(args: argparse.Namespace) -> int:
    worst = 0
    for path in args.file:
        harness = args.harness or found.harness_of(path)
        trouble = tried(HARNESSES[harness](), path.read_bytes())
        if trouble is None:
            print(f"{path}: nothing goes wrong")
            continue
        print(f"{path}: {trouble.kind}: {trouble.where}\n{trouble.told}", file=sys.stdout)
        worst = 1
    return worst
