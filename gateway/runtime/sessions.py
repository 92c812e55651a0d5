"""Sessions of an owner: acceptance by OSCC-E, renewal and log-off.

A session is served only after OSCC-E has accepted it. Sessions are kept alive while their phones are. A
log-off is retried until OSCC-E confirms it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple, Protocol

from gateway.core.rate_limits import KeyedRates, TurnShare
from gateway.core.registry import WaitQueue, refusal
from gateway.core.view import Member, UserSessions
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import NO_ITEMS, Device, NodeId, Ticket, with_item
from gateway.domain.upstream import LoggedOff, LoggedOn
from gateway.protocol.envelopes import Inbox, Replaced, SessionFacts
from gateway.runtime.event_loop import LeanEvent, log_fault, spawn
from gateway.runtime.link_session import OwnerServices
from gateway.runtime.mirror import Feed, Mirror
from gateway.runtime.ownership import LinkDialer
from gateway.runtime.ports import (
    LOG_OFFS_MAX,
    Authority,
    Clock,
    Connection,
    Grant,
    InTurnError,
    KeptLogOff,
    Link,
    Local,
    RoleOverError,
    SharedStore,
    SiteParts,
    Tasks,
    not_reached,
    not_their_turn,
    wait_at_most,
)
from gateway.telemetry import RuntimeCounters

ATTACH_S: Final = 10.0
"""How long a phone waits until its session is accepted and the first readings have arrived."""
TURNS: Final = 3
"""Number of waits of that length while earlier phones are served: thousands may come at once."""
TURN_SHOWN_S: Final = 1.0
"""Time after which another node is answered that its phone waits for its turn; it asks again."""
_SLICE_S: Final = 0.002
"""Time for which waiting phones are served in one turn of the loop, plus one phone; more in long turns."""
WAIT_MIN_S: Final = 0.001
"""Shortest wait. Event loops wake up to 1 ms early; a shorter wait would make them spin."""


class SessionsOwner(Protocol):
    """The part of the owner that its sessions need."""

    clock: Clock
    feed: Feed
    user_sessions: UserSessions
    mirror: Mirror
    owned_by: Grant | None
    link_dialer: LinkDialer

    @property
    def link(self) -> Link | None:
        """The open link."""

    @property
    def token(self) -> int:
        """The token under which this node acts; 0 when another node may have overtaken it."""

    @property
    def is_over(self) -> bool:
        """Whether no session is left to act for, or the user was released."""

    @property
    def is_settled(self) -> bool:
        """Whether every request on the open link has been answered."""

    def sessions_changed(self) -> None:
        """Have the needed requests sent to OSCC-E."""

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Remove a session that OSCC-E ended or refused."""


class SessionWait:
    """The wait for one session: a turn of :data:`ATTACH_S`, or more while others are served before it.

    A phone of this node waits without a task, through all roles of its node: thousands may wait at once.
    """

    __slots__ = ("began_at", "is_requested", "local", "member", "node", "role", "shown", "turns", "until")

    is_requested: bool
    """Whether changes were requested because the data of the owner, another node, lacks the session."""
    member: Member
    """The session, while this node is the owner."""
    until: float
    """When the turn is over."""

    def __init__(self, local: Local, now: float, node: NodeId | None = None) -> None:
        self.local, self.node = local, node
        self.role: object = None
        """The role of this node to which the session was submitted; it stays in memory during the wait."""
        self.turns = 1
        self.begin_turn(now)

    def begin_turn(self, now: float, shown: int = 0) -> None:
        """Begin a turn. *shown* is the number of changes of single sessions until now."""
        self.began_at, self.until, self.shown = now, now + ATTACH_S, shown

    def next_turn(self, now: float, shown: int = 0, *, turn_in_s: float = 0.0) -> None:
        """Begin one more turn, or refuse the session after the last one.

        Raises:
            SessionRefused: Its phone is to come back in *turn_in_s*.
        """
        if self.turns == TURNS:
            raise not_their_turn(turn_in_s)
        self.turns += 1
        self.begin_turn(now, shown)


