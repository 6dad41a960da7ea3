"""Hostile TCP: time and memory at n, 2n and 4n, and whether the work stays in proportion.

python tests/benchmarks/floods.py [CASE ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from flood_cases import CASES
from flood_wire import Capture
from hostile import main

if __name__ == "__main__":
    sys.exit(main(CASES, Capture, __doc__))
