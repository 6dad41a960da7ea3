"""Run wiredoctor without what Windows lacks: `install` hides it from wiredoctor's own modules, and from no others.

Each module of wiredoctor gets an `__import__` of its own, which returns stand-ins for os, sys and the like. It works with the
interpreted core only, because compiled modules import without it. `python -m tests.support.lacking analyze ...` runs a command.
"""

from __future__ import annotations

import builtins
import errno
import importlib.abc
import importlib.machinery
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MODULES = frozenset(("fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "syslog", "_posixsubprocess"))
"""The modules that Windows lacks."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HIDDEN: dict[str, frozenset[str]] = {
    "os": _names("""
        pread preadv pwrite pwritev posix_fallocate posix_fadvise fchmod fchown chown lchown chroot fchdir fork forkpty wait
        wait3 wait4 waitid WNOHANG WUNTRACED geteuid getuid getgid getegid getresuid getresgid getgroups setuid setgid seteuid
        setegid setresuid setresgid setgroups initgroups getpgid getpgrp setpgid setpgrp getsid setsid killpg nice getpriority
        setpriority getloadavg set_blocking get_blocking sendfile splice copy_file_range eventfd memfd_create pipe2 mkfifo mknod
        major minor makedev sched_getaffinity sched_setaffinity sched_yield uname sysconf confstr pathconf fpathconf statvfs
        fstatvfs sync openpty ttyname ctermid tcgetpgrp tcsetpgrp getxattr setxattr removexattr listxattr pidfd_open posix_spawn
        posix_spawnp lockf F_LOCK F_TLOCK O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY O_TMPFILE O_PATH O_NOCTTY O_SYNC O_DSYNC
        O_NOATIME O_ASYNC O_DIRECT O_LARGEFILE EX_OK EX_USAGE RTLD_NOW RTLD_GLOBAL fdatasync fwalk getlogin_r environb getenvb
        supports_bytes_environ
    """),
    "signal": _names("""
        SIGHUP SIGPIPE SIGKILL SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGQUIT SIGWINCH SIGIO
        SIGPROF SIGVTALRM SIGXCPU SIGXFSZ SIGSYS SIGTRAP SIGURG SIGBUS SIGPOLL SIGPWR ITIMER_REAL ITIMER_VIRTUAL ITIMER_PROF
        setitimer getitimer alarm pause pthread_sigmask pthread_kill sigpending sigwait sigwaitinfo sigtimedwait siginterrupt
        SIG_BLOCK SIG_UNBLOCK SIG_SETMASK
    """),
    "time": frozenset(("tzset", "clock_gettime_ns", "clock_gettime", "CLOCK_MONOTONIC", "pthread_getcpuclockid")),
    "select": frozenset(("poll", "epoll", "kqueue")),
    "socket": frozenset(("AF_UNIX", "AF_PACKET", "AF_NETLINK", "socketpair", "sendmsg", "recvmsg", "CMSG_LEN", "SCM_RIGHTS")),
    "mmap": frozenset(("MAP_SHARED", "MAP_PRIVATE", "MAP_ANONYMOUS", "PROT_READ", "PROT_WRITE")),
    "sys": frozenset(("abiflags", "getdlopenflags", "setdlopenflags")),
}
"""What other modules lack on Windows."""


O_BINARY = 0x8000


def _open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    assert dir_fd is None, "Windows opens nothing relative to a folder"
    assert flags & O_BINARY, "without O_BINARY, Windows changes the bytes of files"
    return os.open(path, flags & ~O_BINARY, mode)


def _open_paths() -> set[str]:
    """Return the files that this process has open or mapped."""
    found = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        return found | {fields[5].rstrip("\n") for line in maps if len(fields := line.split(maxsplit=5)) > 5}


def _refuse_if_open(call: Callable[..., None]) -> Callable[..., None]:
    """Return a function that refuses, as Windows does, to rename, replace or remove a file that this process has open."""

    def refuse_if_open(*paths: Any, **folders: None) -> None:
        assert not {*folders.values()} - {None}, "Windows finds nothing relative to a folder"
        if any(os.path.realpath(path) in _open_paths() for path in paths):
            raise PermissionError(errno.EACCES, "The file is being used by another process", paths[0])
        call(*paths)

    return refuse_if_open


def _rename(source: Any, target: Any) -> None:
    """Rename a file, but not over another one, as os.rename on Windows."""
    if os.path.lexists(target) and not os.path.samefile(source, target):
        raise FileExistsError(errno.EEXIST, "The file already exists", source)
    _really["rename"](source, target)


_really = {name: getattr(os, name) for name in ("rename", "replace", "unlink", "remove")}
_REFUSING = {name: _refuse_if_open(call) for name, call in {**_really, "rename": _rename}.items()}


def _temporary_file(**options: Any) -> Any:
    """Open a temporary file in a wrapper, as on Windows, where the system removes it when the process ends."""
    file = tempfile.NamedTemporaryFile(delete=False, **options)  # noqa: SIM115
    _really["unlink"](file.name)
    return file


def _changed(name: str) -> dict[str, Any]:
    """Return what is different, not missing, in a module on Windows."""
    if name == "sys":
        return {"platform": "win32"}
    if name == "os":
        return {
            "name": "nt",
            "supports_dir_fd": set(),
            "supports_effective_ids": set(),
            "O_BINARY": O_BINARY,
            "open": _open,
            **_REFUSING,
        }
    if name == "tempfile":
        return {"TemporaryFile": _temporary_file}
    return {}


class _StandIn(types.ModuleType):
    """A module of the standard library as it is on Windows. What is set here is set in the module itself."""

    def __init__(self, module: types.ModuleType) -> None:
        self.__dict__.update(_module=module, **_changed(module.__name__))

    def __getattr__(self, name: str) -> Any:
        module = self.__dict__["_module"]
        if name in HIDDEN.get(module.__name__, ()):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} on Windows")
        return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_module"], name, value)


_stand_ins: dict[str, _StandIn] = {}


def _import(
    name: str,
    globals: dict[str, Any] | None = None,
    locals: dict[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    if not level and name.partition(".")[0] in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
    found = builtins.__import__(name, globals, locals, fromlist or (), level)
    if not level and (found.__name__ in HIDDEN or found.__name__ == "tempfile"):
        return _stand_ins.setdefault(found.__name__, _StandIn(found))
    return found


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> Any:
        if name.partition(".")[0] != "wiredoctor":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Hide from all modules of wiredoctor that are imported from now on what Windows lacks.

    No module at all can remove or replace open files afterwards, because pathlib and tempfile do so for wiredoctor.
    """
    assert not any(name.partition(".")[0] == "wiredoctor" for name in sys.modules)
    sys.meta_path.insert(0, _Finder())
    for name, call in _REFUSING.items():
        setattr(os, name, call)
    setattr(shutil, "_use_fd_functions", False)  # noqa: B010 - a private name


def load(path: Path) -> Any:
    """Return a module of wiredoctor as it is on Windows, apart from the one of this process."""
    module = types.ModuleType(path.stem)
    _Loader(path.stem, str(path)).exec_module(module)
    return module


if __name__ == "__main__":
    install()
    from wiredoctor.__main__ import main

    main()
