"""Log-offs: retried, joined, limited, and left to another node when this one ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.bus.memory import MemoryStore
from gateway.core.rate_limits import Quota
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.runtime.accounts import Accounts
from gateway.runtime.ports import SharedStore, SiteParts
from gateway.runtime.sessions import (
    READ_STORED_S,
    REPEATS_AT_ONCE,
    REPEATS_BURST,
    RETRIES_AT_ONCE,
    RETRY_S,
    LogOffs,
    OtherNodes,
)
from gateway.telemetry import BackgroundPart, RuntimeCounters
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.tasks import during
from tests.doubles.tickets import ticket as made_ticket

ANSWER_S = 10.0


class Door:
    """The log-on door of an OSCC-E Server that is away at first, and then takes its time."""

    def __init__(self, clock: ManualClock, takes_s: float) -> None:
        self.away = True
        self.silent = False
        self.received: list[str] = []
        self.asked = 0
        self.most_at_once = 0
        self.fault: Exception | None = None
        self._at_once = 0
        self._clock = clock
        self._takes_s = takes_s

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        self.asked += 1
        if self.fault is not None and secret == "secret-0":
            raise self.fault
        if self.silent:
            await self._clock.sleep(ANSWER_S)
        if self.away:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "Nobody answers.")
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await self._clock.sleep(self._takes_s)
        self._at_once -= 1
        self.received.append(secret)
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
    """Users of whom none is served here; counts who was logged off."""

    def __init__(self) -> None:
        self.ended: list[SessionId] = []

    def logged_on(self, logged_on: LoggedOn, began_ms: int) -> None:
        """Note nothing."""

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        self.ended.append(ticket.session)


class Faults(RuntimeCounters):
    """Counts faults."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def faulted(self, part: BackgroundPart) -> None:
        self.parts.append(part)


def ticket(clock: ManualClock, number: int, site: str = "main") -> Ticket:
    return made_ticket(
        UserId(site, number),
        f"{site}-{number}",
        secret=f"secret-{number}",
        application=Application.REMOTE_ASSISTANT,
        issued_at_ms=clock.wall_ms(),
        life_ms=3_600_000,
        idle_timeout_s=300,
    )


def account_of(
    clock: ManualClock,
    doors: Mapping[str, Door],
    *,
    shared: SharedStore | None = None,
    holder: str = "h1",
    living: Collection[str] = ("h1",),
    counters: RuntimeCounters | None = None,
    users: Nobody | None = None,
) -> Accounts:
    shared = MemoryStore(clock) if shared is None else shared
    users = users or Nobody()
    sites = {name: SiteParts(FakeUpstream(clock), door) for name, door in doors.items()}
    others = OtherNodes(shared, holder, lambda: {holder, *living})
    log_offs = LogOffs(sites, clock, users, others, counters or RuntimeCounters())
    return Accounts(sites, {}, clock, users, others, log_offs, Quota(most=3, window_s=3600.0))


@asynccontextmanager
async def running(account: Accounts) -> AsyncIterator[Accounts]:
    async with during(account.log_offs.run()):
        yield account


@asynccontextmanager
async def retrying(clock: ManualClock, doors: Mapping[str, Door]) -> AsyncIterator[Accounts]:
    async with running(account_of(clock, doors)) as account:
        yield account


async def test_many_are_asked_side_by_side_but_not_all_at_once() -> None:
    clock = ManualClock()
    door = Door(clock, takes_s=1.0)
    async with retrying(clock, {"main": door}) as account:
        for number in range(3 * RETRIES_AT_ONCE):
            await account.log_off(ticket(clock, number))
        door.away = False
        await clock.advance(RETRY_S + 2.5)
        assert len(door.received) == 2 * RETRIES_AT_ONCE
        await clock.advance(1.0)
        assert len(account.log_offs) == 0
        assert sorted(door.received) == sorted(f"secret-{n}" for n in range(3 * RETRIES_AT_ONCE))
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
        assert doors["main"].received == ["secret-99"]


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
        assert door.received.count(repeated.secret) == 1
        assert len(door.received) == RETRIES_AT_ONCE + 1
        assert len(account.log_offs) == 0


