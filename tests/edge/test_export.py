"""Export of a user: all categories, from all nodes, without secrets and without data of others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway.core.element import Element
from gateway.core.ledger import Ledger
from gateway.domain.commands import AcknowledgeNotice, Call, Outcome, Status
from gateway.domain.model import Application, NodeId, Scope, UserId
from gateway.domain.resources import Agent, Handling, Me, Queue, Resource, RoutingState, Site
from gateway.edge.export import (
    ASKED_BURST,
    OF_OTHERS,
    NodeHoldings,
    OwnDataExport,
    _shown,
    export,
    pick,
    user_of,
)
from gateway.protocol.bodies import ExportBody, write_body
from gateway.protocol.envelopes import Order
from gateway.protocol.schemas import inventory
from gateway.runtime.cluster_receiver import Page
from gateway.runtime.command_execution import OutcomeWaiter
from tests.doubles.clock import ManualClock
from tests.doubles.kept import kept
from tests.edge.operated import LINE, named, operated
from tests.edge.visits import ticket_of
from tests.runtime.scene import Scene, scene, user

MIRROR: dict[str, Resource] = {
    "me": Me(user_id="7", display_name="Ann", remote_number="+4989123"),
    "agent:5": Agent(
        display_name="Ann",
        routing_state=RoutingState.WORK,
        handling=(Handling(contact_id="c1", state="talking"),),
    ),
    "queue:1": Queue(name="Sales", contacts_waiting=3),
    "site": Site(extensions_version="V2R1"),
}


@pytest.fixture
async def at() -> AsyncIterator[Scene]:
    async with kept(scene()) as made:
        yield made


def exported(mirror: dict[str, Resource]) -> bytes:
    return b"".join(export(ticket_of(ManualClock()), mirror, address="192.0.2.1", at_ms=5))


def body_of(mirror: dict[str, Resource]) -> ExportBody:
    return TypeAdapter(ExportBody).validate_json(exported(mirror))


def held(category: str) -> tuple[dict[str, Any], ...]:
    return {entry.category: entry.held for entry in body_of(MIRROR).entries}[category]


def test_every_category_of_the_inventory_is_there_once_and_in_order() -> None:
    body = body_of({})
    assert [entry.category for entry in body.entries] == [entry.category for entry in inventory().entries]
    assert (body.user.user_id, body.at_ms) == ("7", 5)


def test_every_field_of_the_mirror_is_in_one_category_and_what_is_beside_it_is_shown() -> None:
    realtime = held("agent.realtime")
    assert (realtime[0]["key"], realtime[0]["routing_state"]) == ("agent:5", "work")
    assert realtime[0]["handling"][0]["state"] == "talking"
    assert held("agent.personal")[0]["display_name"] == "Ann"
    assert held("queue.realtime") == ({"key": "queue:1", "contacts_waiting": 3},)
    assert held("queue.neutral") == ({"key": "queue:1", "name": "Sales"},)
    assert held("site.neutral") == ({"key": "site", "extensions_version": "V2R1"},)
    assert held("remote_number") == ({"remote_number": "+4989123"},)
    assert held("connection") == ({"network_address": "192.0.2.1"},)
    assert held("device") == ({"device.id": "d1", "device.name": "one"},)
    assert held("log_on") == ()
    token = next(entry for entry in inventory().entries if entry.category == "token")
    assert set(held("token")[0]) == set(token.fields)


def test_an_export_is_written_as_all_bodies_are_in_small_pieces_and_without_the_secret() -> None:
    assert exported(MIRROR) == write_body(body_of(MIRROR))
    assert exported({}) == write_body(body_of({}))
    mirror: dict[str, Resource] = {f"queue:{number}": Queue(name="Sales") for number in range(100)}
    pieces = list(export(ticket_of(ManualClock()), mirror, address="192.0.2.1", at_ms=5))
    assert max(piece.count(b'"key"') for piece in pieces) == 1
    assert b"SECRET" not in exported(MIRROR)


@pytest.mark.parametrize(
    ("paths", "picked"),
    [
        (["a"], {"a": 1}),
        (["b.c"], {"b": {"c": 2}}),
        (["d[].e", "d[].f"], {"d": [{"e": 3}, {"e": 4, "f": 5}]}),
        (["missing", "missing.deeper", "a.deeper"], {}),
        (["b"], {"b": {"c": 2, "x": 9}}),
    ],
)
def test_paths_lead_to_what_they_name(paths: list[str], picked: dict[str, Any]) -> None:
    value = {"a": 1, "b": {"c": 2, "x": 9}, "d": [{"e": 3, "g": 0}, {"e": 4, "f": 5}]}
    assert pick(value, [path.split(".") for path in paths]) == picked


# ---- export over all nodes ----


TICKET = ticket_of(ManualClock())
OWN = f"agent:{TICKET.user.key}"


def shown(name: str, **held: object) -> object:
    record = {"name": name, "category": name.partition("|")[0], "held": held}
    return _shown(record, TICKET)


async def test_what_another_node_holds_is_reported_by_the_one_that_was_asked() -> None:
    async with operated(2) as at:
        phone = await at.nodes.scenes[1].served(device="d1")
        other = await at.nodes.scenes[0].served(device="d0")
        await at.nodes.pass_time(1)
        received = await OwnDataExport(at.nodes.scenes[0].node.orders, at.nodes.clock).of(other.ticket)
        assert received.complete
        (token,) = (each for each in received.held["token"] if each["session_id"] == phone.ticket.session)
        assert token["node"] == "n1"
        assert {each["device.id"] for each in received.held["device"]} == {"d1"}, "its own it knows itself"


async def test_a_node_that_is_not_reached_is_said_to_be_missing() -> None:
    async with operated(2) as at:
        phone = await at.nodes.scenes[0].served()
        at.nodes.trouble.take_away(0)
        received = await OwnDataExport(at.nodes.scenes[0].node.orders, at.nodes.clock).of(phone.ticket)
        assert not received.complete


async def test_asking_others_is_rationed() -> None:
    async with operated(1) as at:
        phone = await at.nodes.scenes[0].served()
        own = OwnDataExport(at.nodes.scenes[0].node.orders, at.nodes.clock)
        received = [await own.of(phone.ticket) for _ in range(ASKED_BURST + 1)]
        assert [each.complete for each in received] == [*[True] * ASKED_BURST, False]
        await at.nodes.pass_time(1)
        assert (await own.of(phone.ticket)).complete


def test_of_other_nodes_everybody_gets_what_is_about_them_once_and_numbers_masked() -> None:
    assert shown(f"agent.personal|{OWN}", key=OWN, display_name="A") == {"key": OWN, "display_name": "A"}
    assert shown("agent.personal|agent:99", key="agent:99", display_name="B") is None
    assert shown("agent.personal|others", key="agent:*", others=3) is None
    assert shown("queue.realtime|queue:1", key="queue:1", contacts_waiting=3) is None
    assert shown("catalogue:skills.neutral|catalogue:skills", key="catalogue:skills") is None
    own, other = f"remote_number|{TICKET.handle}", "remote_number|00ff"
    assert shown(own, remote_number="+4989123") == {"remote_number": "+4989123"}
    assert shown(other, remote_number="+4989123") == {"remote_number": "*****123"}
    assert shown("me.personal|me:00ff", key="me", remote_number="+4989123") == {
        "key": "me",
        "remote_number": "*****123",
    }
    assert shown(f"token|{TICKET.handle}", session_id="s") is None
    assert shown(f"connection|{TICKET.handle}", network_address="192.0.2.1") is not None
    assert shown("session_log|n0.5", lasted_s=1) == {"lasted_s": 1}


async def test_a_record_of_somebody_else_cannot_come() -> None:
    """What a node exports is asked for by the user's own id, which the token says, not the request."""
    asked: list[str] = []
    async with operated(1) as at:
        phone = await at.nodes.scenes[0].served()
        node = at.nodes.scenes[0].node
        holdings = NodeHoldings(node, named, lambda _: [])

        async def note(order: object) -> Page:
            asked.append(getattr(order, "subject", ""))
            return await holdings.export(order)  # type: ignore[arg-type]  # an order, as it came

        node.orders.register("export", note)
        await OwnDataExport(node.orders, at.nodes.clock).of(phone.ticket)
        assert asked == [f"{phone.ticket.user.site}:{phone.ticket.user.key}"]
        assert phone.ticket.user == user(1)


