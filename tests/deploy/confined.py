"""Run a command as a systemd unit confines it: `python confined.py SYSTEM_CALLS command…`.

SYSTEM_CALLS names the file with the system calls that are allowed, one a line; any other fails with EPERM.
Memory can be written or executed, never both, and never one after the other: MemoryDenyWriteExecute=.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS = 38
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
OTHER_MACHINES = -1
"""What libseccomp says of a system call that this machine does not have."""
MASKED_EQUAL, PROTECTION = 7, 2
"""How libseccomp compares, and the place of the argument that it compares."""
WITHOUT = {
    "mmap": (mmap.PROT_EXEC, mmap.PROT_WRITE),
    "mprotect": (mmap.PROT_EXEC,),
    "pkey_mprotect": (mmap.PROT_EXEC,),
}
"""System calls that are allowed only without one of these rights."""


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def confine(allowed: list[str]) -> None:
    """Allow this process, and all that it becomes, these system calls only."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules, allow = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE))), ctypes.c_uint32(ALLOW)
    for name in allowed:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number == OTHER_MACHINES:
            continue
        for right in WITHOUT.get(name, ()):
            condition = Comparison(PROTECTION, MASKED_EQUAL, right, 0)
            seccomp.seccomp_rule_add_array(rules, allow, number, 1, ctypes.byref(condition))
        if name not in WITHOUT:
            seccomp.seccomp_rule_add_array(rules, allow, number, 0, None)
    if seccomp.seccomp_load(rules) != 0:
        raise OSError("the kernel does not take the rules")


def main() -> None:
    """Confine this process, then become the command."""
    calls, *command = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError("privileges cannot be given up")
    confine(Path(calls).read_text("utf-8").split())
    os.execv(command[0], command)  # noqa: S606 - to become the command is its purpose; there is no shell


if __name__ == "__main__":
    main()
