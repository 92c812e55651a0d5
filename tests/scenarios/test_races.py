"""Commands that meet each other, a revocation, or the loss of their link, on real parts.

Each race is run in every order that a link allows: the server reads a request late, or sends its
answer late, or neither.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from gateway.simulator.model import Scope
from tests.scenarios.house import opened
from tests.scenarios.rivals import (
    APPLIED,
    HOLD_S,
    LOST,
    Ears,
    Received,
    Rival,
    hold,
    quiet,
    release,
)

pytestmark = pytest.mark.scenario

HELD = pytest.mark.parametrize("held", ["nothing", "request", "answer"])
SUPERVISORS = ("supervisor1", "supervisor2")
CENTRE: dict[str, Any] = {"users": 2, "all_see_everything": True}


# ---- two supervisors ----


def _change(phone: Rival, kind: str, value: int) -> tuple[str, dict[str, Any]]:
    """Return a resource of *kind*, and a change of it against the version that the phone shows."""
    key = min(key for key in phone.shown if key.startswith(f"{kind}:"))
    shown, number = phone.shown[key], key.partition(":")[2]
    change: dict[str, Any] = {"if_version": shown["version"]}
    if kind == "agent":
        skill = shown["skills"][0]["skill_id"]
        changes = [{"skill_id": skill, "level": value}]
        return key, change | {
            "kind": "agent.skills.set",
            "agent_id": number,
            "changes": changes,
            "mode": "patch",
        }
    name = {"queue": "Priority", "group": "MaximumCallsWaiting"}[kind]
    return key, change | {
        "kind": f"{kind}.routing_parameters.set",
        f"{kind}_id": number,
        "changes": {name: value},
    }


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("agent", "nothing"),
        ("agent", "request"),
        ("agent", "answer"),
        ("queue", "request"),
        ("group", "answer"),
    ],
)
async def test_of_two_changes_of_one_version_one_is_applied(
    monkeypatch: pytest.MonkeyPatch, held: str, kind: str
) -> None:
    async with opened(**CENTRE) as house:
        ears = Ears(house, monkeypatch)
        first, second = [await Rival(house, name).come() for name in SUPERVISORS]
        hold(house, held, first.name)
        key, wanted = _change(first, kind, 7)
        names = {first: await first.give(wanted)}
        await ears.until_came(1)
        names[second] = await second.give(_change(second, kind, 8)[1])
        await ears.until_came(2)
        await release(house, first.name)
        winner, loser = (second, first) if held == "request" else (first, second)
        assert await winner.received(names[winner]) == APPLIED
        assert await loser.received(names[loser]) == ("rejected", "version_conflict")
        version = wanted["if_version"] + 1
        assert winner.results[names[winner]]["version"] == version
        assert loser.results[names[loser]]["error"]["version"] == version
        assert [phone.shown_when[names[phone]][key]["version"] for phone in names] == [version] * 2
        assert first.shown[key] == second.shown[key]


TURN_S = 0.1
"""What comes on a link behind a result is shown with the next turn of the loop, whose rest is 2 ms."""


# ---- a supervisor and the agent ----


@HELD
@pytest.mark.parametrize("last", ["supervisor", "agent"])
async def test_what_is_pending_is_what_was_asked_last_and_by_whom(
    monkeypatch: pytest.MonkeyPatch, held: str, last: str
) -> None:
    async with opened(**CENTRE) as house:
        ears = Ears(house, monkeypatch)
        supervisor, agent = await Rival(house, "supervisor1").come(), await Rival(house, "agent1").come()
        me = house.agent()
        contact = house.simulator.center.give(me, None, "Voice", "Talking")
        wishes = {
            supervisor: supervisor.wish("available", me.key, when="after_contact"),
            agent: agent.wish("work", when="after_contact"),
        }
        first, second = (agent, supervisor) if last == "supervisor" else (supervisor, agent)
        hold(house, held, first.name)
        names = {first: await first.give(wishes[first])}
        await ears.until_came(1)
        names[second] = await second.give(wishes[second])
        await ears.until_came(2)
        await release(house, first.name)
        assert {await phone.received(names[phone]) for phone in names} == {("pending", None)}
        await house.clock.advance(TURN_S)
        winner = first if held == "request" else second
        by = "supervisor" if winner is supervisor else "self"
        wanted = wishes[winner]["state"]

        def pending(phone: Rival) -> tuple[object, object]:
            shown = phone.shown[f"agent:{me.key}"]
            return shown["pending_routing_state"], shown["pending_by"]

        await quiet(house, lambda: pending(supervisor) == pending(agent) == (wanted, by))
        house.simulator.center.drop(contact)
        await quiet(house, lambda: agent.shown[f"agent:{me.key}"]["routing_state"] == wanted)
        assert "pending_by" not in agent.shown[f"agent:{me.key}"]
        assert await agent.log_off() == (204, None)


@pytest.mark.parametrize(
    ("first", "held", "received"),
    [
        ("agent", "nothing", APPLIED),
        ("agent", "answer", APPLIED),
        ("agent", "request", LOST),
        ("supervisor", "request", LOST),
        ("supervisor", "answer", LOST),
    ],
)
async def test_an_agent_who_is_logged_off_gets_what_came_before_and_then_the_end(
    monkeypatch: pytest.MonkeyPatch, first: str, held: str, received: Received
) -> None:
    async with opened(**CENTRE) as house:
        ears = Ears(house, monkeypatch)
        supervisor, agent = await Rival(house, "supervisor1").come(), await Rival(house, "agent1").come()
        key = house.agent().key
        off, work = supervisor.wish("logged_off", key), agent.wish("work")
        hold(house, held, agent.name)
        if first == "agent":
            name = await agent.give(work)
            await ears.until_came(1)
            logging_off = await supervisor.give(off)
        else:
            logging_off = await supervisor.give(off)
            await ears.until_came(1)
            name = await agent.give(work)
        await ears.until_came(2)
        await release(house, agent.name)
        assert await supervisor.received(logging_off) == APPLIED
        await house.until(lambda: agent.bye)
        by = house.simulator.accounts.by_name["supervisor1"].name
        assert agent.end == (4005, "logged_off_by_supervisor", by)
        assert agent.outcome(name) == received
        # what he asked for, or what came of it meanwhile
        assert received == LOST or agent.shown_when[name][f"agent:{key}"]["routing_state"] in {
            "work",
            "logged_off",
        }
        assert house.nothing_left()
        await quiet(house, lambda: supervisor.shown[f"agent:{key}"]["routing_state"] == "logged_off")


# ---- rights and scope ----


@HELD
@pytest.mark.parametrize("what", ["rights", "scope"])
async def test_nothing_is_executed_after_its_revocation_was_shown(
    monkeypatch: pytest.MonkeyPatch, held: str, what: str
) -> None:
    async with opened(**CENTRE) as house:
        ears = Ears(house, monkeypatch)
        agent, phone = await Rival(house, "agent1").come(), await Rival(house, "supervisor2").come()
        account, administration = (
            house.simulator.accounts.by_name["supervisor2"],
            house.simulator.administration,
        )
        key = house.agent().key
        hold(house, held, phone.name)
        name = await phone.give(phone.wish("available", key))
        if held != "nothing":
            await ears.until_came(1)
        if what == "rights":
            administration.set_rights(account, ("SkillsWrite",))
        else:
            administration.set_scope(account, Scope(frozenset({key + 1})))
        await release(house, phone.name)
        code = "forbidden" if what == "rights" else "not_found"
        in_time = held == "answer"
        assert await phone.received(name) == (APPLIED if in_time else ("rejected", code))
        assert house.agent().state == ("Available" if in_time else "Unavailable")
        assert await phone.received(await phone.give(phone.wish("unavailable", key))) == ("rejected", code)
        assert await agent.received(await agent.give(agent.wish("work"))) == APPLIED
        await house.clock.advance(2)
        if what == "scope":
            assert not phone.named_after_it_went(f"agent:{key}")
        assert phone.bye == {}
        assert await agent.log_off() == (204, None)


# ---- the same key again ----


@pytest.mark.parametrize(("held", "runs"), [("request", 0), ("answer", 1)])
@pytest.mark.parametrize("how", ["lost", "replaced", "late"])
async def test_a_command_whose_answer_is_not_received_is_unknown_for_good(
    monkeypatch: pytest.MonkeyPatch, held: str, how: str, runs: int
) -> None:
    async with opened(**CENTRE) as house:
        ears = Ears(house, monkeypatch)
        agent, phone = await Rival(house, "agent1").come(), await Rival(house, "supervisor1").come()
        hold(house, held, phone.name)
        key, wish = str(uuid.uuid4()), phone.wish("available", house.agent().key)
        late = {"expires_at_ms": house.clock.wall_ms() + 2_000} if how == "late" else {}
        name = await phone.give(wish, key=key, **late)
        await ears.until_came(1)
        stream = (phone.position or {})["stream"]
        if how == "lost":
            house.simulator.faults.drop_links(phone.name)
        elif how == "replaced":
            house.simulator.faults.split(phone.name, None)
        await release(house, phone.name)
        # a link that is replaced says first what was answered before
        received = APPLIED if (how, held) == ("replaced", "answer") else ("unknown", "upstream_timeout")
        assert await phone.received(name) == received
        await house.clock.advance(HOLD_S)
        again = await phone.give(wish, key=key, stream=stream, retry=True)
        assert await phone.received(again) == received
        assert house.simulator.requests.executed.get("SetRoutingState", 0) == runs
        assert await agent.log_off() == (204, None)
