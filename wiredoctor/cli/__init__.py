"""Words on the command line -> a call -> a report -> an exit code. A module per command; none of them analyses.

What needs NumPy or Polars is imported inside the functions: `--help` and `--version` answer without them.
"""

from __future__ import annotations

import gc
import os

_ALLOCATOR = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
"""What Polars' allocator (jemalloc) is told where nobody told it otherwise: to give back at once what is free. By default it
keeps that for a second or longer, which is an epoch or two, and the most that was ever free at a time decides how much
memory a capture takes. It reads this when Polars is loaded."""


def main() -> None:
    """The console entry point; always ends in SystemExit."""
    for name, value in _ALLOCATOR.items():
        os.environ.setdefault(name, value)
    gc.disable()  # it would walk every object of the imported libraries again and again, to free next to nothing
    from wiredoctor.cli.app import run

    run()
