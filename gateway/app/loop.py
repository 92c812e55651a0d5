"""On which event loop, and with how many files, does the gateway run?"""

from __future__ import annotations

import asyncio
import platform
import resource
import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(main: Coroutine[None, None, T]) -> T:
    """Run *main*, on uvloop where CPython is on Linux: TLS costs 41 KB a phone there, and 296 KB without."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def raise_file_limit() -> None:
    """Allow as many open files as this process may: each phone and each link is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if platform.python_implementation() != "CPython" or sys.platform != "linux":
        return None
    import uvloop  # noqa: PLC0415 - there is none on other platforms

    return uvloop.new_event_loop
