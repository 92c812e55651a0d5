"""Views: the resources that a session may see and has asked for; and the sessions of a user at its owner.

The link of a user brings the union of what its sessions see. Some sessions have no phone at the moment.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from gateway.core.link import Following, Linger
from gateway.domain.errors import EndReason
from gateway.domain.model import (
    ALWAYS,
    EMPTY_SET,
    KIND_OF_TOPIC,
    KINDS,
    ME,
    NO_ITEMS,
    NodeId,
    Right,
    Scope,
    SmallMap,
    Ticket,
    UntrackedStruct,
    key_of,
    parse_key,
    with_few,
    with_item,
)
from gateway.domain.resources import Agent, Aggregate, Resource
from gateway.domain.upstream import Attached
from gateway.protocol.envelopes import SessionFacts

V = TypeVar("V", bound=Hashable)


class RefCounter(UntrackedStruct, Generic[V]):
    """Values with the number of their holders.

    Invariants: equal values are one object, the first that came. *changes* grows whenever the set of values
    may have changed.
    """

    changes: int = 0
    _first: V | None = None
    """Mostly the only value."""
    _first_holders: int = 0
    _others: dict[V, tuple[V, int]] = NO_ITEMS

    def __iter__(self) -> Iterator[V]:
        """Return each value once."""
        first = [] if self._first is None else [self._first]
        return iter([*first, *[value for value, _ in self._others.values()]])

    def add(self, value: V) -> V:
        """Add a holder of *value*; return the shared object for it."""
        if self._first is not None and self._first == value:
            self._first_holders += 1
            return self._first
        found = self._others.get(value)
        if found is not None:
            self._others[value] = (found[0], found[1] + 1)
            return found[0]
        self.changes += 1
        if self._first is None:
            self._first, self._first_holders = value, 1
        else:
            self._others = with_item(self._others, value, (value, 1))
        return value

    def drop(self, value: V) -> None:
        """Remove a holder of *value*."""
        if self._first is not None and self._first == value:
            self._first_holders -= 1
            if not self._first_holders:
                self.changes += 1
                self._first = None
                if self._others:
                    self._first, self._first_holders = self._others.pop(next(iter(self._others)))
        elif (found := self._others[value])[1] > 1:
            self._others[value] = (found[0], found[1] - 1)
        else:
            self.changes += 1
            del self._others[value]
        self._others = self._others or NO_ITEMS


@lru_cache(maxsize=64)
def _same(rights: frozenset[Right]) -> frozenset[Right]:
    """Return one object for equal rights, of which there are few."""
    return rights


@lru_cache(maxsize=256)
def same_topics(topics: tuple[str, ...]) -> tuple[str, ...]:
    """Return one shared object for equal topics: most phones follow the same."""
    return topics


def _union_of(scopes: list[Scope]) -> Scope:
    if len(scopes) == 1:
        return copy(scopes[0])
    return Scope(*[_union([each.of(kind) for each in scopes]) for kind in KINDS])


def _union(sets: list[frozenset[int]]) -> frozenset[int]:
    """Return the union; one of *sets* itself when it contains all, to share it with other users."""
    sets = list({id(each): each for each in sets}.values())  # comparing a large set with itself takes time
    largest = max(sets, key=len, default=frozenset[int]())
    return largest if all(each <= largest for each in sets) else largest.union(*sets)


COMMON_VIEWS_MAX: Final = 64
"""Number of cached scopes; each phone with another scope costs a few hundred microseconds more."""
FACTS_PREFIX = "session:"
ME_PREFIX = "me:"
OWN_PREFIXES: Final = (FACTS_PREFIX, ME_PREFIX)


def facts_key(handle: str) -> str:
    """Return the ledger's key of a session's facts; phones never see it."""
    return FACTS_PREFIX + handle


def me_key(handle: str) -> str:
    """Return the ledger's key of `me` as one session sees it."""
    return ME_PREFIX + handle


def is_own(key: str) -> bool:
    """Return whether the ledger's *key* belongs to one session only."""
    return key.startswith(OWN_PREFIXES)


