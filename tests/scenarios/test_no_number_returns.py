"""A remote number neither returns nor stays when its session was ended from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import pytest

from gateway.client import Application, ChangeRemoteNumber, Ended, SetAgentRoutingState, Status
from tests.scenarios.assistant import Assistant, app, work
from tests.scenarios.setup import IDLE_S, NUMBER, OTHER_NUMBER, SOON_S, GatewaySetup, opened

pytestmark = pytest.mark.scenario

ASSISTANT, DASHBOARD = Application.REMOTE_ASSISTANT, Application.DASHBOARD
ROUTED = {"agent1": NUMBER}


async def _supervisor(setup: GatewaySetup) -> None:
    async with app(setup, DASHBOARD, "supervisor1") as client:
        await work(client, DASHBOARD, "supervisor1")
        outcome = await client.command(SetAgentRoutingState(str(setup.agent().key), "logged_off"))
        assert outcome.status == Status.APPLIED


async def _administrator(setup: GatewaySetup) -> None:
    setup.simulator.administration.block(setup.simulator.accounts.by_name["agent1"], blocked=True, by="Ada")


async def _second_phone(setup: GatewaySetup) -> None:
    other = Assistant(setup, "d2")
    await other.serve(OTHER_NUMBER, takeover=True)
    assert NUMBER not in setup.call()
    assert await other.log_off() == (204, None)


async def _nobody_who_is_known(setup: GatewaySetup) -> None:
    await setup.stop()
    setup.simulator.sessions.end(next(iter(setup.simulator.sessions)), "LoggedOffBySupervisor", "Ada")
    await setup.start()


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
    somebody: Callable[[GatewaySetup], Awaitable[None]], received: tuple[int, str, str | None]
) -> None:
    async with opened() as setup, app(setup, ASSISTANT, "agent1") as client:
        await work(client, ASSISTANT, "agent1")
        setup.make_available()
        client.background()
        await setup.clock.settle()
        assert setup.routed == ROUTED
        await somebody(setup)
        assert setup.nothing_left()
        log_ons = setup.log_ons
        client.foreground()
        await setup.until(lambda: client.ended)
        name = setup.simulator.accounts.by_name["supervisor1"].name
        assert client.ended == Ended(
            received[0], received[1], received[2] and received[2].format(supervisor=name)
        )
        await setup.clock.advance(IDLE_S)
        assert setup.log_ons == log_ons


@pytest.mark.parametrize("how", ["another device", "the same device"])
async def test_a_second_phone_takes_over(how: Literal["another device", "the same device"]) -> None:
    async with opened() as setup:
        old = Assistant(setup, "d1")
        await old.serve()
        new = Assistant(setup, "d2" if how == "another device" else "d1")
        if how == "another device":
            guess = setup.tasks.create_task(new.enter(OTHER_NUMBER, password="wrong", takeover=True))
            await setup.clock.advance(SOON_S)
            assert await guess == (401, "invalid_credentials"), "it learns nothing of the other phone"
            assert await new.enter(OTHER_NUMBER) == (409, "already_logged_on")
            assert setup.routed == ROUTED
        await new.serve(OTHER_NUMBER, takeover=how == "another device")
        await setup.until(lambda: old.bye)
        assert old.end == (4005, "taken_over", f"phone {new.device}")
        assert setup.routed == {"agent1": OTHER_NUMBER}
        assert set(setup.call()) == {OTHER_NUMBER}
        assert await old.log_off() == (204, None)
        assert setup.routed == {"agent1": OTHER_NUMBER}
        assert await new.log_off() == (204, None)


async def test_the_number_changes() -> None:
    async with opened() as setup, app(setup, ASSISTANT, "agent1") as client:
        await work(client, ASSISTANT, "agent1")
        setup.make_available()
        contact = setup.simulator.center.give(setup.agent(), None, None, "Talking")
        refused = await client.command(ChangeRemoteNumber(OTHER_NUMBER))
        assert refused.error is not None
        assert refused.error.code == "not_allowed_while_handling"
        assert setup.routed == ROUTED
        setup.simulator.center.drop(contact)
        assert NUMBER in setup.call()
        assert (await client.command(ChangeRemoteNumber("0049 (89) 5550-4321"))).status == Status.APPLIED
        assert setup.routed == {"agent1": OTHER_NUMBER}
        assert set(setup.call()) == {OTHER_NUMBER}
        await client.log_off()
        assert setup.nothing_left()


async def test_oscc_e_restarts() -> None:
    async with (
        opened() as setup,
        app(setup, ASSISTANT, "agent1") as assistant,
        app(setup, DASHBOARD, "supervisor1") as dashboard,
    ):
        await work(assistant, ASSISTANT, "agent1")
        await work(dashboard, DASHBOARD, "supervisor1")
        setup.make_available()
        setup.simulator.faults.restart()
        assert setup.nothing_left()
        await setup.clock.advance(2 * IDLE_S)
        assert (assistant.ended, dashboard.ended) == (None, None)
        assert setup.log_ons == 4, "the server says that it has restarted: both log on again"
        await assistant.log_off()
