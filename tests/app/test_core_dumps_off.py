"""A process that crashes leaves no core dump."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KEEPS = "from gateway.app.process import disable_core_dumps; assert disable_core_dumps()\n"
UNLIMITED = """\
import os, resource, signal
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
"""
ABORTS = "os.kill(os.getpid(), signal.SIGABRT)"
READS = """
import os
from pathlib import Path
os.listdir("/proc/self/fd")
Path("/proc/self/status").read_text() and Path("/proc/self/statm").read_text()
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")


def run(code: str, folder: Path) -> tuple[int, int]:
    """Return the exit code, and how many files are in *folder* then."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=False, timeout=30)
    return done.returncode, len(list(folder.iterdir()))


@linux
def test_a_process_that_aborts_writes_no_core(tmp_path: Path) -> None:
    assert run(UNLIMITED + KEEPS + ABORTS, tmp_path) == (-signal.SIGABRT, 0)


@linux
def test_without_it_a_core_is_written(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text("utf-8").strip()
    if pattern.startswith(("|", "/")) or resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip(f"cores of this machine go elsewhere, or nowhere: {pattern}")
    assert run(UNLIMITED + ABORTS, tmp_path) == (-signal.SIGABRT, 1)


@linux
def test_it_still_reads_how_it_fares(tmp_path: Path) -> None:
    assert run(KEEPS + READS, tmp_path) == (0, 0)
