"""When does Python look for garbage in cycles, and how long does everybody wait for it?"""

from __future__ import annotations

import gc

from gateway.app.process import GC_THRESHOLDS, tuned_gc
from tests.doubles.clock import ManualClock


def test_what_was_there_is_not_looked_through_and_the_rest_seldom() -> None:
    before = gc.get_threshold()
    with tuned_gc(ManualClock(), lambda _: None):
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == GC_THRESHOLDS
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_each_look_is_told_and_none_afterwards() -> None:
    pauses: list[float] = []
    with tuned_gc(ManualClock(), pauses.append):
        gc.collect()
    gc.collect()
    assert pauses == [0.0]
