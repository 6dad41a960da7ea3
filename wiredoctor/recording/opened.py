"""Open report files for an analysis without privileges: only files that were named before capturing began."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from wiredoctor.recording.privileges import CHOWN, DAC_OVERRIDE, FOWNER, only_effective
from wiredoctor.storage.replacement import Replacement, Target, make_folder, resolve

if TYPE_CHECKING:
    from wiredoctor.recording.control import Message
    from wiredoctor.recording.events import Events
    from wiredoctor.recording.request import OutputFile


class Outputs:
    """The files that the analysis may replace. The constructor opens their folders; the files are opened on request.

    The constructor raises OSError if a folder cannot be opened, or if a file is a pipe or a device.
    """

    def __init__(self, files: Sequence[OutputFile]) -> None:
        self._targets = [_targets(file) for file in files]
        self._open: dict[tuple[int, str], Replacement] = {}

    def capabilities(self, kept: Collection[int], folders: Collection[str]) -> set[int]:
        """Return the capabilities, besides `kept`, that root needs to replace these files and to change files in `folders`.

        The result is empty unless a folder or file belongs to another user.
        """
        wanted: set[int] = set()
        with only_effective(kept):
            if not all(os.access(folder, os.W_OK | os.X_OK, effective_ids=True) for folder in folders):
                wanted.add(DAC_OVERRIDE)
            for target in self._every_target():
                wanted |= _needed_capabilities(target)
        return wanted

    def answer(self, message: Message, events: Events) -> None:
        """Open, commit, discard or remove a file as `message` requests, and send an `output` event with the result."""
        descriptor = None
        try:
            number, name = int(message["output"]), str(message.get("name") or "")
            target = self._targets[number][name]
            if message["do"] == "open":
                self._discard(number, name)
                replacement = self._open[number, name] = Replacement(target)
                descriptor = os.dup(replacement.open().fileno())
            elif message["do"] == "commit":
                self._open.pop((number, name)).commit()
            elif message["do"] == "discard":
                self._open.pop((number, name)).discard()
            elif name and target.existing_mode() is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=target.folder)
        except OSError as error:
            events.send_event("output", errno=error.errno or errno.EIO, text=error.strerror or str(error))
        except (KeyError, IndexError, ValueError, TypeError, OverflowError):
            events.send_event("output", errno=errno.EPERM, text="is not one of the outputs")
        else:
            events.send_event("output", descriptor=descriptor)

    def _discard(self, number: int, name: str) -> None:
        if (number, name) in self._open:
            self._open.pop((number, name)).discard()

    def close(self) -> None:
        """Remove new files that were not committed, and close the folders."""
        for replacement in self._open.values():
            replacement.discard()
        for target in self._every_target():
            target.close()

    def _every_target(self) -> Iterator[Target]:
        return (target for targets in self._targets for target in targets.values())


def _targets(file: OutputFile) -> dict[str, Target]:
    """Return the targets of an output by file name. For a single file, the name is ""."""
    if not file.names:
        return {"": _regular(resolve(file.path))}
    make_folder(file.path)
    return {name: resolve(os.path.join(file.path, name)) for name in file.names}


def _regular(target: Target) -> Target:
    """Return the target. Raise OSError if the target is a pipe or a device.

    Opening a pipe or a device may block, or duplicate a descriptor of this process.
    """
    mode = target.existing_mode() if not target.is_open_file else 0
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(
            errno.EINVAL, "is a pipe or a device; as root, wiredoctor live writes reports to regular files only", target.path
        )
    return target


def _needed_capabilities(target: Target) -> set[int]:
    """Return the capabilities that root needs to replace this file and keep its owner."""
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
