"""Does what an operator asks reach every node, and is each answered for?"""

from __future__ import annotations

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import Order
from gateway.runtime.cluster_receiver import ANSWER_S, NodeAnswer, Page
from tests.runtime.street import Street, street

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")


def asks(subject: str = "") -> Order:
    return Order(NodeId(""), 0, "name", subject, "after", 3)


def teach(at: Street) -> list[tuple[int, Order]]:
    """Have every node know one act; returns what each was asked."""
    asked: list[tuple[int, Order]] = []
    for number, scene in enumerate(at.scenes):

        async def name(order: Order, number: int = number) -> Page:
            asked.append((number, order))
            if order.subject == f"n{number}":
                raise GatewayError(ErrorCode.BUSY, "Not now.")
            return Page(({"at": number},), more=number == 1)

        scene.node.orders.learn("name", name)
    return asked


async def answers(at: Street, order: Order, *, within_s: float = ANSWER_S, by: int = 0) -> list[NodeAnswer]:
    orders = at.scenes[by].node.orders
    asking = at.scenes[by].tasks.create_task(orders.ask(order, orders.nodes, within_s))
    await at.clock.advance(within_s + 1)
    return await asking


async def test_every_node_is_asked_and_answers() -> None:
    async with street(3) as at:
        asked = teach(at)
        assert at.scenes[1].node.orders.nodes == (N1, N0, N2)
        told = await answers(at, asks())
        assert told == [
            NodeAnswer(N0, Page(({"at": 0},))),
            NodeAnswer(N1, Page(({"at": 1},), more=True)),
            NodeAnswer(N2, Page(({"at": 2},))),
        ]
        (order,) = [order for number, order in asked if number == 2]
        assert (order.node, order.act, order.after, order.most) == (N0, "name", "after", 3)


async def test_one_may_be_asked_alone_and_only_once() -> None:
    async with street(3) as at:
        asked = teach(at)
        asking = at.scenes[0].tasks.create_task(at.scenes[0].node.orders.ask(asks(), [N2, N2]))
        await at.clock.settle()
        assert await asking == [NodeAnswer(N2, Page(({"at": 2},)))]
        assert len(asked) == 1


async def test_a_node_that_is_gone_is_said_to_be_so() -> None:
    async with street(2) as at:
        teach(at)
        await at.kill(1)
        told = await answers(at, asks())
        assert [(one.node, one.trouble) for one in told] == [(N0, None), (N1, "not_heard")]


async def test_a_node_that_is_silent_is_waited_for_so_long_and_no_longer() -> None:
    async with street(2) as at:
        teach(at)

        async def dream(order: Order) -> Page:
            await at.clock.sleep(60)
            return Page()

        at.scenes[1].node.orders.learn("name", dream)
        began = at.clock.now()
        orders = at.scenes[0].node.orders
        asking = at.scenes[0].tasks.create_task(orders.ask(asks(), orders.nodes))
        await at.clock.advance(ANSWER_S - 0.1)
        assert not asking.done()
        await at.clock.advance(0.2)
        assert [one.trouble for one in await asking] == [None, "no_answer"]
        assert at.clock.now() - began < ANSWER_S + 1


async def test_without_the_bus_this_node_still_answers() -> None:
    async with street(2) as at:
        teach(at)
        at.trouble.take_away(0)
        told = await answers(at, asks())
        assert [(one.page.records, one.trouble) for one in told] == [(({"at": 0},), None), ((), "bus_down")]


async def test_a_node_that_refuses_is_told_from_one_that_is_not_reached() -> None:
    async with street(2) as at:
        teach(at)
        assert [one.trouble for one in await answers(at, asks("n1"))] == [None, "refused"]


async def test_what_this_node_refuses_is_raised_when_the_others_were_asked() -> None:
    async with street(2) as at:
        asked = teach(at)
        orders = at.scenes[0].node.orders
        with pytest.raises(GatewayError, match="Not now"):
            await orders.ask(asks("n0"), orders.nodes)
        assert [number for number, _ in asked] == [0, 1]


async def test_an_act_that_a_node_does_not_know_is_refused() -> None:
    async with street(2) as at:
        orders = at.scenes[0].node.orders
        with pytest.raises(GatewayError) as refused:
            await orders.ask(Order(NodeId(""), 0, "dance"), [N0])
        assert refused.value.code is ErrorCode.NOT_FOUND
        assert [one.trouble for one in await orders.ask(Order(NodeId(""), 0, "dance"), [N1])] == ["refused"]


async def test_a_fault_over_an_order_ends_the_order_and_nothing_else() -> None:
    async with street(2) as at:
        teach(at)

        async def fail(order: Order) -> Page:
            raise ValueError("seeded")

        at.scenes[1].node.orders.learn("name", fail)
        assert [one.trouble for one in await answers(at, asks())] == [None, "no_answer"]
        teach(at)
        assert [one.trouble for one in await answers(at, asks())] == [None, None]
