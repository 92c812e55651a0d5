"""How a user gets another owner, and the changes that an owner sends to its followers.

A follower reads from the store which node owns its user, and takes the user from an owner that is gone.

Roaming, drain and an unreachable site use the same mechanism. New commands are forwarded. Commands in flight
get their outcome. The command history travels with the offer. The new owner's link replaces the old one. A
site accepts a limited number of links per second, so a follower requests the user when its place in the
admission queue is reached. Until then the present owner keeps the user.

Changes: the bus is one more reader of the feed. While another node has requested changes within 25 s, changes
of the user are published together with those of other users. One publication is under way at a time; changes
that come during this time go with the next one.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from gateway.core.element import ChangeSet, Element, value_once
from gateway.core.follower import FollowMachine
from gateway.core.lease import TTL_S, BusState
from gateway.core.ledger import Delta
from gateway.core.rate_limits import Place, Urgency
from gateway.core.view import UserSessions
from gateway.domain.commands import History
from gateway.domain.errors import GatewayError
from gateway.domain.model import EMPTY_SET, LONG_AGO, NO_ITEMS, NodeId, Position, with_item
from gateway.domain.upstream import Feature
from gateway.protocol.envelopes import (
    Announcement,
    Events,
    Given,
    Inbox,
    Lingering,
    Offer,
    Publication,
    PublishedValue,
    Since,
    Value,
)
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.cluster import Exchange, Share
from gateway.runtime.command_execution import CommandExecution
from gateway.runtime.event_loop import LeanEvent, spawn
from gateway.runtime.link_session import OwnerServices
from gateway.runtime.mirror import Feed
from gateway.runtime.ports import RECONNECT_WINDOW_S, Grant, Link, Start, Tasks, wait_at_most
from gateway.telemetry import GiftReason

REQUEST_S: Final = 6.0
"""How long a request to own the user is valid: the time that an owner needs to give the user away, and that a
message takes.
"""
GRANTED_S: Final = 8.0
"""Time after the request within which the lease must be granted: after 10 s the owner continues."""
TURN_S: Final = 4.0
"""How long an offer is awaited: an owner waits 3 s for commands under way."""
TURN_PAUSE_S: Final = 6.0
"""Pause after a turn without success, in which other users have their turn."""


class TakingFollower(Protocol):
    """The follower."""

    feed: Feed
    machine: FollowMachine

    @property
    def owner(self) -> Grant:
        """The owner of the user, as last reported to this node."""

    def run_soon(self) -> None:
        """Have :meth:`Takeover.step` called again soon."""

    def turn_to(self, grant: Grant, now: float) -> None:
        """Follow the owner that the lease names."""

    def end(self, start: Start | None) -> None:
        """Stop following, and have this node own the user if *start* is given."""


HEALTHY_S: Final = 5.0
"""Time for which the bus must have worked before a silent node counts as unreachable."""
DENIED_S: Final = 5.0
"""Time after which the lease is taken from a node that denies to be the owner."""
EXPIRY_S: Final = TTL_S
"""A lease's life: on servers that do not fence links, no node takes a user earlier than this after the
owner's last sign of life. The lease must be free by then, too: it is never taken from a node that renews it.
"""
READ_AGAIN_S: Final = 1.0
"""Time after which a lease that was not free is read again."""

TAKEN_WITHIN_S: Final = 3.0
"""Time within which a silent owner's user is taken: the lease may have been renewed after its last sign of
life.
"""


class _TakeoverReason(NamedTuple):
    """The owner from which the user would be taken, and the reason."""

    token: int
    denied_since: float | None
    silent_since: float | None


class OwnerDiscovery:
    """Finds the owner of one followed user."""

    def __init__(self, subject: TakingFollower, services: OwnerServices) -> None:
        self.denied_since: float | None = None
        """Since when the requested node has answered that it is not the owner."""
        self._subject = subject
        self._services = services
        self._silent_since: float | None = None
        """The owner's last sign of life before it was found unreachable; None while it is reached."""
        self._read_at = LONG_AGO
        """When the lease of a silent owner may be read again."""
        self._has_restarted = False
        """Whether the owner's node was restarted."""

    def denied(self, now: float, holder: str | None) -> None:
        """Record that the addressed node denies to be the owner.

        A restarted node (another *holder*) has lost the user.
        """
        self.denied_since = now if self.denied_since is None else self.denied_since
        self._has_restarted = holder is not None and holder != self._subject.owner.holder

    async def find(self) -> None:
        """Read the lease, and act on it."""
        services, subject = self._services, self._subject
        try:
            grant = await services.leases.read(subject.feed.user)
        except GatewayError:
            return
        now = services.clock.now()
        if grant is None:
            self._no_lease(now)
        elif grant.holder == services.holder:
            subject.end(Start(expected=grant.token, floor=subject.machine.floor))
        else:
            await self._lease_found(grant, now)

    def _no_lease(self, now: float) -> None:
        """Handle a missing lease.

        An owner that answers keeps the user, since the store may have lost its data.
        """
        subject = self._subject
        if self.denied_since is not None and not self._services.is_draining():
            subject.end(Start(floor=subject.machine.floor, kind="expired"))
        else:
            subject.turn_to(subject.owner, now)

    async def _lease_found(self, grant: Grant, now: float) -> None:
        subject = self._subject
        if grant.token < subject.owner.token and self._services.refuses_writes():
            grant = subject.owner  # the store cannot have this owner yet
        if grant[:2] != subject.owner[:2]:
            self.denied_since = self._silent_since = None
            self._has_restarted = False
        elif self._has_restarted or (self.denied_since is not None and now - self.denied_since > DENIED_S):
            await self._take()
        subject.turn_to(grant, now)

    def tick(self, now: float, tasks: Tasks | None) -> None:
        """Check whether the owner receives."""
        exchange = self._services.exchange
        if not exchange.peers.is_unreachable(self._subject.owner.node, now):
            self._silent_since = None
        elif exchange.machine.is_healthy_for(now) >= HEALTHY_S:
            self._silent_since = self._last_sign(now) if self._silent_since is None else self._silent_since
            spawn(tasks, self._take())

    def _last_sign(self, now: float) -> float:
        """Return when the owner's node last answered or announced itself; *now* when that is not known."""
        owner = self._subject.owner
        sign = max(
            self._services.exchange.peers.answered_at(owner.node), self._services.announced_at(owner.holder)
        )
        return sign if sign > LONG_AGO else now

    def window_s(self, now: float) -> tuple[float, float]:
        """Return when a phone that was not served in time is to come back, s from *now*.

        Soon after the user can be taken from a silent owner.
        """
        left_s = 0.0 if self._silent_since is None else self._silent_since + EXPIRY_S - now
        first_s = max(left_s, RECONNECT_WINDOW_S[0])
        return (first_s, first_s + TAKEN_WITHIN_S) if left_s > 0 else RECONNECT_WINDOW_S

    @property
    def is_unreachable(self) -> bool:
        """Whether the owner did not receive in the last tick."""
        return self._silent_since is not None

    @property
    def _takeover_reason(self) -> _TakeoverReason:
        return _TakeoverReason(self._subject.owner.token, self.denied_since, self._silent_since)

    async def _take(self) -> None:
        """Take the user from an unreachable owner; without fencing only after its lease expired.

        The site may take long to answer. If the owner answers meanwhile, or another node owns the user by
        then, the user is not taken.
        """
        services, subject, why = self._services, self._subject, self._takeover_reason
        if services.is_draining():
            return
        try:
            about = await services.upstream.about()
        except GatewayError:
            return
        if self._takeover_reason != why:
            return
        if Feature.LINK_FENCING in about.features:
            subject.end(Start(why.token, subject.machine.floor, kind="early"))
        elif why.silent_since is not None and services.clock.now() - why.silent_since >= EXPIRY_S:
            await self._take_if_free(why)

    async def _take_if_free(self, why: _TakeoverReason) -> None:
        """Take the user from a silent owner, unless its lease is still in the store."""
        services, subject, now = self._services, self._subject, self._services.clock.now()
        if now < self._read_at:
            return
        self._read_at = now + READ_AGAIN_S
        with suppress(GatewayError):
            if await services.leases.read(subject.feed.user) is None and self._takeover_reason == why:
                subject.end(Start(floor=subject.machine.floor, kind="expired"))


