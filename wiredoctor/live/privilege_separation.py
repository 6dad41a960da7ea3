"""Separate privileges: start the recorder, which keeps what rights it needs, then give up those of this process."""

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
    """A recorder that waits for `begin`. `rows`: a folder for rows. `was_root`: this process had rights that it has no more."""

    recorder: Recorder
    rows: str
    rights: Rights
    was_root: bool


@contextmanager
def start(order: Order) -> Generator[Started]:
    """Start a recorder and drop the rights of this process, which must have no other thread yet. Raises OSError."""
    user = target_user()
    folder = PrivateFolder(None if user is None else user.gid)
    with Recorder(replace(order, folder=folder.path), waits=True) as recorder:
        rights = drop(user, folder.rows)
        # the libraries would use a folder in which this process may not write any more
        tempfile.tempdir = os.environ["POLARS_TEMP_DIR"] = folder.rows_path
        yield Started(recorder, folder.rows_path, rights, user is not None)
