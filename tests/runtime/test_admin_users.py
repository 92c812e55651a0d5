"""Does an operator find everybody, and does an end reach whoever it is meant for?"""

from __future__ import annotations

import pytest

from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, NodeId, UserId
from gateway.domain.upstream import LoggedOff
from gateway.edge.export import BY, CONFIRM_S, ENDED_WITHIN_S, AdminUsers
from gateway.protocol.envelopes import Order
from gateway.runtime.cluster_receiver import NodeAnswer, Page
from tests.runtime.scene import PhoneLine, Scene, scene
from tests.runtime.street import Street, street

ASSISTANT = Application.REMOTE_ASSISTANT
HERE = NodeId("n1")


def named(user: UserId) -> str:
    return f"hash of {user.key}"


def order(act: str, subject: str = "", after: str = "", most: int = 10) -> Order:
    return Order(HERE, 1, act, subject, after, most)


def people_of(at: Scene) -> AdminUsers:
    made = AdminUsers(at.node, named)
    made.teach()
    return made


async def everywhere(at: Street, asked: Order, by: int = 0) -> list[NodeAnswer]:
    for each in at.scenes:
        people_of(each)
    orders = at.scenes[by].node.orders
    asking = at.scenes[by].tasks.create_task(orders.ask(asked, orders.nodes, ENDED_WITHIN_S))
    await at.clock.settle()
    return await asking


def is_ended(phone: PhoneLine) -> bool:
    return phone.closed is not None and (phone.closed.code, phone.closed.by) == (CloseCode.LOGGED_OFF, BY)


# ---- who is there ----


async def test_attached_sessions_are_listed_by_id_and_nobody_by_name() -> None:
    async with scene() as at:
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


async def test_pages_follow_each_other_without_a_gap() -> None:
    async with scene() as at:
        for device in ("d1", "d2", "d3"):
            await at.served(device=device)
        people = people_of(at)
        first = await people.sessions(order("sessions", most=2))
        assert (len(first.records), first.more) == (2, True)
        rest = await people.sessions(order("sessions", after=first.records[-1]["id"], most=2))
        assert (len(rest.records), rest.more) == (1, False)
        ids = [record["id"] for record in (*first.records, *rest.records)]
        assert ids == sorted(set(ids))


async def test_a_session_whose_phone_left_is_listed_without_a_node_for_as_long_as_it_lingers() -> None:
    async with scene() as at:
        phone = await at.served()
        phone.bye()
        await at.pass_time(1)
        (record,) = (await people_of(at).sessions(order("sessions"))).records
        assert (record["node"], record["owner"]) == (None, "n1")


async def test_a_session_that_nobody_accepted_is_not_listed() -> None:
    async with scene() as at:
        at.upstream.unreachable = False
        phone = await at.phone("anna")
        at.upstream.unreachable = True
        phone.hello()
        await at.clock.settle()
        assert (await people_of(at).sessions(order("sessions"))).records == ()


async def test_where_the_phone_is_and_who_owns_its_user_are_told_apart() -> None:
    async with street() as at:
        await at.scenes[0].served()
        far = await at.scenes[1].served(device="d2")
        await at.pass_time(1)
        near, there = await everywhere(at, order("sessions"), by=1)
        assert near.page.records == ()
        (record,) = (each for each in there.page.records if each["id"] == far.ticket.session)
        assert (record["owner"], record["node"]) == ("n0", "n1")


async def test_whoever_is_known_is_found_by_his_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as at:
        await at.served()
        monkeypatch.setattr("gateway.edge.export._SLICE", 1)
        people = people_of(at)
        assert (await people.whois(order("whois", "hash of 1"))).records == ({"site": "main", "key": 1},)
        assert (await people.whois(order("whois", "hash of 2"))).records == ()


async def test_of_a_session_that_has_ended_nobody_can_read_whose_it_was() -> None:
    async with scene() as at:
        phone = await at.phone("bert", ASSISTANT, number="1234")
        await at.node.account.log_off(phone.ticket)
        assert at.node.denied(phone.ticket) is not None
        assert await people_of(at).find("hash of 7") is None


# ---- ending ----


async def test_a_session_is_ended_and_no_other() -> None:
    async with scene() as at:
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


async def test_a_session_that_is_not_here_is_nothing_to_do() -> None:
    async with scene() as at:
        await at.served()
        assert await people_of(at).end_session(order("end_session", "nobody's")) == Page()
        assert await people_of(at).end_user(order("end_user", "nobody's")) == Page()


async def test_the_phone_is_told_at_once_though_oscc_e_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as at:
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
        assert at.node.account.pending == (phone.ticket,)


async def test_all_of_a_user_is_ended_also_what_only_oscc_e_knows_of() -> None:
    async with scene() as at:
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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene() as at:
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
    async with street(3) as at:
        phones = [await at.scenes[node].served(device=f"d{node}") for node in (0, 1)]
        await at.pass_time(1)
        began = at.clock.now()
        told = await everywhere(at, order("end_user", "hash of 1"), by=2)
        assert at.clock.now() - began < 1.0
        assert [each.trouble for each in told] == [None] * 3
        assert all(map(is_ended, phones))
        ended = {record["id"] for each in told for record in each.page.records}
        assert ended == {phone.ticket.session for phone in phones}


async def test_a_node_with_the_phone_ends_it_though_the_owner_is_not_reached() -> None:
    async with street(2) as at:
        await at.scenes[0].served()
        far = await at.scenes[1].served(device="d2")
        await at.pass_time(1)
        at.trouble.take_away(0)
        told = await everywhere(at, order("end_session", far.ticket.session), by=1)
        assert {each.node: each.trouble for each in told} == {"n1": None, "n0": "not_heard"}
        assert is_ended(far)
