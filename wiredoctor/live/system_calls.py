"""Refuse the system calls that an analysis has no use for (seccomp(2)): Linux on x86-64 and 64-bit ARM.

Landlock does not cover them: the owner of a file may change its mode without any capability, and a process of root may connect
to a socket of root, or send a signal to any process of root.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import NamedTuple


class _Machine(NamedTuple):
    """`audit`: AUDIT_ARCH_* of linux/audit.h. `thread_kill`: the number of tgkill(2), which also abort(3) uses on itself."""

    audit: int
    thread_kill: int
    refused: tuple[int, ...]


_EVERYWHERE = (
    424, 425, 428, 430, 438, 452, 463, 466,
)  # fmt: skip
"""pidfd_send_signal, io_uring_setup, open_tree, fsopen, pidfd_getfd, fchmodat2, setxattrat, removexattrat."""

_MACHINES = {
    "x86_64": _Machine(
        0xC000003E, 234,
        (
            90, 91, 268,  # chmod, fchmod, fchmodat
            92, 93, 94, 260,  # chown, fchown, lchown, fchownat
            188, 189, 190, 197, 198, 199,  # setxattr, removexattr and their kin
            132, 235, 261, 280,  # utime, utimes, futimesat, utimensat
            41, 42, 49,  # socket, connect, bind
            59, 322,  # execve, execveat
            62, 200, 129, 297,  # kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
            101, 310, 311,  # ptrace, process_vm_readv, process_vm_writev
            165, 272, 308, 304,  # mount, unshare, setns, open_by_handle_at
            321, 298, 323, 248, 250, 141,  # bpf, perf_event_open, userfaultfd, add_key, keyctl, setpriority
        ),
    ),
    "aarch64": _Machine(
        0xC00000B7, 131,
        (
            52, 53,  # fchmod, fchmodat
            54, 55,  # fchownat, fchown
            5, 6, 7, 14, 15, 16,  # setxattr, removexattr and their kin
            88,  # utimensat
            198, 203, 200,  # socket, connect, bind
            221, 281,  # execve, execveat
            129, 130, 138, 240,  # kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
            117, 270, 271,  # ptrace, process_vm_readv, process_vm_writev
            40, 97, 268, 265,  # mount, unshare, setns, open_by_handle_at
            280, 241, 282, 217, 219, 140,  # bpf, perf_event_open, userfaultfd, add_key, keyctl, setpriority
        ),
    ),
}  # fmt: skip
"""Numbers of asm/unistd.h."""

_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_JMP | BPF_JGE | BPF_K, BPF_RET | BPF_K (linux/bpf_common.h)."""
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data of a little-endian machine."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
"""SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM."""
_X32 = 0x40000000
"""The numbers from here on are those of the x32 interface of x86-64."""


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("if_true", ctypes.c_uint8), ("if_false", ctypes.c_uint8), ("value", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


def refuse_system_calls() -> None:
    """Have the kernel answer them with EPERM, in the calling thread and all that it starts, for good.

    The thread must have no_new_privs. Raises OSError where the kernel cannot do that, or the processor is another one.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise OSError("no list of system calls for this machine")
    program = _program(machine, os.getpid())
    instructions = (_Instruction * len(program))(*program)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(_Program(len(program), instructions)), 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _program(machine: _Machine, process: int) -> list[tuple[int, int, int, int]]:
    """Return instructions; a jump is a number of instructions to pass over."""
    refused = (*machine.refused, *_EVERYWHERE)
    count = len(refused)
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, count + 6, machine.audit),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, count + 4, 0, _X32),
        (_EQUAL, count + 1, 0, machine.thread_kill),
        *((_EQUAL, count + 2 - i, 0, number) for i, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, process),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