class SessionWaits:
    """The phones of a node that wait. *settle* serves or refuses a session, or begins its next turn."""

    def __init__(self, clock: Clock, settle: Callable[[Connection], None]) -> None:
        self.queue: Final[WaitQueue[Connection]] = WaitQueue()
        self._clock = clock
        self._settle = settle
        self._changed = LeanEvent()
        self.queue.ring = self._changed.set
        self._share = TurnShare(_SLICE_S)

    async def run(self) -> None:
        """Settle what is due until cancelled; between two slices all other work has a turn."""
        while True:
            self._changed.clear()
            await self._until_due()
            await self._settle_due()
            await self._clock.sleep(0)

    async def _until_due(self) -> None:
        wait_s = self.queue.due_at - self._clock.now()
        if wait_s == math.inf:
            await self._changed.wait()
        elif wait_s > 0:
            await wait_at_most(self._clock, max(wait_s, WAIT_MIN_S), self._changed.wait())

    async def _settle_due(self) -> None:
        began = now = self._clock.now()
        for connection in self.queue.take(now):
            self._settle(connection)
            now = self._clock.now()
            if now - began >= self._share.time_s:
                await self._clock.sleep(0)
                began = self._clock.now()
                self._share.others_took(began - now)


class SessionAdmission:
    """One user's sessions until they are served."""

    __slots__ = ("_owner", "_services", "_shown", "_waiting")

    def __init__(self, owner: SessionsOwner, services: OwnerServices) -> None:
        self._owner = owner
        self._services = services
        self._waiting: dict[str, LeanEvent] = NO_ITEMS
        """Sessions for which a task waits, by handle."""
        self._shown = 0
        """Number of changes of one session alone; most are its acceptance."""

    def wake(self, handle: str | None = None) -> None:
        """Wake what waits for one session, or with None for any session."""
        waits, connections = self._services.waits, self._owner.feed.connections
        if handle is not None:
            self._shown += 1
            changed, connection = self._waiting.pop(handle, None), connections.get(handle)
            if changed is not None:
                changed.set()
            if connection is not None:
                waits.touch(connection)
            return
        waiting, self._waiting = self._waiting, NO_ITEMS
        for changed in waiting.values():
            changed.set()
        waits.touch_all(connections.values())

    def until_changed(self, handle: str) -> asyncio.Future[None]:
        """Return what is done when a session may have changed."""
        changed = self._waiting.get(handle) or LeanEvent()
        self._waiting = with_item(self._waiting, handle, changed)
        return changed.wait()

    async def attach(self, owner: SessionsOwner, local: Local, node: NodeId) -> None:
        """See :meth:`gateway.runtime.user_state.Owner.attach`."""
        wait = SessionWait(local, owner.clock.now(), node)
        self.admit(wait)
        if await self._is_served_far(wait.member, local.since):
            self._served(wait)
            return
        wait.begin_turn(owner.clock.now(), self._shown)
        while self.facts_of(wait) is None:
            await self._until_ready(wait.member, wait.until - owner.clock.now())

    def admit(self, wait: SessionWait) -> None:
        """Add a session, or raise SessionRefused: there is no place for it."""
        sessions, (ticket, topics, came_at, _), node = self._owner.user_sessions, wait.local, wait.node
        self._check_place(ticket, node, came_at)
        self._close_moved_phone(sessions.by_handle.get(ticket.handle), node, came_at)
        wait.member, wait.shown = sessions.join(ticket, topics, node), self._shown
        wait.member.came_at = came_at
        self._owner.sessions_changed()

    def facts_of(self, wait: SessionWait) -> SessionFacts | None:
        """Return the facts of a session if it can be served now; None: it waits on.

        Raises:
            SessionRefused: It has ended, or no answer came in time.
            RoleOverError: Another node owns the user by now.
        """
        now = self._owner.clock.now()
        if not self._is_ready(wait.member):
            if now < wait.until:
                return None
            if not self._is_accepted(wait.member):
                self._next_turn(wait, now)
                return None
        return self._served(wait)

    def _next_turn(self, wait: SessionWait, now: float) -> None:
        """Let a session wait on, or refuse it."""
        if self._shown == wait.shown and not self._is_in_turn(wait.began_at):
            raise not_reached(for_bus=self._services.refuses_writes())
        wait.next_turn(now, self._shown, turn_in_s=self._owner.link_dialer.turn_in_s)

    def _served(self, wait: SessionWait) -> SessionFacts:
        """Close the phones that a session replaces. Return its facts."""
        for rival in self._owner.user_sessions.rivals(wait.member.ticket):
            self._close_moved_phone(rival, wait.node, wait.local.since)
        return wait.member.facts()

    async def _is_served_far(self, member: Member, came_at: float) -> bool:
        """Return whether a session can be served whose phone came to another node at *came_at*.

        If it waits for its turn, InTurnError is raised, and after too long SessionRefused.
        """
        is_ready = await self._until_ready(member, TURN_SHOWN_S)
        waited_s = self._owner.clock.now() - came_at
        if is_ready or (waited_s >= ATTACH_S and self._is_accepted(member)):
            return True
        if not self._is_in_turn(came_at):
            return False
        if waited_s < TURNS * ATTACH_S:
            raise InTurnError
        raise not_their_turn(self._owner.link_dialer.turn_in_s)

    def _is_accepted(self, member: Member) -> bool:
        """Return whether a session may be served with the data that is there."""
        return member.attached is not None and self._owner.token > 0

    async def _until_ready(self, member: Member, within_s: float) -> bool:
        """Return when a session can be served, or False after *within_s*."""
        try:
            async with self._owner.clock.timeout(within_s):
                while not self._is_ready(member):
                    await self.until_changed(member.handle)
        except TimeoutError:
            return False
        return True

    def _is_in_turn(self, since: float) -> bool:
        """Return whether sessions have waited *since* because this node was busy: no server is at fault."""
        owner, pauses = self._owner, self._services.pauses
        if owner.link_dialer.waited(since) or pauses.was_late(owner.clock.now(), ATTACH_S):
            return True
        return owner.link is not None and self._services.is_behind()

    def _check_place(self, ticket: Ticket, node: NodeId | None, came_at: float) -> None:
        """Refuse a phone that has moved on, or for which there is no place."""
        sessions = self._owner.user_sessions
        same_device = (sessions.by_handle.get(ticket.handle), *sessions.rivals(ticket))
        if any(each is not None and each.has_moved_on(node, came_at) for each in same_device):
            raise SessionRefused(CloseCode.REPLACED, "replaced")
        if sessions.is_crowded(ticket, node, self._services.devices):
            raise SessionRefused(CloseCode.TOO_MANY_DEVICES, CloseCode.TOO_MANY_DEVICES.name.lower())

    def _close_moved_phone(self, member: Member | None, node: NodeId | None, came_at: float) -> None:
        """Close a phone's connection if the phone has moved to another *node*."""
        if member is None or not member.present or member.node == node:
            return
        feed = self._owner.feed
        if member.node is not None:
            age_ms = round((self._owner.clock.now() - came_at) * 1000)
            self._services.exchange.send(Inbox(member.node), Replaced(feed.user, member.handle, age_ms))
        elif (connection := feed.connections.get(member.handle)) is not None:
            connection.close(CloseCode.REPLACED, "replaced")

    def _is_ready(self, member: Member) -> bool:
        owner = self._owner
        if member not in owner.user_sessions:
            raise refusal(member.ticket, *member.end)
        if owner.is_over:
            is_elsewhere = owner.owned_by is not None
            raise RoleOverError if is_elsewhere else not_reached(for_bus=self._services.refuses_writes())
        if member.attached is None:
            return False
        if owner.link is None:
            return owner.mirror.has_snapshot and owner.token > 0
        return member.on_link and (owner.is_settled or owner.mirror.has_read(member))


