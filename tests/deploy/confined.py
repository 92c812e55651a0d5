"""Run a command as a systemd unit confines it: `python confined.py SYSTEM_CALLS command…`.

SYSTEM_CALLS names the file with the system calls that are allowed, one a line; any other fails with EPERM.
Memory that was written can never be executed, as with MemoryDenyWriteExecute=.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
OTHER_MACHINES = -1
"""What libseccomp says of a system call that this machine does not have."""


def confine(allowed: list[str]) -> None:
    """Allow this process, and all that it becomes, these system calls only."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE)))
    for name in allowed:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number != OTHER_MACHINES:
            seccomp.seccomp_rule_add(rules, ctypes.c_uint32(ALLOW), number, 0)
    if seccomp.seccomp_load(rules) != 0:
        raise OSError("the kernel does not take the rules")


def main() -> None:
    """Confine this process, then become the command."""
    calls, *command = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError("privileges cannot be given up")
    if kernel.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
        sys.stderr.write("this kernel knows no PR_SET_MDWE\n")
    confine(Path(calls).read_text("utf-8").split())
    os.execv(command[0], command)  # noqa: S606 - to become the command is its purpose; there is no shell


if __name__ == "__main__":
    main()
