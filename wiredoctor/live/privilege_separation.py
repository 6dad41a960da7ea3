"""Separate privileges: start the recorder with the privileges that it needs, then drop all privileges of this process.

The priority of this process is lowered at the same time: capturing, and the programs on the same host, come before the analysis.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from wiredoctor.live.recorder_client import Order, Recorder
from wiredoctor.live.rights import Rights, drop, target_user
from wiredoctor.recording.folder import PrivateFolder


class Started(NamedTuple):
    """A recorder that waits for `begin`, and the state of this process after it dropped its privileges.

    `rows`: the path of the folder for rows that do not fit into memory. `rights`: the result of dropping privileges. `was_root`:
    true if root started this process.
    """

    recorder: Recorder
    rows: str
    rights: Rights
    was_root: bool


@contextmanager
def start(order: Order, nice: int = 0) -> Generator[Started]:
    """Start a recorder, then drop the privileges of this process, and yield the recorder.

    `nice`: the number that is added to the nice value of this process, but not to that of the recorder and of other processes
    that run already. The process must still have a single thread. Raise OSError if the recorder or its private folder cannot be
    created.
    """
    user = target_user()
    folder = PrivateFolder(None if user is None else user.gid)
    with Recorder(replace(order, folder=folder.path), waits=True) as recorder:
        os.nice(nice)  # now: Linux has a nice value for each thread, and seccomp refuses changes
        rights = drop(user, folder.rows)
        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # also for the report: Polars reads it once, before its first query
        # otherwise libraries would use a folder in which this process may no longer write
        tempfile.tempdir = os.environ["POLARS_TEMP_DIR"] = folder.rows_path
        yield Started(recorder, folder.rows_path, rights, user is not None)
