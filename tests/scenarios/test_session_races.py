"""Sessions whose log-off, takeover, renewal or end meets another event, on real parts.

Each race is run in every order that a link allows: the server reads a request late, or sends its
answer late, or neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app import wiring
from gateway.app.config.settings import Settings
from gateway.app.process import StopRequest
from tests.scenarios.house import NUMBER, OTHER_NUMBER, RETRY_S, House, opened
from tests.scenarios.rivals import (
    APPLIED,
    HOLD_S,
    LOST,
    Ears,
    Received,
    Rival,
    change_number,
    hold,
    release,
)

pytestmark = pytest.mark.scenario

HELD = pytest.mark.parametrize("held", ["nothing", "request", "answer"])
THIRD_NUMBER = "+498955504399"
LOGGED_OFF = (4005, "logged_off", "self")


# ---- log-off ----


@HELD
@pytest.mark.parametrize("state", ["Ringing", "Talking"])
async def test_two_log_offs_during_a_contact_end_in_one_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch, held: str, state: str
) -> None:
    async with opened() as house:
        ears, agent = Ears(house, monkeypatch), await Rival(house, "agent1").come()
        contact = house.simulator.center.give(house.agent(), None, "Voice", state)  # type: ignore[arg-type]  # the two states named above
        hold(house, held, "agent1")
        name = await agent.give(agent.wish("work", when="after_contact"))
        await ears.until_came(1)
        leaving = [house.tasks.create_task(agent.log_off()) for _ in range(2)]
        await release(house, "agent1")
        (status, until_ms), again = [await each for each in leaving]
        assert status == 202
        assert again == (202, until_ms)
        await house.until(lambda: agent.bye)
        assert agent.end == LOGGED_OFF
        assert agent.outcome(name) in {LOST, ("pending", None)}
        assert house.routed == {"agent1": NUMBER}
        house.simulator.center.drop(contact)
        assert house.nothing_left()
        await house.clock.advance(RETRY_S + 1)
        assert await house.metric("log_offs_pending") == 0
        assert await agent.log_off() == (204, None)


# ---- life ----


@pytest.mark.parametrize(("held", "received"), [("nothing", APPLIED), ("request", LOST), ("answer", APPLIED)])
async def test_a_session_that_expires_beside_a_command(
    monkeypatch: pytest.MonkeyPatch, held: str, received: Received
) -> None:
    async with opened() as house:
        ears, agent = Ears(house, monkeypatch), await Rival(house, "agent1").come()
        phone = await Rival(house, "supervisor1").come()
        hold(house, held, phone.name)
        name = await phone.give(phone.wish("available", house.agent().key))
        await ears.until_came(1)
        house.simulator.faults.expire_sessions(phone.name)
        await release(house, phone.name)
        await house.until(lambda: phone.bye)
        assert phone.outcome(name) == received
        assert phone.end == (4300, "expired", None)
        assert house.agent().state == ("Unavailable" if received == LOST else "Available")
        assert await agent.log_off() == (204, None)


@asynccontextmanager
async def _with_a_notice(house: House, folder: Path) -> AsyncIterator[str]:
    """Have another gateway beside the house's, which shows a notice; gives its address."""
    (folder / "terms.toml").write_text(
        'id = "terms"\nversion = 2\ncategory = "privacy"\neffective_at = 2999-01-01T00:00:00Z\n'
        'must_acknowledge = true\n[texts.en]\ntitle = "Terms"\nsummary = "New terms."\n'
    )
    settings = Settings.model_validate(
        {
            "client": {"port": 0, "insecure": True},
            "ops": {"port": 0},
            "admin": {"port": 0},
            "sites": [{"id": "main", "url": house.simulator.url, "display_name": "Main", "country": "DE"}],
            "notices": {"files": [folder / "terms.toml"]},
        }
    )
    stopping = StopRequest()
    stopping.hurried.set()
    async with wiring.serving(settings, house.secrets, house.clock, stopping) as addresses:
        yield addresses.client


