"""Export of a user: all that a node holds of them, and nothing of others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.commands import fingerprint
from gateway.core.element import Element
from gateway.core.ledger import Ledger
from gateway.domain.commands import AcknowledgeNotice, Outcome, Status
from gateway.domain.model import Application, NodeId, Scope, UserId
from gateway.domain.resources import Agent
from gateway.edge.export import OF_OTHERS, NodeHoldings, user_of
from gateway.protocol.envelopes import Order
from gateway.protocol.schemas import inventory
from tests.edge.operated import LINE, named
from tests.runtime.scene import Scene, scene, user

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


async def held(at: Scene, subject: str, most: int = 1000) -> dict[str, list[dict[str, Any]]]:
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


async def test_every_category_that_can_be_held_is_held_and_named_in_the_inventory() -> None:
    async with scene() as at:
        phone = await at.served("bert", ASSISTANT, number="+4930123456")
        over = await at.served("bert", device="d2")
        await at.node.account.log_off(over.ticket)
        calls = at.node.command_history.of(user(7))
        assert calls is not None
        command = fingerprint(AcknowledgeNotice("n", 1))
        for key in ("k1", "k2"):
            calls.begin(
                key,
                command,
                lambda _: None,
                at.clock.now(),
                session="s",
                retry=False,
                stream_epoch=None,
                epoch=1,
            )
        calls.settle("k1", Outcome(Status.APPLIED), at.clock.now())
        at.node.number_changes.take(user(7), at.clock.now())
        found = await held(at, "main:7")
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


async def test_lines_of_the_users_connections_are_part_of_it() -> None:
    async with scene() as at:
        assert await held(at, "main:1") == {"session_log": [LINE]}
        assert await held(at, "main:2") == {}


async def test_of_other_agents_it_is_only_said_how_many_there_are() -> None:
    async with scene() as at:
        await at.served()
        found = await held(at, "main:1")
        assert found["agent.personal"] == [{"key": "agent:*", "others": 2}]
        assert not {"Bert", "Cora"} & set(json.dumps(found).split('"'))
        assert [each["key"] for each in found["queue.realtime"]] == ["queue:5"]


async def test_what_others_see_of_him_is_his_though_he_is_not_here() -> None:
    async with scene() as at:
        await at.served()
        found = await held(at, "main:7")
        (bert,) = found["agent.personal"]
        assert (bert["key"], bert["held_in"], bert["display_name"]) == ("agent:7", OF_OTHERS, "Bert")
        assert found["agent.realtime"][0]["routing_state"] == "available"
        assert await held(at, "elsewhere:7") == {}


async def test_his_own_sight_of_himself_is_his() -> None:
    async with scene() as at:
        await at.served("bert", ASSISTANT, number="1234")
        found = await held(at, "main:7")
        assert [each["user_id"] for each in found["me.personal"]] == ["7"]


async def test_a_log_off_that_nobody_confirmed_is_still_held() -> None:
    async with scene() as at:
        phone = await at.served("bert", ASSISTANT, number="1234")
        at.upstream.unreachable = True
        await at.node.account.log_off(phone.ticket)
        await at.clock.settle()
        assert user(7) not in at.node.user_states
        found = await held(at, "main:7")
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
async def test_pages_leave_nothing_out(most: int) -> None:
    async with scene() as at:
        await at.served()
        await at.served("bert", ASSISTANT, number="1234")
        for subject in ("main:1", "main:7"):
            assert await held(at, subject, most) == await held(at, subject)


# ---- while pages are asked for, others come and go ----


async def seen_by_three(at: Scene) -> NodeHoldings:
    """Have agent 7 seen by users 1, 2 and 3; the last of them has older news of him."""
    for key, login in ((2, "dora"), (3, "emil")):
        at.upstream.add_user(key, login, scope=Scope(agents=frozenset({7})))
    for login in ("anna", "dora", "emil"):
        await at.served(login)
    ledger(at, 3).record("agent:7", Element(Agent(display_name="Bertold")))
    return NodeHoldings(at.node, named, lambda _: [])


async def test_what_others_hold_alike_is_reported_once() -> None:
    async with scene() as at:
        await seen_by_three(at)
        found = await held(at, "main:7")
        assert sorted(each["display_name"] for each in found["agent.personal"]) == ["Bert", "Bertold"]


@pytest.mark.parametrize(("most", "gone"), [(1, (1,)), (2, (1, 2)), (3, (1, 2)), (4, (1,)), (7, (1, 2))])
async def test_who_leaves_between_two_pages_takes_nobodys_record_along(
    most: int, gone: tuple[int, ...]
) -> None:
    async with scene() as at:
        holdings = await seen_by_three(at)
        first = await holdings.export(order("", most))
        for key in gone:
            ledger(at, key).record("agent:7", None)
        rest = await holdings.export(order(first.records[-1]["name"], 1000))
        received = [*first.records, *rest.records]
        assert "Bertold" in {each["held"].get("display_name") for each in received}
        assert len({each["name"] for each in received}) == len(received)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7])
async def test_who_comes_between_two_pages_hides_nobodys_record(most: int) -> None:
    async with scene() as at:
        holdings = await seen_by_three(at)
        bertold = ledger(at, 3).get("agent:7")
        assert bertold is not None
        first = await holdings.export(order("", most))
        ledger(at, 1).record("agent:7", bertold)
        rest = await holdings.export(order(first.records[-1]["name"], 1000))
        received = [each["held"].get("display_name") for each in (*first.records, *rest.records)]
        assert "Bertold" in received


async def test_changes_of_a_number_at_the_same_instant_are_both_reported() -> None:
    async with scene() as at:
        for _ in range(2):
            at.node.number_changes.take(user(7), at.clock.now())
        assert len((await held(at, "main:7", 1))["number_changes"]) == 2
