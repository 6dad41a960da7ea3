"""python -m tests.power: see --help."""

from __future__ import annotations

import sys

from tests.power.command import main

if __name__ == "__main__":
    sys.exit(main())
