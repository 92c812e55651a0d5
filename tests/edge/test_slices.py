"""However much one phone is sent, or exports, others have their turn: work between two turns is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import pytest

from gateway.core import view as views
from gateway.core.element import MADE_AT_ONCE
from gateway.core.view import Within
from gateway.domain.model import Scope
from gateway.domain.resources import Agent, Resource
from gateway.edge.export import export
from gateway.protocol.codec import JSON
from gateway.protocol.frames import Changes
from tests.doubles.clock import ManualClock
from tests.edge.visits import Gateway, ticket_of

MANY = 2_000


class Work:
    """What was written, between two turns of somebody else."""

    def __init__(self) -> None:
        self.done = 0
        self.most = 0
        self._seen = 0

    def look(self) -> None:
        self.most, self._seen = max(self.most, self.done - self._seen), self.done

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Have turns with everybody else while the block lasts."""

        async def turns() -> None:
            while True:
                self.look()
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            turning = tasks.create_task(turns())
            yield
            self.look()
            turning.cancel()


async def test_others_have_turns_while_a_phone_is_sent_thousands_of_values(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.node.show_queues(MANY, "queue")
    work, fragment = Work(), type(JSON).fragment

    def counted(self: object, value: Resource) -> bytes:
        work.done += 1
        return fragment(JSON, value)

    monkeypatch.setattr(type(JSON), "fragment", counted)
    async with work.watched():
        phone = await gateway.hello(gateway.token())
        told: dict[str, object] = {}
        while len(told) < MANY:
            frame = await phone.hear()
            if isinstance(frame, Changes):
                told |= frame.put
    assert work.done >= MANY
    # what is one session's own, and what is not of a kind, is made with the frames
    assert work.most <= MADE_AT_ONCE + 2


class Counting(Mapping[str, Resource]):
    """Agents that count how many of them are read."""

    def __init__(self, values: dict[str, Resource]) -> None:
        self.read = 0
        self._values = values

    def __getitem__(self, key: str) -> Resource:
        value = self._values[key]
        self.read += 1
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def test_an_export_reads_one_value_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    narrowed, within = [0], views.within

    def counted(value: Resource, scope: Scope) -> Resource:
        narrowed[0] += 1
        return within(value, scope)

    monkeypatch.setattr(views, "within", counted)
    agents = Counting({f"agent:{number}": Agent(display_name="Ann") for number in range(MANY)})
    pieces = export(ticket_of(ManualClock()), Within(agents, Scope()), address="192.0.2.1", at_ms=5)
    before = most = 0
    for _ in pieces:
        most, before = max(most, agents.read - before), agents.read
    assert narrowed[0] == agents.read >= MANY
    assert most <= 2  # the first one of a category is read with what stands before it
