"""Recordings that are faulty themselves: nothing in them is the fault of a server."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from scenario import Connection, Find, Lab, curl, get, nginx, recording, site

if TYPE_CHECKING:
    from pathlib import Path


def lose(*frames: str) -> Callable[[Path], None]:
    """A mending that takes these packets (numbers or ranges) out of a recording."""

    def without(path: Path) -> None:
        whole = path.with_name("whole")
        path.rename(whole)
        subprocess.run(["editcap", "-F", "pcap", str(whole), str(path), *frames], check=True, timeout=60)

    return without
