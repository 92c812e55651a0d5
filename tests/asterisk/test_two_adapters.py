"""Two nodes' adapters before one Asterisk: what each knows of what the other did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_bytes

import pytest

from gateway.domain.commands import ChangeRemoteNumber, Executed
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Kind
from gateway.domain.upstream import SessionEnded, Source
from gateway.upstream.asterisk.keys import number_of
from tests.asterisk.site import NUMBER, Place, place

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


async def test_only_the_node_with_the_link_counts_the_idle_time() -> None:
    async with asyncio.timeout(30), two(idle_s=1) as (here, there):
        session = await here.assistant()
        await there.server.accounts.read()
        async with there.linked(session) as ear:
            await ear.heard.first(SessionEnded)  # no device came; here nobody counted
        assert here.fake.rings_at("ana") is None
        again = await here.assistant()
        await there.server.accounts.read()
        await asyncio.sleep(1.2)
        assert len(await there.server.sessions(again.secret)) == 1
        assert here.fake.rings_at("ana") == NUMBER
