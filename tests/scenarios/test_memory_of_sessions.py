"""Memory of a node is constant however many sessions come and go over real links.

``SCENARIO_SIZE=full``: 3,000 sessions and more; else a few, enough to see that nothing of them stays.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from gateway.domain.errors import GatewayError
from gateway.domain.model import Ticket
from gateway.runtime.mirror import Mirror
from gateway.runtime.user_state import Owner
from gateway.upstream.oscce.link import OsccLink
from tests.runtime.scene import FakePhone, Scene
from tests.runtime.test_forgotten import GIVE_UP_S, LINGER_REAL_S, leave, simulated, until
from tests.scenarios.setup import PASSWORD, opened

FULL = os.environ.get("SCENARIO_SIZE") == "full"
pytestmark = pytest.mark.scenario

SESSIONS = 3_200 if FULL else 100
WARM = 1_200 if FULL else 40
"""Caches and pools are full by then."""
AT_ONCE = 8
GROWS_MB = 4.0
"""Over all sessions after that: 2 KB each would be as much."""
KINDS = (Ticket, Owner, Mirror, OsccLink)


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def kept() -> list[object]:
    """Return what is there of users."""
    return [each for each in gc.get_objects() if type(each) in KINDS]


async def logged_on(at: Scene, agent: int) -> FakePhone:
    while True:
        try:
            return await at.phone(f"agent{agent}", device=f"d{agent}")
        except GatewayError as error:
            if error.retry_after_s is None:
                raise
            await asyncio.sleep(min(error.retry_after_s, 5.0))


async def come_and_go(at: Scene, agent: int, times: int) -> None:
    for turn in range(times):
        phone = await logged_on(at, agent)
        phone.hello()
        assert await until(partial(phone.of_kind, "welcome"), 20)
        if turn % 2:
            await at.node.account.log_off(phone.ticket)
        leave(at, phone)


@pytest.mark.timeout(1_200)
@pytest.mark.takes(15)
async def test_memory_is_as_it_was_after_thousands_of_sessions() -> None:
    gc.collect()
    others = kept()  # what tests before have left: the objects themselves, so that their ids stay theirs
    known = {id(each) for each in others}

    def own() -> Counter[str]:
        return Counter(type(each).__name__ for each in kept() if id(each) not in known)

    async with simulated(10 * AT_ONCE) as (at, _):
        grown = []
        for sessions in (WARM, SESSIONS - WARM):
            async with asyncio.TaskGroup() as tasks:
                for agent in range(10, 10 * AT_ONCE + 1, 10):  # those who lead a team may use the Dashboard
                    tasks.create_task(come_and_go(at, agent, sessions // AT_ONCE))
            gc.collect()  # of what the libraries of the test and of HTTP leave in cycles
            assert await until(lambda: not own(), LINGER_REAL_S + GIVE_UP_S), own()
            grown.append(resident_mb())
        print(f"resident: {grown[0]:.1f} MB after {WARM}, {grown[1]:.1f} MB after {SESSIONS} sessions")
        assert grown[1] - grown[0] < GROWS_MB


async def test_minutes_after_everybody_left_no_address_session_or_name_is_held() -> None:
    async with opened() as setup:
        device = {"id": "d", "name": "canary", "platform": "test", "app_version": "1"}
        body = {"site": "main", "application": "dashboard", "user_name": "supervisor1", "password": PASSWORD}
        async with setup.http.post(f"{setup.base}/v1/sessions", json={**body, "device": device}) as answer:
            assert answer.status == 201
            bearer = {"Authorization": f"Bearer {(await answer.json())['token']}"}
        async with setup.http.delete(f"{setup.base}/v1/session", headers=bearer) as answer:
            assert answer.status == 204
        held = {
            f'registry_size{{name="{name}"}}' for name in ("requesters", "log_on_addresses", "log_on_names")
        }
        assert [await setup.metric(re.escape(name)) > 0 for name in held] == [True] * len(held)
        await setup.clock.advance(660.0)
        assert [await setup.metric(re.escape(name)) for name in held] == [0.0] * len(held)
