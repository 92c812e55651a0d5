"""Export over all nodes: all that they hold of a user, and nothing of others."""

from __future__ import annotations

from gateway.edge.export import ASKED_BURST, NodeHoldings, OwnDataExport, _shown
from gateway.runtime.cluster_receiver import Page
from tests.doubles.clock import ManualClock
from tests.edge.operated import named, operated
from tests.edge.visits import ticket_of
from tests.runtime.scene import user

TICKET = ticket_of(ManualClock())
OWN = f"agent:{TICKET.user.key}"


def shown(name: str, **held: object) -> object:
    record = {"name": name, "category": name.partition("|")[0], "held": held}
    return _shown(record, TICKET)


async def test_what_another_node_holds_is_reported_by_the_one_that_was_asked() -> None:
    async with operated(2) as at:
        phone = await at.street.scenes[1].served(device="d1")
        other = await at.street.scenes[0].served(device="d0")
        await at.street.pass_time(1)
        received = await OwnDataExport(at.street.scenes[0].node.orders, at.street.clock).of(other.ticket)
        assert received.complete
        (token,) = (each for each in received.held["token"] if each["session_id"] == phone.ticket.session)
        assert token["node"] == "n1"
        assert {each["device.id"] for each in received.held["device"]} == {"d1"}, "its own it knows itself"


async def test_a_node_that_is_not_reached_is_said_to_be_missing() -> None:
    async with operated(2) as at:
        phone = await at.street.scenes[0].served()
        at.street.trouble.take_away(0)
        received = await OwnDataExport(at.street.scenes[0].node.orders, at.street.clock).of(phone.ticket)
        assert not received.complete


async def test_asking_others_is_rationed() -> None:
    async with operated(1) as at:
        phone = await at.street.scenes[0].served()
        own = OwnDataExport(at.street.scenes[0].node.orders, at.street.clock)
        received = [await own.of(phone.ticket) for _ in range(ASKED_BURST + 1)]
        assert [each.complete for each in received] == [*[True] * ASKED_BURST, False]
        await at.street.pass_time(1)
        assert (await own.of(phone.ticket)).complete


def test_of_the_mirrors_he_gets_what_is_about_him() -> None:
    assert shown(f"agent.personal|{OWN}", key=OWN, display_name="A") == {"key": OWN, "display_name": "A"}
    assert shown("agent.personal|agent:99", key="agent:99", display_name="B") is None
    assert shown("agent.personal|others", key="agent:*", others=3) is None
    assert shown("queue.realtime|queue:1", key="queue:1", contacts_waiting=3) is None
    assert shown("catalogue:skills.neutral|catalogue:skills", key="catalogue:skills") is None


def test_a_remote_number_of_another_session_is_masked() -> None:
    own, other = f"remote_number|{TICKET.handle}", "remote_number|00ff"
    assert shown(own, remote_number="+4989123") == {"remote_number": "+4989123"}
    assert shown(other, remote_number="+4989123") == {"remote_number": "*****123"}
    assert shown("me.personal|me:00ff", key="me", remote_number="+4989123") == {
        "key": "me",
        "remote_number": "*****123",
    }


def test_what_every_node_can_tell_is_not_reported_twice() -> None:
    assert shown(f"token|{TICKET.handle}", session_id="s") is None
    assert shown(f"connection|{TICKET.handle}", network_address="192.0.2.1") is not None
    assert shown("session_log|n0.5", lasted_s=1) == {"lasted_s": 1}


async def test_a_record_of_somebody_else_cannot_come() -> None:
    """What a node exports is asked for by the user's own id, which the token says, not the request."""
    asked: list[str] = []
    async with operated(1) as at:
        phone = await at.street.scenes[0].served()
        node = at.street.scenes[0].node
        holdings = NodeHoldings(node, named, lambda _: [])

        async def note(order: object) -> Page:
            asked.append(getattr(order, "subject", ""))
            return await holdings.export(order)  # type: ignore[arg-type]  # an order, as it came

        node.orders.learn("export", note)
        await OwnDataExport(node.orders, at.street.clock).of(phone.ticket)
        assert asked == [f"{phone.ticket.user.site}:{phone.ticket.user.key}"]
        assert phone.ticket.user == user(1)
