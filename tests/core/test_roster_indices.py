"""Does what a roster keeps to find its sessions say what looking through all of them would?"""

from __future__ import annotations

from dataclasses import replace

from gateway.core.interest import Following
from gateway.core.roster import Roster
from gateway.domain.model import Application, NodeId, Scope
from tests.core.rosters import LIFE_MS, ONE, TWO, attached, full
from tests.core.samples import SCOPE, ticket_of


def test_the_union_is_a_sessions_own_set_when_that_holds_all() -> None:
    roster = Roster()
    for alias, (ticket, agents) in enumerate(((ONE, frozenset({5})), (TWO, frozenset({5, 6}))), start=1):
        roster.join(ticket, ())
        roster.accepted(ticket.handle, attached(ticket, alias, Scope(agents=agents)))
    assert roster.scope.agents is agents
    roster.rescoped(1, frozenset(), Scope(agents=frozenset({7})))
    assert roster.scope.agents == {5, 6, 7}


def test_what_a_session_follows_now_is_followed_and_nothing_else() -> None:
    roster = full()
    member = roster.get(ONE.handle)
    assert member is not None
    roster.follow(member, ("queues",))
    assert roster.following(member) == Following(Application.DASHBOARD, SCOPE, None, ("queues",))
    assert [following.topics for following in roster.followings] == [("agents",), ("queues",)]
    roster.unlinked()
    assert roster.following(member) is None


def test_who_was_rescoped_is_told_once() -> None:
    roster = full()
    member = roster.rescoped(1, frozenset(), Scope(agents=frozenset({6})))
    roster.rescoped(2, frozenset(), Scope(agents=frozenset({7})))
    roster.remove(TWO.handle)
    assert roster.take_rescoped() == [member]
    assert roster.take_rescoped() == []


def test_all_are_accepted_when_each_is() -> None:
    roster = full()
    seen = [roster.are_all_accepted]
    roster.join(ticket_of(session="s3"), ())
    seen.append(roster.are_all_accepted)
    roster.remove(ticket_of(session="s3").handle)
    seen.append(roster.are_all_accepted)
    roster.forget_acceptances()
    seen.append(roster.are_all_accepted)
    assert seen == [True, False, True, False]


def test_a_phone_that_moved_is_seen_where_it_is() -> None:
    roster = Roster()
    far, farther = NodeId("n1"), NodeId("n2")
    member = roster.join(ONE, (), far)
    assert roster.at(far) == [member]
    roster.join(ONE, (), farther)
    assert (roster.at(far), roster.at(farther)) == ([], [member])
    assert not roster.seen(far, (), 5.0)
    roster.join(ONE, ())
    assert (roster.at(farther), roster.seen(farther, (), 5.0), member.present) == ([], False, True)


def test_nobody_is_looked_through_for_renewal_before_somebody_is_due() -> None:
    roster = Roster()
    roster.join(ONE, ())
    assert roster.expiring(0.0, ONE.issued_at_ms) == []
    due_ms = ONE.expires_at_ms - (ONE.expires_at_ms - ONE.issued_at_ms) // 3
    late = replace(TWO, issued_at_ms=ONE.issued_at_ms - LIFE_MS)
    assert [member.handle for member in roster.expiring(0.0, due_ms)] == [ONE.handle]
    member = roster.join(late, ())
    assert member in roster.expiring(0.0, due_ms)
