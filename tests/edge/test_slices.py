"""However much one phone is sent, or exports, others have their turn: work between two turns is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from gateway.core import view as views
from gateway.core.element import Element
from gateway.core.fanout_group import MADE_AT_ONCE as FORMS_AT_ONCE
from gateway.core.ledger import Ledger
from gateway.core.view import NarrowedValues
from gateway.domain.model import NodeId, Scope, UserId
from gateway.domain.resources import Agent, Resource
from gateway.edge.export import LOOKED_AT_ONCE, MADE_AT_ONCE, PAGE, NodeHoldings, export
from gateway.protocol import codec
from gateway.protocol.codec import JSON
from gateway.protocol.envelopes import Order
from gateway.protocol.frames import Changes
from gateway.runtime.node import Node
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during
from tests.edge.visits import Gateway, ticket_of
from tests.runtime.scene import scene, user

MANY = 2_000
HOLDERS = PAGE + 2 * LOOKED_AT_ONCE


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

        async with during(turns()):
            yield
            self.look()


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
        received: dict[str, object] = {}
        while len(received) < MANY:
            frame = await phone.hear()
            if isinstance(frame, Changes):
                received |= frame.put
    assert work.done >= MANY
    # what is one session's own, and what is not of a kind, is made with the frames
    assert work.most <= FORMS_AT_ONCE + 2


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
    pieces = export(ticket_of(ManualClock()), NarrowedValues(agents, Scope()), address="192.0.2.1", at_ms=5)
    before = most = 0
    for _ in pieces:
        most, before = max(most, agents.read - before), agents.read
    assert narrowed[0] == agents.read >= MANY
    assert most <= 2  # the first one of a category is read with what stands before it


class Watched(Ledger):
    """A ledger that counts how often it is looked at, with all others of the test."""

    looks: ClassVar[Work]

    def get(self, key: str) -> Element | None:
        self.looks.done += 1
        return super().get(key)


async def test_others_have_turns_while_a_node_looks_for_what_it_holds_about_somebody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, made, plain_fields = Work(), Work(), codec.plain_fields
    monkeypatch.setattr(Watched, "looks", looks, raising=False)

    def counted(value: Resource) -> dict[str, Any]:
        made.done += 1
        return plain_fields(value)

    async with scene() as at:
        phone = await at.served()
        states: dict[UserId, object] = {}
        for number in range(HOLDERS):
            other = Watched()
            other.record("agent:7", Element(Agent(display_name=f"Bert {number}")))
            states[user(100 + number)] = SimpleNamespace(feed=SimpleNamespace(ledger=other))
        node = Proxy(at.node, {**at.node.user_states, **states})
        holdings = NodeHoldings(cast(Node, node), str, lambda _: [])
        monkeypatch.setattr(codec, "plain_fields", counted)
        looks.done = 0
        async with looks.watched(), made.watched():
            page = await holdings.export(Order(NodeId("n"), 1, "export", "main:7", "", PAGE))
        phone.leave()
    assert page.more
    assert len(page.records) == PAGE
    assert looks.done >= HOLDERS
    assert looks.most <= LOOKED_AT_ONCE
    assert made.done == PAGE
    assert made.most <= MADE_AT_ONCE


class Proxy:
    """A node with more users."""

    def __init__(self, node: Node, user_states: Mapping[UserId, object]) -> None:
        self._node = node
        self.user_states = user_states

    def __getattr__(self, name: str) -> object:
        return getattr(self._node, name)
