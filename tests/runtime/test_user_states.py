"""Which users are on this node?"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.core.compose import Composer
from gateway.domain.model import Kind, UserId
from gateway.domain.resources import Queue
from gateway.domain.upstream import Part, Source
from gateway.runtime.user_state import SLICE_S, UserState, UserStates
from tests.doubles.clock import ManualClock
from tests.runtime.scene import scene, user
from tests.runtime.street import street


async def test_a_household_that_is_over_takes_no_phones_and_the_next_begins_after_it() -> None:
    async with street(1) as at:
        phone = await at.scenes[0].served()
        homes, before = at.scenes[0].node._user_states, at.home(0)
        link = at.link()
        close = link.close

        async def close_slowly() -> None:
            await at.clock.sleep(1)
            await close()

        link.close = close_slowly  # type: ignore[method-assign]  # a server that takes its time
        before.stop()
        assert homes.served(user(1)) is None
        assert homes.get(user(1)) is before
        back = await at.scenes[0].again(phone)
        await at.pass_time(0.5)
        assert len(at.openings) == 1
        await at.pass_time(1.5)
        assert at.home(0) is not before
        assert before.over.is_set()
        assert back.of_kind("welcome")
        assert [one.instead_of for one in at.openings] == [None, None], "link and lease were given up before"
        assert at.openings[1].token > at.openings[0].token


async def test_what_is_known_of_commands_is_forgotten_in_time() -> None:
    async with scene() as at:
        phone = await at.served()
        phone.command("1", "1")
        await at.clock.settle()
        phone.bye()
        await at.pass_time(95)
        assert len(at.node._user_states.command_history) == 1
        await at.pass_time(600)
        assert len(at.node._user_states.command_history) == 0


async def test_a_fault_over_what_is_due_for_one_user_keeps_no_other_from_what_is_due_for_him(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene() as at:
        await at.served("anna")
        await at.served("bert")

        def fail(now: float) -> object:
            raise ZeroDivisionError

        ticked: list[float] = []
        anna, bert = at.node._user_states
        monkeypatch.setattr(anna, "tick", fail)
        monkeypatch.setattr(bert, "tick", ticked.append)
        for _ in range(2):
            bert.due.touch()
            await at.pass_time(1)
        assert len(ticked) == 2
        here = [record for record in caplog.records if record.name == "gateway.runtime.user_state"]
        assert {record.getMessage() for record in here} == {"user_tick_failed"}


class Worked(ManualClock):
    """A clock on which work takes time, and which counts how often others had a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.worked_s = 0.0
        self.turns: list[float] = []

    def now(self) -> float:
        return super().now() + self.worked_s

    async def sleep(self, seconds: float) -> None:
        assert seconds == 0
        self.turns.append(self.worked_s)


async def test_what_is_due_for_thousands_of_users_is_done_in_slices_of_two_milliseconds() -> None:
    clock, homes, ticked = Worked(), UserStates(Composer()), list[int]()

    def home(user: UserId) -> UserState:
        def tick(_: float) -> None:
            ticked.append(user.key)
            clock.worked_s += 0.0001

        due = homes._due_times.add(user)
        return cast("UserState", SimpleNamespace(tick=tick, due=due, due_at=lambda now: now + 60))

    users = [UserId("main", number) for number in range(3_000)]
    homes._user_states.update({each: home(each) for each in users})
    await homes.tick(clock)
    assert ticked == list(range(3_000))
    slices = [after - before for before, after in pairwise([0.0, *clock.turns])]
    assert len(slices) > 100
    assert max(slices) <= SLICE_S + 0.0002
    await homes.tick(clock)
    assert len(ticked) == 3_000, "nothing is due for anybody"


async def test_nothing_is_done_for_an_idle_user_until_something_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene() as at:
        await at.served("anna")
        await at.served("bert")
        await at.pass_time(10)
        ticked: list[float] = []
        (anna, _) = at.node._user_states
        tick = anna.tick

        def count(now: float) -> None:
            ticked.append(now)
            tick(now)

        monkeypatch.setattr(anna, "tick", count)
        await at.pass_time(60)
        # the lease is renewed every 4 to 5 s, and the link shows a sign of life every 10 s
        assert 12 <= len(ticked) <= 24
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=9)))
        await at.pass_time(1)
        assert ticked[-1] > at.clock.now() - 2, "after news the user is looked at in the next tick"


@pytest.mark.parametrize("seconds", [0.0, 40.0])
async def test_a_followed_user_costs_nothing_until_something_is_due(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with street() as at:
        await at.scenes[0].served()
        await at.scenes[1].served(device="d2")
        await at.pass_time(10 + seconds)
        ticked: list[float] = []
        home = next(at.home(n) for n in (0, 1) if at.home(n).follower is not None)
        monkeypatch.setattr(home, "tick", ticked.append)
        await at.pass_time(30)
        assert len(ticked) <= 10
