"""When is a session served, and who makes way for it?"""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.commands import AttachSession
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Device
from gateway.protocol.envelopes import Replaced
from tests.runtime.scene import PhoneLine
from tests.runtime.street import Street, street

ATTACH_S = 10.0


def code(phone: PhoneLine) -> int | None:
    return None if phone.closed is None else int(phone.closed.code)


async def devices(at: Street, *nodes: int) -> list[PhoneLine]:
    """Give one served phone at each of the nodes, on a device of its own."""
    phones = []
    for number, node in enumerate(nodes):
        phones.append(await at.scenes[node].served(device=f"device {number}"))
        await at.pass_time(0.5)
    assert [code(phone) for phone in phones] == [None] * len(nodes)
    return phones


# ---- who makes way ----


async def test_a_session_that_comes_to_another_node_closes_its_connection_at_the_owner() -> None:
    async with street() as at:
        near, _ = await devices(at, 0, 1)
        moved = await at.scenes[1].again(near)
        assert code(near) == CloseCode.REPLACED
        await at.pass_time(1)
        assert code(moved) is None
        assert moved.of_kind("welcome")
        member = at.scenes[0].member(near)
        assert (member.node, member.present) == ("n1", True), "the one that makes way is not missed"


async def test_a_session_that_comes_to_the_owner_closes_its_connection_at_another_node() -> None:
    async with street() as at:
        _, far = await devices(at, 0, 1)
        moved = await at.scenes[0].again(far)
        await at.clock.settle()
        assert code(far) == CloseCode.REPLACED
        await at.pass_time(1)
        assert code(moved) is None
        assert moved.of_kind("welcome")
        member = at.scenes[0].member(far)
        assert (member.node, member.present) == (None, True)


async def test_a_session_that_goes_from_one_to_another_of_the_other_nodes_has_one_connection() -> None:
    async with street(3) as at:
        _, far = await devices(at, 0, 1)
        moved = await at.scenes[2].again(far)
        await at.pass_time(1)
        assert (code(far), code(moved)) == (CloseCode.REPLACED, None)


async def test_a_device_that_logged_on_anew_elsewhere_closes_what_it_had_open() -> None:
    async with street() as at:
        near, far = await devices(at, 0, 1)
        fresh = await at.scenes[1].phone("anna", device="other")
        fresh.ticket = replace(fresh.ticket, device=Device("device 0", "Phone"))
        fresh.hello()
        await at.pass_time(1)
        assert (code(near), code(far), code(fresh)) == (CloseCode.REPLACED, None, None)
        again = await at.scenes[0].phone("anna", device="another")
        again.ticket = replace(again.ticket, device=Device("device 0", "Phone"))
        again.hello()
        await at.pass_time(1)
        assert (code(fresh), code(far), code(again)) == (CloseCode.REPLACED, None, None)


async def test_nobody_makes_way_for_a_session_that_is_refused() -> None:
    async with street() as at:
        near, _ = await devices(at, 0, 1)
        fresh = await at.scenes[1].phone("anna", device="other")
        at.upstream.live.pop(fresh.ticket.secret)
        fresh.ticket = replace(fresh.ticket, device=Device("device 0", "Phone"))
        fresh.hello()
        await at.pass_time(1)
        assert (code(near), code(fresh)) == (None, CloseCode.SESSION_ENDED)


async def test_the_same_connection_that_is_presented_again_stays() -> None:
    async with street() as at:
        _, far = await devices(at, 0, 1)
        far.send(kind="follow", id="1", topics=["agents"])
        await at.pass_time(1)
        assert code(far) is None
        assert not at.heard(Replaced)


# ---- how many ----


async def test_five_devices_on_any_nodes_and_no_more() -> None:
    async with street(3) as at:
        phones = await devices(at, 0, 0, 1, 1, 2)
        for node in range(3):
            sixth = await at.scenes[node].served(device=f"sixth at {node}")
            await at.pass_time(0.5)
            assert code(sixth) == CloseCode.TOO_MANY_DEVICES
        assert [code(phone) for phone in phones] == [None] * 5


async def test_whoever_left_makes_room() -> None:
    async with street() as at:
        phones = await devices(at, 0, 1, 1, 1, 1)
        phones[3].bye()
        await at.clock.settle()
        sixth = await at.scenes[0].served(device="sixth")
        await at.pass_time(0.5)
        assert code(sixth) is None


async def test_who_moves_needs_no_room() -> None:
    async with street() as at:
        phones = await devices(at, 0, 1, 1, 1, 1)
        moved = await at.scenes[0].again(phones[4])
        await at.pass_time(0.5)
        assert code(moved) is None
        assert moved.of_kind("welcome")


# ---- when ----


async def test_a_session_that_nobody_accepts_in_time_is_not_served() -> None:
    async with street() as at:
        await devices(at, 0, 1)
        link = at.link()
        fresh = await at.scenes[1].phone("anna", device="d3")
        link.mute()
        fresh.hello()
        await at.pass_time(ATTACH_S - 1)
        assert code(fresh) is None
        await at.pass_time(3)
        assert code(fresh) == CloseCode.INTERNAL
        assert fresh.ended.window_s is not None


async def test_a_session_that_ends_while_it_waits_is_refused_as_it_ended() -> None:
    async with street() as at:
        await devices(at, 0, 1)
        link = at.link()
        fresh = await at.scenes[1].phone("anna", device="d3")
        link.mute()
        fresh.hello()
        await at.pass_time(1)
        owner = at.scenes[0].owner()
        member = owner.user_sessions.get(fresh.ticket.handle)
        assert member is not None
        owner.ended(member, EndReason.BLOCKED, "somebody")
        await at.clock.settle()
        assert (fresh.ended.code, fresh.ended.reason) == (CloseCode.ACCOUNT_BLOCKED, EndReason.BLOCKED)


async def test_a_session_that_waits_when_its_user_moves_waits_for_the_next_owner() -> None:
    async with street() as at:
        near, _ = await devices(at, 0, 1)
        link = at.link()
        fresh = await at.scenes[0].phone("anna", device="d3")
        link.mute()
        fresh.hello()
        await at.clock.settle()
        at.scenes[0].node.drain()
        await at.pass_time(3)
        assert at.owners() == [1]
        assert (code(near), code(fresh)) == (None, None)
        assert fresh.of_kind("welcome")
        assert at.scenes[1].asked(AttachSession)