class Takeover:
    """One follower's requests to own its user.

    Invariant: a place in the admission queue is given back. One at the site, which is taken when the user is
    handed over, is passed on in the :class:`Start`.
    """

    __slots__ = (
        "_again_at", "_entered_at", "_number", "_place", "_queued_at", "_requested_at", "_services",
        "_subject",
    )  # fmt: skip

    def __init__(self, subject: TakingFollower, services: OwnerServices) -> None:
        self._subject = subject
        self._services = services
        self._number = 0
        self._requested_at = LONG_AGO
        self._place: Place | None = None
        self._queued_at = 0.0
        self._entered_at: float | None = None
        """Since when the user's link might be opened here; None before the user's turn."""
        self._again_at = LONG_AGO

    def is_open(self, now: float) -> bool:
        """Return whether the owner leaves, and this node has not yet reacted."""
        is_idle = self._place is None and self._entered_at is None
        return is_idle and now >= self._again_at and self._is_left()

    def due_at(self, now: float) -> float:
        """Return the latest time for the next :meth:`step`."""
        if self._entered_at is not None:
            return self._entered_at + TURN_S
        if self._place is not None:
            return now + self._services.admission_queue.wait_s(self._place, now)
        return self._again_at if now < self._again_at else math.inf

    def step(self, now: float) -> bool:
        """Queue for a user whose owner leaves; return whether it is this user's turn."""
        if self._entered_at is not None and now - self._entered_at >= TURN_S:
            self.drop()
            self._again_at = now + TURN_PAUSE_S
        if not self._is_left():
            self.drop()
        elif self._entered_at is None and now >= self._again_at:
            return self._enter(now)
        return False

    def number(self, now: float) -> int:
        """Return the number of the request to the owner; 0 when there is none, or it could not be met."""
        if self._is_left():
            is_turn = self._entered_at is not None
        else:
            is_turn = self._is_wanted() and self._services.admission_queue.would_admit(now, Urgency.GIVING)
        if not is_turn:
            return 0
        self._number, self._requested_at = self._number + 1, now
        return self._number

    async def taking(self, offer: Offer) -> Start | None:
        """Return how to own the offered user, if this node requested them lately and reaches OSCC-E."""
        requested = (self._number, self._subject.machine.floor)
        requested_at = self._requested_at
        if (offer.adopt, offer.token) != requested or self._services.is_draining():
            return None
        if offer.island:
            try:
                await self._services.upstream.about()
            except GatewayError:
                return None
        if self._services.clock.now() - requested_at > REQUEST_S or not self._subject.feed.connections:
            return None
        is_entered = self._entered_at is not None and self._services.admission_queue.handed_over()
        self._entered_at = None
        return Start(
            expected=offer.token,
            floor=offer.token,
            history=offer.history,
            by=requested_at + GRANTED_S,
            lingering=offer.lingering,
            kind="planned",
            entered=is_entered,
        )

    def drop(self) -> None:
        """Withdraw the request."""
        if self._place is not None:
            self._services.admission_queue.withdraw(self._place)
            self._place = None
        if self._entered_at is not None:
            self._services.admission_queue.hand_over_failed()
            self._entered_at = None

    def _enter(self, now: float) -> bool:
        admission_queue = self._services.admission_queue
        if self._place is None:
            self._place, self._queued_at = admission_queue.join(Urgency.GIVING, self._subject.run_soon), now
        if not admission_queue.enter(self._place, now):
            return False
        self._services.counters.waited(Urgency.GIVING, now - self._queued_at)
        self._place, self._entered_at = None, now
        return True

    def _is_wanted(self) -> bool:
        return bool(self._subject.feed.connections) and not self._services.is_draining()

    def _is_left(self) -> bool:
        """Return whether the owner leaves, and can receive a request."""
        is_reachable = self._services.exchange.machine.state is not BusState.DOWN
        return is_reachable and self._is_wanted() and self._services.is_leaving(self._subject.owner.holder)


