"""A session that its owner ended is refused at once; other requests end nothing."""

from __future__ import annotations

import pytest

from tests.scenarios.office import AT_ONCE_S, office
from tests.scenarios.test_sessions import LEADER, STOP, received, verdict

pytestmark = pytest.mark.scenario


async def test_a_session_without_a_phone_that_i_ended_is_refused_at_once() -> None:
    async with office() as at:
        dashboard = await at.served(LEADER, "desk")
        unattached = await at.phone(LEADER, "drawer").logged_on()
        assert (await dashboard.ask("DELETE", f"/v1/sessions/{unattached.session}")).status == 204
        assert verdict(await unattached.ask()) == STOP
        assert received(await unattached.refused()) == (4005, "logged_off", "DESK")


async def test_a_session_that_i_ended_while_the_link_was_down_is_logged_off_for_good() -> None:
    async with office() as at:
        dashboard = await at.served(LEADER, "desk")
        other = await at.served(LEADER, "tablet")
        await at.fault("DropLinks", User=LEADER)
        assert (await dashboard.ask("DELETE", f"/v1/sessions/{other.session}")).status == 204
        assert received(await other.over(AT_ONCE_S)) == (4005, "logged_off", "DESK")


async def test_the_token_of_an_ended_session_sends_nobody_away() -> None:
    async with office() as at:
        old = await at.served("supervisor1", "desk")
        await at.act("EndSession", User="supervisor1")
        await old.over(AT_ONCE_S)
        live = await at.served("supervisor1", "desk")
        assert received(await old.refused()) == (4300, "unknown", None)
        await live.caught_up()
