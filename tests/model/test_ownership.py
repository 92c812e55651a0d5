"""The model of ownership: a command runs at most once by the full rule, and twice by each lesser one.

:file:`ownership.pml` says what is modelled. Spin looks at every order in which things may happen. Skipped
where Spin or a C compiler is missing, unless ``REQUIRE_SPIN`` is set.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

MODEL: Final = Path(__file__).with_name("ownership.pml")
FULL_RULE: Final = 5
_PATIENCE_S: Final = 240.0
_FEW: Final = {"CRASHES": 0, "EXPIRIES": 0, "STEALS": 0, "GIVES": 1, "FLUSHES": 1}
"""One offer and one flush are enough to break every lesser rule."""


def _missing() -> str:
    missing = [program for program in ("spin", "gcc") if shutil.which(program) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


pytestmark = [
    pytest.mark.skipif(bool(_missing()) and not os.environ.get("REQUIRE_SPIN"), reason=_missing()),
    pytest.mark.timeout(_PATIENCE_S + 30),
]


def errors(where: Path, **settings: int) -> int:
    """Return how many orders break the law; stops at the first. Every order was looked at if it is 0."""
    macros = [f"-D{name}={value}" for name, value in settings.items()]
    subprocess.run(["spin", "-a", *macros, str(MODEL)], cwd=where, check=True, capture_output=True)
    compiling = ["gcc", "-w", "-O0", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=4000", "-o", "pan", "pan.c"]
    subprocess.run(compiling, cwd=where, check=True, capture_output=True)
    searched = subprocess.run(
        ["./pan", "-m400000", "-w22"],
        cwd=where,
        check=True,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    ).stdout
    found = re.search(r"errors: (\d+)", searched)
    assert found is not None, searched
    is_complete = "Search not completed" not in searched and "max search depth too small" not in searched
    assert is_complete or found[1] != "0", searched
    return int(found[1])


@pytest.mark.parametrize("rule", range(FULL_RULE))
def test_a_lesser_rule_lets_a_command_run_twice(rule: int, tmp_path: Path) -> None:
    assert errors(tmp_path, RULE=rule, **_FEW) == 1


@pytest.mark.parametrize(
    "faults",
    [
        {"CRASHES": 0, "EXPIRIES": 0, "STEALS": 1, "GIVES": 1, "FLUSHES": 1},
        {"CRASHES": 1, "EXPIRIES": 0, "STEALS": 0, "GIVES": 1, "FLUSHES": 1},
        {"CRASHES": 0, "EXPIRIES": 1, "STEALS": 0, "GIVES": 2, "FLUSHES": 1},
    ],
    ids=["deaf or without the store", "a crash", "a lease that runs out"],
)
def test_by_the_full_rule_a_command_runs_at_most_once(faults: dict[str, int], tmp_path: Path) -> None:
    assert errors(tmp_path, RULE=FULL_RULE, **faults) == 0


def test_three_nodes_keep_the_law_too(tmp_path: Path) -> None:
    assert errors(tmp_path, RULE=FULL_RULE, N=3, **_FEW) == 0
