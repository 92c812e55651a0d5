"""Is what holds for all sessions of a user together what it is for each, however many there are?"""

from __future__ import annotations

from gateway.core.view import Following, ScopeUnion
from gateway.domain.model import Application, Right, Scope, SessionId
from gateway.domain.upstream import Attached

WIDE, NARROW = frozenset({5, 6}), frozenset({5})


def attached(alias: int, agents: frozenset[int], own_agent: int | None = None) -> Attached:
    rights = frozenset({Right.SKILLS_WRITE})
    # as they come off the wire: equal, and never the same
    scope = Scope(agents=frozenset(list(agents)))
    return Attached(alias, SessionId(f"s{alias}"), Application.DASHBOARD, rights, scope, own_agent)


def test_sessions_that_are_accepted_as_the_same_share_it() -> None:
    standing = ScopeUnion()
    first, second = standing.add(attached(1, WIDE)), standing.add(attached(2, WIDE))
    assert (first.alias, second.alias) == (1, 2)
    assert second.scope is first.scope
    assert second.rights is first.rights
    assert standing.accepted == 2


def test_the_union_is_the_same_object_until_it_is_another_one() -> None:
    standing = ScopeUnion()
    wide = standing.add(attached(1, WIDE))
    union = standing.scope
    assert union.agents is wide.scope.agents
    narrow = standing.add(attached(2, NARROW))
    assert standing.scope is union
    standing.drop(narrow)
    assert standing.scope is union
    standing.add(narrow)
    standing.drop(wide)
    assert standing.scope == Scope(agents=NARROW)


def test_the_user_is_who_any_of_them_says() -> None:
    standing = ScopeUnion()
    two = [standing.add(attached(alias, WIDE, own_agent=5)) for alias in (1, 2)]
    standing.add(attached(3, WIDE))
    assert standing.own_agents == {5}
    standing.drop(two[0])
    assert standing.own_agents == {5}
    standing.drop(two[1])
    assert standing.own_agents == frozenset()


def test_what_several_follow_alike_is_named_once() -> None:
    standing = ScopeUnion()
    one = Following(Application.DASHBOARD, Scope(agents=WIDE), None, ("agents",))
    other = one._replace(topics=("queues",))
    for following in (one, one, other):
        standing.follow(following)
    assert standing.followings == [one, other]
    standing.unfollow(one)
    assert standing.followings == [one, other]
    standing.unfollow(one)
    assert standing.followings == [other]
