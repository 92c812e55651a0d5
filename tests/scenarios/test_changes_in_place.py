"""Scope, rights and directory change while a phone is connected, and hold for its commands at once."""

from __future__ import annotations

import pytest

from gateway.domain.model import ALWAYS
from tests.scenarios.office import AT_ONCE_S, Handset, office

pytestmark = pytest.mark.scenario

LED = 10_001
"""Logged on, and in the team of supervisor2."""
FOREIGN = 10_006
"""Logged on, and in the other team."""
DONE = {"applied", "unchanged"}


async def in_place(phone: Handset) -> None:
    """Show that the phone was neither sent away nor reset."""
    await phone.caught_up()
    assert (phone.counts.resets, phone.counts.closes) == (1, {})


async def test_a_new_scope_arrives_in_place_and_holds_for_commands() -> None:
    async with office() as at:
        phone = await at.served("supervisor2", "desk")
        before = dict(phone.place)
        phone.frames.clear()
        await at.act("SetScope", User="supervisor2", Scope={"Users": [LED, FOREIGN], "Queues": [60_001]})
        wanted = {f"agent:{LED}", f"agent:{FOREIGN}", "queue:60001", "me"} | ALWAYS
        await phone.until(lambda: phone.shown.keys() == wanted and phone.me["scope_size"] == 3, AT_ONCE_S)
        first, *rest = phone.of_kind("changes")
        assert first["after"] == before["seq"]
        assert first["stream"] == phone.place["stream"] != before["stream"]
        assert not [frame for frame in rest if "stream" in frame]
        assert await phone.asks_for(10_003, "available") == "not_found"
        assert await phone.asks_for(FOREIGN, "available") in DONE
        await in_place(phone)


async def test_new_rights_arrive_in_place_and_hold_for_commands() -> None:
    async with office() as at:
        phone = await at.served("supervisor2", "desk")
        await at.act("SetRights", User="supervisor2", Rights=["SkillsWrite"])
        await phone.until(lambda: phone.me["rights"] == ["skills_write"], AT_ONCE_S)
        await at.fault("Answer", Error="Busy")
        assert await phone.asks_for(LED, "available") == "forbidden"
        await at.act("SetRights", User="supervisor2", Rights=["RoutingStateWrite"])
        await phone.until(lambda: phone.me["rights"] == ["routing_state_write"], AT_ONCE_S)
        # what the server was to say next it still has to say: the gateway had refused by itself
        assert await phone.asks_for(LED, "available") == "busy"
        assert await phone.asks_for(LED, "available") in DONE
        await in_place(phone)


async def test_a_new_directory_arrives_in_place_and_holds_for_commands() -> None:
    async with office() as at:
        phone = await at.served("supervisor1", "desk")
        await at.act("Rename", Key=60_001, Name="Renamed")
        await phone.until(lambda: phone.shown["queue:60001"]["name"] == "Renamed", AT_ONCE_S)
        stream = phone.place["stream"]
        opened = (await at.act("Add", Kind="Queue", Name="Opened"))["Key"]
        founded = (await at.act("Add", Kind="Group", Name="Founded"))["Key"]
        hired = (await at.act("Add", Kind="User", Name="New", FirstName="Ann", GroupKey=founded))["Key"]
        added = {f"queue:{opened}", f"group:{founded}", f"agent:{hired}"}
        await phone.until(lambda: added <= phone.shown.keys(), AT_ONCE_S)
        assert phone.place["stream"] != stream
        assert phone.shown[f"agent:{hired}"]["display_name"] == "Ann New"
        assert await phone.asks_for(hired, "available") == "cannot_log_on_for_another"
        await at.act("Remove", Key=hired)
        await phone.until(lambda: f"agent:{hired}" not in phone.shown, AT_ONCE_S)
        assert await phone.asks_for(hired, "available") == "not_found"
        await in_place(phone)
