"""Garbage collection: when cycles are collected, and how long the pauses are."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from weakref import ref

import pytest

from gateway.app.process import (
    GC_EVERY_S,
    GC_FOUND,
    GC_FULL_S,
    GC_LOOK_S,
    GC_LOOKS,
    GC_SHARE,
    GC_THRESHOLDS,
    GC_YOUNG_S,
    POOLS_TURN_S,
    background_tasks,
    collect_when_idle,
    forget_by_time,
    tuned_gc,
)
from tests.doubles.clock import ManualClock


def test_what_was_there_is_not_looked_through_and_the_rest_seldom() -> None:
    before = gc.get_threshold()
    with tuned_gc(ManualClock(), lambda _: None):
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == GC_THRESHOLDS
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_each_look_is_reported_and_none_afterwards() -> None:
    pauses: list[float] = []
    with tuned_gc(ManualClock(), pauses.append):
        gc.collect()
    gc.collect()
    assert pauses == [0.0]


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def seldom_at_all() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("seldom_at_all")
async def test_what_holds_itself_is_collected_when_the_node_is_idle() -> None:
    clock, knot = ManualClock(), ref(Knot())
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S - 1)
        assert knot() is not None
        await clock.advance(2)
        assert knot() is None


@pytest.mark.usefixtures("seldom_at_all")
async def test_what_was_there_at_a_look_is_passed_by_until_all_is_looked_through() -> None:
    clock, knot = ManualClock(), Knot()
    seen = ref(knot)
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S + 1)
        del knot
        await clock.advance(GC_EVERY_S + 1)
        assert seen() is not None
        await clock.advance(GC_FULL_S[0])
        assert seen() is None


async def looks_in_an_hour(found: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return how many looks there are, and how many of them through everything, if each finds *found*."""
    clock, looks = ManualClock(), Counter[str]()

    def count(what: str, value: int) -> int:
        looks[what] += 1
        return value

    monkeypatch.setattr(gc, "collect", lambda: count("any", found))
    monkeypatch.setattr(gc, "unfreeze", lambda: count("full", 0))
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(3600)
        return looks["any"], looks["full"]


async def test_looks_become_rare_while_they_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, full = await looks_in_an_hour(GC_FOUND - 1, monkeypatch)
    assert 3600 / GC_FULL_S[1] < full < 3600 / GC_FULL_S[1] + 6
    assert looks - full < 3600 / GC_YOUNG_S[1] + 8


async def test_looks_are_frequent_while_they_find_something(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, full = await looks_in_an_hour(GC_FOUND, monkeypatch)
    assert full > 0.9 * 3600 / GC_FULL_S[0]
    assert looks > 0.9 * 3600 / GC_YOUNG_S[0]


@pytest.mark.usefixtures("seldom_at_all")
async def test_a_look_goes_through_what_came_lately_only() -> None:
    clock = ManualClock()
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S * 2 + 1)
        knots = [Knot() for _ in range(1000)]
        frozen = gc.get_freeze_count()
        await clock.advance(GC_EVERY_S)
        assert gc.get_freeze_count() >= frozen + len(knots)


class BusyClock(ManualClock):
    """Each turn of the loop takes a while."""

    async def sleep(self, seconds: float) -> None:
        if seconds == 0:
            await super().sleep(0.01)
        else:
            await super().sleep(seconds)


async def test_a_busy_node_is_not_stopped_but_neither_goes_on_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, looks = BusyClock(), []

    def collect() -> int:
        looks.append(clock.now())
        return 0

    monkeypatch.setattr(gc, "collect", collect)
    began = clock.now()
    async with background_tasks(collect_when_idle(clock)):
        for _ in range(600):
            await clock.advance(0.1)
    (first, *_) = looks
    assert GC_EVERY_S + GC_LOOKS * GC_LOOK_S / 2 < first - began < GC_EVERY_S + 2 * GC_LOOKS * GC_LOOK_S


async def test_the_longer_it_takes_the_more_seldom_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = ManualClock(), []
    now = clock.now

    def collect() -> int:
        looks.append(now())
        monkeypatch.setattr(clock, "now", lambda: now() + 0.1 * len(looks))
        return 0

    monkeypatch.setattr(gc, "collect", collect)
    async with background_tasks(collect_when_idle(clock)):
        await clock.advance(GC_EVERY_S + 1)
        assert len(looks) == 1
        await clock.advance(0.1 / GC_SHARE - 2)
        assert len(looks) == 1
        await clock.advance(3 + GC_EVERY_S)
        assert len(looks) == 2


class Turned:
    def __init__(self) -> None:
        self.at: list[float] = []

    def turn(self, now: float) -> None:
        self.at.append(now)


async def test_pools_turn_by_time() -> None:
    clock, pool = ManualClock(), Turned()
    began = clock.now()
    async with background_tasks(forget_by_time([pool], clock)):
        await clock.advance(POOLS_TURN_S * 2 + 0.5)
    assert pool.at == [began + POOLS_TURN_S, began + 2 * POOLS_TURN_S]
