"""The private folder of a live capture, for rows that do not fit into memory. Packets are in files without a name.

The folder belongs to who started the capture, and only that user may enter it. The folder `rows` in it is open to the user that
the analysis becomes, who reaches it by a descriptor: no other process of that user can.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import weakref

PREFIX = "wiredoctor-live-"
_OLDER_PREFIX, _RING_FILE = "wiredoctor-", "live_"
_MOVED = ".moved-"


class PrivateFolder:
    """Made where temporary files are, and removed with this object. `gid`: the group of who analyzes, if that is another user.

    `path`; `lock`: its descriptor, locked as long as a process has it open. `rows`: descriptor of the folder for rows, and
    `rows_path` a path of it that works for this process whatever user it becomes. Raises OSError.
    """

    def __init__(self, gid: int | None = None) -> None:
        self.path, self.lock = _locked_folder()
        inner = os.path.join(self.path, "rows")
        os.mkdir(inner, 0o700)
        self.rows = os.open(inner, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if gid is not None:
            with contextlib.suppress(OSError):  # a container that withholds CHOWN withholds the change of user, too
                os.fchown(self.rows, -1, gid)
                os.fchmod(self.rows, 0o770)
        by_descriptor = f"/proc/self/fd/{self.rows}"
        self.rows_path = by_descriptor if os.path.isdir(by_descriptor) else inner
        weakref.finalize(self, _remove, self.path, self.rows, self.lock)


def _remove(path: str, rows: int, lock: int) -> None:
    with contextlib.suppress(OSError):  # who has become another user cannot enter by the path
        for name in os.listdir(rows):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=rows)
    remove_tree(path)
    os.close(rows)
    os.close(lock)


def remove_tree(path: str) -> None:
    """Remove a folder with all that is in it, as far as possible, and follow no link.

    Whoever could write in it may have nested folders without end: what is in a folder is moved up, so that no path becomes long.
    """
    with contextlib.suppress(OSError):
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(path)


def _empty(top: int) -> None:
    names, moved = os.listdir(top), 0
    while names:
        name = names.pop()
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=top)
                continue
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                for inner in os.listdir(folder):
                    moved += 1
                    os.rename(inner, f"{_MOVED}{moved}", src_dir_fd=folder, dst_dir_fd=top)
                    names.append(f"{_MOVED}{moved}")
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _locked_folder() -> tuple[str, int]:
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        # until it is locked, another start may take it for abandoned and remove it
        if _lock(descriptor) and os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return path, descriptor
        os.close(descriptor)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_abandoned(place: str) -> None:
    """Remove from `place` the folders of captures whose processes were all killed, of this version and of older ones."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if name.startswith(_OLDER_PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(os.path.join(place, name))


def _remove_if_abandoned(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        mine = status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == 0o700
        if mine and _lock(descriptor) and (os.path.basename(path).startswith(PREFIX) or _is_old_ring(descriptor)):
            remove_tree(path)
    finally:
        os.close(descriptor)


def _is_old_ring(folder: int) -> bool:
    """Return whether an older version left packets in this folder, and no process has any of them open."""
    files = [name for name in os.listdir(folder) if name.startswith(_RING_FILE) and name.endswith(".pcapng")]
    return bool(files) and not any(_is_open(folder, name) for name in files)


def _is_open(folder: int, name: str) -> bool:
    """Return whether a process has the file open: only if none has, the kernel grants a lease for writing (fcntl(2)).

    SIGIO, which ends a lease, must be ignored.
    """
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except (OSError, AttributeError):
        return True
    finally:
        os.close(file)
    return False
