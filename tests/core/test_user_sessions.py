"""Sessions of a user: known, present, due for renewal; what they follow and may see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.link import ALWAYS_LISTENED, Following, Linger, wanted, wanted_by
from gateway.core.view import SESSIONS_MAX, UserSessions, view_of
from gateway.domain.commands import Listen
from gateway.domain.errors import EndReason
from gateway.domain.model import (
    ALWAYS,
    PACKED_MOST,
    Application,
    Device,
    Kind,
    NodeId,
    Right,
    Scope,
    SessionId,
    Ticket,
)
from gateway.domain.upstream import Attached, Source
from tests.core.samples import SCOPE, WALL_MS, ticket_of

ONE, TWO = ticket_of(session="s1"), ticket_of(Application.REMOTE_ASSISTANT, "s2")
LIFE_MS = 36_000_000


def attached(ticket: Ticket, alias: int, scope: Scope = SCOPE, own_agent: int | None = None) -> Attached:
    rights = frozenset({Right.SKILLS_WRITE, Right.OWN_ROUTING_STATE})
    return Attached(alias, SessionId(ticket.session), ticket.application, rights, scope, own_agent)


@pytest.fixture
def user_sessions() -> UserSessions:
    return UserSessions()


def full() -> UserSessions:
    """Return the sessions of a user with both sessions accepted on the link, as 1 and 2."""
    user_sessions = UserSessions()
    for alias, ticket in enumerate((ONE, TWO), start=1):
        user_sessions.join(ticket, ("agents",))
        user_sessions.accepted(ticket.handle, attached(ticket, alias, own_agent=5 if ticket is TWO else None))
    return user_sessions


def test_a_session_joins_once_and_comes_back(user_sessions: UserSessions) -> None:
    member = user_sessions.join(ONE, ("agents",))
    assert (member.handle, member.present, member.on_link, member.attached) == (ONE.handle, True, False, None)
    user_sessions.leave(ONE.handle, 50.0)
    assert (member.present, member.left_at) == (False, 50.0)
    assert user_sessions.join(ONE, ("queues",)) is member
    assert (member.topics, member.present, member.left_at) == (("queues",), True, None)
    assert (
        len(user_sessions),
        ONE.handle in user_sessions.by_handle,
        TWO.handle in user_sessions.by_handle,
    ) == (1, True, False)
    assert user_sessions.by_handle.get(ONE.handle) is member


# ---- what OSCC-E says ----


def test_facts_are_what_was_accepted() -> None:
    user_sessions = full()
    member = user_sessions.by_handle.get(TWO.handle)
    assert member is not None
    facts = member.facts(EndReason.TAKEN_OVER, "another phone")
    assert (facts.handle, facts.application) == (TWO.handle, Application.REMOTE_ASSISTANT)
    assert facts.rights == (Right.OWN_ROUTING_STATE, Right.SKILLS_WRITE)
    assert (facts.scope, facts.expires_at_ms) == (SCOPE, TWO.expires_at_ms)
    assert (facts.end, facts.end_by) == (EndReason.TAKEN_OVER, "another phone")


def test_an_alias_ends_with_its_link_and_what_was_accepted_with_its_epoch() -> None:
    user_sessions = full()
    found = user_sessions.by_alias(2)
    assert found is not None
    assert found.handle == TWO.handle
    assert user_sessions.by_alias(3) is None
    user_sessions.unlinked()
    assert user_sessions.by_alias(2) is None
    assert found.attached is not None
    user_sessions = full()
    user_sessions.unlinked()
    assert None not in [member.attached for member in user_sessions]
    user_sessions.unlinked(replaced=True)
    assert [member.attached for member in user_sessions] == [None, None]
    assert user_sessions.scope == Scope()


def test_rights_and_scope_change_in_place_and_are_notified_once() -> None:
    user_sessions = full()
    member = user_sessions.rescoped(1, frozenset(), Scope(agents=frozenset({6})))
    assert member is user_sessions.by_handle.get(ONE.handle)
    assert member is not None
    assert (member.facts().rights, member.facts().scope) == ((), Scope(agents=frozenset({6})))
    assert user_sessions.rescoped(9, frozenset(), Scope()) is None
    user_sessions = full()
    member = user_sessions.rescoped(1, frozenset(), Scope(agents=frozenset({6})))
    user_sessions.rescoped(2, frozenset(), Scope(agents=frozenset({7})))
    user_sessions.remove(TWO.handle)
    assert user_sessions.take_rescoped() == [member]
    assert user_sessions.take_rescoped() == []


def test_the_scope_is_the_union_of_those_accepted() -> None:
    user_sessions = full()
    user_sessions.rescoped(
        1, frozenset(), Scope(frozenset({1}), frozenset({2}), frozenset({3}), frozenset({4}))
    )
    user_sessions.rescoped(2, frozenset(), Scope(agents=frozenset({9})))
    user_sessions.join(ticket_of(session="s3"), ())
    assert user_sessions.scope == Scope(frozenset({1, 9}), frozenset({2}), frozenset({3}), frozenset({4}))


# ---- who is let go, who is renewed ----


def test_beyond_the_most_the_one_that_left_first_is_surplus(user_sessions: UserSessions) -> None:
    tickets = [ticket_of(session=f"s{number}") for number in range(SESSIONS_MAX + 1)]
    for ticket in tickets:
        user_sessions.join(ticket, ())
    assert user_sessions.surplus() is None
    user_sessions.leave(tickets[5].handle, 20.0)
    user_sessions.leave(tickets[3].handle, 30.0)
    surplus = user_sessions.surplus()
    assert surplus is not None
    assert surplus.handle == tickets[5].handle
    user_sessions.remove(surplus.handle)
    assert user_sessions.surplus() is None


@pytest.mark.parametrize(
    ("left_ms", "soon"), [(LIFE_MS, False), (12_000_001, False), (12_000_000, True), (0, True)]
)
def test_a_session_with_a_third_of_its_life_left_is_renewed(left_ms: int, soon: bool) -> None:
    user_sessions = UserSessions()
    member = user_sessions.join(ONE, ())
    wall_ms = WALL_MS + LIFE_MS - left_ms
    assert user_sessions.expiring(0.0, wall_ms) == ([member] if soon else [])


def test_a_renewal_that_failed_waits(user_sessions: UserSessions) -> None:
    member = user_sessions.join(ONE, ())
    member.renew_after = 100.0
    assert user_sessions.expiring(99.0, WALL_MS + LIFE_MS) == []
    assert user_sessions.expiring(100.0, WALL_MS + LIFE_MS) == [member]


# ---- on many nodes ----

HERE, NEAR, FAR = None, NodeId("near"), NodeId("far")


def on_device(number: int, session: str | None = None) -> Ticket:
    ticket = ticket_of(session=session or f"session {number}")
    return replace(ticket, device=Device(f"device {number}", "Phone"))


def test_a_phone_that_moved_is_seen_where_it_is_and_missed_nowhere(user_sessions: UserSessions) -> None:
    member = user_sessions.join(ONE, (), NEAR)
    user_sessions.join(ONE, (), FAR)
    user_sessions.leave(ONE.handle, 50.0, NEAR)
    user_sessions.leave(ONE.handle, 51.0)
    assert (member.present, member.node) == (True, FAR)
    user_sessions.leave(ONE.handle, 52.0, FAR)
    assert (member.present, member.left_at) == (False, 52.0)
    far, farther = NodeId("n1"), NodeId("n2")
    member = user_sessions.join(ONE, (), far)
    assert user_sessions.at(far) == [member]
    user_sessions.join(ONE, (), farther)
    assert (user_sessions.at(far), user_sessions.at(farther)) == ([], [member])
    assert not user_sessions.seen(far, (), 5.0)
    user_sessions.join(ONE, ())
    assert (user_sessions.at(farther), user_sessions.seen(farther, (), 5.0), member.present) == (
        [],
        False,
        True,
    )


def test_rivals_are_the_other_sessions_of_one_application_on_one_device(user_sessions: UserSessions) -> None:
    first = user_sessions.join(on_device(1, "first"), (), NEAR)
    user_sessions.join(on_device(2, "elsewhere"), ())
    assistant = replace(ticket_of(Application.REMOTE_ASSISTANT, "other"), device=Device("device 1", "Phone"))
    user_sessions.join(assistant, ())
    assert user_sessions.rivals(on_device(1, "next")) == [first]
    assert user_sessions.rivals(on_device(1, "first")) == []
    user_sessions.leave(first.handle, 50.0, NEAR)
    assert user_sessions.rivals(on_device(1, "next")) == []


@pytest.mark.parametrize(
    ("nodes", "node", "crowded"),
    [
        ([HERE] * 5, HERE, False),
        ([HERE] * 5, NEAR, True),
        ([HERE, HERE, NEAR, NEAR, FAR], HERE, True),
        ([HERE, HERE, NEAR, NEAR], FAR, False),
    ],
    ids=["this node's own seats decide", "a sixth elsewhere", "a sixth here", "a fifth"],
)
def test_the_most_devices_count_on_all_nodes(
    nodes: list[NodeId | None], node: NodeId | None, crowded: bool, user_sessions: UserSessions
) -> None:
    for number, place in enumerate(nodes):
        user_sessions.join(on_device(number), (), place)
    assert user_sessions.is_crowded(on_device(9), node, 5) is crowded


def test_present_and_replaced_phones_do_not_count(user_sessions: UserSessions) -> None:
    for number in range(5):
        user_sessions.join(on_device(number), (), NEAR)
    assert not user_sessions.is_crowded(on_device(3), FAR, 5), "it moves"
    assert not user_sessions.is_crowded(on_device(3, "again"), FAR, 5), "the same device has logged on again"
    user_sessions.leave(on_device(4).handle, 50.0, NEAR)
    assert not user_sessions.is_crowded(on_device(9), FAR, 5), "one of them has left"


def test_what_another_node_says_of_its_phones_is_so_and_is_reported_once(user_sessions: UserSessions) -> None:
    here, near = user_sessions.join(ONE, ()), user_sessions.join(TWO, (), NEAR)
    assert not user_sessions.seen(NEAR, (TWO.handle,), 50.0)
    assert user_sessions.seen(NEAR, (), 51.0)
    assert (near.present, near.left_at) == (False, 51.0)
    assert not user_sessions.seen(NEAR, (), 52.0)
    assert user_sessions.seen(NEAR, (TWO.handle, "unknown"), 53.0)
    assert (near.present, near.left_at) == (True, None)
    assert not user_sessions.seen(FAR, (TWO.handle,), 54.0), "it is not there"
    assert here.present, "of others it says nothing"


def test_a_session_whose_phone_left_elsewhere_lingers_from_then(user_sessions: UserSessions) -> None:
    user_sessions.linger(ONE, 40.0)
    member = user_sessions.by_handle.get(ONE.handle)
    assert member is not None
    assert (member.present, member.left_at) == (False, 40.0)
    assert user_sessions.lingered(129.0, Linger()) == []
    assert user_sessions.lingered(130.0, Linger()) == [member]
    user_sessions.join(ONE, ("agents",))
    assert (member.present, member.left_at) == (True, None)


def test_an_equal_scope_of_a_later_acceptance_takes_no_memory(user_sessions: UserSessions) -> None:
    member = user_sessions.join(ONE, ("agents",))
    first, again = (Scope(agents=frozenset({5})) for _ in range(2))
    for alias, scope in enumerate((first, again), start=1):
        user_sessions.accepted(ONE.handle, attached(ONE, alias, scope))
    assert member.attached is not None
    assert (member.attached.alias, member.attached.scope is first) == (2, True)


def test_unknown_sessions_are_accepted_by_nobody(user_sessions: UserSessions) -> None:
    user_sessions.accepted(ONE.handle, attached(ONE, 1))
    assert len(user_sessions) == 0


# ---- indices of an owner's sessions agree with a full search ----


def test_the_union_is_a_sessions_own_set_when_that_holds_all(user_sessions: UserSessions) -> None:
    few, many = frozenset(range(PACKED_MOST + 1)), frozenset(range(PACKED_MOST + 2))
    for alias, (ticket, agents) in enumerate(((ONE, few), (TWO, many)), start=1):
        user_sessions.join(ticket, ())
        user_sessions.accepted(ticket.handle, attached(ticket, alias, Scope(agents=agents)))
    assert user_sessions.scope.agents is many
    user_sessions.rescoped(1, frozenset(), Scope(agents=frozenset({700})))
    assert user_sessions.scope.agents == {*many, 700}


def test_what_a_session_follows_now_is_followed_and_nothing_else() -> None:
    user_sessions = full()
    member = user_sessions.by_handle.get(ONE.handle)
    assert member is not None
    user_sessions.follow(member, ("queues",))
    assert user_sessions.following(member) == Following(Application.DASHBOARD, SCOPE, None, ("queues",))
    assert [following.topics for following in user_sessions.followings] == [("agents",), ("queues",)]
    user_sessions.unlinked()
    assert user_sessions.following(member) is None


def test_all_are_accepted_when_each_is() -> None:
    user_sessions = full()
    seen = [user_sessions.are_all_accepted]
    user_sessions.join(ticket_of(session="s3"), ())
    seen.append(user_sessions.are_all_accepted)
    user_sessions.remove(ticket_of(session="s3").handle)
    seen.append(user_sessions.are_all_accepted)
    user_sessions.forget_acceptances()
    seen.append(user_sessions.are_all_accepted)
    assert seen == [True, False, True, False]


def test_nobody_is_looked_through_for_renewal_before_somebody_is_due(user_sessions: UserSessions) -> None:
    user_sessions.join(ONE, ())
    assert user_sessions.expiring(0.0, ONE.issued_at_ms) == []
    due_ms = ONE.expires_at_ms - (ONE.expires_at_ms - ONE.issued_at_ms) // 3
    late = replace(TWO, issued_at_ms=ONE.issued_at_ms - LIFE_MS)
    assert [member.handle for member in user_sessions.expiring(0.0, due_ms)] == [ONE.handle]
    member = user_sessions.join(late, ())
    assert member in user_sessions.expiring(0.0, due_ms)


# ---- interest ----


REALTIME, CUMULATIVE = Source.REALTIME, Source.CUMULATIVE


def supervisor(*topics: str, scope: Scope = SCOPE) -> Following:
    return Following(Application.DASHBOARD, scope, None, topics)


def agent(*topics: str, own: int | None = 5) -> Following:
    return Following(Application.REMOTE_ASSISTANT, SCOPE, own, topics)


def asked(*followings: Following) -> set[Listen]:
    found = wanted(followings)
    assert found >= ALWAYS_LISTENED
    return set(found - ALWAYS_LISTENED)


def test_directory_configuration_and_all_sources_of_a_kind_are_listened_to() -> None:
    assert wanted([]) == {Listen(None, Source.DIRECTORY, None), Listen(None, Source.CONFIGURATION, None)}
    assert asked(supervisor("agents")) == {
        Listen(Kind.AGENT, REALTIME, None),
        Listen(Kind.AGENT, CUMULATIVE, None),
    }
    assert asked(supervisor("queues", "groups", "aggregates")) == {
        Listen(Kind.QUEUE, REALTIME, None),
        Listen(Kind.QUEUE, CUMULATIVE, None),
        Listen(Kind.GROUP, REALTIME, None),
        Listen(Kind.AGGREGATE, REALTIME, None),
    }


def test_an_agents_own_state_is_listened_to_whatever_he_follows() -> None:
    own = {Listen(Kind.AGENT, REALTIME, frozenset({5})), Listen(Kind.AGENT, CUMULATIVE, frozenset({5}))}
    assert asked(agent()) == own
    assert asked(agent(own=None)) == set()
    assert asked(supervisor()) == set()
    assert asked(agent("agent:6")) == {
        Listen(Kind.AGENT, source, frozenset({5, 6})) for source in (REALTIME, CUMULATIVE)
    }


def test_what_one_session_wants_is_made_once_for_those_that_follow_the_same() -> None:
    following = Following(Application.DASHBOARD, Scope(agents=frozenset({5})), None, ("agents",))
    assert wanted_by(following) == wanted([following])
    assert wanted_by(following._replace(topics=("agents",))) is wanted_by(following)


# ---- view ----


GROUND = ALWAYS | {"me:h"}


@pytest.mark.parametrize(
    ("topic", "keys"),
    [
        ("agents", {"agent:5", "agent:6"}), ("queues", {"queue:1", "queue:2"}), ("groups", {"group:3"}),
        ("aggregates", set()), ("queue:2", {"queue:2"}), ("me", set()), ("site", set()),
        ("catalogue:skills", set()),
    ],
)  # fmt: skip
def test_a_topic_shows_what_is_in_scope(topic: str, keys: set[str]) -> None:
    view = view_of("h", SCOPE, (topic,))
    assert view.keys == GROUND | keys
    assert (view.granted, view.refused) == ((topic,), ())


@pytest.mark.parametrize(
    "topic",
    ["queue:9", "agent:1", "agent:05", "nonsense", "", "me:other", "session:h", "session:other", "queue:"],
)
def test_what_is_foreign_is_refused_like_what_does_not_exist(topic: str) -> None:
    view = view_of("h", SCOPE, (topic, "agents"))
    assert view.keys == GROUND | {"agent:5", "agent:6"}
    assert (view.granted, view.refused) == (("agents",), (topic,))
