"""Who is on this node, and who serves each of them?"""

from __future__ import annotations

from gateway.domain.model import Application, Kind, Scope
from gateway.domain.resources import Queue
from gateway.domain.upstream import Part, Source
from tests.runtime.scene import scene, user


async def test_a_phone_sees_its_contact_centre_and_each_change() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        phone.hello()
        await at.clock.settle()
        kinds = [frame["kind"] for frame in phone.frames]
        assert kinds[:3] == ["welcome", "changes", "ping"]
        assert phone.shown["queue:5"]["contacts_waiting"] == 3
        assert phone.shown["agent:7"]["routing_state"] == "available"
        assert phone.shown["agent:8"]["routing_state"] == "logged_off"
        assert phone.shown["me"]["display_name"] == "Anna"
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=4)))
        await at.clock.advance(1)
        phone.take()
        assert phone.shown["queue:5"]["contacts_waiting"] == 4
        assert phone.frames[-1]["patch"] == {"queue:5": {"contacts_waiting": 4}}


async def test_two_devices_share_one_link() -> None:
    async with scene() as at:
        first, second = await at.phone("anna"), await at.phone("anna", device="d2")
        first.hello()
        await at.clock.settle()
        second.hello()
        await at.clock.settle()
        assert second.shown == {**first.shown, "me": second.shown["me"]}
        assert len(at.upstream.wires) == 1


async def test_a_change_of_scope_arrives_in_place() -> None:
    async with scene() as at:
        phone = await at.phone("anna")
        phone.hello()
        await at.clock.settle()
        at.upstream.set_scope(user(1), Application.DASHBOARD, Scope(agents=frozenset({8})))
        await at.clock.advance(1)
        phone.take()
        assert {k for k in phone.shown if ":" in k and not k.startswith("catalogue")} == {"agent:8"}
        assert phone.closed is None
