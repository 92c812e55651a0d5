"""What becomes of commands that meet each other, a revocation, or the loss of their link?

Each race is run in every order that its roads allow: a request may not have been read yet, or its
answer not been told yet, when the other thing happens.
"""

from __future__ import annotations

import pytest

from gateway.domain.model import Application, Right, Scope
from tests.runtime.rivals import (
    NUMBER,
    OTHER_NUMBER,
    SEEN,
    Roads,
    agent_phone,
    begin,
    change_number,
    executed,
    named_after_it_went,
    second_supervisor,
    set_state,
    shown_when_told,
    state_shown,
    true_state,
)
from tests.runtime.scene import scene, user

HELD = pytest.mark.parametrize("held", ["nothing", "request", "answer"])
APPLIED = ("applied", None)


# ---- two supervisors, or a supervisor and the agent ----


@HELD
@pytest.mark.parametrize(("first", "last"), [(2, 1), (1, 7), (7, 1)])
async def test_of_two_supervisors_or_agent_and_supervisor_the_last_wins_and_both_see_it(
    monkeypatch: pytest.MonkeyPatch, held: str, first: int, last: int
) -> None:
    async with scene() as at:
        roads, phones = Roads(at, monkeypatch), {1: await at.served()}
        other = max(first, last)
        phones[other] = await (second_supervisor(at) if other == 2 else agent_phone(at))
        for key, state in ((first, "work"), (last, "unavailable")):
            roads.hold(held, key)
            phones[key].command("1", str(key), command=set_state(state, None if key == 7 else 7))
        for key in (first, last):
            await roads.release(key)
        assert [phones[key].outcome() for key in (first, last)] == [APPLIED, APPLIED]
        assert executed(at) == [str(first), str(last)]
        assert state_shown(shown_when_told(phones[last])) == "unavailable"
        await at.pass_time(2)
        assert true_state(at) == "unavailable"
        assert {state_shown(phone.shown) for phone in phones.values()} == {"unavailable"}


