"""Refuse system calls that an analysis does not need (seccomp(2)). This works on Linux on x86-64 and 64-bit ARM.

Landlock does not cover these calls. Even without capabilities, a process may change the mode of its user's files, connect to its
user's sockets, and signal its user's other processes or change their limits. It may also write into the input of its terminal,
and leave a child process running.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import NamedTuple


class _Machine(NamedTuple):
    """The numbers of system calls on one type of processor (asm/unistd.h), and its AUDIT_ARCH_* value `audit` (linux/audit.h)."""

    audit: int
    clone: int
    fcntl: int
    ioctl: int
    prlimit: int
    socketpair: int
    thread_kill: int
    refused: tuple[int, ...]


_EVERYWHERE = (
    424, 425, 428, 430, 438, 452, 463, 466, 467, 469,
)  # fmt: skip
"""The numbers of the system calls that are refused on every machine.

They are pidfd_send_signal, io_uring_setup, open_tree, fsopen, pidfd_getfd, fchmodat2, setxattrat, removexattrat, open_tree_attr
and file_setattr.
"""

_CLONE3 = 435
"""The number of the system call clone3. It fails with ENOSYS, so libraries use clone(2), whose flags a filter can check."""

_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E, clone=56, fcntl=72, ioctl=16, prlimit=302, socketpair=53, thread_kill=234,
        refused=(
            90, 91, 268,  # chmod, fchmod, fchmodat
            92, 93, 94, 260,  # chown, fchown, lchown, fchownat
            188, 189, 190, 197, 198, 199,  # setxattr, removexattr and variants
            132, 235, 261, 280,  # utime, utimes, futimesat, utimensat
            41, 42, 49,  # socket, connect, bind
            57, 58, 59, 322,  # fork, vfork, execve, execveat
            62, 200, 129, 297,  # kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
            101, 310, 311,  # ptrace, process_vm_readv, process_vm_writev
            165, 161, 272, 308, 304,  # mount, chroot, unshare, setns, open_by_handle_at
            29, 30, 31, 67, 64, 65, 66, 220, 68, 69, 70, 71, 240, 241,  # shared memory, semaphores, message queues
            141, 142, 144, 203, 251, 314,  # setpriority, sched_setparam and variants, ioprio_set
            321, 298, 323, 248, 249, 250,  # bpf, perf_event_open, userfaultfd, add_key, request_key, keyctl
            253, 294, 300,  # inotify_init, inotify_init1, fanotify_init
        ),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7, clone=220, fcntl=25, ioctl=29, prlimit=261, socketpair=199, thread_kill=131,
        refused=(
            52, 53,  # fchmod, fchmodat
            54, 55,  # fchownat, fchown
            5, 6, 7, 14, 15, 16,  # setxattr, removexattr and variants
            88,  # utimensat
            198, 203, 200,  # socket, connect, bind
            221, 281,  # execve, execveat
            129, 130, 138, 240,  # kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
            117, 270, 271,  # ptrace, process_vm_readv, process_vm_writev
            40, 51, 97, 268, 265,  # mount, chroot, unshare, setns, open_by_handle_at
            194, 195, 196, 197, 190, 191, 192, 193, 186, 187, 188, 189, 180, 181,  # shared memory, semaphores, message queues
            140, 118, 119, 122, 30, 274,  # setpriority, sched_setparam and variants, ioprio_set
            280, 241, 282, 217, 218, 219,  # bpf, perf_event_open, userfaultfd, add_key, request_key, keyctl
            26, 262,  # inotify_init1, fanotify_init
        ),
    ),
}  # fmt: skip

_CONTROLS = (0x5412, 0x541C, 0x5410, 0x540E, 0x8901, 0x8902, 0x40086602, 0x40046602, 0x401C5820)
"""The ioctl commands that are refused.

