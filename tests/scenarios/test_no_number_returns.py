"""A remote number neither returns nor stays when its session was ended from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import pytest

from gateway.client import Application, ChangeRemoteNumber, Ended, SetAgentRoutingState, Status
from tests.scenarios.assistant import Assistant, app, work
from tests.scenarios.house import IDLE_S, NUMBER, OTHER_NUMBER, SOON_S, House, opened

pytestmark = pytest.mark.scenario

ASSISTANT, DASHBOARD = Application.REMOTE_ASSISTANT, Application.DASHBOARD
ROUTED = {"agent1": NUMBER}


async def _supervisor(house: House) -> None:
    async with app(house, DASHBOARD, "supervisor1") as client:
        await work(client, DASHBOARD, "supervisor1")
        outcome = await client.command(SetAgentRoutingState(str(house.agent().key), "logged_off"))
        assert outcome.status == Status.APPLIED


async def _administrator(house: House) -> None:
    house.simulator.administration.block(house.simulator.accounts.by_name["agent1"], blocked=True, by="Ada")


async def _second_phone(house: House) -> None:
    other = Assistant(house, "d2")
    await other.serve(OTHER_NUMBER, takeover=True)
    assert NUMBER not in house.call()
    assert await other.log_off() == (204, None)


async def _nobody_who_is_known(house: House) -> None:
    await house.stop()
    house.simulator.sessions.end(next(iter(house.simulator.sessions)), "LoggedOffBySupervisor", "Ada")
    await house.start()


@pytest.mark.parametrize(
    ("somebody", "received"),
    [
        (_supervisor, (4005, "logged_off_by_supervisor", "{supervisor}")),
        (_administrator, (4008, "blocked", "Ada")),
        (_second_phone, (4005, "taken_over", "phone d2")),
        (_nobody_who_is_known, (4005, "unknown", None)),
    ],
)
async def test_the_session_is_ended_while_its_phone_is_away(
    somebody: Callable[[House], Awaitable[None]], received: tuple[int, str, str | None]
) -> None:
    async with opened() as house, app(house, ASSISTANT, "agent1") as client:
        await work(client, ASSISTANT, "agent1")
        house.make_available()
        client.background()
        await house.clock.settle()
        assert house.routed == ROUTED
        await somebody(house)
        assert house.nothing_left()
        log_ons = house.log_ons
        client.foreground()
        await house.until(lambda: client.ended)
        name = house.simulator.accounts.by_name["supervisor1"].name
        assert client.ended == Ended(
            received[0], received[1], received[2] and received[2].format(supervisor=name)
        )
        await house.clock.advance(IDLE_S)
        assert house.log_ons == log_ons


@pytest.mark.parametrize("how", ["another device", "the same device"])
async def test_a_second_phone_takes_over(how: Literal["another device", "the same device"]) -> None:
    async with opened() as house:
        old = Assistant(house, "d1")
        await old.serve()
        new = Assistant(house, "d2" if how == "another device" else "d1")
        if how == "another device":
            guess = house.tasks.create_task(new.enter(OTHER_NUMBER, password="wrong", takeover=True))
            await house.clock.advance(SOON_S)
            assert await guess == (401, "invalid_credentials"), "it learns nothing of the other phone"
            assert await new.enter(OTHER_NUMBER) == (409, "already_logged_on")
            assert house.routed == ROUTED
        await new.serve(OTHER_NUMBER, takeover=how == "another device")
        await house.until(lambda: old.bye)
        assert old.end == (4005, "taken_over", f"phone {new.device}")
        assert house.routed == {"agent1": OTHER_NUMBER}
        assert set(house.call()) == {OTHER_NUMBER}
        assert await old.log_off() == (204, None)
        assert house.routed == {"agent1": OTHER_NUMBER}
        assert await new.log_off() == (204, None)


async def test_the_number_changes() -> None:
    async with opened() as house, app(house, ASSISTANT, "agent1") as client:
        await work(client, ASSISTANT, "agent1")
        house.make_available()
        contact = house.simulator.center.give(house.agent(), None, None, "Talking")
        refused = await client.command(ChangeRemoteNumber(OTHER_NUMBER))
        assert refused.error is not None
        assert refused.error.code == "not_allowed_while_handling"
        assert house.routed == ROUTED
        house.simulator.center.drop(contact)
        assert NUMBER in house.call()
        assert (await client.command(ChangeRemoteNumber("0049 (89) 5550-4321"))).status == Status.APPLIED
        assert house.routed == {"agent1": OTHER_NUMBER}
        assert set(house.call()) == {OTHER_NUMBER}
        await client.log_off()
        assert house.nothing_left()


async def test_oscc_e_restarts() -> None:
    async with (
        opened() as house,
        app(house, ASSISTANT, "agent1") as assistant,
        app(house, DASHBOARD, "supervisor1") as dashboard,
    ):
        await work(assistant, ASSISTANT, "agent1")
        await work(dashboard, DASHBOARD, "supervisor1")
        house.make_available()
        house.simulator.faults.restart()
        assert house.nothing_left()
        await house.clock.advance(2 * IDLE_S)
        assert (assistant.ended, dashboard.ended) == (None, None)
        assert house.log_ons == 4, "the server says that it has restarted: both log on again"
        await assistant.log_off()