ALONE_S: Final = 30.0
"""Time without a phone on this node after which the user moves to a node that has one."""
UNLINKED_S: Final = 15.0
"""Time without a link after which another node may try."""
IN_FLIGHT_S: Final = 3.0
_TAKEN_S: Final = 10.0
"""Time after which a node can no longer be granted the lease for its request."""
REQUESTS_MAX: Final = 2
"""Further requests of a node that are answered with an offer. Then the user stays here for a while."""
REST_S: Final = 10.0
"""How long a user whom no node took is offered to no node."""
_AGAIN_S: Final = 1.0
"""Interval in which an offer is sent again, and a renewal is requested again."""
_OFFER_AGAIN_S: Final = 5.0
"""How long after a request its offer is sent again: the node ignores a later one."""


class HandingOwner(Protocol):
    """The owner that gives the user away."""

    feed: Feed
    user_sessions: UserSessions
    execution: CommandExecution
    epoch: int
    owned_by: Grant | None
    """The new owner of the user, once it is known."""

    async def renew(self) -> bool:
        """Request an extension of the lease, if this node still holds it; return whether it was granted."""

    @property
    def link(self) -> Link | None:
        """The open link."""


class Handover:
    """One owner's hand-over of its user.

    Invariants: the user is offered to one node at a time. After the offer no command is begun here until a
    renewal is granted that was requested when no node could take the user. At most
    :data:`REQUESTS_MAX` further requests delay this. Then the user is offered to no node for :data:`REST_S`.
    """

    __slots__ = (
        "_adopt", "_alone_since", "_island_since", "_offer", "_over", "_owner", "_requests", "_rests_until",
        "_services", "_to", "_until",
    )  # fmt: skip

    def __init__(self, owner: HandingOwner, services: OwnerServices) -> None:
        self._owner = owner
        self._services = services
        self._to: NodeId | None = None
        self._adopt = 0
        self._offer: Offer | None = None
        self._requests = 0
        self._until = 0.0
        self._rests_until = LONG_AGO
        self._over = LeanEvent()
        self._alone_since: float | None = None
        self._island_since: float | None = None

    def tick(self, now: float) -> None:
        """Record whether a phone is here, and a link."""
        self._alone_since = None if self._owner.feed.connections else (self._alone_since or now)
        if self._owner.link is not None:
            self._island_since = None

    def unreached(self) -> None:
        """Record that a dial failed, or the link is gone."""
        self._island_since = self._island_since or self._services.clock.now()

    def asked(self, node: NodeId, adopt: int, tasks: Tasks | None) -> None:
        """Record that *node* requests the user, and offer the user if this node should not own them.

        *adopt* is the number of its request.
        """
        now = self._services.clock.now()
        reason = self._reason(now)
        if reason is None or now < self._rests_until:
            return
        if self._to is None:
            self._to, self._requests = node, 0
            self._record_request(adopt, now)
            spawn(tasks, self._give(node, reason))
        elif self._to == node and self._requests < REQUESTS_MAX:
            # the offer was lost, or its request is too old by now
            self._record_request(adopt, now)
            self._offer_again()

    def _record_request(self, adopt: int, now: float) -> None:
        # requests before the offer is made are not counted: the offer answers the last of them
        self._requests += self._offer is not None
        self._adopt = adopt
        self._until = now + _TAKEN_S

    def _offer_again(self) -> None:
        if self._to is not None and self._offer is not None:
            self._services.exchange.send(Inbox(self._to), replace(self._offer, adopt=self._adopt))

    def over(self) -> None:
        """Record that another node owns the user."""
        self._over.set()

    def replaced(self, token: int) -> None:
        """Record that the link with *token* replaced this owner's, and send the history to its owner.

        The history is complete, because no command was begun since the offer and no node had a link in
        between.
        """
        if self._to is not None and self._offer is not None:
            history = self._owner.execution.history()
            self._services.exchange.send(Inbox(self._to), Given(self._owner.feed.user, token, history))

    def _reason(self, now: float) -> GiftReason | None:
        """Return why this node should not own the user; None when it should."""
        if not self._owner.epoch:
            return None
        if self._services.is_draining():
            return "drain"
        if self._island_since is not None and now - self._island_since >= UNLINKED_S:
            return "island"
        is_alone = self._alone_since is not None and now - self._alone_since >= ALONE_S
        return "roam" if is_alone else None

    async def _give(self, to: NodeId, reason: GiftReason) -> None:
        """Offer the user to *to*; continue as before when *to* does not take the user."""
        owner, services = self._owner, self._services
        try:
            history = await owner.execution.give(IN_FLIGHT_S)
            await self._let_answers_leave()
            self._offer = self._made(history, reason)
            if await self._is_delivered(to, self._offer):
                await self._wait()
                self._rests_until = services.clock.now() + REST_S
            if owner.owned_by is not None:
                services.counters.user_given(reason)
        finally:
            self._to = self._offer = None
            owner.execution.resume()

    async def _let_answers_leave(self) -> None:
        """Let outcomes of commands leave before the offer: a node that takes the user waits for no answer.

        They are posted by now, some in tasks that begin in the next turn of the loop.
        """
        await self._services.clock.sleep(0)

    def _made(self, history: History, reason: GiftReason) -> Offer:
        owner, now = self._owner, self._services.clock.now()
        lingering = tuple(
            Lingering(member.ticket, now - member.left_at)
            for member in owner.user_sessions
            if member.left_at is not None
        )
        is_island = reason == "island"
        return Offer(
            owner.feed.user, self._services.node, self._adopt, owner.epoch, history, is_island, lingering
        )

    async def _is_delivered(self, to: NodeId, offer: Offer) -> bool:
        try:
            return await self._services.exchange.deliver(Inbox(to), offer) > 0
        except GatewayError:
            return True  # the bus did not confirm it: it may have arrived

    async def _wait(self) -> None:
        """Return when the user is gone, or certainly still here.

        The node that got the offer may take the lease, until a renewal is granted that was requested later.
        An offer may be lost, so it is sent again. The offer of a node without its site is sent once, as each
        receipt makes the other node test the site.
        """
        clock = self._services.clock
        while not self._over.is_set():
            left_s = self._until - clock.now()
            if left_s <= 0 and await self._owner.renew():
                return
            await wait_at_most(clock, min(left_s, _AGAIN_S) if left_s > 0 else _AGAIN_S, self._over.wait())
            is_young = self._until - clock.now() >= _TAKEN_S - _OFFER_AGAIN_S
            if is_young and not self._over.is_set() and self._offer is not None and not self._offer.island:
                self._offer_again()


