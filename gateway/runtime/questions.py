"""Requests on a link that wait for their response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.link_requests import LinkAnswer, LinkRequest
from gateway.runtime.ports import Clock, Link
from gateway.runtime.spawn import spawn

MOST: Final = 48
"""Questions under way at once: a link takes 64, and commands are to find room."""
ROUND_S: Final = 5.0
"""How long whoever asks waits for the answer; it may come later, too."""

Take = Callable[[LinkAnswer | GatewayError], None]


@dataclass(slots=True, eq=False)
class _Question:
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    is_late: bool = False
    """Whether whoever asked has gone on without the answer."""


class Questions:
    """The questions of one link whose answers count whenever they come.

    Invariant: each is under way once at most; an answer is taken in the turn in which it was met, before
    anything that the link tells after it.

    Args:
        link: Where to ask.
        clock: Bounds how long an asker waits; how long the server may take, the link bounds.
        tasks: The link's life.
        late: Called after an answer was taken for which its asker has not waited.
    """

    def __init__(self, link: Link, clock: Clock, tasks: asyncio.TaskGroup, late: Callable[[], None]) -> None:
        self._link = link
        self._clock = clock
        self._tasks = tasks
        self._late = late
        self._under_way: dict[Hashable, _Question] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._under_way

    def __len__(self) -> int:
        return len(self._under_way)

    async def ask(self, key: Hashable, request: LinkRequest, take: Take) -> None:
        """Ask, unless that is under way; return when it was answered, or took long.

        Args:
            key: What is asked: the same is not asked twice at a time.
            request: What to send.
            take: Takes the answer, or why there is none, also when it comes late.
        """
        if key in self._under_way:
            return
        if len(self._under_way) >= MOST:
            take(GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "Too many questions are under way."))
            return
        question = self._under_way[key] = _Question()
        if not spawn(self._tasks, self._ask(key, request, take)):
            return
        with suppress(TimeoutError):
            async with self._clock.timeout(ROUND_S):
                await question.answered.wait()
        question.is_late = True

    async def _ask(self, key: Hashable, request: LinkRequest, take: Take) -> None:
        answer: LinkAnswer | GatewayError
        try:
            answer = await self._link.request(request)
        except GatewayError as error:
            answer = error
        question = self._under_way.pop(key)
        take(answer)
        question.answered.set()
        if question.is_late:
            self._late()