SESSION_RENEW_AGAIN_S: Final = 30.0
RENEWALS_IN_A_LIFE: Final = 12
"""Shorter lives are renewed more often: the last third has room for four tries."""
_SHORTEST_TRY_S: Final = 1.0
_END_REPORTED_S: Final = 0.5
"""Time within which the link reports how a session ended that the server does not know."""


class SessionRenewal:
    """Renewals of one user's sessions.

    Invariant: one renewal at a time for each session. It is given up after half of the remaining life, so
    that a request without an answer leaves time for another. After the end of the life, renewals are not
    urgent.
    """

    __slots__ = ("_owner", "_services", "_under_way")

    def __init__(self, owner: SessionsOwner, services: OwnerServices) -> None:
        self._owner = owner
        self._services = services
        self._under_way: dict[str, asyncio.Task[None] | None] = NO_ITEMS

    def tick(self, now: float, tasks: Tasks) -> None:
        """Renew the sessions that have little life left."""
        owner = self._owner
        for member in owner.user_sessions.expiring(now, owner.clock.wall_ms()):
            if member.handle not in self._under_way:
                often_s = min(SESSION_RENEW_AGAIN_S, member.life_s / RENEWALS_IN_A_LIFE)
                member.renew_after = now + (often_s if self._left_s(member) > 0 else SESSION_RENEW_AGAIN_S)
                spawn(tasks, self._renew(member))

    def stop(self) -> None:
        """Cancel the renewals under way: another owner renews, or none is needed."""
        for task in self._under_way.values():
            if task is not None:
                task.cancel()

    async def _renew(self, member: Member) -> None:
        left_s = self._left_s(member)
        patience_s = max(_SHORTEST_TRY_S, left_s / 2) if left_s > 0 else SESSION_RENEW_AGAIN_S
        self._under_way = with_item(self._under_way, member.handle, asyncio.current_task())
        try:
            async with self._owner.clock.timeout(patience_s):
                expires_at_ms = await self._services.authority.keep_alive(member.ticket.secret)
        except TimeoutError:
            return
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                await self._not_renewed(member)
            elif error.retry_after_s is not None and member.renew_after is not None:
                wait_s = min(error.retry_after_s, left_s / 2)
                member.renew_after = max(member.renew_after, self._owner.clock.now() + wait_s)
            return
        finally:
            del self._under_way[member.handle]
        self._renewed(member, expires_at_ms)

    def _left_s(self, member: Member) -> float:
        return (member.expires_at_ms - self._owner.clock.wall_ms()) / 1000

    def _renewed(self, member: Member, expires_at_ms: int) -> None:
        owner = self._owner
        if expires_at_ms > member.expires_at_ms and member in owner.user_sessions:
            member.lived_from_ms, member.expires_at_ms = owner.clock.wall_ms(), expires_at_ms
            member.renew_after = None  # the answer belongs to an earlier life
            owner.mirror.show_session(member)
            owner.feed.flush()

    async def end_unknown(self, member: Member) -> None:
        """End a session that the server does not know, unless the link soon reports how it ended."""
        await self._owner.clock.sleep(_END_REPORTED_S)
        await self._end(member)

    async def _end(self, member: Member) -> None:
        reason = EndReason.UNKNOWN
        with suppress(GatewayError):
            reason = member.end_at((await self._services.upstream.about()).server)
        self._owner.ended(member, reason, None)

    async def _not_renewed(self, member: Member) -> None:
        """Record that OSCC-E does not know the session; its link should report the reason.

        The answer may overtake the report of the link. Only the report decides whether the phone stops or
        logs on again.
        """
        if member.on_link and not member.is_reported_unknown:
            member.is_reported_unknown = True
        else:
            await self._end(member)


