"""Words on the command line -> a call -> a report -> an exit code. A module per command; none of them analyses.

What needs NumPy or Polars is imported inside the functions: `--help` and `--version` answer without them.
"""

from __future__ import annotations

import os
import sys

_LIBRARIES = {
    "_RJEM_MALLOC_CONF": "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:1000",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What libraries are told, where nobody told them otherwise, before they are loaded. Polars' allocator (jemalloc): to keep what
is free in one place and not for long. By default it has four places per processor, and the most that was ever free in each
decides how much memory a capture takes; giving it back at once takes a tenth longer. NumPy's OpenBLAS: to start no threads,
which spin while they wait for a matrix that never comes."""


def main() -> None:
    """The console entry point; always ends in SystemExit."""
    try:
        from wiredoctor.cli import signals

        signals.watch()
    except KeyboardInterrupt:  # Python's own handler of SIGINT is still in place
        if sys.stderr is not None:
            sys.stderr.write("wiredoctor: interrupted by SIGINT\n")
        os._exit(130)
    import gc

    for name, value in _LIBRARIES.items():
        os.environ.setdefault(name, value)
    gc.disable()  # it would walk every object of the imported libraries again and again, to free next to nothing
    from wiredoctor.cli.app import run

    run()
