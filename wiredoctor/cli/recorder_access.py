"""Write the files of -o through the recorder, for an analysis that has given up its privileges."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from wiredoctor.cli.outputs import FileAccess, Output

if TYPE_CHECKING:
    from wiredoctor.live import Recorder


def file_access(recorder: Recorder, files: Sequence[Output]) -> FileAccess:
    """Return functions that write the files of -o through the recorder, because this process has given up its privileges.

    The functions accept only the paths in `files` and, for a folder, the files in it. The recorder knows each file by its number,
    so `files` must be in the same order as in the request that started the recorder.
    """
    numbers = {file.path: number for number, file in enumerate(files)}

    def place(path: Path) -> tuple[int, str]:
        return (numbers[path], "") if path in numbers else (numbers[path.parent], path.name)

    @contextlib.contextmanager
    def replacing(path: Path) -> Generator[BinaryIO]:
        descriptor = recorder.open_output(*place(path))
        try:
            with os.fdopen(descriptor, "wb") as out:
                yield out
        except BaseException:
            with contextlib.suppress(OSError):
                recorder.discard_output(*place(path))
            raise
        recorder.commit_output(*place(path))

    def remove(path: Path) -> None:
        recorder.remove_output(*place(path))

    def make_folder(_: Path) -> None:
        """Do nothing, because the recorder created the folder at its start."""

    return FileAccess(replacing, remove, make_folder)
