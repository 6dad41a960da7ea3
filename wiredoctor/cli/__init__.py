"""The command line: parse arguments, call the analysis, write reports, return exit codes.

Each command is a module. The analysis itself is outside of this package. Imports that need NumPy or Polars are inside functions,
so `--help` and `--version` start quickly.
"""

from __future__ import annotations

import os
import sys

_LIBRARIES = {
    "_RJEM_MALLOC_CONF": "narenas:1,dirty_decay_ms:200,muzzy_decay_ms:200",
    "OPENBLAS_NUM_THREADS": "1",
    "POLARS_ENGINE_AFFINITY": "in-memory",
}
"""Environment variables that configure libraries. `main` sets those that the user has not set, before the libraries load.

jemalloc, the allocator of Polars, is set to use one arena and to return free memory after 200 ms. The default of four arenas per
processor needs more memory, because the peaks of all arenas add up. Returning memory at once would make a run 10 % slower.
OpenBLAS, which NumPy loads, is set to start no threads: they would spin while waiting for work that never comes. Polars runs
queries that name no engine with its in-memory engine. The streaming engine, the default since Polars 2, needs 6 MB, and takes
longer to start than most queries take.
"""

_DEFERRED = ("hashlib", "importlib.metadata")
"""Modules that Polars needs only for Iceberg tables. `main` defers their import, which would take 6 MB and 40 ms."""

added_variables: list[str] = []
"""The environment variables that `main` has set. Programs that `wiredoctor run` starts do not get them."""


def main() -> None:
    """Run the command that sys.argv names, then raise SystemExit with its exit code."""
    try:
        from wiredoctor.cli import signals

        signals.watch()
    except KeyboardInterrupt:  # Python's own handler of SIGINT is still active
        if sys.stderr is not None:
            sys.stderr.write("wiredoctor: interrupted by SIGINT\n")
        os._exit(130)
    import gc

    for name in _LIBRARIES.keys() - os.environ.keys():
        os.environ[name] = _LIBRARIES[name]
        added_variables.append(name)
    gc.disable()  # otherwise the collector scans the objects of all imported libraries again and again, for little gain
    from wiredoctor.cli.deferred_imports import defer

    defer(*_DEFERRED)
    from wiredoctor.cli.app import run

    run()
