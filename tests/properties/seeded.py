"""Would each property notice the bug that it is there for?

A property file ends with ``SEEDED``: for each of its tests at least one bug that the test must
find. ``test_seeded_bugs.py`` plants every bug in a copy of the gateway and runs the test there.
To add one, append a :class:`SeededBug` to the ``SEEDED`` of the file whose test kills it.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final
from unittest import TestCase

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path(__file__).parent
GIVE_UP_S: Final = 100.0

_FAILED: Final = re.compile(r"^(?:E +(?:AssertionError|assert )|[E ]*\| +AssertionError)", re.MULTILINE)
"""An assertion that failed, alone or in a group of failures."""

_CONFTEST: Final = '''"""A planted copy: is it this one that is tested, searched without shrinking?"""

from pathlib import Path

from hypothesis import Phase, settings

import gateway

assert Path(gateway.__file__).is_relative_to(Path(__file__).parent), gateway.__file__
settings.register_profile(
    "seeded",
    max_examples=1000,
    stateful_step_count=60,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
'''


@dataclass(frozen=True, slots=True)
class SeededBug:
    """One change of one line or two that breaks a promise."""

    name: str
    file: str
    """Below ``gateway/``, for example ``core/lease.py``."""
    old: str
    """Source text that occurs exactly once in the file."""
    new: str
    killer: str
    """The test of the same property file that must fail: a function, or a class ``TestX``."""
    quick: bool = False
    """Whether ``make seeded`` plants it, too, not only ``make properties``."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug, and the property file that lists it."""

    bug: SeededBug
    test_file: str

    @property
    def id(self) -> str:
        """How it is shown."""
        return f"{self.test_file.removesuffix('.py')}:{self.bug.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of running a property on a copy. *killed*: an assertion of it failed."""

    passed: bool
    killed: bool
    told: str


def property_modules() -> Iterator[ModuleType]:
    """Yield the property files that list bugs."""
    for path in sorted(FOLDER.glob("test_*.py")):
        if path.name != "test_seeded_bugs.py":
            module = importlib.import_module(f"tests.properties.{path.stem}")
            if "SEEDED" in vars(module):
                yield module


def planted(module: ModuleType) -> list[Planted]:
    """Return the bugs that a property file lists."""
    return [Planted(bug, Path(str(module.__file__)).name) for bug in vars(module)["SEEDED"]]


def tests_of(module: ModuleType) -> set[str]:
    """Return the names of a property file's tests."""
    return {
        name
        for name, value in vars(module).items()
        if (name.startswith("test_") and callable(value))
        or (isinstance(value, type) and issubclass(value, TestCase) and name.startswith("Test"))
    }


def occurrences(bug: SeededBug) -> int:
    """Tell how often the bug's place is found in this tree; anything but once is a fault of the bug."""
    return (ROOT / "gateway" / bug.file).read_text("utf-8").count(bug.old)


def copy(tree: Path) -> None:
    """Make *tree* a copy of what the properties need."""
    leave_out = shutil.ignore_patterns("__pycache__", "web", "scenarios", "browser")
    for folder in ("gateway", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=leave_out)
    shutil.copy(ROOT / "pyproject.toml", tree)
    (tree / "conftest.py").write_text(_CONFTEST, "utf-8")


def plant(bug: SeededBug, tree: Path) -> None:
    """Put the bug into a copy."""
    place = tree / "gateway" / bug.file
    place.write_text(place.read_text("utf-8").replace(bug.old, bug.new), "utf-8")


def run(tree: Path, test_file: str, test: str) -> Verdict:
    """Run one property on a copy, in a process of its own."""
    options = [
        "-x",
        "-q",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        f"--timeout={GIVE_UP_S:.0f}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"tests/properties/{test_file}::{test}"],
        cwd=tree,
        env={
            **os.environ,
            "PYTHONPATH": str(tree),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_PROFILE": "seeded",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP_S + 15,
    )
    # 1: a test failed. A copy that cannot be imported or that crashes is no bug found by a property.
    killed = done.returncode == 1 and _FAILED.search(done.stdout) is not None
    return Verdict(done.returncode == 0, killed, done.stdout + done.stderr)