TIOCSTI, TIOCLINUX, TIOCSPGRP and TIOCSCTTY write into the input of a terminal, or take it over (ioctl_tty(2)). FIOSETOWN and
SIOCSPGRP set which process gets signals. FS_IOC_SETFLAGS, its 32-bit form and FS_IOC_FSSETXATTR change file attributes.
"""

_FILE_COMMANDS = (8, 10, 15, 1024, 1026)
"""The fcntl commands that are refused because they make the kernel send signals (fcntl(2)).

They are F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE and F_NOTIFY.
"""

_CLONE_THREAD, _SOCK_STREAM, _SOCKET_TYPES = 0x10000, 1, 0xF

_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _AND, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
"""The instruction codes of a filter (linux/bpf_common.h).

In order: BPF_LD | BPF_W | BPF_ABS; BPF_ALU | BPF_AND | BPF_K; BPF_JMP | BPF_K with BPF_JEQ, BPF_JGE and BPF_JSET; and
BPF_RET | BPF_K.
"""
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, (16, 24)
"""Offsets in struct seccomp_data on a little-endian machine; for an argument, the offset of its lower half."""
_ALLOW, _REFUSE, _ABSENT = 0x7FFF0000, 0x00050001, 0x00050026
"""The results of a filter: SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with EPERM or ENOSYS."""
_X32 = 0x40000000
"""The lowest system call number of the x32 interface of x86-64."""

_Step = tuple[int, int, int, int]
"""An instruction of a filter: its code, how many instructions to skip if true and how many if false, and its value."""


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("if_true", ctypes.c_uint8), ("if_false", ctypes.c_uint8), ("value", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


def refuse_system_calls() -> None:
    """Make the kernel refuse the system calls listed in this module, permanently, in this thread and everything it starts.

    Refused calls fail with EPERM. New threads can be started, but no processes. The thread must have no_new_privs. Raise OSError
    if the kernel has no seccomp filters, or if the processor is not supported.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise OSError("no list of system calls for this machine")
    program = _program(machine, os.getpid())
    instructions = (_Instruction * len(program))(*program)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(_Program(len(program), instructions)), 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


_ALLOWED: _Step = (_RETURN, 0, 0, _ALLOW)
_REFUSED: _Step = (_RETURN, 0, 0, _REFUSE)


def _program(machine: _Machine, process: int) -> list[_Step]:
    """Return the instructions of the filter. Each restricted system call has a block of instructions, which other calls skip.

    `process`: the id of the process, which may signal and limit only itself.
    """
    first, second = _ARGUMENT
    blocks = [
        *(_block(number, [_REFUSED]) for number in (*machine.refused, *_EVERYWHERE)),
        _block(_CLONE3, [(_RETURN, 0, 0, _ABSENT)]),
        _block(machine.clone, [(_LOAD, 0, 0, first), (_HAS, 1, 0, _CLONE_THREAD), _REFUSED, _ALLOWED]),
        _block(machine.ioctl, [(_LOAD, 0, 0, second), *_unless(_CONTROLS)]),
        _block(machine.fcntl, [(_LOAD, 0, 0, second), *_unless(_FILE_COMMANDS)]),
        _block(machine.prlimit, [(_LOAD, 0, 0, first), *_only((0, process))]),
        _block(machine.thread_kill, [(_LOAD, 0, 0, first), *_only((process,))]),
        _block(machine.socketpair, [(_LOAD, 0, 0, second), (_AND, 0, 0, _SOCKET_TYPES), *_only((_SOCK_STREAM,))]),
    ]
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.audit),
        _REFUSED,
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        _REFUSED,
        *(step for block in blocks for step in block),
        _ALLOWED,
    ]


def _block(number: int, steps: list[_Step]) -> list[_Step]:
    return [(_EQUAL, 0, len(steps), number), *steps]


def _only(values: tuple[int, ...]) -> list[_Step]:
    """Return filter instructions that allow these values of the argument that was loaded last, and refuse all others."""
    return [*((_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)), _REFUSED, _ALLOWED]


def _unless(values: tuple[int, ...]) -> list[_Step]:
    """Return filter instructions that refuse these values of the argument that was loaded last, and allow all others."""
    return [*((_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)), _ALLOWED, _REFUSED]