# ---- faults ----


async def test_a_fault_of_one_retry_ends_nothing_and_delays_none(caplog: pytest.LogCaptureFixture) -> None:
    clock, faults = ManualClock(), Faults()
    door = Door(clock, takes_s=0.0)
    async with running(account_of(clock, {"main": door}, counters=faults)) as account:
        for number in range(2 * RETRIES_AT_ONCE):
            await account.log_off(ticket(clock, number))
        door.away, door.fault = False, ZeroDivisionError("secret-0")
        await clock.advance(RETRY_S)
        assert [each.session for each in account.log_offs.pending] == ["main-0"]
        assert faults.parts == ["log_off"]
        (record,) = [one for one in caplog.records if one.getMessage() == "log_off_retry_failed"]
        assert "gateway/runtime/sessions.py:" in vars(record)["place"]
        assert "secret-0" not in str(vars(record))
        door.fault = None
        await clock.advance(RETRY_S)
        assert len(account.log_offs) == 0


# ---- repeated ----


async def test_of_one_session_one_request_is_under_way_and_all_who_ask_get_its_answer() -> None:
    clock = ManualClock()
    door = Door(clock, takes_s=1.0)
    door.away = False
    account, shown = account_of(clock, {"main": door}), ticket(clock, 1)
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(account.log_off(shown)) for _ in range(50)]
        await clock.advance(1.0)
    assert [task.result().routing for task in asking] == ["removed"] * 50
    assert door.asked == 1


async def test_repeated_log_offs_of_a_session_ask_the_site_seldom() -> None:
    clock, users = ManualClock(), Nobody()
    door = Door(clock, takes_s=0.0)
    door.away = False
    account, shown = account_of(clock, {"main": door}, users=users), ticket(clock, 1)
    answers = [(await account.log_off(shown)).routing for _ in range(10)]
    assert (answers, door.asked, users.ended) == (["removed"] * 10, 1, [shown.session])
    clock = ManualClock()
    door = Door(clock, takes_s=0.0)
    account, shown = account_of(clock, {"main": door}), ticket(clock, 1)
    for _ in range(40):
        assert (await account.log_off(shown)).routing == "after_contact"
        await clock.advance(0.25)
    assert 10 <= door.asked <= 10 + REPEATS_BURST
    door.away = False
    await clock.advance(1.0)
    assert (await account.log_off(shown)).routing == "removed"


async def test_repeated_log_offs_leave_connections_to_first_ones() -> None:
    clock = ManualClock()
    door = Door(clock, takes_s=0.0)
    account = account_of(clock, {"main": door})
    shown = [ticket(clock, number) for number in range(4 * REPEATS_AT_ONCE)]
    for each in shown:
        await account.log_off(each)
    door.silent, before = True, door.asked
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(account.log_off(each)) for each in shown]
        await clock.settle()
        assert door.asked - before == REPEATS_AT_ONCE
        first = tasks.create_task(account.log_off(ticket(clock, 99)))
        await clock.settle()
        assert door.asked - before == REPEATS_AT_ONCE + 1
        await clock.advance(ANSWER_S)
    assert {task.result().routing for task in (*asking, first)} == {"after_contact"}


async def test_a_log_off_whose_first_asker_leaves_is_answered_to_the_others() -> None:
    clock = ManualClock()
    door = Door(clock, takes_s=0.0)
    door.silent = True
    account, shown = account_of(clock, {"main": door}), ticket(clock, 1)
    async with asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(account.log_off(shown)) for _ in range(2))
        await clock.settle()
        first.cancel()
        await clock.settle()
        assert (await second).routing == "after_contact"
    assert len(account.log_offs) == 1


# ---- other nodes ----


