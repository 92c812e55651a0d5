"""The machine of a benchmark, and which process runs on which core."""

from __future__ import annotations

import itertools
import os
import platform
import resource
import shutil
import socket
from pathlib import Path
from typing import Final

_PORTS_FROM: Final = 10_000
_PORTS: Final = 5_000
"""Number of ports, all below the kernel's for outgoing connections and below the tests'."""
_TURNS: Final = itertools.count()


def cores() -> list[int]:
    """Return the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0))


SERVER_CORE: Final = cores()[0]
"""Core of the measured server."""
LOAD_CORE: Final = cores()[1] if len(cores()) > 1 else cores()[0]
"""Core of everything else: phones, OSCC-E Server, Redis."""


def pinned(core: int) -> tuple[str, ...]:
    """Return the prefix of a command that runs on *core* and ends with this process."""
    leash = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
    pin = ("taskset", "-c", str(core)) if shutil.which("taskset") else ()
    return (*leash, *pin)


def files_most() -> int:
    """Return how many files one process may open; each phone takes one."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def free_bytes() -> int:
    """Return the memory that is available to programs."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def free_port() -> int:
    """Return a free port of the loopback, never the same twice in a row."""
    while True:
        port = _PORTS_FROM + (os.getpid() * 101 + next(_TURNS)) % _PORTS
        with socket.socket() as door:
            try:
                door.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def about() -> dict[str, str | int]:
    """Return the kind of this machine, without anything that identifies it."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _line("/proc/cpuinfo", "model name"),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "files": files_most(),
    }


def _line(path: str, name: str) -> str:
    for line in Path(path).read_text("utf-8", errors="replace").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return platform.machine()
