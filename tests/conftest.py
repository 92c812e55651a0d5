"""Profiles of Hypothesis.

``fast`` repeats the same examples and takes seconds; ``deep`` searches new ones and takes minutes; ``seeded``
searches for a seeded bug (``tests/test_seeds.py``), and stops at the first finding.
The environment variable ``HYPOTHESIS_PROFILE`` chooses (``make test`` and ``make properties`` set it).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.long_first import MARK, ordered

# how long an example takes says something of the machine only
_PATIENT = (HealthCheck.too_slow,)
settings.register_profile(
    "fast",
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=_PATIENT,
)
settings.register_profile(
    "deep",
    max_examples=1000,
    stateful_step_count=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=_PATIENT,
)
settings.register_profile(
    "seeded",
    max_examples=1000,
    stateful_step_count=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=_PATIENT,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


class _RareSyntax(ModuleType):
    """Stand-in for a module whose import computes 2 s, for what few schemas ask: whether a text is an IRI."""

    @staticmethod
    def is_valid_syntax(term: str, text: str) -> bool:
        """Ask the module itself."""
        if isinstance(sys.modules[_RARE], _RareSyntax):
            del sys.modules[_RARE]
        return bool(importlib.import_module(_RARE).is_valid_syntax(term, text))


_TESTS: Final = Path(__file__).parent
_RARE: Final = "rfc3987_syntax"
sys.modules.setdefault(_RARE, _RareSyntax(_RARE))


_ALL_SCENARIOS: Final = re.compile(r"^pytestmark = \[?pytest\.mark\.scenario\b", re.MULTILINE)


@functools.cache
def _scenarios_in(path: Path) -> str:
    """Return whether ``all``, ``some`` or ``no`` tests of a file may be scenarios."""
    text = path.read_text("utf-8")
    return "all" if _ALL_SCENARIOS.search(text) else "some" if "mark.scenario" in text else "no"


def _holds_wanted(path: Path, markexpr: str) -> bool:
    """Return whether a file of tests may hold some that *markexpr* selects."""
    if markexpr == "scenario":
        return _scenarios_in(path) != "no"
    return not markexpr.startswith("not scenario") or " or " in markexpr or _scenarios_in(path) != "all"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files alone that hold no wanted tests: each worker would import them all."""
    is_tests = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_tests and not _holds_wanted(collection_path, config.option.markexpr) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that are marked as long, where there are any."""
    hidden = {item.path for item in items if item.get_closest_marker("scenario")}
    if hidden := {path for path in hidden if _scenarios_in(path) == "no"}:
        raise pytest.UsageError(f"scenarios are marked as `pytest.mark.scenario` in their own file: {hidden}")
    marks = [item.get_closest_marker(MARK) for item in items]
    if any(marks):
        weights = [0.0 if mark is None else float(mark.args[0]) for mark in marks]
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        items[:] = ordered(list(zip(items, weights, strict=True)), workers)


def _import_in_own_order(config: pytest.Config) -> None:
    """Import all test modules, each worker beginning elsewhere: what one has compiled, the others load.

    In one order all workers compile each module at the same moment: some 8 s each, in a fresh clone.
    """
    is_all = [Path(each).resolve() for each in config.args] == [
        _TESTS
    ] and config.option.markexpr != "scenario"
    if is_all and not sys.dont_write_bytecode and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
        wanted = [path for path in _TESTS.rglob("test_*.py") if _holds_wanted(path, config.option.markexpr)]
        paths = [path.relative_to(_TESTS.parent) for path in sorted(wanted)]
        first = len(paths) * int(worker[2:]) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        for path in (*paths[first:], *paths[:first]):
            # what cannot be imported says so when it is collected
            with contextlib.suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(path.with_suffix("").parts))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Freeze what is imported and collected: it stays, and garbage of tests is found without scanning it."""
    gc.disable()
    try:
        _import_in_own_order(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _fresh_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have metrics collected each time they are asked for: a test may look twice in a second."""
    # not imported here: that computes 0.7 s, for each seeded bug, too
    if (server := sys.modules.get("gateway.edge.server")) is not None:
        monkeypatch.setattr(server, "FRESH_S", 0.0)


@pytest.fixture(autouse=True)
def _frozen_heap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep nodes of tests from unfreezing what was imported; freeze it again where a test unfroze it."""
    if request.node.get_closest_marker("freezes") is None:
        monkeypatch.setattr(gc, "freeze", lambda: None)
        monkeypatch.setattr(gc, "unfreeze", lambda: None)
        yield
    else:
        yield
        gc.collect()
        gc.freeze()


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Leave memory to reference counting; what is there before is not looked at."""
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.enable()