# ---- export of a user ----


ASSISTANT = Application.REMOTE_ASSISTANT
NEVER_HELD = {
    "log_on",  # one request long
    "failed_log_ons",  # as hashes of names that nobody keeps
    "known_devices",  # likewise
    "audit_log",  # by the log's keeper
    "asterisk_database",  # by the Asterisk
    "people_file",  # by the administrator
    "support_bundle",  # by the holder of the file
    "traces",  # of nobody by name
    "remembered_ids",  # of nobody in particular
    "connection",  # of a socket; here there is none
}


def order(after: str, most: int) -> Order:
    return Order(NodeId("n"), 1, "export", "main:7", after, most)


def ledger(at: Scene, key: int) -> Ledger:
    home = at.node.user_states.get(user(key))
    assert home is not None
    return home.feed.ledger


async def all_pages(at: Scene, subject: str, most: int = 1000) -> dict[str, list[dict[str, Any]]]:
    """Return what is exported, by category, however many pages it takes."""
    holdings = NodeHoldings(at.node, named, lambda user: [LINE] if user == LINE["user"] else [])
    found: dict[str, list[dict[str, Any]]] = {}
    after, more = "", True
    while more:
        page = await holdings.export(Order(NodeId("n"), 1, "export", subject, after, most))
        for record in page.records:
            found.setdefault(record["category"], []).append(record["held"])
        after, more = page.records[-1]["name"] if page.records else "", page.more
    return found