async def two(clock: ManualClock, door: Door, living: list[str]) -> tuple[MemoryStore, Accounts, Accounts]:
    shared = MemoryStore(clock, outlives_node=True)
    one, other = (
        account_of(clock, {"main": door}, shared=shared, holder=holder, living=living)
        for holder in ("h1", "h2")
    )
    return shared, one, other


async def test_what_a_node_that_ended_left_unconfirmed_another_retries() -> None:
    clock, living = ManualClock(), ["h1", "h2"]
    door = Door(clock, takes_s=0.0)
    shared, one, other = await two(clock, door, living)
    await one.log_off(ticket(clock, 1))
    async with running(other):
        await clock.advance(2 * READ_STORED_S)
        assert len(other.log_offs) == 0, "its node lives"
        living.remove("h1")
        await clock.advance(READ_STORED_S)
        assert [each.session for each in other.log_offs.pending] == ["main-1"]
        door.away = False
        await clock.advance(RETRY_S)
        assert (door.received, len(other.log_offs)) == (["secret-1"], 0)
        assert await shared.log_offs() == ()


async def test_what_is_kept_of_a_log_off_names_nobody_and_ends_when_it_is_confirmed() -> None:
    clock = ManualClock()
    shared, one, _ = await two(clock, Door(clock, takes_s=0.0), ["h1"])
    await one.log_off(replace(ticket(clock, 1), notices=(("a", 1),)))
    (kept,) = await shared.log_offs()
    assert (kept.ticket.display_name, kept.ticket.device, kept.ticket.notices) == ("", Device("", ""), ())
    clock, living = ManualClock(), ["h1"]
    shared, one, _ = await two(clock, Door(clock, takes_s=0.0), living)
    async with running(one):
        await one.log_off(ticket(clock, 1))
        await shared.drop_log_off(ticket(clock, 1).handle)
        await clock.advance(READ_STORED_S)
        assert len(await shared.log_offs()) == 1
    clock = ManualClock()
    door = Door(clock, takes_s=0.0)
    shared, one, _ = await two(clock, door, ["h1"])
    await one.log_off(ticket(clock, 1))
    assert len(await shared.log_offs()) == 1
    door.away = False
    await one.log_off(ticket(clock, 1))
    assert await shared.log_offs() == ()


async def test_a_node_that_ends_in_order_hands_its_log_offs_on_at_once() -> None:
    clock, living = ManualClock(), ["h1", "h2"]
    door = Door(clock, takes_s=0.0)
    shared, one, other = await two(clock, door, living)
    for number in range(3 * RETRIES_AT_ONCE):
        await one.log_off(ticket(clock, number))
    assert await one.log_offs.leave_to_others() == 0
    assert {kept.holder for kept in await shared.log_offs()} == {""}
    living.remove("h1")
    async with running(other):
        await clock.advance(READ_STORED_S)
        assert len(other.log_offs) == 3 * RETRIES_AT_ONCE


async def test_of_several_living_nodes_one_takes_each_log_off_over() -> None:
    clock, living = ManualClock(), ["h0", "h1", "h2", "h3"]
    door = Door(clock, takes_s=0.0)
    shared = MemoryStore(clock, outlives_node=True)
    accounts = [
        account_of(clock, {"main": door}, shared=shared, holder=holder, living=living) for holder in living
    ]
    for number in range(40):
        await accounts[0].log_off(ticket(clock, number))
    living.remove("h0")
    async with running(accounts[1]), running(accounts[2]), running(accounts[3]):
        await clock.advance(READ_STORED_S)
        shares = [len(account.log_offs) for account in accounts[1:]]
        assert sum(shares) == 40
        assert min(shares) > 0


async def test_without_another_node_what_is_not_confirmed_is_counted_at_the_end() -> None:
    clock = ManualClock()
    door = Door(clock, takes_s=0.0)
    account = account_of(clock, {"main": door})
    for number in range(3):
        await account.log_off(ticket(clock, number))
    assert await account.log_offs.leave_to_others() == 3
