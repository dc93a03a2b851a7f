"""Runs a command under the part of the unit's sandbox that a test can have: nobody changes priorities.

``python -m tests.systemd.sandboxed COMMAND…``: a seccomp filter, as ``SystemCallFilter=~@resources`` makes it
with ``SystemCallErrorNumber=EPERM``, then the command in the place of this process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SETPRIORITY = {"x86_64": 141, "aarch64": 140}
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_INSTRUCTION = struct.Struct("=HBBI")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_priorities() -> None:
    """For this process and all that come of it."""
    steps = (
        (LOAD, 0, 0, 0),  # the number of the system call
        (EQUAL, 0, 1, SETPRIORITY[platform.machine()]),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    )
    program = _Program(len(steps), b"".join(_INSTRUCTION.pack(*step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid_priorities()
    os.execvp(sys.argv[1], sys.argv[1:])
