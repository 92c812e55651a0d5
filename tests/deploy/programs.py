"""Programs that judge the files of deploy/.

Those that Python's packages carry are always there after `make venv`. Those of the machine are where it
has them; without them a test is skipped, unless ``REQUIRE_DEPLOY_TOOLS=1`` says that they must be there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
REQUIRED: Final = "REQUIRE_DEPLOY_TOOLS"
_PATIENCE_S: Final = 300.0
"""For a busy machine: promtool alone computes for 11 s with the cases of all alerts."""
_GO: Final = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}
"""Programs in Go collect no garbage below 1 GiB: promtool would spend a third of its time on it."""
_SYSTEM: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


class Said(NamedTuple):
    """What a program left."""

    code: int
    text: str
    """Standard output, then standard error."""


def machine(name: str) -> str:
    """Return the path of a program of the machine, or skip the test."""
    found = shutil.which(name, path=_SYSTEM)
    return found or missing(f"{name} is not installed")


def carried(name: str) -> str:
    """Return the path of a program that a development dependency carries."""
    found = Path(sys.executable).with_name(name)
    return str(found) if found.exists() else missing(f"{name} is not in the virtual environment")


def missing(sentence: str) -> str:
    """Skip the test, or fail it where nothing may be missing."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


def ask(*command: str | Path, given: str | None = None, cwd: Path = ROOT) -> Said:
    """Run a program to its end; Python keeps its compiled modules for later ones."""
    done = subprocess.run(
        list(map(str, command)),
        input=given,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | _GO,
        capture_output=True,
        check=False,
        text=True,
        timeout=_PATIENCE_S,
    )
    return Said(done.returncode, done.stdout + done.stderr)
