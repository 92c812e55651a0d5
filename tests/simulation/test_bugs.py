"""Does a simulation find the bugs that were planted for it?

A few are planted by ``make seeded``, all of them with the profile ``deep`` (``make properties``), as
those of the properties are (:mod:`tests.properties.seeded`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.properties import seeded
from tests.properties.seeded import SeededBug
from tests.simulation.bugs import BUGS, ORPHANED, STALLED
from tests.simulation.run import FOUND

ALL: Final = [*BUGS, *STALLED, *ORPHANED]
DEEP: Final = os.environ.get("HYPOTHESIS_PROFILE", "fast") == "deep"
QUICK: Final = 150
"""Within how many schedules a bug is found that ``make seeded`` plants."""
WITHIN: Final = 3_000
GIVE_UP_S: Final = 600.0


def search(tree: Path, schedules: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Search a copy until something is found."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation.run", "0", str(schedules), "--stop", *options],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP_S,
    )


def test_bugs_are_named_once() -> None:
    names = [bug.name for bug in ALL]
    assert len(names) >= 12
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("bug", ALL, ids=lambda bug: bug.name)
def test_every_bug_fits_its_place(bug: SeededBug) -> None:
    assert seeded.occurrences(bug) == 1
    assert bug.old != bug.new


@pytest.mark.seeded
@pytest.mark.timeout(GIVE_UP_S + 20)
@pytest.mark.parametrize("bug", [bug for bug in ALL if DEEP or bug.quick], ids=lambda bug: bug.name)
def test_the_simulation_finds_the_bug(bug: SeededBug, tmp_path: Path) -> None:
    seeded.copy(tmp_path)
    seeded.plant(bug, tmp_path)
    options = ["--stalled"] if bug in STALLED else ["--orphaned"] if bug in ORPHANED else []
    found = search(tmp_path, QUICK if bug.quick else WITHIN, *options)
    assert found.returncode == FOUND, f"{bug.name} survives:\n{found.stdout}\n{found.stderr}"


@pytest.mark.seeded
def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    seeded.copy(tmp_path)
    found = search(tmp_path, 10)
    assert found.returncode == 0, found.stdout + found.stderr