def test_a_user_is_named_by_site_and_key() -> None:
    assert user_of("main:4711") == UserId("main", 4711)
    assert [user_of(text) for text in ("main", "main:", "main:x", "main:²", f"main:{'1' * 17}")] == [None] * 5


async def test_every_category_that_can_be_held_is_held_and_named_in_the_inventory(at: Scene) -> None:
    phone = await at.served("bert", ASSISTANT, number="+4930123456")
    over = await at.served("bert", device="d2")
    await at.node.account.log_off(over.ticket)
    calls = at.node.command_history.of(user(7))
    assert calls is not None
    for key in ("k1", "k2"):
        call = Call(key, "s", AcknowledgeNotice("n", 1), None, retry=False, deadline_ms=0)
        calls.begin(call, OutcomeWaiter("s", lambda _: None), at.clock.now(), 1)
    calls.settle("k1", Outcome(Status.APPLIED), at.clock.now())
    at.node.number_changes.take(user(7), at.clock.now())
    found = await all_pages(at, "main:7")
    known = {entry.category for entry in inventory().entries}
    assert found.keys() <= known
    beside = {category for category in known if "." not in category}
    assert beside - found.keys() == NEVER_HELD | {"session_log", "pending_log_offs"}
    assert found["number_changes"] == [{"user_id": "7", "changed_at": at.clock.wall_ms()}]
    place = {"user_hash": named(user(7)), "node": "n1", "epoch": at.owner(7).epoch}
    assert found["places_in_the_cluster"] == [place]
    (token,) = (each for each in found["token"] if each["session_id"] == phone.ticket.session)
    assert token["session_secret"] == "held, never shown"
    assert found["remote_number"] == [{"remote_number": "+4930123456"}]
    assert found["device"] == [{"device.id": "d1", "device.name": "Phone"}]
    (ended,) = found["ended_sessions"]
    assert (ended["reason"], ended["by"]) == ("logged_off", "self")
    assert ended["session_hash"] not in {over.ticket.handle, over.ticket.session}
    outcomes = {each["key"]: each["outcome"] for each in found["command_outcomes"]}
    assert outcomes == {"k1": "applied", "k2": "in_flight"}
    assert phone.ticket.secret not in json.dumps(found)


async def test_lines_of_the_users_connections_are_part_of_it(at: Scene) -> None:
    assert await all_pages(at, "main:1") == {"session_log": [LINE]}
    assert await all_pages(at, "main:2") == {}


