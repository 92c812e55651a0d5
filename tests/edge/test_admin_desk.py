"""Admin API: answers of all nodes are merged, also incomplete ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge import export
from gateway.edge.admin import ClusterOperations
from gateway.protocol.bodies import DoneBody, KeptOld, Unreached
from gateway.protocol.envelopes import Order, Report
from gateway.runtime.cluster_receiver import ANSWER_S, Page
from tests.edge.operated import ACT_ID, named, operated
from tests.runtime.street import Street

SESSION = {
    "user": "0" * 16, "site": "main", "application": "dashboard", "owner": "n0", "node": None,
    "attached": False, "expires_at_ms": 5,
}  # fmt: skip
ENDED = {"user": "0" * 16, "application": "dashboard", "by_node": "n0"}


def says(at: Street, node: int, act: str, *records: dict[str, Any], more: bool = False) -> None:

    async def obey(order: Order) -> Page:
        return Page(records, more)

    at.scenes[node].node.orders.learn(act, obey)


def desk_of(at: Street) -> ClusterOperations:
    return ClusterOperations(at.scenes[0].node, named, ACT_ID)


async def test_of_two_who_list_the_same_session_the_one_with_its_link_is_right() -> None:
    async with operated(2) as at:
        for attached in (0, 1):
            for node in (0, 1):
                record = {**SESSION, "id": "s", "owner": f"n{node}", "attached": node == attached}
                says(at.street, node, "sessions", record)
            body = await desk_of(at.street).sessions(10, "")
            assert [one.owner for one in body.sessions] == [f"n{attached}"]
            assert body.next is None


async def test_a_page_ends_where_no_node_knows_of_something_between() -> None:
    async with operated(2) as at:
        says(at.street, 0, "sessions", {**SESSION, "id": "a"}, {**SESSION, "id": "c"}, more=True)
        says(at.street, 1, "sessions", {**SESSION, "id": "b"}, {**SESSION, "id": "d"})
        body = await desk_of(at.street).sessions(2, "")
        assert ([one.id for one in body.sessions], body.next) == (["a", "b"], "b")


async def test_a_node_of_a_later_version_may_say_more_and_one_that_says_less_is_named() -> None:
    async with operated(2) as at:
        says(at.street, 0, "sessions", {**SESSION, "id": "a", "colour": "red"})
        says(at.street, 1, "sessions", {"id": "b"})
        body = await desk_of(at.street).sessions(10, "")
        assert [one.id for one in body.sessions] == ["a"]
        assert body.unreached == (Unreached("n1", "refused"),)


async def test_one_confirmation_is_enough() -> None:
    async with operated(2) as at:
        says(at.street, 0, "end_session", {**ENDED, "id": "s", "confirmed": True})
        says(at.street, 1, "end_session", {**ENDED, "id": "s", "confirmed": False})
        body = await desk_of(at.street).end_session("s")
        assert [(one.id, one.confirmed) for one in body.ended] == [("s", True)]


async def test_an_export_goes_on_until_a_node_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with operated(1) as at:
        monkeypatch.setattr(export, "PAGE", 2)
        await at.street.scenes[0].served()
        whole = await desk_of(at.street).export("main:1")
        monkeypatch.setattr(export, "PAGE", 500)
        assert whole == await desk_of(at.street).export("main:1")
        assert whole.complete
        monkeypatch.setattr(export, "PAGE", 2)
        monkeypatch.setattr(export, "PAGES_MAX", 2)
        part = await desk_of(at.street).export("main:1")
        assert not part.complete
        assert sum(len(entry.held) for entry in part.entries) == 4


async def test_an_export_says_which_node_did_not_answer() -> None:
    async with operated(3) as at:
        await at.street.scenes[0].served()
        await at.street.kill(2)
        body = await desk_of(at.street).export("main:1")
        assert (body.complete, body.nodes) == (False, ("n0", "n1"))
        assert body.unreached == (Unreached("n2", "not_heard"),)


async def test_a_node_that_keeps_something_old_has_not_done_it() -> None:
    async with operated(3) as at:
        says(at.street, 1, "reload", {"kept": "keys"}, {"kept": "certificate"})
        await at.street.kill(2)
        body = await desk_of(at.street).everywhere("reload", "", None)
        unreached = (Unreached("n2", "not_heard"),)
        assert body == DoneBody(("n0",), unreached, (KeptOld("n1", ("keys", "certificate")),))
        assert await desk_of(at.street).everywhere("reload", "", "n0") == DoneBody(("n0",), ())
        alone = await desk_of(at.street).everywhere("reload", "", "n1")
        assert (alone.nodes, alone.unreached) == ((), ())


async def test_what_no_node_does_is_an_error() -> None:
    async with operated(2) as at:
        await at.street.kill(1)
        with pytest.raises(GatewayError) as refused:
            await desk_of(at.street).everywhere("reload", "", "n1")
        assert refused.value.code is ErrorCode.BUS_DOWN
        assert refused.value.message == "n1 does not answer: it has ended, or does not reach Redis."
        assert refused.value.details == {"unreached": [{"node": "n1", "reason": "not_heard"}]}


async def test_a_node_that_cannot_be_asked_is_reported_out_of_reach() -> None:
    async with operated(2) as at:
        at.street.trouble.take_away(0)
        await at.street.pass_time(5)
        with pytest.raises(
            GatewayError, match=r"This node does not reach Redis, and so does not reach n1\."
        ) as refused:
            await desk_of(at.street).drain("n1")
        assert refused.value.code is ErrorCode.BUS_DOWN


async def test_a_node_that_refuses_or_says_nothing_is_reported_as_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with operated(2) as at:
        orders = at.street.scenes[1].node.orders
        monkeypatch.delitem(orders._known, "drain")
        with pytest.raises(GatewayError, match=r"n1 does not support this request\."):
            await desk_of(at.street).drain("n1")
        at.street.trouble.lose = lambda *received: isinstance(received[-1], Report)
        received: list[str] = []

        async def ask() -> None:
            try:
                await desk_of(at.street).drain("n1")
            except GatewayError as refused:
                received.append(refused.message)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask())
            await at.street.pass_time(ANSWER_S + 1)
        assert received == ["n1 did not confirm in time. Check its state before you repeat the request."]
