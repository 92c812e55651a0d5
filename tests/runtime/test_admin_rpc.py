"""Admin requests reach every node, and each node's answer is reported."""

from __future__ import annotations

import pytest

from gateway.domain.errors import CloseCode, ErrorCode, GatewayError
from gateway.domain.model import Application, NodeId, UserId
from gateway.domain.upstream import LoggedOff
from gateway.edge.export import BY, CONFIRM_S, ENDED_WITHIN_S, AdminUsers
from gateway.protocol.envelopes import Order
from gateway.runtime.cluster_receiver import ORDER_ANSWER_S, NodeAnswer, Page
from tests.runtime.followed import followed
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import FakePhone, Scene

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")


def asks(subject: str = "") -> Order:
    return Order(NodeId(""), 0, "name", subject, "after", 3)


def register_orders(at: Nodes) -> list[tuple[int, Order]]:
    """Have every node know one act; returns what each was asked."""
    asked: list[tuple[int, Order]] = []
    for number, each in enumerate(at.scenes):

        async def name(order: Order, number: int = number) -> Page:
            asked.append((number, order))
            if order.subject == f"n{number}":
                raise GatewayError(ErrorCode.BUSY, "Not now.")
            return Page(({"at": number},), more=number == 1)

        each.node.orders.register("name", name)
    return asked


async def answers(
    at: Nodes, order: Order, *, within_s: float = ORDER_ANSWER_S, by: int = 0
) -> list[NodeAnswer]:
    orders = at.scenes[by].node.orders
    asking = at.scenes[by].tasks.create_task(orders.ask(order, orders.nodes, within_s))
    await at.clock.advance(within_s + 1)
    return await asking


async def test_every_node_or_one_alone_is_asked_once_and_answers() -> None:
    async with open_nodes(3) as at:
        asked = register_orders(at)
        assert at.scenes[1].node.orders.nodes == (N1, N0, N2)
        received = await answers(at, asks())
        assert received == [
            NodeAnswer(N0, Page(({"at": 0},))),
            NodeAnswer(N1, Page(({"at": 1},), more=True)),
            NodeAnswer(N2, Page(({"at": 2},))),
        ]
        (order,) = [order for number, order in asked if number == 2]
        assert (order.node, order.act, order.after, order.most) == (N0, "name", "after", 3)
        asked.clear()
        asking = at.scenes[0].tasks.create_task(at.scenes[0].node.orders.ask(asks(), [N2, N2]))
        await at.clock.settle()
        assert await asking == [NodeAnswer(N2, Page(({"at": 2},)))]
        assert len(asked) == 1


async def test_a_node_that_is_gone_is_said_to_be_so(at: Nodes) -> None:
    register_orders(at)
    await at.kill(1)
    received = await answers(at, asks())
    assert [(one.node, one.trouble) for one in received] == [(N0, None), (N1, "not_heard")]


async def test_a_node_that_is_silent_is_waited_for_so_long_and_no_longer(at: Nodes) -> None:
    register_orders(at)

    async def dream(order: Order) -> Page:
        await at.clock.sleep(60)
        return Page()

    at.scenes[1].node.orders.register("name", dream)
    began = at.clock.now()
    orders = at.scenes[0].node.orders
    asking = at.scenes[0].tasks.create_task(orders.ask(asks(), orders.nodes))
    await at.clock.advance(ORDER_ANSWER_S - 0.1)
    assert not asking.done()
    await at.clock.advance(0.2)
    assert [one.trouble for one in await asking] == [None, "no_answer"]
    assert at.clock.now() - began < ORDER_ANSWER_S + 1


async def test_without_the_bus_this_node_still_answers(at: Nodes) -> None:
    register_orders(at)
    at.trouble.take_away(0)
    received = await answers(at, asks())
    assert [(one.page.records, one.trouble) for one in received] == [(({"at": 0},), None), ((), "bus_down")]


async def test_what_another_node_refuses_is_named_and_what_this_one_refuses_is_raised(at: Nodes) -> None:
    register_orders(at)
    assert [one.trouble for one in await answers(at, asks("n1"))] == [None, "refused"]
    asked = register_orders(at)
    orders = at.scenes[0].node.orders
    with pytest.raises(GatewayError, match="Not now"):
        await orders.ask(asks("n0"), orders.nodes)
    assert [number for number, _ in asked] == [0, 1]