@pytest.mark.parametrize(
    ("first", "held", "told"),
    [
        ("agent", "nothing", APPLIED),
        ("agent", "answer", APPLIED),
        ("agent", "request", ("unknown", "owner_lost")),
        ("supervisor", "nothing", None),
        ("supervisor", "answer", None),
    ],
)
async def test_an_agent_who_is_logged_off_gets_what_came_before_and_then_the_end(
    monkeypatch: pytest.MonkeyPatch, first: str, held: str, told: tuple[str, str | None] | None
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        supervisor, agent = await at.served(), await agent_phone(at)
        roads.hold(held, 7)
        sends = {
            "agent": lambda: agent.command("1", "7", command=set_state("work")),
            "supervisor": lambda: supervisor.command("1", "1", command=set_state("logged_off", 7)),
        }
        sends.pop(first)()
        await at.clock.settle()
        next(iter(sends.values()))()
        await at.clock.settle()
        await roads.release(7)
        assert supervisor.outcome() == APPLIED
        assert agent.outcome() == told
        assert agent.ending == (4005, "logged_off_by_supervisor")
        assert agent.frames[-1]["kind"] == "bye"
        assert told != APPLIED or state_shown(shown_when_told(agent)) == "work"
        await at.pass_time(2)
        assert state_shown(supervisor.shown) == true_state(at) == "logged_off"
        assert at.upstream.routing == {}


# ---- rights and scope ----


@HELD
@pytest.mark.parametrize(
    ("scope", "rights", "code"),
    [(SEEN, frozenset(), "forbidden"), (Scope(agents=frozenset({8})), None, "not_found")],
)
async def test_nothing_is_executed_after_its_revocation_was_shown(
    monkeypatch: pytest.MonkeyPatch, held: str, scope: Scope, rights: frozenset[Right] | None, code: str
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        phone, other = await at.served(), await second_supervisor(at)
        roads.hold(held, 1)
        phone.command("1", "1", command=set_state("work", 7))
        if held != "nothing":
            await at.clock.settle()
        at.upstream.set_scope(user(1), Application.DASHBOARD, scope, rights)
        await at.clock.settle()
        await roads.release(1)
        in_time = held == "answer"
        assert phone.outcome() == (APPLIED if in_time else ("rejected", code))
        assert true_state(at) == ("work" if in_time else "available")
        phone.command("2", "2", command=set_state("unavailable", 7))
        other.command("1", "3", command=set_state("unavailable", 7))
        await at.pass_time(2)
        assert phone.outcome("2") == ("rejected", code)
        assert executed(at).count("2") == 0
        if scope is not SEEN:
            assert not named_after_it_went(phone, "agent:7")
        assert phone.closed is None


# ---- the same key again ----


@pytest.mark.parametrize(
    ("how", "held"),
    [
        ("another device", "nothing"),
        ("another device", "answer"),
        ("next connection", "request"),
        ("socket died", "request"),
        ("socket died", "answer"),
    ],
)
async def test_a_command_that_is_sent_again_is_executed_once(
    monkeypatch: pytest.MonkeyPatch, held: str, how: str
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        first = await at.served()
        second = first if how == "next connection" else await at.served(device="d2")
        roads.hold(held, 1)
        first.command("1", "1")
        await at.clock.settle()
        if how == "next connection":
            second = await at.again(first)
        elif how == "socket died":
            first.leave()
        second.command("2", "1", retry=True, stream=first.stream)
        second.command("3", "1", retry=True, stream=first.stream)
        await at.clock.settle()
        await roads.release(1)
        assert (second.outcome("2"), second.outcome("3")) == (APPLIED, APPLIED)
        is_there = how == "another device" or held == "nothing"
        assert first.outcome() == (APPLIED if is_there else None)
        assert executed(at) == ["1"]


@pytest.mark.parametrize(("held", "runs"), [("request", []), ("answer", ["1"])])
@pytest.mark.parametrize("how", ["lost", "replaced", "late"])
async def test_a_command_whose_answer_is_not_heard_is_unknown_for_good(
    monkeypatch: pytest.MonkeyPatch, held: str, how: str, runs: list[str]
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        first, second = await at.served(), await at.served(device="d2")
        roads.hold(held, 1)
        first.command("1", "1", expires_at_ms=at.clock.wall_ms() + 3_000)
        await at.clock.settle()
        second.command("1", "1", retry=True, expires_at_ms=at.clock.wall_ms() + 3_000)
        await at.clock.settle()
        if how == "lost":
            at.upstream.drop(user(1))
        elif how == "replaced":
            secret, token = first.ticket.secret, at.owner().epoch + 1
            await at.upstream.open(user(1), secret, token=token, holder="another")
        await at.pass_time(4)
        # a link that is replaced says first what was answered before
        told = APPLIED if (how, held) == ("replaced", "answer") else ("unknown", "upstream_timeout")
        assert (first.outcome(), second.outcome()) == (told, told)
        await roads.release(1)
        await at.pass_time(20)
        second.command("2", "1", retry=True, stream=first.stream)
        await at.clock.settle()
        assert second.outcome("2") == told
        assert executed(at) == runs


async def test_a_command_that_is_sent_again_after_its_user_was_let_go_keeps_its_outcome() -> None:
    async with scene() as at:
        phone = await at.served()
        phone.command("1", "1")
        await at.clock.settle()
        stream = phone.stream
        phone.bye()
        await at.pass_time(100)
        assert user(1) not in at.node.user_states
        phone = await at.again(phone)
        phone.command("1", "1", retry=True, stream=stream)
        await at.clock.settle()
        assert phone.outcome() == APPLIED
        phone.command("2", "2", retry=True, stream=stream)
        await at.clock.settle()
        assert phone.outcome("2") == ("unknown", "other_epoch")
        assert executed(at) == ["1"]


@HELD
@pytest.mark.parametrize("swapped", [False, True])
async def test_of_two_bodies_under_one_key_one_is_executed(
    monkeypatch: pytest.MonkeyPatch, held: str, swapped: bool
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        phones = [await at.served(), await at.served(device="d2")]
        if swapped:
            phones.reverse()
        roads.hold(held, 1)
        for phone, state in zip(phones, ("work", "unavailable"), strict=True):
            phone.command("1", "1", command=set_state(state, 7))
        await at.clock.settle()
        await roads.release(1)
        assert [phone.outcome() for phone in phones] == [APPLIED, ("rejected", "key_reused")]
        assert true_state(at) == "work"
        assert executed(at) == ["1"]


# ---- remote numbers ----


@HELD
async def test_of_two_numbers_at_once_the_one_confirmed_last_is_routed(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        phone = await agent_phone(at)
        roads.hold(held, 7)
        for identity, number in (("1", OTHER_NUMBER), ("2", NUMBER + "9")):
            phone.command(identity, identity, command=change_number(number))
        await at.clock.settle()
        await roads.release(7)
        results = [frame["id"] for frame in phone.of_kind("result")]
        assert (results, phone.outcome(), phone.outcome("2")) == (["1", "2"], APPLIED, APPLIED)
        await at.pass_time(2)
        assert at.upstream.routing == {7: NUMBER + "9"}
        assert phone.shown["me"]["remote_number"] == NUMBER + "9"


@HELD
async def test_a_number_that_changes_while_its_session_is_logged_off_is_not_routed(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        phone = await agent_phone(at)
        roads.hold(held, 7)
        phone.command("1", "1", command=change_number(OTHER_NUMBER))
        if held != "nothing":
            await at.clock.settle()
        leaving = begin(at, at.node.account.log_off(phone.ticket))
        await at.clock.settle()
        await roads.release(7)
        assert (await leaving).routing == "removed"
        await at.pass_time(2)
        assert at.upstream.routing == {}
        assert phone.ending == (4005, "logged_off")


@HELD
async def test_no_more_than_three_numbers_an_hour_pass_at_once(
    monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    async with scene() as at:
        roads = Roads(at, monkeypatch)
        phone = await agent_phone(at)
        roads.hold(held, 7)
        numbers = [NUMBER, *(f"{OTHER_NUMBER}{n}" for n in range(5))]
        for identity, number in enumerate(numbers[1:]):
            phone.command(str(identity), str(identity), command=change_number(number))
        await at.clock.settle()
        await roads.release(7)
        told = [phone.outcome(str(identity)) for identity in range(5)]
        assert told == [APPLIED] * 3 + [("rejected", "rate_limited")] * 2
        assert at.upstream.routing == {7: numbers[3]}
        anew = await agent_phone(at)
        anew.command("9", "9", command=change_number(NUMBER))
        await at.clock.settle()
        assert anew.outcome("9") == ("rejected", "rate_limited")