async def test_of_other_agents_it_is_only_said_how_many_there_are(at: Scene) -> None:
    await at.served()
    found = await all_pages(at, "main:1")
    assert found["agent.personal"] == [{"key": "agent:*", "others": 2}]
    assert not {"Bert", "Cora"} & set(json.dumps(found).split('"'))
    assert [each["key"] for each in found["queue.realtime"]] == ["queue:5"]


async def test_what_others_see_of_him_is_his_though_he_is_not_here(at: Scene) -> None:
    await at.served()
    found = await all_pages(at, "main:7")
    (bert,) = found["agent.personal"]
    assert (bert["key"], bert["held_in"], bert["display_name"]) == ("agent:7", OF_OTHERS, "Bert")
    assert found["agent.realtime"][0]["routing_state"] == "available"
    assert await all_pages(at, "elsewhere:7") == {}


async def test_his_own_sight_of_himself_is_his(at: Scene) -> None:
    await at.served("bert", ASSISTANT, number="1234")
    found = await all_pages(at, "main:7")
    assert [each["user_id"] for each in found["me.personal"]] == ["7"]


async def test_a_log_off_that_nobody_confirmed_is_still_held(at: Scene) -> None:
    phone = await at.served("bert", ASSISTANT, number="1234")
    at.upstream.unreachable = True
    await at.node.account.log_off(phone.ticket)
    await at.clock.settle()
    assert user(7) not in at.node.user_states
    found = await all_pages(at, "main:7")
    assert found["pending_log_offs"] == [
        {
            "site": "main",
            "user_id": "7",
            "session_secret": "held, never shown",
            "session_id": phone.ticket.session,
        }
    ]
    assert "token" not in found


@pytest.mark.parametrize("most", [1, 3])
async def test_pages_leave_nothing_out(at: Scene, most: int) -> None:
    await at.served()
    await at.served("bert", ASSISTANT, number="1234")
    for subject in ("main:1", "main:7"):
        assert await all_pages(at, subject, most) == await all_pages(at, subject)


# ---- while pages are asked for, others come and go ----


async def seen_by_three(at: Scene) -> NodeHoldings:
    """Have agent 7 seen by users 1, 2 and 3; the last of them has older news of him."""
    for key, login in ((2, "dora"), (3, "emil")):
        at.upstream.add_user(key, login, scope=Scope(agents=frozenset({7})))
    for login in ("anna", "dora", "emil"):
        await at.served(login)
    ledger(at, 3).record("agent:7", Element(Agent(display_name="Bertold")))
    return NodeHoldings(at.node, named, lambda _: [])


async def test_what_others_hold_alike_is_reported_once(at: Scene) -> None:
    await seen_by_three(at)
    found = await all_pages(at, "main:7")
    assert sorted(each["display_name"] for each in found["agent.personal"]) == ["Bert", "Bertold"]


@pytest.mark.parametrize(("most", "gone"), [(1, (1,)), (2, (1, 2)), (3, (1, 2)), (4, (1,)), (7, (1, 2))])
async def test_who_leaves_between_pages_takes_no_record(at: Scene, most: int, gone: tuple[int, ...]) -> None:
    holdings = await seen_by_three(at)
    first = await holdings.export(order("", most))
    for key in gone:
        ledger(at, key).record("agent:7", None)
    rest = await holdings.export(order(first.records[-1]["name"], 1000))
    received = [*first.records, *rest.records]
    assert "Bertold" in {each["held"].get("display_name") for each in received}
    assert len({each["name"] for each in received}) == len(received)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7])
async def test_who_comes_between_two_pages_hides_nobodys_record(at: Scene, most: int) -> None:
    holdings = await seen_by_three(at)
    bertold = ledger(at, 3).get("agent:7")
    assert bertold is not None
    first = await holdings.export(order("", most))
    ledger(at, 1).record("agent:7", bertold)
    rest = await holdings.export(order(first.records[-1]["name"], 1000))
    received = [each["held"].get("display_name") for each in (*first.records, *rest.records)]
    assert "Bertold" in received


async def test_changes_of_a_number_at_the_same_instant_are_both_reported(at: Scene) -> None:
    for _ in range(2):
        at.node.number_changes.take(user(7), at.clock.now())
    assert len((await all_pages(at, "main:7", 1))["number_changes"]) == 2
