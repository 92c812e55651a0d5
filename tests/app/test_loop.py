"""The gateway runs on uvloop with as many files as it may open."""

from __future__ import annotations

import asyncio
import platform
import resource
import sys
from collections.abc import Iterator

import pytest

from gateway.app import process


async def _loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__


@pytest.fixture
def file_limit() -> Iterator[tuple[int, int]]:
    """The limit of open files, restored afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_cpython_on_linux_has_uvloop() -> None:
    expected = (
        "uvloop" if (platform.python_implementation(), sys.platform) == ("CPython", "linux") else "asyncio"
    )
    assert process.run_loop(_loop_name()).partition(".")[0] == expected


def test_elsewhere_it_is_the_platforms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_implementation", lambda: "PyPy")
    assert process.run_loop(_loop_name()).startswith("asyncio.")


def test_as_many_files_as_may_be(file_limit: tuple[int, int]) -> None:
    most = file_limit[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    process.raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
