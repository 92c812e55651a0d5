"""What may all sessions of a user see, what do they follow, and who is he, taken together?"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from gateway.core.interest import Following
from gateway.core.ref_counter import RefCounter
from gateway.domain.model import Right, Scope
from gateway.domain.upstream import Attached


class ScopeUnion:
    """What OSCC-E accepted the sessions as, however many they are.

    Invariant: it is what was added and not dropped; equal scopes are one object.
    """

    def __init__(self) -> None:
        self.accepted = 0
        """How many sessions were."""
        self._scopes: RefCounter[Scope] = RefCounter()
        self._owns: RefCounter[int] = RefCounter()
        self._followings: RefCounter[Following] = RefCounter()
        self._scope = Scope()
        self._own_agents: frozenset[int] = frozenset()
        self._scope_at = self._owns_at = 0

    def add(self, told: Attached) -> Attached:
        """Take a session into account; returns *told* made of what others have that is equal."""
        self.accepted += 1
        scope, rights = self._scopes.add(told.scope), _same(told.rights)
        if told.own_agent is not None:
            self._owns.add(told.own_agent)
        if scope is told.scope and rights is told.rights:
            return told
        return replace(told, scope=scope, rights=rights)

    def drop(self, attached: Attached) -> None:
        """Take it out of account."""
        self.accepted -= 1
        self._scopes.drop(attached.scope)
        if attached.own_agent is not None:
            self._owns.drop(attached.own_agent)

    def follow(self, following: Following) -> None:
        """Take into account what a session on the link follows."""
        self._followings.add(following)

    def unfollow(self, following: Following) -> None:
        """Take it out of account."""
        self._followings.drop(following)

    @property
    def scope(self) -> Scope:
        """The union of what they may see: the same object for as long as it is the same."""
        if self._scope_at != self._scopes.changes:
            self._scope_at = self._scopes.changes
            scopes = list(self._scopes)
            scope = Scope(
                agents=_union([each.agents for each in scopes]),
                queues=_union([each.queues for each in scopes]),
                groups=_union([each.groups for each in scopes]),
                aggregates=_union([each.aggregates for each in scopes]),
            )
            self._scope = self._scope if scope == self._scope else scope
        return self._scope

    @property
    def own_agents(self) -> frozenset[int]:
        """The user as an agent."""
        if self._owns_at != self._owns.changes:
            self._owns_at = self._owns.changes
            self._own_agents = frozenset(self._owns)
        return self._own_agents

    @property
    def followings(self) -> list[Following]:
        """What is followed; what several of them follow alike, once."""
        return list(self._followings)


@lru_cache(maxsize=64)
def _same(rights: frozenset[Right]) -> frozenset[Right]:
    """Return one object for equal rights, of which there are few."""
    return rights


def _union(sets: list[frozenset[int]]) -> frozenset[int]:
    """Return the union; one of *sets* itself when it holds all, for other users have the same."""
    sets = list({id(each): each for each in sets}.values())  # comparing a large set with itself takes time
    largest = max(sets, key=len, default=frozenset[int]())
    return largest if all(each <= largest for each in sets) else largest.union(*sets)
