"""How are many log-offs retried, and does one site's silence delay another's?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from gateway.bus.memory_roll import MemoryShelf
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.runtime.account import RETRIES_AT_ONCE, RETRY_S, Account
from tests.doubles.clock import ManualClock

ANSWER_S = 10.0


class Door:
    """The log-on door of an OSCC-E Server that is away at first, and then takes its time."""

    def __init__(self, clock: ManualClock, takes_s: float) -> None:
        self.authority = self
        self.away = True
        self.silent = False
        self.heard: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._clock = clock
        self._takes_s = takes_s

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        if self.silent:
            await self._clock.sleep(ANSWER_S)
        if self.away:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "Nobody answers.")
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await self._clock.sleep(self._takes_s)
        self._at_once -= 1
        self.heard.append(secret)
        return LoggedOff("removed", None)

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        raise NotImplementedError

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        raise NotImplementedError

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        raise NotImplementedError

    async def keep_alive(self, secret: SessionSecret) -> int:
        raise NotImplementedError


class Nobody:
    """Users of whom none is served here."""

    def logged_on(self, logged_on: LoggedOn, began_ms: int) -> None:
        """Note nothing."""

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        """Note nothing."""


def ticket(clock: ManualClock, number: int, site: str = "main") -> Ticket:
    return Ticket(
        user=UserId(site, number),
        display_name="Bert",
        application=Application.REMOTE_ASSISTANT,
        secret=SessionSecret(f"secret-{number}"),
        session=SessionId(f"{site}-{number}"),
        device=Device("d1", "Phone"),
        notices=(),
        issued_at_ms=clock.wall_ms(),
        expires_at_ms=clock.wall_ms() + 3_600_000,
        idle_timeout_s=300,
    )


@asynccontextmanager
async def retrying(clock: ManualClock, doors: Mapping[str, Door]) -> AsyncIterator[Account]:
    account = Account(doors, {}, clock, Nobody(), MemoryShelf(clock))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(account.run())
        yield account
        running.cancel()


async def test_many_are_heard_side_by_side_but_not_all_at_once() -> None:
    clock = ManualClock()
    door = Door(clock, takes_s=1.0)
    async with retrying(clock, {"main": door}) as account:
        for number in range(3 * RETRIES_AT_ONCE):
            await account.log_off(ticket(clock, number))
        door.away = False
        await clock.advance(RETRY_S + 2.5)
        assert len(door.heard) == 2 * RETRIES_AT_ONCE
        await clock.advance(1.0)
        assert account.log_offs_pending == 0
        assert sorted(door.heard) == sorted(f"secret-{n}" for n in range(3 * RETRIES_AT_ONCE))
        assert door.most_at_once == RETRIES_AT_ONCE


async def test_a_silent_site_delays_no_other() -> None:
    clock = ManualClock()
    doors = {"silent": Door(clock, takes_s=0.0), "main": Door(clock, takes_s=0.0)}
    async with retrying(clock, doors) as account:
        for number in range(2 * RETRIES_AT_ONCE):
            await account.log_off(ticket(clock, number, "silent"))
        doors["silent"].silent = True
        await account.log_off(ticket(clock, 99))
        await clock.advance(RETRY_S)
        doors["main"].away = False
        await clock.advance(RETRY_S)
        assert doors["main"].heard == ["secret-99"]


async def test_what_the_phone_had_confirmed_meanwhile_is_asked_no_more() -> None:
    clock = ManualClock()
    door = Door(clock, takes_s=0.0)
    async with retrying(clock, {"main": door}) as account:
        for number in range(RETRIES_AT_ONCE + 1):
            await account.log_off(ticket(clock, number))
        door.silent = True
        await clock.advance(RETRY_S + ANSWER_S / 2)
        door.away = door.silent = False
        repeated = ticket(clock, RETRIES_AT_ONCE)
        assert (await account.log_off(repeated)).routing == "removed"
        await clock.advance(3 * RETRY_S)
        assert door.heard.count(repeated.secret) == 1
        assert len(door.heard) == RETRIES_AT_ONCE + 1
        assert account.log_offs_pending == 0