RETRY_S: Final = 5.0
RETRIES_AT_ONCE: Final = 8
"""Log-offs at one site at a time, so that log-ons find free connections while many log-offs are sent."""
READ_STORED_S: Final = 10.0
"""Interval in which a node looks for log-offs of nodes that have ended."""
REPEATS_PER_S: Final = 1.0
REPEATS_BURST: Final = 5.0
"""Log-offs of one session that are sent to OSCC-E at once, and per second after that."""
CONFIRMED_S: Final = 600.0
"""How long a confirmed log-off is answered from memory."""
REPEATS_AT_ONCE: Final = 8
"""Repeated log-offs at one site at a time: the other connections are for log-ons and first log-offs."""
_KEPT_LEAST_S: Final = 60.0
_NOBODY: Final = Device("", "")

_LOG: Final = logging.getLogger(__name__)


class Users(Protocol):
    """The receiver of begun and ended sessions."""

    def logged_on(self, logged_on: LoggedOn, began_ms: int) -> None:
        """Record that a user logged on, and the instant at which the log-on began."""

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        """Record that the user ended a session, here or from the device *by*."""


class OtherNodes(NamedTuple):
    """Data about the nodes that a node's log-ons and log-offs need.

    *holder*: this node's life. *living*: returns it, and the lives of all live nodes that do not leave.
    """

    shared: SharedStore
    holder: str
    living: Callable[[], Collection[str]]


