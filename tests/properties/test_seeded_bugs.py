"""Does every property find the bugs that were seeded for it?

A few are planted by ``make seeded``, all of them with the profile ``deep`` (``make properties``). Each
takes a process of its own, so ``make test`` leaves all of them out but one sample.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.properties import seeded
from tests.properties.seeded import Planted, SeededBug

MODULES = list(seeded.property_modules())
ALL = [one for module in MODULES for one in seeded.planted(module)]
KILLERS = sorted({(one.test_file, one.bug.killer) for one in ALL})
DEEP = os.environ.get("HYPOTHESIS_PROFILE", "fast") == "deep"


def test_bugs_are_named_once() -> None:
    names = [one.id for one in ALL]
    assert len(names) > 0
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.id)
def test_every_bug_fits_its_place(one: Planted) -> None:
    assert seeded.occurrences(one.bug) == 1
    assert one.bug.old != one.bug.new


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_property_has_a_bug_that_it_kills(module: ModuleType) -> None:
    assert {one.bug.killer for one in seeded.planted(module)} == seeded.tests_of(module)


@pytest.mark.seeded
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("test_file", "test"), KILLERS if DEEP else KILLERS[-1:], ids=lambda part: part)
def test_without_a_bug_the_property_holds_in_a_copy(test_file: str, test: str, tmp_path: Path) -> None:
    seeded.copy(tmp_path)
    verdict = seeded.run(tmp_path, test_file, test)
    assert verdict.passed, verdict.told


@pytest.mark.seeded
@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", [one for one in ALL if DEEP or one.bug.quick], ids=lambda one: one.id)
def test_the_property_finds_the_bug(one: Planted, tmp_path: Path) -> None:
    seeded.copy(tmp_path)
    seeded.plant(one.bug, tmp_path)
    verdict = seeded.run(tmp_path, one.test_file, one.bug.killer)
    assert verdict.killed, f"{one.id} survives:\n{verdict.told}"


SEEDED = pytest.mark.seeded
SAMPLE = '''"""A sample."""

from gateway.core.outbox import PaceLadder


def test_quick() -> None:
    assert PaceLadder().due_at(1.0) == 1.0
'''


@pytest.mark.parametrize(
    ("new", "killed"),
    [
        pytest.param("return now + 1", True, id="a bug that is found"),
        pytest.param("return max(now + 0, self.sent_at)", False, id="no bug at all", marks=SEEDED),
        pytest.param("return unknown_name", False, id="a crash is no finding", marks=SEEDED),
        pytest.param("return (", False, id="not even a program", marks=SEEDED),
    ],
)
def test_only_an_assertion_that_fails_kills(new: str, killed: bool, tmp_path: Path) -> None:
    bug = SeededBug(
        "sample", "core/outbox.py", "return max(now, self.sent_at + interval_s)", new, "test_quick"
    )
    assert seeded.occurrences(bug) == 1
    seeded.copy(tmp_path)
    seeded.plant(bug, tmp_path)
    (tmp_path / "tests/properties/test_sample.py").write_text(SAMPLE, "utf-8")
    assert seeded.run(tmp_path, "test_sample.py", bug.killer).killed is killed
