"""Do links have their turns within budgets, one after the other, and is a node that falls behind known?"""

from __future__ import annotations

import asyncio
import itertools

from gateway.runtime.turns import BEHIND_S, DIGEST_S, Turns
from tests.doubles.clock import ManualClock

EACH_TURN = 8


class Ticking(ManualClock):
    """Time that passes by what is done."""

    def spend(self, seconds: float) -> None:
        self._now += seconds


class Link:
    """Digests, which takes time, and may want to again."""

    def __init__(self, name: int, clock: Ticking, log: list[int], cost_s: float = 0.0) -> None:
        self.name = name
        self.is_due = False
        self.turns: Turns | None = None
        self.fault: Exception | None = None
        self.is_aborted = False
        self.digested = asyncio.Event()
        self._clock, self._log, self._cost_s = clock, log, cost_s

    def digest(self) -> None:
        if self.fault is not None:
            raise self.fault
        self._clock.spend(self._cost_s)
        self._log.append(self.name)
        self.digested.set()
        if self.turns is not None:
            self.turns.want(self)

    def abort(self) -> None:
        self.is_aborted = True


async def test_who_wants_a_turn_several_times_has_one() -> None:
    clock, log = Ticking(), list[int]()
    turns, link = Turns(clock), Link(1, clock, log)
    turns.want(link)
    turns.want(link)
    assert log == []
    await clock.settle()
    assert log == [1]
    turns.want(link)
    await clock.settle()
    assert log == [1, 1]


async def test_a_turn_ends_with_its_budget_and_the_next_begins_where_it_ended() -> None:
    clock, log = Ticking(), list[int]()
    turns = Turns(clock)
    links = [Link(name, clock, log, cost_s=DIGEST_S / (EACH_TURN - 0.5)) for name in range(3 * EACH_TURN)]
    for link in links:
        turns.want(link)
    await asyncio.sleep(0)
    assert log == list(range(EACH_TURN))
    turns.want(links[0])
    await clock.settle()
    assert log == [*range(3 * EACH_TURN), 0]


async def test_others_run_between_two_turns_of_who_always_wants_one() -> None:
    clock, log = Ticking(), list[int]()
    turns, link = Turns(clock), Link(1, clock, log)
    link.turns = turns
    turns.want(link)
    for _ in range(10):
        await asyncio.sleep(0)
        log.append(0)
    link.turns = None
    assert 1 in log
    assert (1, 1) not in set(itertools.pairwise(log))


async def test_a_fault_ends_one_link() -> None:
    clock, log = Ticking(), list[int]()
    turns, bad, good = Turns(clock), Link(1, clock, log), Link(2, clock, log)
    bad.fault = LookupError("its own")
    turns.want(bad)
    turns.want(good)
    await clock.settle()
    assert (bad.is_aborted, good.is_aborted, log) == (True, False, [2])


async def test_a_node_is_overloaded_that_has_not_kept_up_for_long_and_no_more_once_it_does() -> None:
    clock, log = Ticking(), list[int]()
    turns = Turns(clock)
    links = [Link(name, clock, log, cost_s=DIGEST_S) for name in range(2 * EACH_TURN)]
    for link in links:
        link.turns = turns
        turns.want(link)
    seen: list[bool] = []
    while not seen or (not seen[-1] and len(seen) < 1000):
        await asyncio.sleep(0)
        seen.append(turns.is_overloaded)
    assert clock.now() - 1_000 >= BEHIND_S
    assert len(seen) > BEHIND_S / DIGEST_S / EACH_TURN / 2
    assert turns.behind_s >= BEHIND_S
    for link in links:
        link.turns = None
    await clock.settle()
    assert (turns.is_overloaded, turns.behind_s) == (False, 0.0)


async def test_after_a_turn_that_did_all_it_rests() -> None:
    clock, log = Ticking(), list[int]()
    turns, link = Turns(clock, rest_s=0.05), Link(1, clock, log)
    turns.want(link)
    await asyncio.sleep(0)
    turns.want(link)
    for _ in range(20):
        await asyncio.sleep(0)
    assert log == [1]
    link.digested.clear()
    async with asyncio.timeout(5):
        await link.digested.wait()
    assert log == [1, 1]