@dataclass(slots=True, repr=False)
class _Pending:
    ticket: Ticket
    until_ms: int
    """When the session ends in any case."""
    is_kept: bool = False
    """Whether the shared store has it."""
    is_taken: bool = False
    """Whether OSCC-E has answered that it ends the session after the contact."""


class _Answered(NamedTuple):
    """The answer to a session's log-off. *until*: earlier repetitions are not sent to OSCC-E."""

    answer: LoggedOff
    until: float


class LogOffs:
    """The log-offs of all sites.

    Invariants: a session has at most one request under way. A site has at most REPEATS_AT_ONCE repeated ones.
    An unconfirmed log-off is retried after any failure, until the session's life is over. It is in a store
    that outlives the node, so that another node retries it when this one ends. Log-offs are idempotent at
    OSCC-E: two nodes may retry the same one.

    Bounded: beyond LOG_OFFS_MAX the oldest log-off is dropped, and its session ends by its own timeout.
    """

    def __init__(
        self,
        sites: Mapping[str, SiteParts],
        clock: Clock,
        users: Users,
        others: OtherNodes,
        counters: RuntimeCounters,
    ) -> None:
        self._sites = sites
        self._clock = clock
        self._users = users
        self._others = others
        self._counters = counters
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[LoggedOff]] = {}
        self._answered: OrderedDict[bytes, _Answered] = OrderedDict()
        self._repeats: Counter[str] = Counter()
        self.rates: KeyedRates[bytes] = KeyedRates(REPEATS_PER_S, REPEATS_BURST)

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def pending(self) -> tuple[Ticket, ...]:
        """The sessions whose log-off waits for its confirmation."""
        return tuple(each.ticket for each in self._pending.values())

    def is_pending(self, ticket: Ticket) -> bool:
        """Return whether the session's log-off waits for its confirmation here."""
        pending = self._pending.get(ticket.handle)
        return pending is not None and pending.ticket.secret == ticket.secret

    async def log_off(self, ticket: Ticket, by: str = "self") -> LoggedOff:
        """End the session. ``after_contact`` means: not confirmed yet, and retried by :meth:`run`.

        In both cases its phone is closed and its token refused at once. A cancelled call counts as not
        confirmed. A call during a request under way waits for that answer. A call too soon after another, or
        while too many are repeated, gets the earlier answer.

        *by* is the cause that the phone is sent.
        """
        key = _key(ticket)
        under_way = self._under_way.get(key)
        if under_way is not None:
            return await asyncio.shield(under_way)
        now, before = self._clock.now(), self._answered.get(key)
        if before is not None and now < before.until:
            return before.answer
        is_first = before is None and not self.is_pending(ticket)
        is_soon = self.rates.take(key, now) > 0
        if is_first:
            self._users.logged_off(ticket, by)
        elif is_soon or self._repeats[ticket.user.site] >= REPEATS_AT_ONCE:
            return self._unconfirmed(ticket) if before is None else before.answer
        return await self._request(key, ticket, is_first=is_first)

    async def _request(self, key: bytes, ticket: Ticket, *, is_first: bool) -> LoggedOff:
        site, waiting = ticket.user.site, asyncio.get_running_loop().create_future()
        self._under_way[key] = waiting
        self._repeats[site] += not is_first
        confirmed, before = None, self._pending.get(ticket.handle)
        try:
            confirmed = await self._ask(ticket)
        finally:  # cancelled, too
            self._repeats[site] -= not is_first
            del self._under_way[key]
            answer = self._unconfirmed(ticket) if confirmed is None else confirmed
            waiting.set_result(answer)
            pending = self._store_answer(key, ticket, answer, is_taken=confirmed is not None)
        if pending is not None:
            await self._keep(pending)
        elif before is not None and before.is_kept:
            await self._drop(ticket)
        return answer

    async def _ask(self, ticket: Ticket) -> LoggedOff | None:
        """Send a log-off to OSCC-E; None: it was not confirmed."""
        try:
            return await authority_of(self._sites, ticket.user.site).log_off(ticket.secret)
        except GatewayError:
            return None

    def _store_answer(
        self, key: bytes, ticket: Ticket, answer: LoggedOff, *, is_taken: bool
    ) -> _Pending | None:
        """Store the answer; return the log-off to retry if it was not confirmed."""
        is_open = answer.routing == "after_contact"
        self._answered.pop(key, None)
        self._answered[key] = _Answered(answer, 0.0 if is_open else self._clock.now() + CONFIRMED_S)
        while len(self._answered) > LOG_OFFS_MAX:
            self._answered.popitem(last=False)
        known = self._pending.pop(ticket.handle, None)
        if not is_open:
            return None
        until_ms = max(ticket.expires_at_ms, answer.routed_until_ms or 0)
        is_kept = known is not None and known.is_kept and known.until_ms >= until_ms
        return self._add(_Pending(ticket, until_ms, is_kept, is_taken))

    def _add(self, pending: _Pending) -> _Pending:
        self._pending[pending.ticket.handle] = pending
        while len(self._pending) > LOG_OFFS_MAX:
            self._pending.popitem(last=False)
        return pending

    # ---- retries ----

    async def run(self) -> None:
        """Retry unconfirmed log-offs until cancelled. A site that does not answer delays no other site."""
        async with asyncio.TaskGroup() as tasks:
            for site in self._sites:
                tasks.create_task(self._every(RETRY_S, partial(self._retry_all, site)))
            if self._others.shared.outlives_node:
                tasks.create_task(self._every(READ_STORED_S, self._read_stored))
            tasks.create_task(self._every(CONFIRMED_S, self._forget))

    async def _every(self, seconds: float, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do *work* at intervals; a fault in it is logged and counted, and it continues."""
        while True:
            await self._clock.sleep(seconds)
            try:
                await work()
            except Exception as fault:  # noqa: BLE001 - one round's fault must not end the node
                self._faulted(fault)

    async def _retry_all(self, site: str) -> None:
        waiting = [each for each in self._pending.values() if each.ticket.user.site == site]
        shared = iter(waiting)
        async with asyncio.TaskGroup() as tasks:
            for _ in waiting[:RETRIES_AT_ONCE]:
                tasks.create_task(self._retry_each(shared))

    async def _retry_each(self, waiting: Iterator[_Pending]) -> None:
        for pending in waiting:
            if self._is_waiting(pending) and _key(pending.ticket) not in self._under_way:
                try:
                    await self._retry(pending)
                except Exception as fault:  # noqa: BLE001 - one log-off's fault must not hold up the others
                    self._faulted(fault)

    async def _retry(self, pending: _Pending) -> None:
        """Try once more, even after the known end of the session: its life may have been extended."""
        ticket, answer = pending.ticket, await self._ask(pending.ticket)
        is_open = answer is None or answer.routing == "after_contact"
        if not self._is_waiting(pending):
            return
        pending.is_taken = answer is not None
        if is_open and self._clock.wall_ms() < pending.until_ms:
            await self._keep(pending)
            return
        del self._pending[ticket.handle]
        if answer is not None and not is_open:
            self._store_answer(_key(ticket), ticket, answer, is_taken=True)
        if pending.is_kept:
            await self._drop(ticket)

    def _is_waiting(self, pending: _Pending) -> bool:
        """Return whether *pending* is still open: the phone may have repeated its log-off since."""
        return self._pending.get(pending.ticket.handle) is pending

    async def _forget(self) -> None:
        """Remove the answers of sessions whose log-off is confirmed, or that are over."""
        now, waiting = self._clock.now(), {_key(each.ticket) for each in self._pending.values()}
        for key, answered in list(self._answered.items()):
            if answered.until <= now and key not in waiting:
                del self._answered[key]

    def _faulted(self, fault: Exception) -> None:
        log_fault(_LOG, "log_off_retry_failed", fault)
        self._counters.faulted("log_off")

    # ---- other nodes ----

    async def _keep(self, pending: _Pending, holder: str | None = None) -> None:
        """Store *pending* for other nodes; if the store refuses it, each retry tries again."""
        shared = self._others.shared
        if not shared.outlives_node or (pending.is_kept and holder is None):
            return
        left_s = (pending.until_ms - self._clock.wall_ms()) / 1000
        bare = replace(pending.ticket, display_name="", device=_NOBODY, notices=())
        kept = KeptLogOff(self._others.holder if holder is None else holder, pending.until_ms, bare)
        try:
            pending.is_kept = await shared.keep_log_off(kept, max(left_s, _KEPT_LEAST_S))
        except GatewayError:
            return  # the stored log-off remains
        if pending.is_kept and not self._is_waiting(pending) and not self.is_pending(pending.ticket):
            await self._drop(pending.ticket)  # it was confirmed in between

    async def _drop(self, ticket: Ticket) -> None:
        try:
            await self._others.shared.drop_log_off(ticket.handle)
        except GatewayError:
            return  # it expires, or is sent once more, which changes nothing

    async def _read_stored(self) -> None:
        """Read the stored log-offs.

        Retry those that ended nodes left, and store those of this node that are missing.
        """
        try:
            kept = await self._others.shared.log_offs()
        except GatewayError:
            return
        await self._take_over(kept)
        there = {each.ticket.handle for each in kept}
        for pending in tuple(self._pending.values()):
            if pending.ticket.handle not in there and self._is_waiting(pending):
                pending.is_kept = False  # a store that was restarted has lost it
                await self._keep(pending)

    async def _take_over(self, kept: Iterable[KeptLogOff]) -> None:
        """Retry the log-offs of ended nodes; each belongs to one live node."""
        living = self._others.living()
        for each in kept:
            is_left = each.holder not in living and each.ticket.user.site in self._sites
            if is_left and each.ticket.handle not in self._pending and self._is_ours(each.ticket, living):
                await self._keep(self._add(_Pending(each.ticket, each.until_ms)))

    def _is_ours(self, ticket: Ticket, living: Collection[str]) -> bool:
        """Return whether this is the live node that retries the session's log-off."""

        def rank(holder: str) -> bytes:
            return hashlib.blake2s(f"{ticket.handle}:{holder}".encode(), digest_size=8).digest()

        return max(living, key=rank) == self._others.holder

    async def leave_to_others(self) -> int:
        """Leave the unconfirmed log-offs to the other nodes.

        Returns:
            The number of log-offs that no node retries now, although OSCC-E may not have received them.
        """
        async with asyncio.TaskGroup() as tasks:
            shared = iter(tuple(self._pending.values()))
            for _ in range(RETRIES_AT_ONCE):
                tasks.create_task(self._leave_each(shared))
        return sum(not each.is_kept and not each.is_taken for each in self._pending.values())

    async def _leave_each(self, waiting: Iterator[_Pending]) -> None:
        for pending in waiting:
            await self._keep(pending, holder="")

    # ---- inner ----

    def _unconfirmed(self, ticket: Ticket) -> LoggedOff:
        """Return an answer with the time until which calls may arrive while OSCC-E is not reached.

        An expired token does not show when its session ends: the session may have been renewed since.
        """
        now_ms, until_ms = self._clock.wall_ms(), ticket.expires_at_ms
        if ticket.idle_timeout_s:
            idle_ms = now_ms + ticket.idle_timeout_s * 1000
            until_ms = idle_ms if until_ms <= now_ms else min(until_ms, idle_ms)
        return LoggedOff("after_contact", until_ms)


def authority_of(sites: Mapping[str, SiteParts], site: str) -> Authority:
    """Return the log-on service of a site.

    Raises:
        GatewayError: ``site_unknown``.
    """
    found = sites.get(site)
    if found is None:
        raise GatewayError(ErrorCode.SITE_UNKNOWN, "There is no such site.")
    return found.authority


def _key(ticket: Ticket) -> bytes:
    """Return the key of a session's answers: a server that was restarted may use ids again."""
    return hashlib.blake2s(ticket.secret.encode(), digest_size=16, person=b"log-off").digest()
