"""Many users at once: the order of service, and waiting times."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.link import OPENING_S, OPENINGS_MAX, Linger
from gateway.domain.errors import CloseCode
from gateway.domain.model import NodeId, Scope
from gateway.runtime.node import NodeSettings
from gateway.runtime.ports import Grant
from gateway.runtime.sessions import ATTACH_S, TURNS
from tests.runtime.scene import FakePhone, Scene, scene, user

QUICK = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=10_000.0, log_ons_in_flight=1_000)
SLOW = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=2.0)


async def _come(at: Scene, users: int) -> list[FakePhone]:
    """Let so many users come at once, each with a phone."""
    phones = []
    for key in range(100, 100 + users):
        at.upstream.add_user(key, f"user{key}", scope=Scope(queues=frozenset({5})))
        phones.append(await at.phone(f"user{key}"))
        await at.clock.advance(1.0)
    await at.clock.advance(60.0)  # who has just logged on comes before the others
    for phone in phones:
        phone.hello()
    await at.clock.settle()
    return phones


def _served(phones: list[FakePhone]) -> list[bool]:
    return [bool(phone.of_kind("welcome")) for phone in phones]


async def test_links_of_the_first_are_open_before_the_next_are_dialled() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        phones = await _come(at, OPENINGS_MAX + 10)
        first = [user_link.link for user_link in at.upstream.user_links.values()]
        assert len(first) == at.node.sizes["links_opening"] == OPENINGS_MAX
        assert at.node.sizes["links_waiting"] == 10
        assert at.node.sizes["phones_waiting"] == OPENINGS_MAX + 10
        at.upstream.mute_links = False
        for link in first[:3]:
            link.unmute()
        await at.clock.settle()
        assert _served(phones) == [True] * 3 + [False] * (OPENINGS_MAX - 3) + [True] * 10
        assert at.node.sizes["links_waiting"] == 0
        assert at.node.sizes["phones_waiting"] == OPENINGS_MAX - 3


async def test_links_that_wait_for_a_slow_server_keep_no_others_waiting() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        phones = await _come(at, OPENINGS_MAX + 10)
        at.upstream.mute_links = False
        await at.clock.advance(OPENING_S + 0.01)
        assert _served(phones) == [False] * OPENINGS_MAX + [True] * 10


async def test_phones_wait_for_their_turn_while_others_are_served_before_them() -> None:
    async with scene(SLOW) as at:
        phones = await _come(at, 70)
        await at.pass_time(TURNS * ATTACH_S + 10)
        served = sum(_served(phones))
        assert 2 * TURNS * ATTACH_S - 2 <= served < 70
        assert _served(phones) == [True] * served + [False] * (70 - served), "who came first is served first"
        assert [phone.code for phone in phones] == [None] * served + [CloseCode.OVER_CAPACITY] * (70 - served)


async def test_who_returns_at_the_given_time_waits_in_vain_no_second_time() -> None:
    async with scene(SLOW) as at:
        phones = await _come(at, 200)
        returns, tries = list[tuple[float, FakePhone]](), len(phones)
        for _ in range(110):
            await at.pass_time(1.0)
            for phone in [each for each in phones if each.closed is not None]:
                assert phone.closed is not None
                assert phone.closed.window_s is not None
                phones.remove(phone)
                returns.append((at.clock.now() + phone.closed.window_s[0], phone))
            for due in [due for due in returns if due[0] <= at.clock.now()]:
                returns.remove(due)
                phones.append(FakePhone(at, due[1].ticket))
                phones[-1].hello()
                tries += 1
        assert _served(phones) == [True] * 200
        assert tries == pytest.approx(200 + 200 - 2 * TURNS * ATTACH_S, abs=2)


@pytest.mark.parametrize("is_starved", [False, True], ids=["answers wait unread", "turns are late"])
async def test_a_link_whose_answers_are_unread_here_is_no_fault_of_the_server(is_starved: bool) -> None:
    async with scene(QUICK) as at:
        let_pass = at.starve if is_starved else at.pass_time
        at.upstream.mute_links = True
        if not is_starved:
            at.node.unread_s = lambda: 2.0
        phones = await _come(at, 10)
        await let_pass(2 * ATTACH_S)
        assert {phone.code for phone in phones} == {None}
        at.upstream.mute_links = False
        for user_link in list(at.upstream.user_links.values())[:5]:
            user_link.link.unmute()
        await at.clock.settle()
        assert _served(phones) == [True] * 5 + [False] * 5
        await let_pass(ATTACH_S + 1)
        assert [phone.code for phone in phones] == [None] * 5 + [CloseCode.OVER_CAPACITY] * 5


async def test_links_that_a_late_node_opens_wait_for_it_and_not_for_the_server() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        await at.starve(5.0)
        await _come(at, OPENINGS_MAX + 10)
        await at.starve(OPENING_S + 0.5)
        assert len(at.upstream.user_links) == OPENINGS_MAX
        await at.pass_time(OPENING_S)
        assert len(at.upstream.user_links) == OPENINGS_MAX + 10


async def test_who_comes_back_to_a_late_node_finds_the_link_open() -> None:
    async with scene(replace(QUICK, linger=Linger(30.0, 30.0))) as at:
        phone = await at.served()
        phone.leave()
        await at.starve(85.0)
        assert at.upstream.link(user(1)) is not None
        await at.starve(10.0)
        assert at.upstream.link(user(1)) is None, "however late the node is, this has an end"


async def test_a_short_stop_keeps_nobody_longer() -> None:
    async with scene(replace(QUICK, linger=Linger(30.0, 30.0))) as at:
        phone = await at.served()
        phone.leave()
        at.clock.stand_still(0.7)
        await at.pass_time(32.0)
        assert at.upstream.link(user(1)) is None


async def test_a_phone_that_waits_for_its_session_has_no_task() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        phones, tasks = await _come(at, 1), len(asyncio.all_tasks())
        for device in ("d2", "d3"):
            phones.append(await at.phone("user100", device=device))
            phones[-1].hello()
        await at.clock.settle()
        assert len(asyncio.all_tasks()) == tasks
        phones.pop(1).leave()
        at.link(100).unmute()
        await at.clock.settle()
        assert _served(phones) == [True, True]


async def test_a_fault_of_one_newcomer_ends_no_other() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        phones = await _come(at, 3)
        del phones[1].session._greeting
        at.upstream.mute_links = False
        for user_link in at.upstream.user_links.values():
            user_link.link.unmute()
        await at.clock.settle()
        assert _served(phones) == [True, False, True]
        assert [phone.code for phone in phones] == [None, CloseCode.INTERNAL, None]
        assert [len(phone.faults) for phone in phones] == [0, 1, 0]


async def test_a_newcomer_whose_close_fails_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        phones = await _come(at, 2)
        monkeypatch.setattr(phones[0], "close", {}.__getitem__)
        await at.pass_time(ATTACH_S + 1)
        assert [len(phone.faults) for phone in phones] == [1, 0]
        assert {phone.code for phone in phones} == {CloseCode.INTERNAL}
        at.upstream.mute_links = False
        assert (await at.served()).of_kind("welcome")


async def test_the_end_of_a_replaced_phones_turn_keeps_the_next_one_waiting_no_longer() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        first = (await _come(at, 1))[0]
        await at.clock.advance(ATTACH_S - 1.0)
        at.node.unread_s = lambda: 2.0
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(first, "leave", lambda: None)  # its socket has no turn yet
            second = await at.again(first)
            await at.clock.advance(2.0)
        first.leave()
        at.link(100).unmute()
        await at.clock.settle()
        assert (first.code, second.code) == (CloseCode.REPLACED, None)
        assert _served([second]) == [True]


async def test_a_newcomer_waits_on_at_the_next_role() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        phone = (await _come(at, 1))[0]
        at.owner(100).owned_elsewhere(Grant(NodeId("n2"), "n2-1", 9))
        await at.clock.settle()
        assert at.node.user_states[user(100)].follower is not None
        await at.clock.advance(ATTACH_S)
        assert phone.closed is None
        await at.clock.advance(2.0)
        assert phone.code is CloseCode.INTERNAL, "the other node never answers"
        assert not at.node.user_states[user(100)].local


async def test_nobody_waits_longer_when_nobody_is_served() -> None:
    async with scene(SLOW) as at:
        at.upstream.mute_links = True
        phones = await _come(at, 10)
        await at.pass_time(ATTACH_S + 1)
        assert {phone.code for phone in phones} == {CloseCode.INTERNAL}
