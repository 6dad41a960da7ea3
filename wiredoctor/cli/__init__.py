"""Words on the command line -> a call -> a report -> an exit code. A module per command; none of them analyses.

What needs NumPy or Polars is imported inside the functions: `--help` and `--version` answer without them.
"""

from __future__ import annotations

import gc


def main() -> None:
    """The console entry point; always ends in SystemExit."""
    gc.disable()  # it would walk every object of the imported libraries again and again, to free next to nothing
    from wiredoctor.cli.app import run

    run()
