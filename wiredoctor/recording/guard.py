"""End the backends if this program is killed. A shell process waits until the program ends, and then kills the backends."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence

from wiredoctor.recording.privileges import KILL, keep_only

_SCRIPT = 'read -r line; kill -TERM "$@"; sleep 1; kill -KILL "$@"'
"""The script of the shell process. Its `read` returns when the other end of the pipe is closed."""


class Guard:
    """Ends backend processes when this process ends, even if it is killed.

    Otherwise the backends might continue. A backend without traffic does not notice a closed pipe. A backend that has file
    capabilities, or that changes its user, gets no signal when its parent dies (PR_SET_PDEATHSIG of prctl(2)).
    """

    def __init__(self, processes: Sequence[int]) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        if processes:
            with contextlib.suppress(OSError):  # a minimal container has no shell
                self._shell = subprocess.Popen(
                    ["/bin/sh", "-c", _SCRIPT, "guard", *map(str, processes)],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                    preexec_fn=lambda: keep_only((KILL,)),  # noqa: PLW1509 - there are no threads here
                )  # fmt: skip

    def dismiss(self) -> None:
        """End the shell; call this when the backend processes have ended."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.wait()
            if self._shell.stdin is not None:
                self._shell.stdin.close()
            self._shell = None
