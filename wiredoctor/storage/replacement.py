"""Replace a file completely or not at all: write a new file next to it, then give that file the name of the old one.

A command may run as root and write to a folder of another user. Therefore a path is resolved once, one component at a
time, and only along symbolic links of the effective user or of root. All later steps are relative to the open folder.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

from wiredoctor import system
from wiredoctor.system import BINARY, FOLDER, NOCTTY, NOFOLLOW, NONBLOCK, PATH

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The error numbers with which a write fails because there is no space for the data."""

_MAX_LINKS = 40
"""The maximum number of symbolic links that are followed, as in Linux."""

_NAME_BYTES = 64
"""The maximum number of bytes that the name of a temporary file takes from the name of its file."""

_BUFFER = 1 << 16
_COPIED = 1 << 20


class Target(NamedTuple):
    """A file, which may not exist yet, as a name in an open folder. The folder stays open until `close`.

    `path`: the name that the user gave. `is_open_file`: the name links to an open file of a process (/dev/fd/1); only the kernel
    can follow this link. If `folder` is None (on Windows), `name` is a path.
    """

    folder: int | None
    name: str
    path: str
    is_open_file: bool = False

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder; the target cannot be used afterwards."""
        if self.folder is not None:
            os.close(self.folder)

    def check_writable(self) -> None:
        """Raise OSError if this process may not write the file or, if it does not exist, may not create it in its folder."""
        existing = self.existing_mode()
        effective = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
        place = self.name if existing is not None else "." if self.folder is not None else os.path.dirname(self.name) or "."
        if not os.access(place, os.W_OK, dir_fd=self.folder, **effective):
            raise OSError(errno.EACCES, "no permission to write", self.path)
        with _naming(self.path):
            system.check_unused(self.name)

    def existing_mode(self) -> int | None:
        """Return the type and permissions of the file; None if it does not exist.

        Raise IsADirectoryError for a directory. Raise PermissionError for a file of another user in a shared folder like /tmp,
        because its owner could read what is written.
        """
        try:
            found = os.stat(self.name, dir_fd=self.folder, follow_symlinks=self.is_open_file)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(found.st_mode):
            raise OSError(errno.EISDIR, "is a directory", self.path)
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, "became a symbolic link", self.path)
        self.check_owner(found)
        return found.st_mode

    def check_owner(self, found: os.stat_result) -> None:
        """Raise PermissionError if another user owns the file and its folder is shared, like /tmp.

        The folder's owner does not count as another user. `found`: the status of the file.
        """
        if self.folder is not None and not self.is_open_file:
            folder = os.stat(".", dir_fd=self.folder)
            is_shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
            if is_shared and found.st_uid not in (system.effective_user(), folder.st_uid):
                text = f"belongs to another user (uid {found.st_uid}) and anyone may write to its folder"
                raise OSError(errno.EACCES, text, self.path)


def resolve(path: str | os.PathLike[str]) -> Target:
    """Return the target for a path. Only symbolic links of the effective user and of root are followed.

    Raise OSError with `path` as its file name: PermissionError for a link of another user, FileNotFoundError for a missing
    folder. A link to a missing file is followed.
    """
    text = os.fspath(path)
    if not system.RELATIVE:
        system.check_name(text)
        folder = os.path.dirname(text)
        while not os.path.isdir(above := os.path.dirname(folder) or ".") and above != folder:
            folder = above
        if folder and not os.path.isdir(folder):
            raise OSError(errno.ENOENT, f"there is no folder {folder}", text)
        return Target(None, os.path.realpath(text), text)
    with _naming(text):
        return _walk(text)


def _walk(path: str) -> Target:
    rest = _names(path)
    walked = "/" if path.startswith("/") else ""
    folder = os.open(walked or ".", FOLDER)
    links = 0
    try:
        while True:
            name = rest.pop()
            place = os.path.join(walked, name)
            if not rest and name in (".", ".."):
                raise OSError(errno.EISDIR, "is a directory", path)
            try:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                if rest:
                    raise OSError(errno.ENOENT, f"there is no folder {place}", path) from None
                return Target(folder, name, path)
            if stat.S_ISLNK(found.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, "too many symbolic links", path)
                of_kernel = found.st_dev == _proc()
                owner, text = _read_link(folder, name)
                # in a user namespace, /proc/self seems to belong to another user
                if owner not in (0, system.effective_user()) and not (of_kernel and name in ("self", "thread-self")):
                    raise OSError(errno.EACCES, f"{place} is a symbolic link of another user (uid {owner})", path)
                # in /proc/PID/fd, the text of a link need not be a path
                if not (of_kernel and (text.startswith("/") or ":" in text)):
                    if text.startswith("/"):
                        folder, walked = _descend(folder, "/", FOLDER), "/"
                    rest += _names(text)
                    continue
                if not rest:
                    return Target(folder, name, path, is_open_file=True)
                folder, walked = _descend(folder, name, FOLDER), place
            elif rest:
                if not stat.S_ISDIR(found.st_mode):
                    raise OSError(errno.ENOTDIR, f"{place} is not a folder", path)
                folder, walked = _descend(folder, name, FOLDER | NOFOLLOW), place
            else:
                return Target(folder, name, path)
    except BaseException:
        with contextlib.suppress(OSError):  # a signal may have come just after it was closed
            os.close(folder)
        raise


def _names(path: str) -> list[str]:
    """Return the components of a path in reverse order.

    If the path ends with a slash, the result begins with ".".
    """
    *folders, last = path.split("/")
    return [last or ".", *reversed([name for name in folders if name not in ("", ".")])]


def _descend(folder: int, name: str, flags: int) -> int:
    """Open the folder `name` inside the open folder `folder`, and close `folder`. Return the descriptor."""
    inner = os.open(name, flags, dir_fd=folder)
    os.close(folder)
    return inner


def _read_link(folder: int, name: str) -> tuple[int, str]:
    """Return the owner and the text of a symbolic link. Raise OSError if the link is replaced while it is read."""
    if PATH:
        link = os.open(name, PATH | NOFOLLOW, dir_fd=folder)
        try:
            return os.fstat(link).st_uid, os.readlink("", dir_fd=link)
        finally:
            os.close(link)
    before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    text = os.readlink(name, dir_fd=folder)
    after = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if (before.st_ino, before.st_ctime_ns) != (after.st_ino, after.st_ctime_ns):
        raise OSError(errno.EAGAIN, f"{name} was changed in the meantime")
    return before.st_uid, text


def _proc() -> int | None:
    try:
        return os.stat("/proc").st_dev
    except OSError:  # macOS
        return None


class Replacement:
    """The future content of a target: `open` it, write to the file, then call `commit` or `discard`.

    Until `commit`, the old file stays as it is. Afterwards, the new file has the mode and owner of the old one. Pipes and
    devices, which cannot be replaced, are written directly. In two cases the content is stored elsewhere until it is complete,
    and then copied over the old file: if no new file can be created in the folder, or if the old file cannot be replaced (a
    single file that is mounted into a container).
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._temporary: str | None = None
        self._files: list[int] = []
        self._existing: int | None = None
        self._content: int | None = None
        self._raw: _NamedFile | None = None
        self._file: io.BufferedWriter | None = None
        self._is_done = False

    # The constructor opens no file, and __del__ closes none: a signal handler may raise an exception before the new object has a
    # name, and Python ignores exceptions in __del__.
    def open(self) -> BinaryIO:
        """Return the file for the new content. Raise OSError with the target's path if it cannot be created."""
        try:
            with _naming(self._target.path):
                self._raw = _NamedFile(self._open(), self._target.path)
            self._file = io.BufferedWriter(self._raw, _BUFFER)
            return cast("BinaryIO", self._file)
        except BaseException:
            self.discard()
            raise

    def commit(self) -> None:
        """Replace the content of the target with the new content.

        Raise OSError with the target's path if that fails; the old file is then unchanged.
        """
        if self._is_done:
            return
        with _naming(self._target.path):
            if self._file is not None:
                self._file.flush()
            if self._raw is not None:
                self._raw.close()  # some file systems report a full disk only now
            if self._temporary is not None:
                self._rename(self._temporary)
            elif self._content is not None:
                self._overwrite()
        self.discard()

    def discard(self) -> None:
        """Remove the new content if it was not committed, and close all files."""
        if self._is_done:
            return
        self._is_done = True
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.close()  # not `_file`, which would write what is buffered
        if self._temporary is not None:  # after the file is closed, because Windows removes no open file
            with contextlib.suppress(OSError):
                system.insist(os.unlink, self._temporary, dir_fd=self._target.folder)
        for file in self._files:
            os.close(file)

    def _keep(self, file: int) -> int:
        self._files.append(file)
        return file

    def _open_existing(self) -> int:
        """Open the file that is to be replaced, and return its descriptor.

        Raise OSError if the file may not be written, because then it must not be replaced either.
        """
        flags = os.O_WRONLY | NOFOLLOW | NONBLOCK | NOCTTY | BINARY
        existing = self._existing = self._keep(os.open(self._target.name, flags, dir_fd=self._target.folder))
        if not stat.S_ISREG(os.fstat(existing).st_mode):
            raise OSError(errno.EEXIST, "was changed in the meantime", self._target.path)
        return existing

    def _open(self) -> int:
        target = self._target
        mode = target.existing_mode()
        if target.is_open_file:
            return os.open(target.name, os.O_WRONLY | os.O_TRUNC | NOCTTY | BINARY, dir_fd=target.folder)
        if mode is not None and not stat.S_ISREG(mode):
            return os.open(target.name, os.O_WRONLY | NOFOLLOW | NOCTTY | BINARY, dir_fd=target.folder)
        # Windows does not replace a file that is open
        existing = self._open_existing() if mode is not None and target.folder is not None else None
        try:
            file = self._create(0o666 if existing is None else 0o600)
        except OSError as error:
            if existing is None or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            import tempfile

            with tempfile.TemporaryFile(buffering=0) as temporary:
                self._content = self._keep(os.dup(temporary.fileno()))
            return os.dup(self._content)
        if existing is not None:
            system.inherit_access(existing, file)
            self._content = self._keep(os.dup(file))
        return file

    def _create(self, mode: int) -> int:
        folder, name = os.path.split(self._target.name)
        head = os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore")
        # set first, because a signal may come between the creation and the next line
        self._temporary = os.path.join(folder, f".{head}.{os.urandom(8).hex()}.tmp")
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW | BINARY
            return os.open(self._temporary, flags, mode, dir_fd=self._target.folder)
        except OSError:
            self._temporary = None
            raise

    def _rename(self, temporary: str) -> None:
        folder = self._target.folder
        try:
            system.insist(os.replace, temporary, self._target.name, src_dir_fd=folder, dst_dir_fd=folder)
            self._temporary = None
        except OSError as error:
            if folder is None and isinstance(error, PermissionError):
                self._keep_new(temporary)
            if self._existing is None or error.errno not in (errno.EBUSY, errno.EACCES, errno.EPERM):
                raise
            self._overwrite()

    def _keep_new(self, temporary: str) -> NoReturn:
        """Give the new content a name that no file has, because the old file cannot be replaced, and raise OSError with it."""
        stem, suffix = os.path.splitext(self._target.name)
        kept = f"{stem}.new{suffix}"
        try:
            system.insist(os.rename, temporary, kept)  # on Windows, this replaces no file
        except OSError:
            kept = temporary
        self._temporary = None
        raise OSError(errno.EACCES, f"may be open in another program; the new content is in {os.path.basename(kept)}")

    def _overwrite(self) -> None:
        """Copy the complete new content over the old file."""
        content, existing = self._content, self._existing
        assert content is not None
        assert existing is not None
        size, before = os.fstat(content).st_size, os.fstat(existing).st_size
        try:
            system.reserve(existing, size)
        except OSError as error:
            if error.errno in FULL:
                os.ftruncate(existing, before)
                raise
        at = os.lseek(existing, 0, os.SEEK_SET)
        while data := system.read_at(content, _COPIED, at):
            at += os.write(existing, data)
        os.ftruncate(existing, size)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """Yield a file whose content replaces the file at `path` after the `with` block.

    If the block raises an exception, the old file stays.
    """
    with resolve(path) as target:
        replacement = Replacement(target)
        try:
            yield replacement.open()
            replacement.commit()
        finally:
            replacement.discard()


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file if it exists."""
    with resolve(path) as target, _naming(target.path), contextlib.suppress(FileNotFoundError):
        os.unlink(target.name, dir_fd=target.folder)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder if it does not exist."""
    with contextlib.suppress(FileExistsError, IsADirectoryError), resolve(path) as target, _naming(target.path):
        os.mkdir(target.name, dir_fd=target.folder)


class _NamedFile(io.FileIO):
    """A file whose exceptions contain the path that the user gave."""

    def __init__(self, file: int, path: str) -> None:
        super().__init__(file, "wb")
        self._path = path

    def write(self, data: Any, /) -> int:
        with _naming(self._path):
            return super().write(data)


@contextmanager
def room_needed(folder: str | os.PathLike[str]) -> Generator[None]:
    """If the disk becomes full in the `with` block, raise the exception from `no_room` instead of the one from Polars."""
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise no_room(folder) from None
        raise


def is_full(error: Exception) -> bool:
    """Return whether an exception means that a disk is full."""
    text = str(error)
    # the text of Polars if the end of a Parquet file, which is Thrift, can no longer be written
    lost = "Invalid thrift: transport error" in text
    return lost or getattr(error, "errno", None) in FULL or any(f"(os error {code})" in text for code in system.FULL_CODES)


def no_room(folder: str | os.PathLike[str]) -> OSError:
    """Return an OSError for a disk without room for temporary files in `folder`."""
    return OSError(errno.ENOSPC, "no room for temporary files (set TMPDIR to use another folder)", os.fspath(folder))


@contextmanager
def _naming(path: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise
