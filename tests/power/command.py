"""Commands of python -m tests.power."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.power import __doc__ as description
from tests.power.faults import FAULTS
from tests.power.kinds import ORDER
from tests.power.measuring import DEFAULT_SECONDS, SECONDS, SHARE, Results, measure
from tests.power.table import print_table, print_unclassified


def _stop(*_: object) -> None:
    """End the tests that run, and remove the copies."""
    sys.exit(1)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.power", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="run the tests; what is in RESULTS already is not run again")
    measuring.add_argument("results", type=Path)
    measuring.add_argument("--kind", action="append", choices=ORDER, help="only this kind (repeatable)")
    measuring.add_argument("--fault", action="append", default=[], help="only faults with this text in the name (repeatable)")
    measuring.add_argument("--seconds", type=float, help="time limit of each kind")
    measuring.add_argument("--share", type=int, default=SHARE, help=f"of the other cases, run each of this number ({SHARE})")
    measuring.add_argument("--beyond-quick", action="store_true", help="only faults that the quick tests did not notice")
    commands.add_parser("table", help="print the results").add_argument("results", type=Path)
    commands.add_parser("rest", help="print the tests that belong to no kind")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    if options.command == "rest":
        print_unclassified()
    elif options.command == "table":
        print_table(Results(options.results))
    else:
        chosen = [fault for fault in FAULTS if not options.fault or any(text in str(fault) for text in options.fault)]
        chosen.sort(key=lambda fault: fault.key)  # mixes the parts of the package
        seconds = {kind: options.seconds or SECONDS.get(kind, DEFAULT_SECONDS) for kind in ORDER}
        kinds = [kind for kind in ORDER if kind in (options.kind or ORDER)]
        measure(chosen, kinds, options.results, seconds=seconds, share=options.share, beyond_quick=options.beyond_quick)
    return 0
