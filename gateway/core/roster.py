"""Which sessions of a user does the owner speak for, and which of them has a phone?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.interest import Following
from gateway.core.linger import Linger
from gateway.domain.errors import EndReason
from gateway.domain.model import NodeId, Right, Scope, Ticket
from gateway.domain.upstream import Attached
from gateway.protocol.envelopes import SessionFacts

SESSIONS_MAX: Final = 16
"""Sessions kept attached for one user; beyond it those without a phone are let go, the first left first."""
_RENEW_AT: Final = 1 / 3
"""A session is renewed when this part of its life is left."""


@dataclass(slots=True)
class Member:
    """One session that the owner speaks for."""

    ticket: Ticket
    topics: tuple[str, ...]
    expires_at_ms: int
    lived_from_ms: int
    node: NodeId | None = None
    """Where its phone is; None is here."""
    attached: Attached | None = None
    """What OSCC-E accepted it as in this epoch; kept while the link is down."""
    on_link: bool = False
    """Whether the present link has it attached."""
    present: bool = True
    left_at: float | None = None
    renew_after: float | None = None
    doubted: bool = False
    """Whether a renewal was refused though the link has told of no end."""
    end: tuple[EndReason, str | None] = (EndReason.UNKNOWN, None)
    """How it ended, once it is in the roster no more."""

    @property
    def life_s(self) -> float:
        """How long it lives from its beginning or its last renewal, in s."""
        return (self.expires_at_ms - self.lived_from_ms) / 1000

    @property
    def handle(self) -> str:
        """The session's name inside the gateway."""
        return self.ticket.handle

    def facts(self, end: EndReason | None = None, by: str | None = None) -> SessionFacts:
        """Return what OSCC-E said of it."""
        attached = self.attached
        return SessionFacts(
            handle=self.handle,
            application=self.ticket.application,
            rights=() if attached is None else tuple(sorted(attached.rights)),
            scope=Scope() if attached is None else attached.scope,
            expires_at_ms=self.expires_at_ms,
            end=end,
            end_by=by,
        )


