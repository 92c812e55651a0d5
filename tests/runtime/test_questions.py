"""What has been asked on a link and not been answered yet?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from gateway.domain.commands import LinkAnswer, LinkRequest, QueryDirectory
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.runtime.ports import Link
from gateway.runtime.subscriptions import MOST, Questions
from tests.doubles.clock import ManualClock

ASKED = QueryDirectory()


class Desk:
    """A link on which questions lie until they are answered, and whoever asks."""

    def __init__(self, clock: ManualClock, tasks: asyncio.TaskGroup) -> None:
        self.clock = clock
        self.tasks = tasks
        self.asked: list[asyncio.Future[LinkAnswer]] = []
        self.taken: list[LinkAnswer | GatewayError] = []
        self.late = 0
        self.questions = Questions(cast("Link", self), clock, tasks, self._note_late)

    async def request(self, request: LinkRequest) -> LinkAnswer:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    def ask(self, key: object) -> asyncio.Task[None]:
        return self.tasks.create_task(self.questions.ask(key, ASKED, self.taken.append))

    def _note_late(self) -> None:
        self.late += 1


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with asyncio.TaskGroup() as tasks:
        made = Desk(ManualClock(), tasks)
        yield made
        for each in made.asked:
            if not each.done():
                each.set_result(None)


async def test_the_same_is_not_asked_twice_at_a_time() -> None:
    async with desk() as at:
        at.ask("a")
        await at.clock.settle()
        again = at.ask("a")
        await at.clock.settle()
        assert (again.done(), len(at.asked)) == (True, 1)


async def test_questions_under_way_are_bounded() -> None:
    async with desk() as at:
        for number in range(MOST + 1):
            at.ask(number)
        await at.clock.settle()
        assert len(at.asked) == len(at.questions) == MOST
        codes: list[Any] = [each.code for each in at.taken if isinstance(each, GatewayError)]
        assert codes == [ErrorCode.UPSTREAM_UNAVAILABLE]


async def test_when_the_link_is_gone_nothing_is_asked() -> None:
    clock, groups = ManualClock(), []
    async with asyncio.TaskGroup() as tasks:
        groups.append(tasks)
    at = Desk(clock, groups[0])
    await at.questions.ask("a", ASKED, at.taken.append)
    assert (at.taken, at.asked) == ([], [])