INTEREST_S: Final = 25.0
"""How long a node that requested changes gets publications, and its phones count as present."""


_NOTHING_SENT: Final = Position(0, 0)


class ChangePublisher:
    """The nodes that follow one owned user.

    Invariant: other nodes read no data of an epoch before :meth:`disclose`.
    """

    __slots__ = (
        "__weakref__", "_asked_at", "_changed", "_exchange", "_feed", "_is_disclosed", "_is_running", "_sent",
        "_sent_upstream", "_together",
    )  # fmt: skip

    def __init__(self, feed: Feed, exchange: Exchange) -> None:
        self._feed = feed
        self._exchange = exchange
        self._asked_at: dict[NodeId, float] = NO_ITEMS
        self._together: frozenset[NodeId] = EMPTY_SET
        """The nodes that read :class:`Publications`; all others read only the channel of the user."""
        self._is_running = False
        self._is_disclosed = False
        self._sent = _NOTHING_SENT
        """The position that all followers have; only while a node follows."""
        self._sent_upstream = ""
        self._changed: dict[str, None] = NO_ITEMS
        """Keys that changed since the last publication, while a node follows."""

    def run_in(self, tasks: Tasks | None) -> None:
        """Publish from now on; None ends publishing."""
        self._is_running = tasks is not None
        self._read(self._is_running and bool(self._asked_at))

    def withhold(self) -> None:
        """Announce a new epoch.

        Its data is withheld: a node that requests changes gets the epoch's number only.
        """
        self._is_disclosed = False
        self._publish_to_all(self._withheld())

    def disclose(self) -> None:
        """Announce that the first readings of this epoch are complete, and publish its data from now on."""
        if not self._is_disclosed:
            self._is_disclosed = True
            if self._is_reading:
                self._mark_all_sent()
            epoch, seq = self._feed.ledger.position
            self._publish_to_all(self._publication(Delta(epoch, seq, seq, reset=False, updates=()), {}))

    def interested(self, node: NodeId, now: float) -> bool:
        """Record that *node* follows; return whether it did not before."""
        is_new = node not in self._asked_at
        self._read(self._is_running)
        self._asked_at = with_item(self._asked_at, node, now)
        return is_new

    def reads(self, node: NodeId, *, together: bool) -> None:
        """Record whether *node* reads :class:`Publications`; until then it reads the user's channel."""
        if together is not (node in self._together):
            self._together ^= {node}

    def silent(self, now: float) -> list[NodeId]:
        """Remove and return the nodes that have not requested changes for so long that they get none.

        While the bus does not work, nodes cannot send requests, so none is removed.
        """
        if not self._asked_at or self._exchange.machine.is_healthy_for(now) < INTEREST_S:
            return []
        gone = [node for node, at in self._asked_at.items() if now - at > INTEREST_S]
        for node in gone:
            del self._asked_at[node]
            self._together -= {node}
        if not self._asked_at:
            self._asked_at = NO_ITEMS
            self._read(False)
        return gone

    @property
    def due_at(self) -> float:
        """Earliest time at which :meth:`silent` may return a node."""
        return min(self._asked_at.values()) + INTEREST_S if self._asked_at else math.inf

    def answer(self, since: Since, made: dict[Element, Value]) -> Publication:
        """Return the changes that the requesting node misses; *made*: see :meth:`take`.

        Only the epoch's number while its data is withheld.
        """
        if not self._is_disclosed:
            return self._withheld()
        return self._publication(self._feed.ledger.since(Position(since.epoch, since.seq)), made)

    def _withheld(self) -> Publication:
        epoch = self._feed.ledger.position.epoch
        return self._publication(Delta(epoch, 0, 0, reset=False, updates=()), {})

    # ---- what is published ----

    @property
    def sent(self) -> Position:
        """The position up to which the changes were published."""
        return self._sent

    def flush(self) -> None:
        """Publish the changes, if a node follows."""
        if self._has_changes:
            self._exchange.bundles.add(self.take)

    def publish_now(self) -> None:
        """Publish the changes before the next envelope is sent."""
        self._exchange.bundles.publish_now(self.take)

    def take(self, made: dict[Element, Value]) -> Share | None:
        """See :data:`gateway.runtime.cluster.BundleSource`."""
        if not self._has_changes:
            return None
        publication = self._next(made)
        if publication is None:
            publication = self._publication(self._feed.ledger.delta_of(self._sent, self._changed), made)
        self._mark_all_sent()
        all_together = self._together >= self._asked_at.keys()
        return Share(publication, tuple(self._asked_at) if all_together else None)

    def _next(self, made: dict[Element, Value]) -> Publication | None:
        """Return the publication of one shared value that changed, as nearly all are; None: it is another."""
        ledger, sent, changed = self._feed.ledger, self._sent, self._changed
        seq, upstream = ledger.seq, ledger.health.upstream
        if len(changed) != 1 or sent.epoch != ledger.epoch or ledger.shared_seq != seq:
            return None
        (key,) = changed
        if (element := ledger.elements.get(key)) is None:
            return None
        updates = (PublishedValue(key, seq, value_once(element, made)),)
        age_ms, as_of_ms = self._age_ms()
        user = self._feed.user
        return Publication(user, sent.epoch, sent.seq, seq, False, updates, upstream, as_of_ms, None, age_ms)

    @property
    def _has_changes(self) -> bool:
        """Whether followers have not been sent the present state."""
        ledger, sent = self._feed.ledger, self._sent
        if ledger.outlet is not self or not self._is_disclosed:
            return False
        is_moved = ledger.seq != sent.seq or ledger.epoch != sent.epoch
        return is_moved or ledger.health.upstream != self._sent_upstream

    @property
    def _is_reading(self) -> bool:
        """Whether this receives all changes, since a node follows."""
        return self._feed.ledger.outlet is self

    def _read(self, is_wanted: bool) -> None:
        """Receive all changes from now on, or none."""
        if is_wanted and not self._is_reading:
            self._changed = {}
            self._mark_all_sent()
            self._feed.ledger.outlet = self
        elif self._is_reading and not is_wanted:
            self._feed.ledger.outlet = None
            self._changed, self._sent = NO_ITEMS, _NOTHING_SENT

    def _mark_all_sent(self) -> None:
        """Record that all followers get the present state now."""
        ledger = self._feed.ledger
        self._sent, self._sent_upstream = ledger.position, ledger.health.upstream
        self._changed.clear()

    def announce(self, notice: NoticeFrame) -> None:
        """Have a notice shown on the nodes that follow."""
        if self._asked_at:
            self._exchange.send(Events(self._feed.user), Announcement(self._feed.user, notice))

    def _publish_to_all(self, publication: Publication) -> None:
        """Publish to all followers, known or not."""
        if self._is_running:
            self._exchange.send(Events(self._feed.user), publication)

    # ---- the outlet of the ledger ----

    def mark(self, key: str, before: Element | None) -> None:  # noqa: ARG002 - the port's
        """See :meth:`gateway.core.ledger.ChangeReader.mark`."""
        self._changed[key] = None

    def mark_all(self, changes: ChangeSet) -> None:
        """See :meth:`gateway.core.ledger.ChangeReader.mark_all`."""
        self._changed.update(dict.fromkeys(changes.elements))

    def _publication(self, delta: Delta, made: dict[Element, Value]) -> Publication:
        upstream = self._feed.ledger.health.upstream
        if not self._is_disclosed and upstream != "down":
            upstream = "stale"
        updates = tuple(
            [
                PublishedValue(key, seq, None if element is None else value_once(element, made))
                for key, seq, element in delta.updates
            ]
        )
        epoch, after, upto, reset, _, floor = delta
        age_ms, as_of_ms = self._age_ms()
        user = self._feed.user
        return Publication(user, epoch, after, upto, reset, updates, upstream, as_of_ms, floor, age_ms)

    def _age_ms(self) -> tuple[int, int] | tuple[None, None]:
        """Return the silence of the link in ms, and its instant; phones get it less precisely."""
        ledger, clock = self._feed.ledger, self._exchange.clock
        as_of, now = ledger.health.as_of, clock.now()
        if as_of is None:
            return None, None
        if ledger.health.upstream == "live" and ledger.came_at > LONG_AGO:
            as_of = max(as_of, ledger.came_at)
        age_ms = max(0, round((now - as_of) * 1000))
        return age_ms, ledger.dated_ms(now, clock.wall_ms()) - age_ms