async def test_an_unknown_act_is_refused_and_a_fault_over_one_order_ends_nothing_else(at: Nodes) -> None:
    orders = at.scenes[0].node.orders
    with pytest.raises(GatewayError) as refused:
        await orders.ask(Order(NodeId(""), 0, "dance"), [N0])
    assert refused.value.code is ErrorCode.NOT_FOUND
    assert [one.trouble for one in await orders.ask(Order(NodeId(""), 0, "dance"), [N1])] == ["refused"]
    register_orders(at)

    async def fail(order: Order) -> Page:
        raise ValueError("seeded")

    at.scenes[1].node.orders.register("name", fail)
    assert [one.trouble for one in await answers(at, asks())] == [None, "no_answer"]
    register_orders(at)
    assert [one.trouble for one in await answers(at, asks())] == [None, None]


# ---- an operator finds every session, and an end reaches the right one ----


ASSISTANT = Application.REMOTE_ASSISTANT
HERE = NodeId("n1")


def named(user: UserId) -> str:
    return f"hash of {user.key}"


def order(act: str, subject: str = "", after: str = "", most: int = 10) -> Order:
    return Order(HERE, 1, act, subject, after, most)


def people_of(at: Scene) -> AdminUsers:
    made = AdminUsers(at.node, named)
    made.register_orders()
    return made


async def everywhere(at: Nodes, asked: Order, by: int = 0) -> list[NodeAnswer]:
    for each in at.scenes:
        people_of(each)
    orders = at.scenes[by].node.orders
    asking = at.scenes[by].tasks.create_task(orders.ask(asked, orders.nodes, ENDED_WITHIN_S))
    await at.clock.settle()
    return await asking


def is_ended(phone: FakePhone) -> bool:
    return phone.closed is not None and (phone.closed.code, phone.closed.by) == (CloseCode.LOGGED_OFF, BY)


# ---- who is there ----


async def test_attached_sessions_are_listed_by_id_and_nobody_by_name(at: Scene) -> None:
    anna, bert = await at.served(), await at.served("bert", ASSISTANT, number="1234")
    await at.pass_time(1)
    page = await people_of(at).sessions(order("sessions"))
    assert page == Page(
        tuple(
            {
                "id": phone.ticket.session,
                "user": f"hash of {phone.ticket.user.key}",
                "site": "main",
                "application": phone.ticket.application.value,
                "owner": "n1",
                "node": "n1",
                "attached": True,
                "expires_at_ms": phone.ticket.expires_at_ms,
            }
            for phone in sorted((anna, bert), key=lambda each: each.ticket.session)
        )
    )


async def test_pages_follow_each_other_without_a_gap(at: Scene) -> None:
    for device in ("d1", "d2", "d3"):
        await at.served(device=device)
    people = people_of(at)
    first = await people.sessions(order("sessions", most=2))
    assert (len(first.records), first.more) == (2, True)
    rest = await people.sessions(order("sessions", after=first.records[-1]["id"], most=2))
    assert (len(rest.records), rest.more) == (1, False)
    ids = [record["id"] for record in (*first.records, *rest.records)]
    assert ids == sorted(set(ids))


async def test_a_session_whose_phone_left_is_listed_without_a_node_while_it_lingers(at: Scene) -> None:
    phone = await at.served()
    phone.bye()
    await at.pass_time(1)
    (record,) = (await people_of(at).sessions(order("sessions"))).records
    assert (record["node"], record["owner"]) == (None, "n1")


async def test_a_session_that_nobody_accepted_is_not_listed(at: Scene) -> None:
    at.upstream.unreachable = False
    phone = await at.phone("anna")
    at.upstream.unreachable = True
    await phone.connect()
    assert (await people_of(at).sessions(order("sessions"))).records == ()


async def test_where_the_phone_is_and_who_owns_its_user_are_distinguished(at: Nodes) -> None:
    _, far = await followed(at)
    near, there = await everywhere(at, order("sessions"), by=1)
    assert near.page.records == ()
    (record,) = (each for each in there.page.records if each["id"] == far.ticket.session)
    assert (record["owner"], record["node"]) == ("n0", "n1")


