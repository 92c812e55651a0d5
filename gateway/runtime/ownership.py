"""Ownership of one user: hold the lease, and open the link when it is due.

:mod:`gateway.core.lease` decides on the answers of the lease store; this module sends the requests.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, NamedTuple, Protocol

from gateway.core.lease import NO_SLOT, Acquire, BusState, Lease, LeaseState, Renew
from gateway.core.link import LinkMachine
from gateway.core.rate_limits import Place, Urgency
from gateway.core.view import Member, UserSessions
from gateway.domain.errors import EndReason, GatewayError
from gateway.domain.model import LONG_AGO, NO_ITEMS, UserId
from gateway.domain.upstream import About, Feature, LinkClosed
from gateway.protocol.envelopes import Control, Owned, Sought
from gateway.runtime.event_loop import LeanEvent, spawn
from gateway.runtime.link_session import OwnerServices, Renewal
from gateway.runtime.ports import NO_START, Grant, Link, Start, Tasks, wait_at_most

RenewalAnswer = Literal["ours", "refused", "unanswered"]

RENEW_S: Final = 5.0
"""The longest time between two renewals."""
_SPREAD: Final = 0.2
"""Largest part by which jitter shortens that time."""


class LeaseKeeper:
    """One user's lease in the store.

    Invariant: one request at a time. Each request ends with an answer or without one, also when the task that
    sent it is cancelled.
    """

    __slots__ = ("_answered", "_good_epoch", "_is_together", "_services", "_user", "lease", "other")

    def __init__(self, user: UserId, services: OwnerServices) -> None:
        # after an outage all renew at once: the jitter spreads them again
        self.lease = Lease(renew_s=RENEW_S * (1.0 - _SPREAD * services.jitter()))
        self.other: Grant | None = None
        """The owner of the user at the last refusal of this node."""
        self._user = user
        self._services = services
        self._answered: LeanEvent | None = None
        """Set when the present request has ended; None: there is none."""
        self._is_together = False
        """Whether it was sent together with those of other users."""
        self._good_epoch = 0
        """The epoch of the last answer that granted the lease."""

    async def ask(self, *, expected: int | None = None, renews_only: bool = False) -> RenewalAnswer:
        """Request the lease, or its extension if it is held; first wait for a request under way.

        Args:
            expected: Take it from the holder of that token.
            renews_only: Do not request a lease that is no longer held. It is of no use beside a link of an
                earlier token: other nodes use the lease's token, and all data of this link has the earlier
                one.
        """
        while self._answered is not None:
            await self._answered.wait()
        self._answered = LeanEvent()
        try:
            return "refused" if renews_only and not self.lease.is_ours else await self._ask(expected)
        finally:
            self._end()

    def renewing(self) -> Renewal | None:
        """Record and return a renewal that is sent together with others; :meth:`renewed` must follow.

        None: a request is under way, or no lease is held.
        """
        now = self._services.clock.now()
        question = self.lease.ask(now) if self._answered is None and self.lease.is_ours else None
        if not isinstance(question, Renew):
            return None
        self._answered, self._is_together = LeanEvent(), True
        self._note_lapse(question.token, now)
        return Renewal(self._user, question.token)

    def renewed(self, token: int, is_renewed: bool | None, tasks: Tasks | None) -> RenewalAnswer:
        """Process the answer to a renewal that was sent together with others; None: there was no answer.

        The lease is released in *tasks* when it is no longer needed.
        """
        if is_renewed is None:
            self.lease.unanswered(self._services.clock.now())
        answer = "unanswered" if is_renewed is None else self._process_answer(token, is_renewed=is_renewed)
        if answer is None and spawn(tasks, self._give_back(token)):
            return "unanswered"
        self._end()
        return answer or "unanswered"

    async def _give_back(self, token: int) -> None:
        try:
            await self._release(token)
        finally:
            self._end()

    def _end(self) -> None:
        answered, self._answered, self._is_together = self._answered, None, False
        if answered is not None:
            answered.set()

    async def superseded(self, token: int) -> None:
        """Give the lease up, since OSCC-E has seen *token*: the next lease is above it."""
        if self.lease.superseded(token):
            await self._release(self.lease.epoch)

    async def release(self) -> None:
        """Give the lease up, at once or after a renewal that is under way together with others."""
        while self._is_together and self._answered is not None:
            await self._answered.wait()
        if self.lease.release():
            await self._release(self.lease.epoch)

    async def _ask(self, expected: int | None) -> RenewalAnswer:
        now = self._services.clock.now()
        question = self.lease.ask(now, expected=expected)
        try:
            match question:
                case Acquire():
                    return await self._acquire(question)
                case Renew():
                    self._note_lapse(question.token, now)
                    return await self._renew(question)
                case None:
                    return "unanswered"
        except GatewayError:
            self.lease.unanswered(self._services.clock.now())
            return "unanswered"
        except asyncio.CancelledError:
            self.lease.unanswered(self._services.clock.now())
            raise

    async def _acquire(self, question: Acquire) -> RenewalAnswer:
        services = self._services
        grant = await services.leases.acquire(
            self._user, services.node, services.holder, floor=question.floor, expected=question.expected
        )
        if grant.holder != services.holder:
            self.other = grant
            self.lease.refused(grant.token)
            return "refused"
        if self.lease.granted(grant.token):
            self._good_epoch = grant.token
            return "ours"
        await self._release(grant.token)
        return "unanswered"

    async def _renew(self, question: Renew) -> RenewalAnswer:
        services = self._services
        is_renewed = await services.leases.renew(self._user, services.node, services.holder, question.token)
        answer = self._process_answer(question.token, is_renewed=is_renewed)
        if answer is None:
            await self._release(question.token)
        return answer or "unanswered"

    def _process_answer(self, token: int, *, is_renewed: bool) -> RenewalAnswer | None:
        """Record whether the lease was extended. None: it is no longer needed, so release it."""
        was_replaced = not self.lease.may_dial
        if not is_renewed:
            self.lease.refused()
            return "refused"
        if not self.lease.renewed():
            return None
        self._good_epoch = token
        if was_replaced and self.lease.may_dial:  # this node has the lease, and another node the link
            self._services.counters.two_owners_found()
        return "ours"

    def _note_lapse(self, token: int, now: float) -> None:
        if self._good_epoch == token and not self.lease.holds(now):
            self._good_epoch = 0
            self._services.counters.link_fenced()

    async def _release(self, token: int) -> None:
        """Release the lease in the store; without an answer it expires."""
        try:
            await self._services.leases.release(self._user, self._services.holder, token)
        except GatewayError:
            return


_STORE_AGAIN_S: Final = 1.0
"""Pause before the next request to a store that gave no answer."""
_ANSWER_S: Final = 1.0
"""Time within which a node that owns the user answers a request to all nodes."""
_LOG_ON_MS: Final = 60_000
"""How long after a log-on the user counts as waiting for the link."""
_TURN_S: Final = 0.001
_IDLE_S: Final = 3600.0
"""Longest wait without a change; only a bound."""
_READ_AGAIN_S: Final = 5.0
_REGISTERS_S: Final = 5.0
"""Time for which the bus must have worked again until a node that took the user has recorded it in the
store.
"""
_CONTEST_S: Final = 60.0
"""A node that is replaced twice within this time, although the store grants it the lease, competes with a
node of another store: both would replace each other endlessly.
"""
GIVES_WAY_S: Final = 60.0
"""How long the loser of such a contest opens no link and serves no phone of the user."""
_YIELD_S: Final = 20.0
"""Time without the lease after which an open link is closed, if the winner has not replaced it."""


class DialingOwner(Protocol):
    """The user state to which the link belongs."""

    user_sessions: UserSessions

    @property
    def is_over(self) -> bool:
        """Whether no link is needed."""

    @property
    def is_fenced(self) -> bool:
        """Whether the server ends the open link when another node opens one."""

    def epoch_began(self, epoch: int) -> None:
        """Record that a new lease was granted: later changes are written under *epoch*."""

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Remove a session that OSCC-E refused."""

    def renewed(self, answer: RenewalAnswer, *, was_ours: bool) -> None:
        """Process the answer to a renewal."""

    def redial(self) -> None:
        """Close the link, and open one under another lease."""

    def unreached(self) -> None:
        """Record that a dial failed, or the link is gone."""

    def owned_elsewhere(self, grant: Grant) -> None:
        """Record that another node owns the user."""

    def partitioned(self) -> None:
        """Record that other live nodes own the user, and that this node does not reach them."""

    def redirect_phones(self) -> None:
        """Send the phones here to another node, which owns the user."""

    def stop(self) -> None:
        """End."""


