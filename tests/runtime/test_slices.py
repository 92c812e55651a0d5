"""A link brings 1,000 agents, and others have turns meanwhile: work is counted, not timed."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core import view as views
from gateway.core.element import Composer, Element
from gateway.domain.model import Scope
from gateway.domain.resources import Agent, Resource
from gateway.runtime.mirror import COMPOSED_AT_ONCE
from gateway.upstream.oscce.directory import ROWS_AT_ONCE
from gateway.upstream.oscce.messages import READ_AT_ONCE
from gateway.upstream.oscce.readings import Readings
from tests.runtime.scene import scene
from tests.runtime.test_forgotten import GIVE_UP_S, simulated, until

AGENTS = 1_000


async def test_what_a_session_sees_is_narrowed_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    narrowed, within = 0, views.within

    def counted(value: Resource, scope: Scope) -> Resource:
        nonlocal narrowed
        narrowed += 1
        return within(value, scope)

    async with scene() as at:
        phone = await at.served()
        monkeypatch.setattr(views, "within", counted)
        seen = at.node.seen_by(phone.ticket)
        assert {"agent:7", "agent:8", "queue:5"} <= set(seen)
        assert narrowed == 0
        assert isinstance(seen["agent:7"], Agent)
        assert narrowed == 1


class Work:
    """How much was read and composed, in all and at most in one turn of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.rows = self.composed = self.most_read = self.most_rows = self.most_composed = 0
        parts_of, part_of, element_of = Readings.parts, Readings.part, Composer.element

        def counted_parts(pool: Readings, *args: object) -> object:
            found = parts_of(pool, *args)  # type: ignore[arg-type] # as it was called
            self.read += len(found)
            return found

        def counted_part(pool: Readings, *args: object) -> object:
            self.rows += 1
            return part_of(pool, *args)  # type: ignore[arg-type] # as it was called

        def counted_element(composer: Composer, *args: object) -> Element:
            self.composed += 1
            return element_of(composer, *args)  # type: ignore[arg-type] # as it was called

        monkeypatch.setattr(Readings, "parts", counted_parts)
        monkeypatch.setattr(Readings, "part", counted_part)
        monkeypatch.setattr(Composer, "element", counted_element)

    async def watch(self) -> None:
        """Have turns with everybody else, for ever."""
        while True:
            read, rows, composed = self.read, self.rows, self.composed
            await asyncio.sleep(0)
            self.most_read = max(self.most_read, self.read - read)
            self.most_rows = max(self.most_rows, self.rows - rows)
            self.most_composed = max(self.most_composed, self.composed - composed)


async def test_others_have_turns_while_a_link_brings_thousands_of_agents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Work(monkeypatch)
    async with simulated(AGENTS) as (at, _):
        phone = await at.phone("supervisor1")
        watching = at.tasks.create_task(work.watch())
        phone.hello()
        assert await until(lambda: phone.of_kind("changes") and len(phone.shown) >= AGENTS, GIVE_UP_S)
        watching.cancel()
        phone.leave()
        at.lines.clear()
    assert min(work.read, work.rows, work.composed) >= AGENTS
    # a message of less than 64 KiB is read at once
    assert work.most_read <= 4 * READ_AT_ONCE
    assert work.most_rows <= 4 * ROWS_AT_ONCE
    # and what changed while the others were composed is composed when it is shown
    assert work.most_composed <= 4 * COMPOSED_AT_ONCE
