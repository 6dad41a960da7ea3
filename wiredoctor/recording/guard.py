"""Nobody is left behind: when this program is killed, a shell that waits for nothing else ends the backends."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence

from wiredoctor.recording.privileges import KILL, keep_only

_SCRIPT = 'read -r line; kill -TERM "$@"; sleep 1; kill -KILL "$@"'
"""`read` comes back when the other end of its pipe is gone."""


class Guard:
    """Ends these processes when this one is gone. A backend without traffic would not notice by its pipe, and one that has its
    capabilities from its file, or changes its user, forgets PR_SET_PDEATHSIG (prctl(2))."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        if processes:
            with contextlib.suppress(OSError):  # no shell: a container of almost nothing
                self._shell = subprocess.Popen(
                    ["/bin/sh", "-c", _SCRIPT, "guard", *map(str, processes)],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                    preexec_fn=lambda: keep_only((KILL,)),  # noqa: PLW1509 - there are no threads here
                )  # fmt: skip

    def dismiss(self) -> None:
        """The processes have ended."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.wait()
            if self._shell.stdin is not None:
                self._shell.stdin.close()
            self._shell = None