class Roster:
    """The sessions of one user at his owner, by handle."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._scope = Scope()
        self._is_scope_known = True
        """The union, until something of it changes."""
        self._own_agents: frozenset[int] | None = None
        """The same."""

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, handle: str) -> bool:
        return handle in self._members

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def get(self, handle: str) -> Member | None:
        """Return the session of that name."""
        return self._members.get(handle)

    def join(self, ticket: Ticket, topics: tuple[str, ...], node: NodeId | None = None) -> Member:
        """Take a session in, or note that its phone is back, on *node*; None is here."""
        member = self._members.get(ticket.handle)
        if member is None:
            member = Member(ticket, topics, ticket.expires_at_ms, ticket.issued_at_ms)
            self._members[ticket.handle] = member
        member.topics, member.present, member.left_at, member.node = topics, True, None, node
        return member

    def linger(self, ticket: Ticket, left_at: float) -> None:
        """Take in a session whose phone left then."""
        self.join(ticket, ()).present = False
        self._members[ticket.handle].left_at = left_at

    def leave(self, handle: str, now: float, node: NodeId | None = None) -> None:
        """Note that the session's phone left *node*. It may have come back elsewhere already."""
        member = self._members.get(handle)
        if member is not None and member.present and member.node == node:
            member.present, member.left_at = False, now

    def at(self, node: NodeId) -> list[Member]:
        """Return the sessions whose phones are on *node*."""
        return [member for member in self._members.values() if member.present and member.node == node]

    def seen(self, node: NodeId, handles: tuple[str, ...], now: float) -> bool:
        """Note whose phones are on *node*, and whose are not any more; tells whether that is news."""
        news = False
        for member in self._members.values():
            if member.node != node or member.present == (member.handle in handles):
                continue
            news, member.present = True, not member.present
            member.left_at = None if member.present else now
        return news

    def rivals(self, ticket: Ticket) -> list[Member]:
        """Return the other sessions that the same application on the same device has open."""
        seat = (ticket.application, ticket.device.id)
        return [
            member
            for member in self._members.values()
            if (member.ticket.application, member.ticket.device.id) == seat
            and member.present
            and member.handle != ticket.handle
        ]

    def is_crowded(self, ticket: Ticket, node: NodeId | None, devices: int) -> bool:
        """Tell whether so many devices are there, on several nodes, that one more is too many."""
        if len(self._members) < devices:
            return False
        rivals = [rival.handle for rival in self.rivals(ticket)]
        others = [
            member
            for member in self._members.values()
            if member.present and member.handle not in (ticket.handle, *rivals)
        ]
        here_only = node is None and all(member.node is None for member in others)
        return not here_only and len(others) >= devices

    def remove(self, handle: str) -> Member | None:
        """Take a session out."""
        self._changed()
        return self._members.pop(handle, None)

    def accepted(self, handle: str, attached: Attached) -> None:
        """Note that OSCC-E accepted the session on the present link."""
        member = self._members.get(handle)
        if member is not None:
            member.attached, member.on_link = attached, True
            self._changed()

    def rescoped(self, alias: int, rights: frozenset[Right], scope: Scope) -> Member | None:
        """Note that a session's rights or scope changed."""
        member = self.by_alias(alias)
        if member is not None and member.attached is not None:
            member.attached = replace(member.attached, rights=rights, scope=scope)
            self._changed()
        return member

    def by_alias(self, alias: int) -> Member | None:
        """Return the session that the present link calls *alias*."""
        for member in self._members.values():
            if member.on_link and member.attached is not None and member.attached.alias == alias:
                return member
        return None

    def unlinked(self, *, replaced: bool = False) -> None:
        """Note that the link is gone; *replaced*: by one of a higher epoch, in which nobody is accepted."""
        for member in self._members.values():
            member.on_link = False
        if replaced:
            self.forget_acceptances()

    def surplus(self) -> Member | None:
        """Return the session that was left first, when more than :data:`SESSIONS_MAX` are kept."""
        left = [member for member in self._members.values() if member.left_at is not None]
        if len(self._members) <= SESSIONS_MAX or not left:
            return None
        return min(left, key=lambda member: member.left_at or 0.0)

    def lingered(self, now: float, linger: Linger) -> list[Member]:
        """Return the sessions whose phone left longer ago than they are kept."""
        return [
            member
            for member in self
            if member.left_at is not None and now - member.left_at >= linger.of(member.ticket.application)
        ]

    def forget_acceptances(self) -> None:
        """Note that an epoch ended: OSCC-E must accept each session again."""
        for member in self._members.values():
            member.attached, member.on_link = None, False
        self._changed()

    def expiring(self, now: float, wall_ms: int) -> list[Member]:
        """Return the sessions with a phone of whose life a third or less is left."""
        return [m for m in self._members.values() if m.present and _expires_soon(m, now, wall_ms)]

    @property
    def scope(self) -> Scope:
        """The union of what the accepted sessions may see: the same object for as long as it is the same."""
        if not self._is_scope_known:
            scopes = [m.attached.scope for m in self._members.values() if m.attached is not None]
            scope = Scope(
                agents=_union([s.agents for s in scopes]),
                queues=_union([s.queues for s in scopes]),
                groups=_union([s.groups for s in scopes]),
                aggregates=_union([s.aggregates for s in scopes]),
            )
            self._is_scope_known = True
            self._scope = self._scope if scope == self._scope else scope
        return self._scope

    @property
    def own_agents(self) -> frozenset[int]:
        """The user as an agent, as the accepted sessions say."""
        if self._own_agents is None:
            owns = (m.attached.own_agent for m in self._members.values() if m.attached is not None)
            self._own_agents = frozenset(own for own in owns if own is not None)
        return self._own_agents

    def _changed(self) -> None:
        """Note that what the accepted sessions may see, or who they are, may be something else."""
        self._is_scope_known = False
        self._own_agents = None

    @property
    def followings(self) -> list[Following]:
        """What the sessions on the link follow."""
        return [
            Following(m.ticket.application, m.attached.scope, m.attached.own_agent, m.topics)
            for m in self._members.values()
            if m.on_link and m.attached is not None
        ]


def _union(sets: list[frozenset[int]]) -> frozenset[int]:
    """Return the union; one of *sets* itself when it holds all, for other users have the same."""
    sets = list({id(each): each for each in sets}.values())  # comparing a large set with itself takes time
    largest = max(sets, key=len, default=frozenset[int]())
    return largest if all(each <= largest for each in sets) else largest.union(*sets)


def _expires_soon(member: Member, now: float, wall_ms: int) -> bool:
    if member.renew_after is not None and now < member.renew_after:
        return False
    return member.expires_at_ms - wall_ms <= member.life_s * 1000 * _RENEW_AT