class OpenedLink(NamedTuple):
    """An open link, the session that opened it, and its server."""

    link: Link
    opener: Member
    about: About


class LinkDialer:
    """Opens one user's link, again and again.

    Invariants: one link at a time. It is opened only under a granted lease. After the link was replaced it is
    opened only when a renewal that was sent later was granted, too. In the end the lease is given up.
    """

    __slots__ = (
        "_changed", "_contested_at", "_entered_at", "_epoch", "_is_entered", "_is_partitioned", "_lost_since",
        "_machine", "_opening", "_others", "_owner", "_place", "_queued_at", "_read_at", "_server",
        "_services", "_start", "_user", "_was_open", "_was_replaced", "_yields_until", "lease_keeper",
        "slot",
    )  # fmt: skip

    def __init__(
        self, user: UserId, services: OwnerServices, machine: LinkMachine, owner: DialingOwner, start: Start
    ) -> None:
        self.lease_keeper = LeaseKeeper(user, services)
        self.lease_keeper.lease.seen(start.floor)
        self._user = user
        self._services = services
        self._machine = machine
        self._owner = owner
        self._start = start
        self._lost_since: float | None = None
        self._is_partitioned = False
        """Whether the link was replaced, and the bus has been lost since."""
        self._was_replaced = False
        """Whether the link was replaced, and the store has not reported the holder of the lease since."""
        self._contested_at = self._yields_until = LONG_AGO
        self._others: dict[int, Grant] = NO_ITEMS
        """The claim of another node with the highest token since the last `Sought`; one at most."""
        self._read_at = 0.0
        self._changed: LeanEvent | None = None
        """Set at a change; it exists only during a pause."""
        self._server: str | None = None
        """The instance of the server that was dialled last, if the server sends one."""
        self._epoch = 0
        self._place: Place | None = None
        self._is_entered = start.entered
        """Whether it is this user's turn at the admission queue, which is to be given back there."""
        self._queued_at = 0.0
        self._entered_at = LONG_AGO
        """When the user's turn came, after waiting."""
        self._opening: int | None = None
        """The number of the link that is being opened, in the node's queue of openings."""
        self._was_open = False
        """Whether this node has had the user's link before."""
        self.slot = NO_SLOT

    def sessions_changed(self) -> None:
        """Record that a session came or left, or that the ownership is over."""
        if self._changed is not None:
            self._changed.set()

    def renew(self, now: float) -> None:
        """Send a renewal now, together with those of other users; if that is not allowed, try again soon."""
        if self.lease_keeper.lease.due_at is None:
            return
        renewal = self.lease_keeper.renewing() if self.may_ask() else None
        if renewal is not None:
            self._services.renewals.add(renewal, self)
        else:
            self._services.renewals.put(self, now)

    async def renew_alone(self) -> RenewalAnswer:
        """Request an extension of the lease, if it is still held."""
        try:
            return await self.lease_keeper.ask(renews_only=True)
        finally:
            self._plan_renewal()

    async def release(self) -> None:
        """Give up the lease, and send no more renewals."""
        try:
            await self.lease_keeper.release()
        finally:
            self._services.renewals.drop(self)

    def _plan_renewal(self) -> None:
        """Set when the lease is to be renewed, after an event that may have changed it."""
        due_at = self.lease_keeper.lease.due_at
        if due_at is not None:
            self._services.renewals.put(self, due_at)

    def renewed(self, token: int, is_renewed: bool | None, tasks: Tasks | None) -> None:
        """See :meth:`gateway.runtime.link_session.Renewer.renewed`."""
        was_ours = self.lease_keeper.lease.is_ours
        answer = self.lease_keeper.renewed(token, is_renewed, tasks)
        self._plan_renewal()
        try:
            self._owner.renewed(answer, was_ours=was_ours)
        except ReferenceError:
            return  # the owner is gone

    async def next_link(self) -> OpenedLink | None:
        """Return the next link, once it is due and open; None: none is needed, or another node owns the user.

        :meth:`link_ended` follows before the next call, and :meth:`leave` in the end.
        """
        while await self._hold():
            if self.gives_way:
                await self._yield_user()
            elif (due_in_s := self._due_in_s()) > 0:
                await self._pause(due_in_s)
            elif not self._may_enter():
                await self._pause(self._queue_s())
            elif (opened := await self._dial()) is not None:
                return opened
        return None

    def shown(self, resources: int) -> None:
        """Record that the first data of the link is shown: the link is open."""
        self._opened(self._services.clock.now(), resources)

    def _opened(self, shown_at: float | None = None, resources: int = 0) -> None:
        """Give back the place among the links that the node is opening."""
        opening, self._opening = self._opening, None
        openings = self._services.admission_queue.openings
        if opening is not None and openings.end(opening, shown_at, resources):
            self._services.room_freed()

    def waited(self, since: float) -> bool:
        """Return whether the user waited for their turn after *since* while the queue moved on."""
        is_waiting = self._place is not None or self._entered_at > since
        return is_waiting and self._services.admission_queue.openings.advanced(since)

    @property
    def turn_in_s(self) -> float:
        """When the user's turn will come, as far as the queue shows; 0: it came, or was not needed."""
        if self._place is None:
            return 0.0
        return self._services.admission_queue.left_s(
            self._place, self._services.clock.now() - self._queued_at
        )

    def link_ended(self, replaced_by: int | None) -> None:
        """Record that the link is gone. *replaced_by*: the token of the link that took its place."""
        self._opened()
        if replaced_by is None:
            self._fail()
        else:
            self._was_replaced = True
            self._machine.kicked(self._services.clock.now(), self._services.jitter())
            self.lease_keeper.lease.kicked(replaced_by)
            self._plan_renewal()
        self._owner.unreached()

    def leave(self) -> None:
        """Give back the place in the admission queue."""
        self._opened()
        if self._place is not None:
            self._services.admission_queue.withdraw(self._place)
        if self._is_entered:
            self._services.admission_queue.done()

    async def _hold(self) -> bool:
        """Return True when the lease allows a dial; False when it is over."""
        lease = self.lease_keeper.lease
        while not self._owner.is_over and not lease.may_dial:
            if self._start.assumed and self._is_bus_down and self._assume():
                break
            answer = await self._ask()
            if answer == "unanswered" and not await self._decide_without_store():
                await self._pause(_STORE_AGAIN_S)
            else:
                self._process_answer(answer)
        if self._owner.is_over:
            return False
        if lease.epoch != self._epoch:
            self._epoch = lease.epoch
            self._owner.epoch_began(lease.epoch)
            if self._start.kind is not None:
                self._services.counters.took_over(self._start.kind)
        self._start = NO_START
        return True

    def _process_answer(self, answer: RenewalAnswer) -> None:
        """Process the answer of the store."""
        if answer == "ours" and self._was_replaced:
            self._contested()
        elif answer == "refused" and not self.lease_keeper.lease.lost and self.lease_keeper.other is not None:
            # a refused renewal is followed by an acquire, which returns the owner of the user
            self._owner.owned_elsewhere(self.lease_keeper.other)

    async def _ask(self) -> RenewalAnswer:
        if not self.may_ask():
            return "unanswered"
        is_late = self._services.clock.now() > self._start.by
        try:
            return await self.lease_keeper.ask(expected=None if is_late else self._start.expected)
        finally:
            self._plan_renewal()

    def may_ask(self) -> bool:
        """Return whether the lease may be requested now.

        A node that was replaced while the bus was away does not supersede the new owner, although the store
        may not have the new owner yet.
        """
        services, now = self._services, self._services.clock.now()
        machine = services.exchange.machine
        lease = self.lease_keeper.lease
        if lease.may_dial or lease.state is not LeaseState.HELD:
            self._is_partitioned = False
            return True
        if self._is_bus_down:
            self._report_partition()
        registered_s = min(machine.is_healthy_for(now), services.writes.taken_for(now))
        return not self._is_partitioned or registered_s >= _REGISTERS_S

    @property
    def _is_bus_down(self) -> bool:
        return self._services.exchange.machine.state is BusState.DOWN

    def _report_partition(self) -> None:
        if not self._is_partitioned:
            self._is_partitioned = True
            self._owner.partitioned()

    def _assume(self) -> bool:
        """Take the user without the store, which is away; a node that was replaced does not."""
        if (
            self.lease_keeper.lease.assume(self._services.assumed.take(self._services.clock.wall_ms()))
            is None
        ):
            return False
        self._start = self._start._replace(kind="assumed")
        self._plan_renewal()
        return True

    # ---- the lease is ours, the link is another's: there are two stores ----

    @property
    def gives_way(self) -> bool:
        """Whether another node owns the user through another store, so that no phone is served here.

        The node that is replaced for the second time yields, since the other node holds the link.
        """
        return self._services.clock.now() < self._yields_until

    def _contested(self) -> None:
        """Record that the store grants the lease, although another link replaced this node's."""
        now = self._services.clock.now()
        self._was_replaced = False
        if now - self._contested_at <= _CONTEST_S:
            self._yields_until = now + GIVES_WAY_S
            self._services.counters.two_owners_found()
            self._owner.redirect_phones()
        self._contested_at = now

    async def _yield_user(self) -> None:
        """Wait, then end: a phone that comes later is served as if for the first time."""
        while self.gives_way and not self._owner.is_over:
            await self._pause(self._yields_until - self._services.clock.now())
        self._owner.stop()

    # ---- the store takes no writes, but messages pass ----

    async def _decide_without_store(self) -> bool:
        """Take or yield the user without the store; False: request the lease from the store again."""
        services = self._services
        if self._is_bus_down:
            return self._assume()
        if not services.refuses_writes():
            return False
        is_given = self._start.history is not None and services.clock.now() <= self._start.by
        if not is_given and await self._is_owned():
            return True
        if not services.writes.is_away(services.clock.now()) or not await self._fences():
            return False
        lease = self.lease_keeper.lease
        if lease.state is LeaseState.HELD and not lease.may_dial:  # replaced by a node that is not reached
            self._report_partition()
        elif not self._owner.is_over and self._assume():
            owned = Owned(self._user, services.node, services.holder, lease.epoch)
            services.exchange.send(Control(), owned)
            return True
        return False

    async def _is_owned(self) -> bool:
        """Send a request to all nodes for the owner of the user.

        A node that answers is alive, and keeps the user.
        """
        clock, lease = self._services.clock, self.lease_keeper.lease
        self._others = NO_ITEMS
        self._services.exchange.send(Control(), Sought(self._user, self._services.node))
        until = clock.now() + _ANSWER_S
        while not self._others and not self._owner.is_over and clock.now() < until:
            await self._pause(until - clock.now())
        token = max(self._others, default=0)
        if not token or (lease.is_ours and token <= lease.epoch):
            return False
        self._owner.owned_elsewhere(self._others[token])
        return True

    def owned(self, grant: Grant) -> None:
        """Record that another node reported itself as the owner."""
        if grant.token > max(self._others, default=0):
            self._others = {grant.token: grant}
            self.sessions_changed()

    async def _fences(self) -> bool:
        try:
            return Feature.LINK_FENCING in (await self._services.upstream.about()).features
        except GatewayError:
            return False

    # ---- the lease is another's, the link is still ours ----

    def may_be_superseded(self, now: float) -> bool:
        """Return whether to read the lease that another node was granted, while a link is open here."""
        if self.lease_keeper.lease.state is not LeaseState.FREE:
            self._lost_since = None
            return False
        self._lost_since = now if self._lost_since is None else self._lost_since
        if now - self._read_at < _READ_AGAIN_S:
            return False
        self._read_at = now
        return True

    async def reconsider(self) -> None:
        """Read the lease: if there is none, dial under another lease; if another node has it, yield.

        Where a server fences links, the other node's link replaces this one: yield only when it has not done
        so for long.
        """
        try:
            grant = await self._services.leases.read(self._user)
        except GatewayError:
            return
        since = self._lost_since
        if since is None or self._owner.is_over:
            return
        if grant is None:
            self._owner.redial()
        elif not self._owner.is_fenced:
            self._owner.owned_elsewhere(grant)
        elif self._services.clock.now() - since > _YIELD_S:
            self._services.counters.two_owners_found()
            self._owner.owned_elsewhere(grant)

    def _may_enter(self) -> bool:
        """Return whether it is this user's turn; if not, :meth:`sessions_changed` is called at the turn."""
        if self._is_entered:
            return True
        admission_queue, now = self._services.admission_queue, self._services.clock.now()
        if self._place is None:
            self._place, self._queued_at = admission_queue.join(self._urgency(), self.sessions_changed), now
        if not admission_queue.enter(self._place, now):
            return False
        self._services.counters.waited(self._place.urgency, now - self._queued_at)
        self._place, self._is_entered = None, True
        self._entered_at = now if now > self._queued_at else self._entered_at
        return True

    def _urgency(self) -> Urgency:
        """Return why the link is needed.

        A session has just logged on, came from another node, or lost the link.
        """
        if self._was_open:
            return Urgency.REOPENING
        since_ms = self._services.clock.wall_ms() - _LOG_ON_MS
        is_fresh = any(member.ticket.issued_at_ms > since_ms for member in self._owner.user_sessions)
        return Urgency.PERSON if is_fresh else Urgency.ROAMING

    def _queue_s(self) -> float:
        """Return the delay until the next check of the admission queue.

        At least 1 ms, to avoid a busy loop.
        """
        if self._place is None:
            return 0.0
        wait_s = self._services.admission_queue.wait_s(self._place, self._services.clock.now())
        return min(max(wait_s, _TURN_S), _IDLE_S)

    def _due_in_s(self) -> float:
        now = self._services.clock.now()
        due_at = self._machine.dial_at(now)
        return _IDLE_S if due_at is None else due_at - now

    async def _pause(self, seconds: float) -> None:
        """Return at a change, or after *seconds*."""
        changed = self._changed = LeanEvent()
        await wait_at_most(self._services.clock, seconds, changed.wait())
        self._changed = None

    async def _dial(self) -> OpenedLink | None:
        opener = next(iter(self._owner.user_sessions), None)
        if opener is None or not self._machine.dialling():
            return None
        self._opening = self._services.admission_queue.openings.begin(self._services.clock.now())
        try:
            opened = await self._open(opener)
        except GatewayError as error:
            self._fail(error.retry_after_s)
        except LinkClosed as closed:
            await self._not_opened(opener, closed)
        else:
            if not self._owner.is_over:
                self._machine.opened(self._services.clock.now())
                return opened
            await opened.link.close()
        self._opened()
        self._owner.unreached()
        return None

    async def _open(self, opener: Member) -> OpenedLink:
        """Open the link; the place in the admission queue is taken, and given back when this returns."""
        services = self._services
        try:
            about = await services.upstream.about()
            self._server = about.server
            link = await services.upstream.open(
                self._user, opener.ticket.secret, token=self._epoch, holder=services.holder
            )
        finally:
            self._is_entered = False
            services.admission_queue.done()
        self._was_open = True
        return OpenedLink(link, opener, about)

    async def _not_opened(self, opener: Member, closed: LinkClosed) -> None:
        match closed.reason:
            case "session_unknown":
                self._machine.refused()
                self._owner.ended(opener, opener.end_at(self._server), None)
            case "stale":
                self._machine.refused()
                await self.lease_keeper.superseded(closed.token or 0)
            case _:
                self._fail(closed.retry_after_s)

    def _fail(self, requested_s: float | None = None) -> None:
        self._machine.failed(self._services.clock.now(), self._services.jitter(), requested_s)
