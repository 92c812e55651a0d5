"""Log-offs: retried, joined, limited, and left to another node when this one ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.bus.memory import MemoryStore
from gateway.core.rate_limits import Quota
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import LoggedOff, LoggedOn
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


class SlowServer(FakeUpstream):
    """An OSCC-E Server that is away for log-offs at first, and then takes its time."""

    clock: ManualClock

    def __init__(self, clock: ManualClock | None = None, *, site: str = "main", takes_s: float = 0.0) -> None:
        super().__init__(clock or ManualClock(), site=site)
        self.away = True
        self.silent = False
        self.received: list[str] = []
        self.asked = 0
        self.most_at_once = 0
        self.fault: Exception | None = None
        self._at_once = 0
        self._takes_s = takes_s

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        self.asked += 1
        if self.fault is not None and secret == "secret-0":
            raise self.fault
        if self.silent:
            await self.clock.sleep(ANSWER_S)
        if self.away:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "Nobody answers.")
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await self.clock.sleep(self._takes_s)
        self._at_once -= 1
        self.received.append(secret)
        return LoggedOff("removed", None)

    def ticket(self, number: int) -> Ticket:
        return made_ticket(
            UserId(self.site, number),
            f"{self.site}-{number}",
            secret=f"secret-{number}",
            application=Application.REMOTE_ASSISTANT,
            issued_at_ms=self.clock.wall_ms(),
            life_ms=3_600_000,
            idle_timeout_s=300,
        )


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


def account_of(
    *servers: SlowServer,
    shared: SharedStore | None = None,
    holder: str = "h1",
    living: Collection[str] = ("h1",),
    counters: RuntimeCounters | None = None,
    users: Nobody | None = None,
) -> Accounts:
    clock, users = servers[0].clock, users or Nobody()
    sites = {server.site: SiteParts(server, server) for server in servers}
    shared = MemoryStore(clock) if shared is None else shared
    others = OtherNodes(shared, holder, lambda: {holder, *living})
    log_offs = LogOffs(sites, clock, users, others, counters or RuntimeCounters())
    return Accounts(sites, {}, clock, users, others, log_offs, Quota(most=3, window_s=3600.0))


@asynccontextmanager
async def running(account: Accounts) -> AsyncIterator[Accounts]:
    async with during(account.log_offs.run()):
        yield account


async def log_off(account: Accounts, server: SlowServer, numbers: Iterable[int]) -> None:
    for number in numbers:
        await account.log_off(server.ticket(number))


async def test_many_are_asked_side_by_side_but_not_all_at_once() -> None:
    server, numbers = SlowServer(takes_s=1.0), range(3 * RETRIES_AT_ONCE)
    async with running(account_of(server)) as account:
        await log_off(account, server, numbers)
        server.away = False
        await server.clock.advance(RETRY_S + 2.5)
        assert len(server.received) == 2 * RETRIES_AT_ONCE
        await server.clock.advance(1.0)
        assert len(account.log_offs) == 0
        assert sorted(server.received) == sorted(f"secret-{number}" for number in numbers)
        assert server.most_at_once == RETRIES_AT_ONCE


async def test_a_silent_site_delays_no_other() -> None:
    server = SlowServer()
    silent = SlowServer(server.clock, site="silent")
    async with running(account_of(server, silent)) as account:
        await log_off(account, silent, range(2 * RETRIES_AT_ONCE))
        silent.silent = True
        await log_off(account, server, [99])
        await server.clock.advance(RETRY_S)
        server.away = False
        await server.clock.advance(RETRY_S)
        assert server.received == ["secret-99"]


async def test_what_the_phone_had_confirmed_meanwhile_is_asked_no_more() -> None:
    server = SlowServer()
    async with running(account_of(server)) as account:
        await log_off(account, server, range(RETRIES_AT_ONCE + 1))
        server.silent = True
        await server.clock.advance(RETRY_S + ANSWER_S / 2)
        server.away = server.silent = False
        repeated = server.ticket(RETRIES_AT_ONCE)
        assert (await account.log_off(repeated)).routing == "removed"
        await server.clock.advance(3 * RETRY_S)
        assert server.received.count(repeated.secret) == 1
        assert len(server.received) == RETRIES_AT_ONCE + 1
        assert len(account.log_offs) == 0


# ---- faults ----


async def test_a_fault_of_one_retry_ends_nothing_and_delays_none(caplog: pytest.LogCaptureFixture) -> None:
    server, faults = SlowServer(), Faults()
    async with running(account_of(server, counters=faults)) as account:
        await log_off(account, server, range(2 * RETRIES_AT_ONCE))
        server.away, server.fault = False, ZeroDivisionError("secret-0")
        await server.clock.advance(RETRY_S)
        assert [each.session for each in account.log_offs.pending] == ["main-0"]
        assert faults.parts == ["log_off"]
        (record,) = [one for one in caplog.records if one.getMessage() == "log_off_retry_failed"]
        assert "gateway/runtime/sessions.py:" in vars(record)["place"]
        assert "secret-0" not in str(vars(record))
        server.fault = None
        await server.clock.advance(RETRY_S)
        assert len(account.log_offs) == 0


# ---- repeated ----


async def test_of_one_session_one_request_is_under_way_and_all_who_ask_get_its_answer() -> None:
    server = SlowServer(takes_s=1.0)
    server.away = False
    account, shown = account_of(server), server.ticket(1)
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(account.log_off(shown)) for _ in range(50)]
        await server.clock.advance(1.0)
    assert [task.result().routing for task in asking] == ["removed"] * 50
    assert server.asked == 1


async def test_repeated_log_offs_of_a_session_ask_the_site_seldom() -> None:
    server, users = SlowServer(), Nobody()
    server.away = False
    account, shown = account_of(server, users=users), server.ticket(1)
    answers = [(await account.log_off(shown)).routing for _ in range(10)]
    assert (answers, server.asked, users.ended) == (["removed"] * 10, 1, [shown.session])
    server = SlowServer()
    account = account_of(server)
    for _ in range(40):
        assert (await account.log_off(shown)).routing == "after_contact"
        await server.clock.advance(0.25)
    assert 10 <= server.asked <= 10 + REPEATS_BURST
    server.away = False
    await server.clock.advance(1.0)
    assert (await account.log_off(shown)).routing == "removed"


async def test_repeated_log_offs_leave_connections_to_first_ones() -> None:
    server, numbers = SlowServer(), range(4 * REPEATS_AT_ONCE)
    account = account_of(server)
    await log_off(account, server, numbers)
    server.silent, before = True, server.asked
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(account.log_off(server.ticket(number))) for number in numbers]
        await server.clock.settle()
        assert server.asked - before == REPEATS_AT_ONCE
        first = tasks.create_task(account.log_off(server.ticket(99)))
        await server.clock.settle()
        assert server.asked - before == REPEATS_AT_ONCE + 1
        await server.clock.advance(ANSWER_S)
    assert {task.result().routing for task in (*asking, first)} == {"after_contact"}


async def test_a_log_off_whose_askers_leave_is_answered_to_the_others() -> None:
    server = SlowServer()
    server.silent = True
    account, shown = account_of(server), server.ticket(1)
    async with asyncio.TaskGroup() as tasks:
        first, second, third = (tasks.create_task(account.log_off(shown)) for _ in range(3))
        await server.clock.settle()
        first.cancel()
        third.cancel()
        await server.clock.settle()
        assert (await second).routing == "after_contact"
    assert len(account.log_offs) == 1


# ---- other nodes ----


class Nodes:
    """The accounts of several nodes, by their holders, with one store and one server."""

    def __init__(self, *holders: str) -> None:
        self.server = SlowServer()
        self.clock = self.server.clock
        self.living = list(holders)
        self.shared = MemoryStore(self.clock, outlives_node=True)
        self.accounts = [
            account_of(self.server, shared=self.shared, holder=holder, living=self.living)
            for holder in holders
        ]


async def test_what_a_node_that_ended_left_unconfirmed_another_retries() -> None:
    at = Nodes("h1", "h2")
    one, other = at.accounts
    await log_off(one, at.server, [1])
    async with running(other):
        await at.clock.advance(2 * READ_STORED_S)
        assert len(other.log_offs) == 0, "its node lives"
        at.living.remove("h1")
        await at.clock.advance(READ_STORED_S)
        assert [each.session for each in other.log_offs.pending] == ["main-1"]
        at.server.away = False
        await at.clock.advance(RETRY_S)
        assert (at.server.received, len(other.log_offs)) == (["secret-1"], 0)
        assert await at.shared.log_offs() == ()


async def test_what_is_kept_of_a_log_off_names_nobody_and_ends_when_it_is_confirmed() -> None:
    at = Nodes("h1")
    (one,), shown = at.accounts, at.server.ticket(1)
    await one.log_off(replace(shown, notices=(("a", 1),)))
    (kept,) = await at.shared.log_offs()
    assert (kept.ticket.display_name, kept.ticket.device, kept.ticket.notices) == ("", Device("", ""), ())
    async with running(one):
        await at.shared.drop_log_off(shown.handle)
        await at.clock.advance(READ_STORED_S)
        assert len(await at.shared.log_offs()) == 1
    at.server.away = False
    await one.log_off(shown)
    assert await at.shared.log_offs() == ()


async def test_a_node_that_ends_in_order_hands_its_log_offs_on_at_once() -> None:
    at = Nodes("h1", "h2")
    one, other = at.accounts
    await log_off(one, at.server, range(3 * RETRIES_AT_ONCE))
    assert await one.log_offs.leave_to_others() == 0
    assert {kept.holder for kept in await at.shared.log_offs()} == {""}
    at.living.remove("h1")
    async with running(other):
        await at.clock.advance(READ_STORED_S)
        assert len(other.log_offs) == 3 * RETRIES_AT_ONCE


async def test_of_several_living_nodes_one_takes_each_log_off_over() -> None:
    at = Nodes("h0", "h1", "h2", "h3")
    first, *others = at.accounts
    await log_off(first, at.server, range(40))
    at.living.remove("h0")
    async with running(others[0]), running(others[1]), running(others[2]):
        await at.clock.advance(READ_STORED_S)
        shares = [len(account.log_offs) for account in others]
        assert sum(shares) == 40
        assert min(shares) > 0


async def test_without_another_node_what_is_not_confirmed_is_counted_at_the_end() -> None:
    server = SlowServer()
    account = account_of(server)
    await log_off(account, server, range(3))
    assert await account.log_offs.leave_to_others() == 3
