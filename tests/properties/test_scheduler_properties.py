"""No schedule of wishes, times and faults lets a socket wait too long, come too early, or come twice.

Sockets on one pump are made ready, ask for times near and far, have each other made ready in their
turns, and fail. Beside it runs a naive account: a queue of who is ready, and a list of what was asked.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.edge.scheduler import NEVER, Scheduler
from tests.doubles.clock import ManualClock

TICK_S = 0.005
NEAR_S = 1.0
FAR_TICKS = 20
LATE_S = 0.001
"""The pump sleeps for no less, so that it may wake up so long after a tick."""
SLACK_S = 5e-6
"""What rounding may give away: the pump's, and the steps of the manual clock."""
NAMES = range(4)
NAME = st.sampled_from(NAMES)
SPANS_S = st.one_of(
    st.sampled_from([-1.0, 0.0, 0.001, 0.05, 0.051, 0.25, 0.9, 1.1, 1.5, 25.0]), st.floats(-0.1, 2.0)
)
STEPS_S = st.sampled_from([0.0, 0.001, 0.012, 0.06, 0.5, 1.0, 7.0])


@dataclass
class Asked:
    """A time that a socket is to have a turn at, because it asked for one and for no earlier one."""

    name: int
    tick: int
    order: int
    asked_at: float
    is_near: bool

    @property
    def comes_at(self) -> float:
        return max(self.tick * TICK_S, self.asked_at)

    @property
    def rank(self) -> tuple[float, int, int]:
        return self.comes_at, self.tick, self.order

    def is_coming(self, now: float) -> bool:
        """Tell whether it may have come by *now*, or may not."""
        return self.comes_at > self.asked_at and -SLACK_S < now - self.comes_at < LATE_S + SLACK_S


def is_in_time(turn: float, comes_at: float) -> bool:
    """Tell whether a turn is the one that comes at a tick."""
    return comes_at - SLACK_S <= turn <= comes_at + LATE_S + SLACK_S


class Turner:
    """A socket: notes its turns, and does in the next one what it was asked to."""

    def __init__(self, setup: Turning, name: int) -> None:
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self.name = name
        self.wakes: list[int] = []
        self.raises = False
        self.failed = 0
        self.abandoned = 0
        self._setup = setup

    def turn(self, now: float) -> None:
        self._setup.turns.append((now, self.name))
        wakes, self.wakes = self.wakes, []
        for other in wakes:
            self._setup.scheduler.ready(self._setup.turners[other])
        if self.raises:
            self.raises = False
            raise RuntimeError

    def fail(self, fault: Exception) -> None:
        self.failed += 1

    def abandon(self) -> None:
        self.abandoned += 1
        raise RuntimeError


