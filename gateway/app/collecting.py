"""When does Python look for garbage in cycles, and how long does everybody wait for it?"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gateway.runtime.ports import Clock

THRESHOLDS: Final = (50_000, 20, 100)
"""New containers before a look at the youngest; looks before one at the older ones. A phone is some fifty
objects that live long: with Python's own numbers a storm of them is looked through over and over."""


@contextmanager
def seldom(clock: Clock, paused: Callable[[float], None]) -> Iterator[None]:
    """Look for garbage seldom while the block lasts, and never through what was there before it.

    Args:
        clock: Measures.
        paused: Told how many seconds each look took.
    """
    began = clock.now()

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = clock.now()
        else:
            paused(clock.now() - began)

    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)
        gc.unfreeze()
