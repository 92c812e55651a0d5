"""Indices of an owner's sessions agree with a full search."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.view import Following, UserSessions
from gateway.domain.model import Application, NodeId, Scope
from tests.core.samples import SCOPE, ticket_of
from tests.core.user_session_sets import LIFE_MS, ONE, TWO, attached, full


def test_the_union_is_a_sessions_own_set_when_that_holds_all() -> None:
    user_sessions = UserSessions()
    for alias, (ticket, agents) in enumerate(((ONE, frozenset({5})), (TWO, frozenset({5, 6}))), start=1):
        user_sessions.join(ticket, ())
        user_sessions.accepted(ticket.handle, attached(ticket, alias, Scope(agents=agents)))
    assert user_sessions.scope.agents is agents
    user_sessions.rescoped(1, frozenset(), Scope(agents=frozenset({7})))
    assert user_sessions.scope.agents == {5, 6, 7}


def test_what_a_session_follows_now_is_followed_and_nothing_else() -> None:
    user_sessions = full()
    member = user_sessions.get(ONE.handle)
    assert member is not None
    user_sessions.follow(member, ("queues",))
    assert user_sessions.following(member) == Following(Application.DASHBOARD, SCOPE, None, ("queues",))
    assert [following.topics for following in user_sessions.followings] == [("agents",), ("queues",)]
    user_sessions.unlinked()
    assert user_sessions.following(member) is None


def test_who_was_rescoped_is_notified_once() -> None:
    user_sessions = full()
    member = user_sessions.rescoped(1, frozenset(), Scope(agents=frozenset({6})))
    user_sessions.rescoped(2, frozenset(), Scope(agents=frozenset({7})))
    user_sessions.remove(TWO.handle)
    assert user_sessions.take_rescoped() == [member]
    assert user_sessions.take_rescoped() == []


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


def test_a_phone_that_moved_is_seen_where_it_is() -> None:
    user_sessions = UserSessions()
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


def test_nobody_is_looked_through_for_renewal_before_somebody_is_due() -> None:
    user_sessions = UserSessions()
    user_sessions.join(ONE, ())
    assert user_sessions.expiring(0.0, ONE.issued_at_ms) == []
    due_ms = ONE.expires_at_ms - (ONE.expires_at_ms - ONE.issued_at_ms) // 3
    late = replace(TWO, issued_at_ms=ONE.issued_at_ms - LIFE_MS)
    assert [member.handle for member in user_sessions.expiring(0.0, due_ms)] == [ONE.handle]
    member = user_sessions.join(late, ())
    assert member in user_sessions.expiring(0.0, due_ms)
