"""Many users at once: the order of service, and waiting times."""

from __future__ import annotations

from gateway.core.link import OPENING_S, OPENINGS_MAX
from gateway.domain.errors import CloseCode
from gateway.domain.model import NodeId, Scope
from gateway.runtime.node import NodeSettings
from gateway.runtime.sessions import ATTACH_S, TURNS
from tests.runtime.scene import PhoneLine, Scene, scene

QUICK = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=10_000.0, log_ons_in_flight=1_000)
SLOW = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=2.0)


async def _come(at: Scene, users: int) -> list[PhoneLine]:
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


def _served(phones: list[PhoneLine]) -> list[bool]:
    return [bool(phone.of_kind("welcome")) for phone in phones]


async def test_links_of_the_first_are_open_before_the_next_are_dialled() -> None:
    async with scene(QUICK) as at:
        at.upstream.mute_links = True
        phones = await _come(at, OPENINGS_MAX + 10)
        first = [wire.link for wire in at.upstream.wires.values()]
        assert len(first) == at.node.sizes["links_opening"] == OPENINGS_MAX
        assert at.node.sizes["links_waiting"] == 10
        at.upstream.mute_links = False
        for link in first[:3]:
            link.unmute()
        await at.clock.settle()
        assert _served(phones) == [True] * 3 + [False] * (OPENINGS_MAX - 3) + [True] * 10
        assert at.node.sizes["links_waiting"] == 0


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
        assert [phone.code for phone in phones] == [None] * served + [CloseCode.INTERNAL] * (70 - served)


async def test_nobody_waits_longer_when_nobody_is_served() -> None:
    async with scene(SLOW) as at:
        at.upstream.mute_links = True
        phones = await _come(at, 10)
        await at.pass_time(ATTACH_S + 1)
        assert {phone.code for phone in phones} == {CloseCode.INTERNAL}