class CommonView(NamedTuple):
    """The common part of views of equal scope and topics."""

    topics: tuple[str, ...]
    keys: dict[str, None]
    """The keys of resources. A dictionary takes half the memory of a set."""
    granted: tuple[str, ...]
    refused: tuple[str, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class View:
    """The part of the ledger that one session sees: *shared* keys, those of `ALWAYS`, and its own `me`.

    Every phone has one, so it holds nothing that can be computed. Sessions of equal scope and topics share
    *shared* and *common*.
    """

    shared: dict[str, None] = field(hash=False)
    common: CommonView = field(hash=False)
    handle: str
    rights: tuple[Right, ...]

    def sees(self, key: str) -> bool:
        """Return whether the session may see the ledger's *key*."""
        return key in self.shared or key in ALWAYS or (key.startswith(ME_PREFIX) and key == self.me)

    @property
    def me(self) -> str:
        """The ledger's key of the session's own `me`."""
        return me_key(self.handle)

    @property
    def mark(self) -> str:
        """A short hash of session, scope, topics and rights, computed at each call.

        It is the part of a stream's name that changes when the session's view or rights change.
        """
        mark = hashlib.blake2s(self.common.digest, digest_size=6, person=b"view")
        mark.update(f"|{self.handle}|{sorted(self.rights)}".encode())
        return mark.hexdigest()

    @property
    def topics(self) -> tuple[str, ...]:
        """The requested topics."""
        return self.common.topics

    @property
    def granted(self) -> tuple[str, ...]:
        """The requested topics that are followed."""
        return self.common.granted

    @property
    def refused(self) -> tuple[str, ...]:
        """The requested topics that are refused."""
        return self.common.refused

    @property
    def keys(self) -> frozenset[str]:
        """All keys of the ledger that the session may see."""
        return ALWAYS.union(self.shared, (self.me,))

    @staticmethod
    def wire_key(key: str) -> str:
        """Return the name of the ledger's *key* on the wire."""
        return ME if key.startswith(ME_PREFIX) else key


def within(value: Resource, scope: Scope) -> Resource:
    """Return *value* without ids of groups and queues outside *scope*."""
    if not isinstance(value, Agent | Aggregate):
        return value
    queues = scope.queues
    inside = replace(value, queue_ids=_inside(value.queue_ids, queues))
    if not isinstance(inside, Agent):
        return inside
    handling = tuple(
        one if one.queue_id is None or _inside((one.queue_id,), queues) else replace(one, queue_id=None)
        for one in inside.handling
    )
    return replace(inside, group_ids=_inside(inside.group_ids, scope.groups), handling=handling)


class NarrowedValues(Mapping[str, Resource]):
    """Values without ids outside a scope; each is narrowed when it is read, since few of thousands are.

    Args:
        values: The mirror's values.
        scope: The ids that may remain.
    """

    __slots__ = ("_scope", "_values")

    def __init__(self, values: Mapping[str, Resource], scope: Scope) -> None:
        self._values = values
        self._scope = scope

    def __getitem__(self, key: str) -> Resource:
        return within(self._values[key], self._scope)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _inside(ids: tuple[str, ...], numbers: frozenset[int]) -> tuple[str, ...]:
    return tuple(each for each in ids if each.isdecimal() and int(each) in numbers)


def view_of(handle: str, scope: Scope, topics: tuple[str, ...], rights: tuple[Right, ...] = ()) -> View:
    """Return the view of a session with *scope* and *rights* that follows *topics*.

    A topic is a kind (``agents``) or a single key (``queue:5``). Single keys out of scope and unknown topics
    get the same refusal, so that it reveals nothing.
    """
    common = _common_view(scope, topics)
    return View(common.keys, common, handle, rights)


@lru_cache(maxsize=COMMON_VIEWS_MAX)
def _common_view(scope: Scope, topics: tuple[str, ...]) -> CommonView:
    """Return the common part of the views of one user's phones, made once while phones connect."""
    keys: set[str] = set()
    granted: list[str] = []
    refused: list[str] = []
    for topic in dict.fromkeys(topics):
        found = _keys_of(topic, scope)
        if found is None:
            refused.append(topic)
        else:
            granted.append(topic)
            keys |= found
    table: dict[str, None] = dict.fromkeys(list(keys))  # made from a set it would be larger
    return CommonView(topics, table, tuple(granted), tuple(refused), _digest(scope, granted))


def _keys_of(topic: str, scope: Scope) -> set[str] | None:
    kind = KIND_OF_TOPIC.get(topic)
    if kind is not None:
        return {key_of(kind, number) for number in scope.of(kind)}
    if topic == ME or topic in ALWAYS:
        return set()
    parsed = parse_key(topic)
    if parsed is None or parsed[1] not in scope.of(parsed[0]):
        return None
    return {topic}


def _digest(scope: Scope, granted: list[str]) -> bytes:
    digest = hashlib.blake2s(person=b"sight")
    for kind in KINDS:
        digest.update(f"|{kind}:{sorted(scope.of(kind))}".encode())
    digest.update(f"|{sorted(granted)}".encode())
    return digest.digest()


SESSIONS_MAX: Final = 16
"""Sessions kept attached for one user; beyond it those without a phone are detached, the first to leave
first.
"""
_RENEW_AT: Final = 1 / 3
"""Remaining part of its life at which a session is renewed."""
_SLEWED_MS: Final = 1_000
"""A wall clock that goes back by less was slewed, not set."""
_NOTHING: Final = Scope()
UNSURE_S: Final = 5.0
"""Below this difference it is not certain which of two nodes a phone reached later, since a message between
them may have been under way for as long. Then the last message counts.
"""


@dataclass(slots=True, eq=False)
class Member:
    """One session that the owner serves. Only :class:`UserSessions` changes its node and its view."""

    ticket: Ticket
    topics: tuple[str, ...]
    expires_at_ms: int
    lived_from_ms: int
    node: NodeId | None = None
    """Where its phone is; None is here."""
    came_at: float = 0.0
    """When its phone came there; monotonic seconds of this node."""
    attached: Attached | None = None
    """What OSCC-E accepted it as in this epoch; kept while the link is down."""
    on_link: bool = False
    """Whether the present link has it attached."""
    sent_presence: bool | None = False
    """The presence that was last sent on the link. None: it got no answer, and may still take effect."""
    left_at: float | None = None
    """When its phone left; None: the phone is connected."""
    renew_after: float | None = None
    is_reported_unknown: bool = False
    """Whether a renewal was refused although the link has reported no end."""
    server: str | None = None
    """The instance of the OSCC-E Server that accepted it last, if the server sends one."""
    end: tuple[EndReason, str | None] = (EndReason.UNKNOWN, None)
    """How it ended, once it has been removed."""
    handle: str = field(init=False)
    """The session's name inside the gateway."""

    def __post_init__(self) -> None:
        """Copy the handle from the ticket."""
        self.handle = self.ticket.handle

    @property
    def present(self) -> bool:
        """Whether its phone is connected."""
        return self.left_at is None

    @property
    def life_s(self) -> float:
        """Its life from its beginning or its last renewal, in s."""
        return (self.expires_at_ms - self.lived_from_ms) / 1000

    @property
    def renewal_ms(self) -> float:
        """When it must be renewed, in ms since 1970."""
        return self.expires_at_ms - self.life_s * 1000 * _RENEW_AT

    def has_moved_on(self, node: NodeId | None, came_at: float) -> bool:
        """Return whether a phone that came to *node* at *came_at* has moved to another node since.

        A node that was stopped still submits phones that have left it, because it has not read their end yet.
        """
        if not self.present or self.node == node:
            return False
        return self.came_at > came_at + (0.0 if self.node is None else UNSURE_S)

    def end_at(self, server: str | None) -> EndReason:
        """Return why the session is unknown to the server's instance *server*: it may have restarted."""
        is_restarted = server is not None and self.server is not None and server != self.server
        return EndReason.MAINTENANCE if is_restarted else EndReason.UNKNOWN

    def facts(self, end: EndReason | None = None, by: str | None = None) -> SessionFacts:
        """Return OSCC-E's data about it."""
        attached = self.attached
        return SessionFacts(
            handle=self.handle,
            application=self.ticket.application,
            rights=() if attached is None else _in_order(attached.rights),
            scope=_NOTHING if attached is None else attached.scope,
            expires_at_ms=self.expires_at_ms,
            end=end,
            end_by=by,
        )


class UserSessions:
    """The sessions of one user at the owner, by handle.

    There may be thousands: the cost of an operation on one session does not depend on their number.
    """

    __slots__ = (
        "__weakref__", "_accepted", "_aliases", "_changed", "_devices", "_elsewhere", "_followings", "_left",
        "_owns", "_owns_at", "_renewal_ms", "_rescoped", "_scope_at", "_scopes", "_wall_zero_ms", "by_handle",
        "own_agents", "scope", "server",
    )  # fmt: skip

    def __init__(self) -> None:
        self.server: str | None = None
        """The instance of the OSCC-E Server at the other end of the newest link, if the server sends one."""
        self.by_handle: SmallMap[str, Member] = SmallMap()
        """To be read only: :meth:`join` and :meth:`remove` change it."""
        self._devices: SmallMap[str, tuple[Member, ...]] = SmallMap()
        """By device, in the order in which they came."""
        self._elsewhere: SmallMap[NodeId, dict[str, Member]] = NO_ITEMS
        """Sessions whose phone is, or was last, on another node."""
        self._left: SmallMap[str, Member] = NO_ITEMS
        """Sessions without a phone."""
        self._aliases: SmallMap[int, Member] = SmallMap()
        """Sessions on the link."""
        self._rescoped: SmallMap[str, Member] = NO_ITEMS
        """Sessions whose rights or scope changed since :meth:`take_rescoped`."""
        self._changed: SmallMap[str, Member] = NO_ITEMS
        """Sessions that may need requests on the link, since the last :meth:`take_changed`."""
        self._accepted = 0
        """Number of accepted sessions. Their scopes, own agents and topics follow, each with its holders."""
        self._scopes: RefCounter[Scope] = RefCounter()
        self._owns: RefCounter[int] = RefCounter()
        self._followings: RefCounter[Following] = RefCounter()
        self.scope = _NOTHING
        """The union of the scopes of the accepted sessions: the same object while it is unchanged."""
        self.own_agents: frozenset[int] = EMPTY_SET
        """The user as an agent, by the accepted sessions."""
        self._scope_at = self._owns_at = 0
        """The counts of changes for which they were computed."""
        self._renewal_ms = math.inf
        """The time before which no session with a phone is to be renewed."""
        self._wall_zero_ms = -math.inf
        """The wall clock's time when the monotonic clock was 0."""

    def __len__(self) -> int:
        return len(self.by_handle)

    def __contains__(self, member: Member) -> bool:
        return self.by_handle.get(member.handle) is member

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self.by_handle.values()))

    # ---- places of phones ----

    def join(self, ticket: Ticket, topics: tuple[str, ...], node: NodeId | None = None) -> Member:
        """Add a session, or record that its phone is back, on *node*; None is here."""
        member = self.by_handle.get(ticket.handle)
        if member is None:
            member = Member(ticket, topics, ticket.expires_at_ms, ticket.issued_at_ms, server=ticket.server)
            self.by_handle[member.handle] = member
            device = ticket.device.id
            self._devices[device] = (*self._devices.get(device, ()), member)
        self.follow(member, topics)
        self._move(member, node)
        self._phone_came(member)
        return member

    def follow(self, member: Member, topics: tuple[str, ...]) -> None:
        """Record what a session follows now."""
        if member.topics != topics:
            self._drop_scope(member)
            member.topics = topics
            self._add_scope(member)

    def linger(self, ticket: Ticket, left_at: float) -> None:
        """Add a session whose phone left at *left_at*."""
        self._phone_left(self.join(ticket, ()), left_at)

    def leave(self, handle: str, now: float, node: NodeId | None = None) -> None:
        """Record that the session's phone left *node*. It may have come back at another node already."""
        member = self.by_handle.get(handle)
        if member is not None and member.present and member.node == node:
            self._phone_left(member, now)

    def at(self, node: NodeId) -> list[Member]:
        """Return the sessions whose phones are on *node*."""
        return [member for member in self._elsewhere.get(node, {}).values() if member.present]

    def seen(self, node: NodeId, handles: tuple[str, ...], now: float) -> bool:
        """Record which sessions have phones on *node*; return whether that changed anything."""
        there = frozenset(handles)
        news = [m for m in self._elsewhere.get(node, {}).values() if m.present is not (m.handle in there)]
        for member in news:
            if member.present:
                self._phone_left(member, now)
            else:
                self._phone_came(member)
        return bool(news)

    def rivals(self, ticket: Ticket) -> list[Member]:
        """Return the other open sessions of the same application on the same device."""
        there = [each for each in self._devices.get(ticket.device.id, ()) if each.present]
        others = [each for each in there if each.handle != ticket.handle]
        return [each for each in others if each.ticket.application is ticket.application]

    def is_crowded(self, ticket: Ticket, node: NodeId | None, devices: int) -> bool:
        """Return whether a further device, with those on several nodes, is too many."""
        if len(self.by_handle) - len(self._left) < devices:
            return False
        going = self.rivals(ticket)
        own = self.by_handle.get(ticket.handle)
        if own is not None and own.present:
            going.append(own)
        others = len(self.by_handle) - len(self._left) - len(going)
        if others < devices:
            return False
        elsewhere = sum(member.present for there in self._elsewhere.values() for member in there.values())
        return node is not None or elsewhere > sum(member.node is not None for member in going)

    def surplus(self) -> Member | None:
        """Return the session whose phone left first, when more than :data:`SESSIONS_MAX` are kept."""
        if len(self.by_handle) <= SESSIONS_MAX:
            return None
        return min(self._left.values(), key=lambda member: member.left_at or 0.0, default=None)

    def lingered(self, now: float, linger: Linger) -> list[Member]:
        """Return the sessions that were kept for their whole time after their phone left."""
        return [
            member
            for member in self._left.values()
            if member.left_at is not None and now - member.left_at >= linger.of(member.ticket.application)
        ]

    def lingers_until(self, linger: Linger) -> float:
        """Return when :meth:`lingered` returns the next session."""
        if not self._left:
            return math.inf
        left = self._left.values()
        return min((each.left_at or 0.0) + linger.of(each.ticket.application) for each in left)

    @property
    def renewal_ms(self) -> float:
        """Earliest time at which :meth:`expiring` returns a session, ms since 1970."""
        return self._renewal_ms

    def expiring(self, now: float, wall_ms: int) -> list[Member]:
        """Return the sessions with a phone and a third or less of their life left."""
        self._follow_clock(wall_ms - now * 1000)
        if wall_ms < self._renewal_ms:
            return []
        present = [member for member in self.by_handle.values() if member.present]
        self._renewal_ms = min((member.renewal_ms for member in present), default=math.inf)
        return [
            member
            for member in present
            if member.renewal_ms <= wall_ms and (member.renew_after is None or now >= member.renew_after)
        ]

    def _follow_clock(self, zero_ms: float) -> None:
        """Move the ends of sessions with a wall clock that was set back, as OSCC-E's clock was not.

        One that was set forward only makes renewals early, and each answer has the new end.
        """
        back_ms = round(self._wall_zero_ms - zero_ms) if self._wall_zero_ms > zero_ms else 0
        if 0 < back_ms <= _SLEWED_MS:
            return
        self._wall_zero_ms = zero_ms
        if back_ms:
            self._renewal_ms -= back_ms
            for member in self.by_handle.values():
                member.expires_at_ms -= back_ms
                member.lived_from_ms -= back_ms

    def remove(self, handle: str) -> Member | None:
        """Remove and return a session; None when there is none."""
        member = self.by_handle.pop(handle, None)
        if member is None:
            return None
        self._drop_scope(member)
        self._store_scope()
        self._left.pop(handle, None)
        self._rescoped.pop(handle, None)
        self._changed.pop(handle, None)
        if member.node is not None:
            self._elsewhere[member.node].pop(handle, None)
        device = member.ticket.device.id
        others = tuple(each for each in self._devices.pop(device) if each is not member)
        if others:
            self._devices[device] = others
        return member

    def _move(self, member: Member, node: NodeId | None) -> None:
        if member.node is not None:
            self._elsewhere[member.node].pop(member.handle, None)
        member.node = node
        if node is not None:
            there = with_item(self._elsewhere.get(node, NO_ITEMS), member.handle, member)
            self._elsewhere = with_few(self._elsewhere, node, there)

    def _phone_came(self, member: Member) -> None:
        member.left_at = None
        self._changed = with_few(self._changed, member.handle, member)
        self._left.pop(member.handle, None)
        self._renewal_ms = min(self._renewal_ms, member.renewal_ms)

    def _phone_left(self, member: Member, left_at: float) -> None:
        member.left_at = left_at
        self._left = with_few(self._left, member.handle, member)
        self._changed = with_few(self._changed, member.handle, member)

    # ---- acceptance by OSCC-E ----

    def accepted(self, handle: str, attached: Attached) -> None:
        """Record that OSCC-E accepted the session on the present link."""
        member = self.by_handle.get(handle)
        if member is not None:
            session = member.ticket.session
            sent = replace(attached, session=session) if attached.session == session else attached
            member.server = self.server or member.server
            self._accept(member, sent, on_link=True)

    def rescoped(self, alias: int, rights: frozenset[Right], scope: Scope) -> Member | None:
        """Record that a session's rights or scope changed."""
        member = self._aliases.get(alias)
        if member is not None and member.attached is not None:
            self._accept(member, replace(member.attached, rights=rights, scope=scope), on_link=True)
            self._rescoped = with_few(self._rescoped, member.handle, member)
        return member

    def by_alias(self, alias: int) -> Member | None:
        """Return the session with *alias* on the present link."""
        return self._aliases.get(alias)

    def unlinked(self, *, replaced: bool = False) -> None:
        """Record that the link is gone. *replaced*: another epoch's link took its place, without sessions."""
        for member in list(self._aliases.values()):
            self._accept(member, member.attached, on_link=False)
        if replaced:
            self.forget_acceptances()

    def forget_acceptances(self) -> None:
        """Record that an epoch ended: OSCC-E must accept each session again."""
        for member in self.by_handle.values():
            self._accept(member, None, on_link=False)

    def take_rescoped(self) -> list[Member]:
        """Return the sessions whose rights or scope changed since the last call."""
        rescoped, self._rescoped = self._rescoped, NO_ITEMS
        return list(rescoped.values())

    def take_changed(self) -> list[Member]:
        """Return the sessions whose phone, or place on the link, changed since the last call."""
        changed, self._changed = self._changed, NO_ITEMS
        return list(changed.values())

    def following(self, member: Member) -> Following | None:
        """Return the topics of a session on the link; None while it is not there."""
        attached = member.attached if member.on_link else None
        return None if attached is None else _following(member, attached)

    @property
    def are_all_accepted(self) -> bool:
        """Whether OSCC-E has accepted each session in this epoch."""
        return self._accepted == len(self.by_handle)

    @property
    def followings(self) -> list[Following]:
        """The topics of all sessions on the link; equal ones once."""
        return list(self._followings)

    def _accept(self, member: Member, attached: Attached | None, *, on_link: bool) -> None:
        before = member.attached
        if attached is not None and before is not None and attached.scope == before.scope:
            attached = replace(attached, scope=before.scope)  # an equal one takes no memory of its own
        self._drop_scope(member)
        if not on_link or attached is None or before is None or before.alias != attached.alias:
            member.sent_presence = False
        member.attached, member.on_link = attached, on_link
        self._changed = with_few(self._changed, member.handle, member)
        self._add_scope(member)
        self._store_scope()

    def _store_scope(self) -> None:
        """Compute the union of the scopes, if they have changed, and store it where every update reads it."""
        if self._scope_at != self._scopes.changes:
            self._scope_at = self._scopes.changes
            scope = _union_of(list(self._scopes))  # another object, which shows that it changed in between
            self.scope = self.scope if scope == self.scope else scope
        if self._owns_at != self._owns.changes:
            self._owns_at = self._owns.changes
            self.own_agents = frozenset(self._owns) or EMPTY_SET

    def _add_scope(self, member: Member) -> None:
        """Add the scope of a session; equal scopes and rights of several sessions are one object."""
        attached = member.attached
        if attached is None:
            return
        self._accepted += 1
        scope, rights = self._scopes.add(attached.scope), _same(attached.rights)
        if attached.own_agent is not None:
            self._owns.add(attached.own_agent)
        if scope is not attached.scope or rights is not attached.rights:
            attached = member.attached = replace(attached, scope=scope, rights=rights)
        if member.on_link:
            self._aliases[attached.alias] = member
            self._followings.add(_following(member, attached))

    def _drop_scope(self, member: Member) -> None:
        """Remove the scope of a session."""
        attached = member.attached
        if attached is None:
            return
        self._accepted -= 1
        self._scopes.drop(attached.scope)
        if attached.own_agent is not None:
            self._owns.drop(attached.own_agent)
        if member.on_link:
            self._followings.drop(_following(member, attached))
            if self._aliases.get(attached.alias) is member:
                del self._aliases[attached.alias]


def _following(member: Member, attached: Attached) -> Following:
    return Following(member.ticket.application, attached.scope, attached.own_agent, member.topics)


@lru_cache(maxsize=64)
def _in_order(rights: frozenset[Right]) -> tuple[Right, ...]:
    """Return *rights* sorted: one object for equal rights, of which there are few."""
    return tuple(sorted(rights))