@pytest.mark.parametrize("first", ["acknowledgement", "renewal", "neither"])
async def test_an_acknowledgement_beside_a_renewal_is_in_the_newest_token(first: str, tmp_path: Path) -> None:
    async with opened(session_life_s=600) as house, _with_a_notice(house, tmp_path) as base:
        phone = await Rival(house, "supervisor1", base=base).come()
        await house.until(lambda: phone.of_kind("notice"))
        ends_ms = phone.last("welcome")["session"]["expires_at_ms"]
        wanted = {"kind": "notices.acknowledge", "notice_id": "terms", "version": 2}
        await house.clock.advance(398)
        house.simulator.faults.delay(HOLD_S, None)
        if first == "renewal":
            await house.clock.advance(2 * HOLD_S)
        name = await phone.give(wanted)
        if first == "acknowledgement":
            assert await phone.received(name) == APPLIED
        await house.clock.advance(2 * HOLD_S)
        assert await phone.received(name) == APPLIED
        house.simulator.faults.delay(0, None)
        await house.clock.advance(HOLD_S)
        assert len(phone.of_kind("renewed")) == 2
        assert phone.last("renewed")["expires_at_ms"] > ends_ms
        await phone.die()
        phone.frames.clear()
        await phone.back()
        await house.clock.advance(HOLD_S)
        assert phone.last("welcome")["session"]["expires_at_ms"] > ends_ms
        assert phone.of_kind("notice") == phone.of_kind("renewed") == []


# ---- remote numbers ----


@HELD
async def test_of_two_numbers_at_once_the_one_confirmed_last_rings(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    async with opened() as house:
        ears, agent = Ears(house, monkeypatch), await Rival(house, "agent1").come()
        house.make_available()
        hold(house, held, "agent1")
        names = [await agent.give(change_number(number)) for number in (OTHER_NUMBER, THIRD_NUMBER)]
        await ears.until_came(2)
        await release(house, "agent1")
        assert [await agent.received(name) for name in names] == [APPLIED, APPLIED]
        assert [frame["id"] for frame in agent.of_kind("result")] == names
        assert house.routed == {"agent1": THIRD_NUMBER}
        assert set(house.call()) == {THIRD_NUMBER}
        assert agent.shown["me"]["remote_number"] == THIRD_NUMBER
        assert await agent.log_off() == (204, None)


@HELD
async def test_a_number_that_changes_while_its_session_is_logged_off_does_not_ring(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    async with opened() as house:
        ears, agent = Ears(house, monkeypatch), await Rival(house, "agent1").come()
        house.make_available()
        hold(house, held, "agent1")
        await agent.give(change_number(OTHER_NUMBER))
        await ears.until_came(1)
        assert await agent.log_off() == (204, None)
        assert house.nothing_left()
        await release(house, "agent1")
        assert house.nothing_left()
        assert agent.end == LOGGED_OFF


@HELD
@pytest.mark.parametrize("contact_first", [True, False])
async def test_a_number_that_changes_when_a_contact_begins(
    monkeypatch: pytest.MonkeyPatch, held: str, contact_first: bool
) -> None:
    async with opened() as house:
        ears, agent = Ears(house, monkeypatch), await Rival(house, "agent1").come()
        house.make_available()
        center = house.simulator.center
        hold(house, held, "agent1")
        contact = center.call_directly(house.agent()) if contact_first else None
        name = await agent.give(change_number(OTHER_NUMBER))
        await ears.until_came(1)
        contact = contact or center.call_directly(house.agent())
        await release(house, "agent1")
        in_time = not contact_first and held != "request"
        number = OTHER_NUMBER if in_time else NUMBER
        assert await agent.received(name) == (
            APPLIED if in_time else ("rejected", "not_allowed_while_handling")
        )
        assert house.bell.rung[-1] == (OTHER_NUMBER if in_time else NUMBER)
        center.drop(contact)
        assert house.routed == {"agent1": number}
        assert set(house.call()) == {number}
        assert agent.shown["me"]["remote_number"] == number
        assert await agent.log_off() == (204, None)


@HELD
async def test_no_more_than_three_numbers_an_hour_pass_at_once(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    async with opened() as house:
        ears, agent = Ears(house, monkeypatch), await Rival(house, "agent1").come()
        hold(house, held, "agent1")
        numbers = [f"{THIRD_NUMBER[:-1]}{last}" for last in range(5)]
        names = [await agent.give(change_number(number)) for number in numbers]
        await ears.until_came(3)
        await release(house, "agent1")
        received = [await agent.received(name) for name in names]
        assert received == [APPLIED] * 3 + [("rejected", "rate_limited")] * 2
        assert house.routed == {"agent1": numbers[2]}
        assert len(ears.keys) == 3
        new = await Rival(house, "agent1", "d2").come(takeover=True)
        assert await new.received(await new.give(change_number(OTHER_NUMBER))) == ("rejected", "rate_limited")
        assert await new.log_off() == (204, None)