class Turning(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.scheduler: Scheduler[Turner] = Scheduler(self.clock)
        self.turns: list[tuple[float, int]] = []
        self.turners = [Turner(self, name) for name in NAMES]
        self.asked: list[Asked] = []
        self.order = itertools.count()
        self.faults = [0] * len(NAMES)

    @initialize()
    def begin(self) -> None:
        async def born() -> asyncio.Task[None]:
            self.scheduler.sockets.update(dict.fromkeys(self.turners))
            return asyncio.create_task(self.scheduler.run())  # noqa: TID251 - lives until teardown

        self.life = self.runner.run(born())
        self.runner.run(self.clock.settle())

    # ---- what happens ----

    @rule(
        names=st.lists(NAME, min_size=1, max_size=6),
        wakes=st.dictionaries(NAME, st.lists(NAME, max_size=3)),
        bad=st.sets(NAME, max_size=1),
    )
    def make_ready(self, names: list[int], wakes: dict[int, list[int]], bad: set[int]) -> None:
        """Each has one turn, in the order of being made ready first; some make others ready in theirs."""
        queue = list(dict.fromkeys(names))
        plans = {name: list(dict.fromkeys(others)) for name, others in wakes.items() if name in queue}
        for name in queue:
            self.turners[name].wakes = plans.get(name, [])
            self.turners[name].raises = name in bad
            self.faults[name] += name in bad
        for name in names:
            self.scheduler.ready(self.turners[name])
        expected: list[tuple[float, int]] = []
        while queue:
            name = queue.pop(0)
            expected.append((self.clock.now(), name))
            queue += [other for other in plans.pop(name, []) if other not in queue]
        assert self._pass(0.0) == expected

    @rule(name=NAME, spans_s=st.lists(SPANS_S, min_size=1, max_size=4), raises=st.booleans())
    def ask(self, name: int, spans_s: list[float], raises: bool) -> None:
        """Ask for times, one after the other, before the pump does anything; some come at once."""
        now = self.clock.now()
        for when in (now + span_s for span_s in spans_s):
            self.scheduler.at(self.turners[name], when)
            self._note(name, when, now)
        self._check(self._pass(0.0))

    @rule(step_s=STEPS_S, bad=st.sets(NAME, max_size=1))
    def wait(self, step_s: float, bad: set[int]) -> None:
        """Time passes: whose has come has had a turn, and nobody had one without a reason."""
        for name in bad:
            self.turners[name].raises = True
        turns = self._pass(step_s)
        for name in bad:
            self.turners[name].raises = False
            self.faults[name] += name in {turner for _, turner in turns}
        self._check(turns)

    def _note(self, name: int, when: float, now: float) -> None:
        is_near = when - now < NEAR_S
        ticks = 1 if is_near else FAR_TICKS
        tick = math.ceil(math.ceil(when / TICK_S - 1e-6) / ticks) * ticks
        asked = Asked(name, tick, next(self.order), now, is_near)
        alike = [one for one in self.asked if (one.name, one.is_near) == (name, asked.is_near)]
        if any(one.tick <= asked.tick for one in alike):
            return
        orders = [one.order for one in self.asked if (one.name, one.tick) == (name, tick)]
        asked.order = min([asked.order, *orders])
        self.asked = [one for one in self.asked if one not in alike] + [asked]

    def _pass(self, step_s: float) -> list[tuple[float, int]]:
        """Let time pass, up to where each time has come or is to come for certain; returns the turns."""

        async def passing() -> None:
            await self.clock.advance(step_s)
            while any(one.is_coming(self.clock.now()) for one in self.asked):
                await self.clock.advance(LATE_S / 2)

        self.turns.clear()
        self.runner.run(passing())
        return list(self.turns)

    def _check(self, turns: list[tuple[float, int]]) -> None:
        """Compare turns with what was asked, and forget what has come."""
        now = self.clock.now()
        due = sorted((one for one in self.asked if one.comes_at <= now), key=lambda one: one.rank)
        owed = list(dict.fromkeys((one.comes_at, one.name) for one in due))
        assert [name for _, name in turns] == [name for _, name in owed], "each has his turn, in order"
        for (turn, _), (comes_at, _) in zip(turns, owed, strict=True):
            assert is_in_time(turn, comes_at)
        self.asked = [one for one in self.asked if one not in due]

    # ---- what always holds ----

    @invariant()
    def a_fault_is_of_one(self) -> None:
        assert not hasattr(self, "life") or not self.life.done(), "it ended all"
        assert [turner.failed for turner in self.turners] == self.faults

    @invariant()
    def the_wheel_holds_what_was_asked_and_nothing_else(self) -> None:
        wheel = self.scheduler._wheel
        assert sorted(wheel) == sorted(self.scheduler._ticks)
        names = {id(turner): turner.name for turner in self.turners}
        held = sorted((tick, names[id(served)]) for tick, waiting in wheel.items() for served in waiting)
        assert held == sorted({(one.tick, one.name) for one in self.asked})

    def teardown(self) -> None:
        try:
            if hasattr(self, "life"):
                self._check(self._pass(60.0))
                assert not self.scheduler._wheel, "all times have come"
                self.life.cancel()
                self.runner.run(self.clock.settle())
                assert [turner.abandoned for turner in self.turners] == [1] * len(NAMES)
        finally:
            self.runner.close()


TestTurning = Turning.TestCase
