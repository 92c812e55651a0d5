"""Balancing: which phones an overloaded node sends away, how many, and when none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.app.wiring import WINDOW_S, PhoneBalancer
from gateway.core.due_times import SETTLED_S
from gateway.core.session import State
from gateway.domain.errors import CloseCode
from gateway.domain.model import NodeId
from gateway.edge.socket import PhoneSocket
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.cluster import ClusterMembership
from gateway.telemetry import Telemetry
from tests.doubles.clock import ManualClock


class Phone:
    """A connection, as far as it is asked."""

    def __init__(self, street: Street) -> None:
        self.session = SimpleNamespace(live=SimpleNamespace(commands_in_flight=0), state=State.LIVE)
        self.closed: tuple[CloseCode, str, tuple[float, float] | None] | None = None
        self._street = street
        self.is_slow = False
        """Whether it takes long to read its bye."""

    def close(self, code: CloseCode, reason: str, *, window_s: tuple[float, float] | None = None) -> None:
        assert self.closed is None, "it has its bye already"
        self.closed = (code, reason, window_s)
        self.session.state = State.CLOSING
        if not self.is_slow:
            self.leave()

    def leave(self) -> None:
        self._street.phones.pop(self, None)


class Street:
    """A node with phones, and what it knows of another one."""

    def __init__(self, phones: int) -> None:
        self.clock = ManualClock()
        self.phones: dict[Phone, None] = {}
        self.all = [Phone(self) for _ in range(phones)]
        self.phones.update(dict.fromkeys(self.all))
        self.other = NodeRecord(NodeId("b"), "other", "1", 0, 0, draining=False, accepts_per_s=9.0)
        self.is_steady = True
        self.telemetry = Telemetry()
        self.balancer = PhoneBalancer(
            cast("ClusterMembership", self),
            lambda: self.is_steady,
            cast("dict[PhoneSocket, None]", self.phones).keys(),
            20.0,
            self.clock,
            lambda _: None,
            self.telemetry,
        )

    @property
    def nodes(self) -> tuple[NodeRecord, ...]:
        return (self.other,)

    @property
    def others(self) -> tuple[NodeRecord, ...]:
        return () if self.other.draining else (self.other,)

    async def live(self, seconds: float) -> None:
        """Let time pass; phones that were sent on come back at the other node."""
        for _ in range(int(seconds)):
            slow = [phone for phone in self.phones if phone.closed is not None]
            await self.clock.advance(1.0)
            if self.clock.now() % 5 == 0:
                for phone in slow:
                    phone.leave()
            self.other = self.other._replace(connections=len(self.all) - len(self.phones))

    def sent_on(self) -> list[Phone]:
        return [phone for phone in self.all if phone.closed is not None]


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    made = Street(100)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.balancer.run())
        await made.clock.settle()
        yield made
        running.cancel()


async def test_phones_are_sent_on_until_there_are_a_fifth_more_than_the_mean(street: Street) -> None:
    await street.live(SETTLED_S - 5)
    assert street.sent_on() == []
    await street.live(120)
    assert len(street.phones) == 60
    assert {phone.closed for phone in street.sent_on()} == {(CloseCode.REBALANCE, "balancing", WINDOW_S)}
    sample = street.telemetry.registry.get_sample_value
    assert sample("oscc_gateway_phones_sent_on_total") == 40
    await street.live(600)
    assert len(street.phones) == 60


async def test_who_waits_for_a_result_or_has_sent_no_hello_stays(street: Street) -> None:
    for phone in street.all[:30]:
        phone.session.live.commands_in_flight = 1
    for phone in street.all[30:50]:
        phone.session.live = None
    await street.live(300)
    assert len(street.phones) == 60
    assert all(phone in street.phones for phone in street.all[:50])


async def test_nothing_is_sent_on_while_a_node_leaves_or_the_bus_is_away(street: Street) -> None:
    street.other = street.other._replace(draining=True)
    await street.live(200)
    street.other = street.other._replace(draining=False)
    street.is_steady = False
    await street.live(200)
    assert street.sent_on() == []
    street.is_steady = True
    await street.live(SETTLED_S - 5)
    assert street.sent_on() == []
    await street.live(120)
    assert len(street.sent_on()) == 40


async def test_a_phone_that_reads_its_bye_late_gets_no_second(street: Street) -> None:
    for phone in street.all:
        phone.is_slow = True
    await street.live(SETTLED_S + 120)
    assert len(street.phones) == 60
    sample = street.telemetry.registry.get_sample_value
    assert sample("oscc_gateway_phones_sent_on_total") == len(street.sent_on())
