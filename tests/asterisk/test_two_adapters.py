"""Two nodes' adapters before one Asterisk: what each knows of what the other did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_bytes

import pytest

from gateway.domain.commands import AttachSession, ChangeRemoteNumber, Executed
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Kind, SessionSecret
from gateway.domain.upstream import Attached, SessionEnded, Source
from gateway.upstream.asterisk.people import number_of
from gateway.upstream.asterisk.server import AsteriskServer
from tests.asterisk.site import NUMBER, Place, place
from tests.contracts.upstream_sites import hearing

ANA = number_of("person", "ana")
OTHER = "+498912345678"
REMOTE = "Local/ana@oscc-remote/n"


@asynccontextmanager
async def two(*, idle_s: int = 900) -> AsyncIterator[tuple[Place, Place]]:
    """Yield two places with the same Asterisk: *here* and *there*."""
    async with place(is_alone=False, idle_s=idle_s) as here:
        made = type(here.server)(
            "main", here.server.settings, here.clock, jitter=lambda: 0.0, draw=token_bytes
        )
        async with made as server:
            assert await server.reached()
            yield here, Place(here.fake, server, here.clock, here.people)


async def test_a_number_that_was_changed_there_is_known_here_when_the_link_moves() -> None:
    async with asyncio.timeout(30), two() as (here, there):
        session = await here.assistant()
        await there.server.accounts.read()
        async with here.linked(session) as ear:
            assert await ear.command(ChangeRemoteNumber(OTHER)) == Executed("applied")
        async with there.linked(session) as ear:
            assert ear.shown(Kind.AGENT, Source.REALTIME)[ANA].remote_number == OTHER
            # what was in effect before is another number now: it must be written again
            assert await ear.command(ChangeRemoteNumber(NUMBER)) == Executed("applied")
        assert here.fake.rings_at("ana") == NUMBER


async def test_a_session_that_was_opened_there_joins_the_link_that_is_here() -> None:
    async with asyncio.timeout(30), two() as (here, there):
        session = await here.assistant("one")
        async with here.linked(session) as ear:
            later = await there.assistant("one")
            joined = await ear.link.request(AttachSession(later.secret))
            assert isinstance(joined, Attached)
            assert joined.session == later.session


async def test_two_log_ons_of_one_remote_assistant_end_with_one() -> None:
    async with asyncio.timeout(30), two() as (here, there):
        first = await here.assistant("one")
        line = here.fake.db["oscc-session"].copy()
        # the other node looked before the first was written: AstDB has no compare-and-set
        del here.fake.db["oscc-session"]
        second = await there.assistant("two")
        here.fake.db["oscc-session"] |= line
        async with here.linked(first) as ear:
            await here.server.accounts.read()
            ended = await ear.heard.first(SessionEnded)
            assert ended.reason is EndReason.TAKEN_OVER
        await there.server.accounts.read()
        assert [one.session for one in await there.server.sessions(second.secret)] == [second.session]
        assert here.fake.rings_at("ana") == NUMBER
        assert REMOTE in here.fake.queues["sales"].members
        assert len(here.fake.db["oscc-session"]) == 1
        with pytest.raises(GatewayError) as over:
            await here.server.keep_alive(first.secret)
        assert over.value.code is ErrorCode.SESSION_ENDED


async def keep_alive_unknown(server: AsteriskServer, number: int) -> ErrorCode | None:
    try:
        await server.keep_alive(SessionSecret(f"unknown-{number}"))
    except GatewayError as error:
        return error.code
    return None


async def test_many_unknown_secrets_at_a_time_cause_two_readings_at_most() -> None:
    async with asyncio.timeout(30), two() as (here, there):
        session = await here.boss()
        await there.server.accounts.read()
        here.fake.heard.clear()
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(keep_alive_unknown(there.server, number)) for number in range(20)]
        assert [one.result() for one in asked] == [ErrorCode.SESSION_ENDED] * 20
        assert 1 <= readings(here) <= 2
        assert await there.server.keep_alive(session.secret) > here.clock.wall_ms()


async def test_a_session_that_was_opened_while_others_are_looked_for_is_found() -> None:
    async with asyncio.timeout(30), two() as (here, there), asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(keep_alive_unknown(there.server, number))
        session = await here.boss()
        assert await there.server.keep_alive(session.secret) > here.clock.wall_ms()


def readings(at: Place) -> int:
    """Return how often the sessions were read from AstDB."""
    return sum(one.get("Family") == "oscc-session" for one in at.fake.heard if one["Action"] == "DBGetTree")


async def test_only_the_node_with_the_link_counts_the_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.asterisk.accounts.TEND_S", 0.01)
    monkeypatch.setattr("gateway.upstream.asterisk.accounts.MOVED_ON_S", 0.02)
    async with asyncio.timeout(30), two(idle_s=0) as (here, there):
        session = await here.assistant()
        await there.server.accounts.read()
        link = await there.server.open(session.user.id, session.secret, token=1, holder="a")
        async with hearing(link) as heard:
            await heard.first(SessionEnded)  # no device came; here nobody counted
        assert here.fake.rings_at("ana") is None
        again = await here.assistant()
        here.fake.heard.clear()
        while readings(here) < 8:  # both nodes look again and again
            await here.clock.sleep(0.01)
        assert len(await there.server.sessions(again.secret)) == 1
        assert here.fake.rings_at("ana") == NUMBER
