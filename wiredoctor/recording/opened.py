"""Open the reports of an analysis that has no rights of its own: only files that were named before anything was captured."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from wiredoctor.recording.privileges import CHOWN, DAC_OVERRIDE, FOWNER, only_effective
from wiredoctor.replacement import Replacement, Target, make_folder, resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from wiredoctor.recording.control import Message
    from wiredoctor.recording.events import Events
    from wiredoctor.recording.request import OutputFile


class Outputs:
    """The folders of these files, opened now; the files are opened when they are asked for. Raises OSError."""

    def __init__(self, files: Sequence[OutputFile]) -> None:
        self._targets = [_targets(file) for file in files]
        self._open: dict[tuple[int, str], Replacement] = {}

    def capabilities(self, kept: Collection[int], folders: Collection[str]) -> set[int]:
        """Return what it takes to replace these files, and to make and remove files in `folders`, besides `kept`.

        Only root has anything to return, for folders and files that are another user's.
        """
        wanted: set[int] = set()
        with only_effective(kept):
            if not all(os.access(folder, os.W_OK | os.X_OK, effective_ids=True) for folder in folders):
                wanted.add(DAC_OVERRIDE)
            for target in self._every_target():
                wanted |= _wanted(target)
        return wanted

    def answer(self, message: Message, events: Events) -> None:
        """Open, commit, discard or remove a file, and report that with an event `output`."""
        descriptor = None
        try:
            number, name = int(message["output"]), str(message.get("name") or "")
            target = self._targets[number][name]
            if message["do"] == "open":
                self._discard(number, name)
                replacement = self._open[number, name] = Replacement(target)
                descriptor = os.dup(replacement.file.fileno())
            elif message["do"] == "commit":
                self._open.pop((number, name)).commit()
            elif message["do"] == "discard":
                self._open.pop((number, name)).discard()
            elif name and target.existing_mode() is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=target.folder)
        except OSError as error:
            events.tell("output", errno=error.errno or errno.EIO, text=error.strerror or str(error))
        except (KeyError, IndexError, ValueError, TypeError, OverflowError):
            events.tell("output", errno=errno.EPERM, text="is none of the outputs")
        else:
            events.tell("output", descriptor=descriptor)

    def _discard(self, number: int, name: str) -> None:
        if (number, name) in self._open:
            self._open.pop((number, name)).discard()

    def close(self) -> None:
        """Remove what was not committed."""
        for replacement in self._open.values():
            replacement.discard()
        for target in self._every_target():
            target.close()

    def _every_target(self) -> Iterator[Target]:
        return (target for targets in self._targets for target in targets.values())


def _targets(file: OutputFile) -> dict[str, Target]:
    """Return the target of a file by the name that it is asked for with; empty unless it is in a folder of tables."""
    if not file.names:
        return {"": _regular(resolve(file.path))}
    make_folder(file.path)
    return {name: resolve(os.path.join(file.path, name)) for name in file.names}


def _regular(target: Target) -> Target:
    """Return the target unless it is a pipe or a device: to open one may block, or mean one of this process."""
    mode = target.existing_mode() if not target.is_open_file else 0
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, and as root live writes reports into files only", target.path)
    return target


def _wanted(target: Target) -> set[int]:
    """Return the capabilities that root needs to replace this file, keeping its owner."""
    wanted: set[int] = set()
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=target.folder, effective_ids=True):
        wanted.add(DAC_OVERRIDE)
    folder = os.stat(".", dir_fd=target.folder)
    if folder.st_mode & stat.S_ISVTX and folder.st_uid != os.geteuid():
        wanted.add(FOWNER)
    with contextlib.suppress(FileNotFoundError):
        existing = os.stat(target.name, dir_fd=target.folder, follow_symlinks=False)
        if not os.access(target.name, os.W_OK, dir_fd=target.folder, effective_ids=True):
            wanted.add(DAC_OVERRIDE)
        if (existing.st_uid, existing.st_gid) != (os.geteuid(), os.getegid()):
            wanted |= {CHOWN, DAC_OVERRIDE, FOWNER}
    return wanted
