"""Run `wiredoctor` and `python -m wiredoctor`."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress

from wiredoctor import cli


def main() -> None:
    """Run the command line, then end the process without freeing its objects.

    The operating system frees the memory at once. The interpreter would free every object separately, which takes as long as a
    small capture.
    """
    try:
        cli.main()
    except SystemExit as ended:
        with suppress(OSError, ValueError):  # if a stream cannot be flushed, or is closed, the interpreter deals with it
            if threading.active_count() == 1 and isinstance(ended.code, int):
                sys.stdout.flush()
                sys.stderr.flush()
                atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
                os._exit(ended.code)
        raise


if __name__ == "__main__":
    main()