async def test_a_known_user_is_found_by_hash(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await at.served()
    monkeypatch.setattr("gateway.edge.export._SLICE", 1)
    people = people_of(at)
    assert (await people.whois(order("whois", "hash of 1"))).records == ({"site": "main", "key": 1},)
    assert (await people.whois(order("whois", "hash of 2"))).records == ()


async def test_of_a_session_that_has_ended_nobody_can_read_whose_it_was(at: Scene) -> None:
    phone = await at.phone("bert", ASSISTANT, number="1234")
    await at.node.account.log_off(phone.ticket)
    assert at.node.denied(phone.ticket) is not None
    assert await people_of(at).find("hash of 7") is None


# ---- ending ----


async def test_a_session_is_ended_and_no_other(at: Scene) -> None:
    phone, other = await at.served("bert", ASSISTANT, number="1234"), await at.served()
    (record,) = (await people_of(at).end_session(order("end_session", phone.ticket.session))).records
    assert record == {
        "id": phone.ticket.session,
        "user": "hash of 7",
        "application": "remote_assistant",
        "by_node": "n1",
        "confirmed": True,
    }
    assert is_ended(phone)
    assert other.closed is None
    assert at.upstream.routing == {}
    again = await at.again(phone)
    assert again.code == CloseCode.LOGGED_OFF


async def test_what_is_not_here_is_nothing_to_do_and_an_oscc_e_that_is_away_keeps_nobody(at: Scene) -> None:
    await at.served()
    assert await people_of(at).end_session(order("end_session", "nobody's")) == Page()
    assert await people_of(at).end_user(order("end_user", "nobody's")) == Page()
    phone = await at.served()
    at.upstream.unreachable = True
    (record,) = (await people_of(at).end_user(order("end_user", "hash of 1"))).records
    assert not record["confirmed"]
    assert is_ended(phone)


async def test_phones_are_notified_at_once_without_oscc_e(at: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = await at.served("bert", ASSISTANT, number="1234")

    async def never(_: object) -> LoggedOff:
        await at.clock.sleep(1_000)
        raise AssertionError

    monkeypatch.setattr(at.upstream, "log_off", never)
    ending = at.tasks.create_task(people_of(at).end_session(order("end_session", phone.ticket.session)))
    await at.clock.settle()
    assert is_ended(phone)
    await at.clock.advance(CONFIRM_S + 0.1)
    (record,) = (await ending).records
    assert not record["confirmed"]
    assert at.node.account.log_offs.pending == (phone.ticket,)


async def test_all_of_a_user_is_ended_also_what_only_oscc_e_knows_of(at: Scene) -> None:
    phone, other = await at.served(), await at.served(device="d2")
    sleeping, stranger = await at.phone("anna", device="d3"), await at.served("bert")
    page = await people_of(at).end_user(order("end_user", "hash of 1"))
    assert {(each["id"], each["confirmed"]) for each in page.records} == {
        (each.ticket.session, True) for each in (phone, other, sleeping)
    }
    assert is_ended(phone)
    assert is_ended(other)
    assert stranger.closed is None
    again = await at.again(sleeping)
    assert again.code == CloseCode.LOGGED_OFF


async def test_a_sleeping_session_that_oscc_e_does_not_end_is_said_to_be_unconfirmed(
    at: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, sleeping = await at.served(), await at.phone("anna", device="d3")
    end = at.upstream.end

    async def refuse(secret: object, session: object) -> LoggedOff:
        at.upstream.unreachable = True
        try:
            return await end(phone.ticket.secret, sleeping.ticket.session)
        finally:
            at.upstream.unreachable = False

    monkeypatch.setattr(at.upstream, "end", refuse)
    page = await people_of(at).end_user(order("end_user", "hash of 1"))
    assert {each["id"]: each["confirmed"] for each in page.records} == {
        phone.ticket.session: True,
        sleeping.ticket.session: False,
    }


async def test_an_end_reaches_phones_of_every_node_in_the_same_turn() -> None:
    async with open_nodes(3) as at:
        phones = [await at.served(node, device=f"d{node}") for node in (0, 1)]
        await at.pass_time(1)
        began = at.clock.now()
        received = await everywhere(at, order("end_user", "hash of 1"), by=2)
        assert at.clock.now() - began < 1.0
        assert [each.trouble for each in received] == [None] * 3
        assert all(map(is_ended, phones))
        ended = {record["id"] for each in received for record in each.page.records}
        assert ended == {phone.ticket.session for phone in phones}


async def test_a_node_with_the_phone_ends_it_though_the_owner_is_not_reached(at: Nodes) -> None:
    _, far = await followed(at)
    at.trouble.take_away(0)
    received = await everywhere(at, order("end_session", far.ticket.session), by=1)
    assert {each.node: each.trouble for each in received} == {"n1": None, "n0": "not_heard"}
    assert is_ended(far)
