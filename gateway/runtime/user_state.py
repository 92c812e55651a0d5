"""One user on this node: the user's phones, the node's role for the user, and the owner.

A node first tries to own a user. When another node owns the user, this node follows that node until it has to
own the user itself. Phones keep their data through every change of role.

The owner is the node's side of the user at the OSCC-E Server. It has OSCC-E accept each session of the user,
on any node. It keeps the one link open while a session needs it. It has commands executed at most once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import replace
from typing import Any, Final
from weakref import proxy

from gateway.core.assembly import Composer
from gateway.core.commands import CommandRecords
from gateway.core.ledger import Health
from gateway.core.link import LinkMachine
from gateway.core.registry import DueTime
from gateway.core.view import Member, UserSessions, same_topics
from gateway.domain.commands import History
from gateway.domain.errors import CloseCode, EndReason, SessionRefused
from gateway.domain.model import LONG_AGO, NodeId, SmallMap, Ticket, UserId
from gateway.protocol.envelopes import SessionFacts, Since
from gateway.runtime.command_execution import CommandedUser, CommandExecution, OutcomeWaiter
from gateway.runtime.event_loop import LeanEvent, forget_frames, spawn
from gateway.runtime.follower import Follower
from gateway.runtime.handover import ChangePublisher, Handover
from gateway.runtime.link_session import LinkHealth, LinkSession, OnDemandTasks, OwnerServices
from gateway.runtime.mirror import Feed, Mirror
from gateway.runtime.ownership import LinkDialer, OpenedLink, RenewalAnswer
from gateway.runtime.ports import (
    NO_START,
    RECONNECT_WINDOW_S,
    Grant,
    Link,
    Local,
    Role,
    RoleOverError,
    Start,
    not_reached,
)
from gateway.runtime.sessions import SessionAdmission, SessionRenewal, SessionWait

UNCONFIRMED_S: Final = 30.0
"""How long a new owner keeps the last owner's sessions that no phone has confirmed."""
_SET_CLOCK_S: Final = 60.0
"""The longest time between two checks of when sessions expire: the wall clock may be set."""
HISTORY_S: Final = 1.0
"""How long a command that may have run waits for the last owner's history, once the link is open."""


class Owner(OnDemandTasks):
    """The upstream side of one user.

    Invariants: at most one link, under a token that this node was granted. No session is served before OSCC-E
    has accepted it in this epoch. A command is sent upstream at most once.

    Args:
        group: Where its tasks run, and those of its links.
        feed: Where the user's changes go on this node.
        records: Those of the user's commands; they outlive the owner.
        due: Is touched when :meth:`due_at` may return another time.
        local: The sessions with a phone on this node.
    """

    __slots__ = (
        "__weakref__", "_began_at", "_due", "_handover", "_history_by", "_is_running", "_link_session",
        "_machine", "_renewing", "_services", "_sessions_at", "_start", "_stopped", "clock", "counters",
        "epoch", "execution", "feed", "lease", "link_dialer", "link_health", "mirror", "owned_by", "pauses",
        "publisher", "session_admission", "user_sessions",
    )  # fmt: skip

    def __init__(
        self,
        group: asyncio.TaskGroup,
        feed: Feed,
        services: OwnerServices,
        composer: Composer,
        records: CommandRecords[OutcomeWaiter],
        due: DueTime[UserId],
        start: Start = NO_START,
        local: tuple[Local, ...] = (),
    ) -> None:
        super().__init__(group)
        me: Owner = proxy(self)  # an ended owner leaves memory at once: no collaborator holds its owner
        self.clock, self.pauses, self.counters = services.clock, services.pauses, services.counters
        self.feed, self.user_sessions, self.epoch = feed, UserSessions(), 0
        self._is_running = self._stopped = False
        self.session_admission = admission = SessionAdmission(me, services)
        self.mirror = Mirror(feed, self.user_sessions, composer, services.offsets, services.clock, admission)
        self.publisher = ChangePublisher(feed, services.exchange)
        self.owned_by: Grant | None = None
        """The owner of the user, as soon as it is known to be another node."""
        self._services, self._due, self._start = services, due, start
        self._machine = LinkMachine()
        self.link_dialer = LinkDialer(feed.user, services, self._machine, me, start)
        self.lease = self.link_dialer.lease_keeper.lease
        number_changes, audit, takes_over = services.number_changes, services.audit, start != NO_START
        self.execution = CommandExecution(feed.user, me, self.lease, records, number_changes, audit)
        self.link_health = LinkHealth(feed, self.mirror, self._machine, services, is_taking_over=takes_over)
        self._handover: Handover | None = None
        self._renewing, self._began_at = SessionRenewal(me, services), math.inf
        self._link_session: LinkSession | None = None
        self._history_by = LONG_AGO
        """Until when the history of the former owner may arrive."""
        self._sessions_at = LONG_AGO
        """When :meth:`tick` has work for lease and sessions, unless it is touched before."""
        feed.outlet = self.publisher
        if feed.ledger.clock_ms == LONG_AGO:
            feed.ledger.clock_ms = self.clock.wall_ms() - self.clock.now() * 1000
        self._join_at_start(start, local)

    # ---- sessions ----

    def _join_at_start(self, start: Start, local: tuple[Local, ...]) -> None:
        """Add the sessions that are there when this node begins to own the user."""
        for ticket, since_s in start.lingering:
            self.user_sessions.linger(ticket, self.clock.now() - since_s)
        for one in local:
            self.user_sessions.join(one.ticket, one.topics).came_at = one.since

    def attach(self, local: Local, node: NodeId) -> Coroutine[Any, Any, None]:
        """Return what is done when OSCC-E has accepted the session and all that it follows was read once.

        When the readings take too long, or the link is down, a session that was accepted in this epoch is
        served with the data that is there.

        Args:
            local: The session, at *node*.
            node: Where its phone is.

        Raises:
            SessionRefused: It has ended, its phone is on another node since, or no answer came in time.
            RoleOverError: Another node owns the user by now.
        """
        self._accept()
        return self.session_admission.attach(self, local, node)

    def admit(self, wait: SessionWait) -> None:
        """Begin what :meth:`attach` does, for a phone of this node, which waits without a task."""
        self._accept()
        self.session_admission.admit(wait)

    def facts_of(self, wait: SessionWait) -> SessionFacts | None:
        """See :meth:`gateway.runtime.sessions.SessionAdmission.facts_of`."""
        return self.session_admission.facts_of(wait)

    def _accept(self) -> None:
        """Refuse sessions of a user who is given to another node."""
        self.touch()
        if self.link_dialer.gives_way:
            raise SessionRefused(CloseCode.REBALANCE, "owned elsewhere", window_s=RECONNECT_WINDOW_S)

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Subscribe to the topics that the session follows now."""
        if (member := self.user_sessions.by_handle.get(handle)) is not None:
            self.user_sessions.follow(member, topics)
            self.sessions_changed()

    def leave(self, handle: str, node: NodeId | None = None) -> None:
        """Record that the session's phone left *node*; the session stays attached for a while."""
        self.user_sessions.leave(handle, self.clock.now(), node)
        surplus = self.user_sessions.surplus()
        if surplus is not None:
            self.drop_session(surplus.handle)
        self.sessions_changed()

    def drop_session(self, handle: str) -> None:
        """Stop acting for a session, which may live on at OSCC-E or has ended."""
        member = self.user_sessions.remove(handle)
        if member is None:
            return
        if self._link_session is not None:
            self._link_session.leave(member)
        self._gone(member)

    def given(self, token: int, history: History) -> None:
        """Import the command history of an owner whose link the link with *token* replaced.

        It is valid only for this owner's own link in the present epoch; otherwise other links may have been
        between.
        """
        if token == self.epoch and not self.is_over:
            self._history_by = LONG_AGO
            self.execution.adopt(history)
            self.answered()

    def _gone(self, member: Member) -> None:
        """Remove the data that only a removed session could see."""
        self.feed.forget(member.handle)
        self.mirror.narrowed()
        self.feed.flush()
        self.session_admission.wake(None if self.is_over else member.handle)
        self.sessions_changed()

    def sessions_changed(self) -> None:
        """Have the needed requests sent to OSCC-E."""
        self.touch()
        if self._link_session is not None and self.is_over:
            self._link_session.close()
        elif self._link_session is not None:
            self._link_session.need()
        self.link_dialer.sessions_changed()

    def touch(self) -> None:
        """Record that :meth:`due_at` may return another time."""
        self._due.touch()

    # ---- what the link reports (LinkOwner, DialingOwner) ----

    def synced(self) -> None:
        """Record that every request so far was answered, and the mirror has the data."""
        self.touch()
        self.mirror.synced()
        self.link_dialer.shown(len(self.feed.ledger.elements))
        self.link_health.synced()
        self.publisher.disclose()
        self.answered()

    def answered(self) -> None:
        """Wake the tasks that wait in :meth:`attach`."""
        self.session_admission.wake()

    @property
    def is_settled(self) -> bool:
        """Whether every request on the open link has been answered."""
        return self._link_session is not None and self._link_session.settled

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Remove a session that OSCC-E ended or refused, and close its phone."""
        if member not in self.user_sessions:
            return
        self.user_sessions.remove(member.handle)
        member.end = (reason, by)
        self._services.session_ended(replace(member.ticket, expires_at_ms=member.expires_at_ms), reason, by)
        self.feed.set_facts(member.facts(reason, by), None)
        self.publisher.publish_now()  # its phone elsewhere is closed before its data is removed
        self._gone(member)

    def epoch_began(self, epoch: int) -> None:
        """Write under a new lease: OSCC-E must accept each session again; phones keep their data."""
        self.touch()
        self.epoch = epoch
        self._began_at = self.clock.now()
        self.user_sessions.forget_acceptances()
        self._history_by = LONG_AGO
        if self._start.history is not None:
            self.execution.adopt_quota(self._start.history)
            self._history_by = math.inf
        self._start = NO_START
        self.feed.ledger.rebase(epoch)
        self.publisher.withhold()
        self.feed.flush()

    def _begin_link(self, opened: OpenedLink) -> LinkSession:
        """Use an open link, until :meth:`_end_link`."""
        link_session = LinkSession(self.group, *opened, self)
        self._link_session = self.execution.link_session = link_session
        self.link_health.link = opened.link
        self._services.open_links.number += 1
        self._history_by = min(self._history_by, self.clock.now() + HISTORY_S)
        return link_session

    def _end_link(self, link_session: LinkSession) -> None:
        self.touch()
        self._services.open_links.number -= 1
        self._link_session = self.execution.link_session = None
        self.link_health.unlinked()
        self.user_sessions.unlinked(replaced=link_session.replaced_by is not None)
        self.mirror.live = False

    def unreached(self) -> None:
        """Record that there is no link now."""
        self.touch()
        self.link_health.unreached()
        if self._link_session is None:
            self._get_handover().unreached()
        self.answered()

    def owned_elsewhere(self, grant: Grant) -> None:
        """End, since another node owns the user."""
        self.owned_by = grant
        self.stop()

    def redial(self) -> None:
        """Close the link, and open one under another lease."""
        if self._link_session is not None:
            self._link_session.close()

    def partitioned(self) -> None:
        """Send the phones away: other live nodes own the user, and this node does not reach them."""
        self._services.partitioned()
        self.redirect_phones()

    def redirect_phones(self) -> None:
        """Send the phones here to another node, which owns the user."""
        for connection in list(self.feed.connections.values()):
            connection.close(CloseCode.REBALANCE, "owned elsewhere", window_s=RECONNECT_WINDOW_S)

    def replaced(self, token: int) -> None:
        """Record that the link with *token* took the place of this owner's."""
        self._get_handover().replaced(token)

    def _get_handover(self) -> Handover:
        """Return the hand-over of the user, made when it is needed first: most never get another owner."""
        handover = self._handover = self._handover or Handover(proxy(self), self._services)
        return handover

    # ---- what executing needs (ExecutingOwner) ----

    @property
    def expects_history(self) -> bool:
        """Whether the owner that gave the user away may still send its command history."""
        return self.clock.now() < self._history_by

    @property
    def link(self) -> Link | None:
        """The open link."""
        return None if self._link_session is None else self._link_session.link

    @property
    def is_fenced(self) -> bool:
        """See :attr:`gateway.runtime.ownership.DialingOwner.is_fenced`."""
        return self._link_session is not None and self._link_session.fenced

    def session_unknown(self, handle: str) -> None:
        """Record that the server reported a session as unknown."""
        member = self.user_sessions.by_handle.get(handle)
        if member is not None:
            spawn(self, self._renewing.end_unknown(member))

    @property
    def token(self) -> int:
        """The token of the lease under which this node acts; 0 for none, when over, or when overtaken."""
        return 0 if self.is_over or (self._link_session is None and self.lease.is_overtaken) else self.epoch

    # ---- life ----

    @property
    def is_over(self) -> bool:
        """Whether no session is left to act for, or the user was released."""
        return self._stopped or not len(self.user_sessions)

    @property
    def silence(self) -> asyncio.Future[None] | None:
        """After a :meth:`run` that has not ended the ownership: done when to call it again."""
        return None if self._link_session is None else self._link_session.silence

    async def run(self) -> None:
        """Own the user until no session is left, :meth:`stop` is called, or another node owns the user.

        It returns, too, while the link is silent, see :attr:`silence`: most users have no task most of the
        time.
        """
        self._is_running, is_over = True, False
        if self._link_session is None:
            self.execution.run_in(self)
            self.publisher.run_in(self)
        try:
            await self._run_links()
            is_over = True
        finally:
            if self.silence is None:
                await self._end(at_once=not is_over or self._fault is not None)
        if self._fault is not None:
            raise self._fault

    async def _run_links(self) -> None:
        """Run one link after the other. Between two of them no data of the last one remains."""
        while (link_session := self._link_session or await self._next_link()) is not None:
            try:
                await link_session.run()
            finally:
                if link_session.silence is None:
                    self._end_link(link_session)
            if link_session.silence is not None:
                return
            self.link_dialer.link_ended(link_session.replaced_by)
            del link_session

    async def _next_link(self) -> LinkSession | None:
        opened = await self.link_dialer.next_link()
        return None if opened is None else self._begin_link(opened)

    async def _end(self, *, at_once: bool) -> None:
        """End the ownership; its tasks finish their work, unless they are to end *at_once*."""
        self._is_running, self._stopped = False, True
        self.link_dialer.leave()
        self.execution.run_in(None)
        self.publisher.run_in(None)
        self._get_handover().over()
        self._renewing.stop()
        try:
            await self.end_tasks(at_once=at_once)
        finally:
            if self.feed.outlet is self.publisher:
                self.feed.outlet = None
            self.execution.end()
            self.answered()
            await self.link_dialer.release()

    def failed(self, fault: Exception) -> None:
        """Release the user; :meth:`run` raises *fault* then."""
        forget_frames(fault)
        self._fault = self._fault or fault
        self.stop()

    def stop(self) -> None:
        """Release the user."""
        self._stopped = True
        self.link_health.catch_up()
        self._machine.stop()
        self.sessions_changed()

    def phones_at(self, node: NodeId, handles: tuple[str, ...]) -> None:
        """Record which sessions have a phone at another node."""
        if self.user_sessions.seen(node, handles, self.clock.now()):
            self.sessions_changed()

    def asked(self, node: NodeId, since: Since) -> None:
        """Record that another node follows, and whether it requests the user."""
        if self.publisher.interested(node, self.clock.now()):
            self.touch()
        if since.adopt:
            self._get_handover().asked(node, since.adopt, self)

    def owned(self, grant: Grant) -> None:
        """Record that another node reported itself as the owner; it counts while no link is open."""
        self.link_dialer.owned(grant)

    def tick(self, now: float, *, is_touched: bool = True) -> None:
        """Do what is due by time; if it *is_touched*, also what a change may have made due."""
        if not self._is_running:
            return
        self.link_health.do_due_work(self._link_session, now)
        if is_touched or now >= self._sessions_at:
            if self._link_session is not None and self.link_dialer.may_be_superseded(now):
                spawn(self, self.link_dialer.reconsider())
            self._renewing.tick(now, self)
            if self._handover is not None or not self.feed.connections:
                self._get_handover().tick(now)
            self._see_who_left(now)
            self._sessions_at = self._sessions_due_at(now)
        self.link_health.publish()

    def due_at(self, now: float) -> float:
        """Return when :meth:`tick` is due if nothing happens before; *now*: at each tick."""
        if not self._is_running:
            return now
        return min(self._sessions_at, self.link_health.due_at(self._link_session))

    def _sessions_due_at(self, now: float) -> float:
        """Return when :meth:`tick` has work for lease and sessions, unless it is touched before."""
        linger = self._services.linger
        return min(
            now if self._link_session is not None and not self.lease.is_ours else now + _SET_CLOCK_S,
            self._began_at + UNCONFIRMED_S,
            self.publisher.due_at,
            self.pauses.linger_over_at(self.user_sessions.lingers_until(linger), now, linger),
            now + (self.user_sessions.renewal_ms - self.clock.wall_ms()) / 1000,
        )

    def _see_who_left(self, now: float) -> None:
        if now - self._began_at > UNCONFIRMED_S:
            self.feed.keep({member.handle for member in self.user_sessions})
            self._began_at = math.inf
        silent = self.publisher.silent(now)
        for member in (member for node in silent for member in self.user_sessions.at(node)):
            self.leave(member.handle, member.node)
        linger = self._services.linger
        for member in self.user_sessions.lingered(self.pauses.linger_time(now, linger), linger):
            self.drop_session(member.handle)

    async def renew(self) -> bool:
        """Request an extension of the lease, if it is still held; return whether it was granted.

        A store that accepts no writes grants nothing to any node. A node that takes the user then replaces
        the link.
        """
        was_ours = self.lease.is_ours
        answer = await self.link_dialer.renew_alone()
        self.renewed(answer, was_ours=was_ours)
        is_alone = self.is_fenced and self._services.refuses_writes()
        return answer == "ours" or (answer == "unanswered" and is_alone)

    def renewed(self, answer: RenewalAnswer, *, was_ours: bool) -> None:
        """Process the answer to a renewal; *was_ours*: whether a lease was held when it was sent."""
        if was_ours and answer == "refused":
            self.link_health.lease_granted_elsewhere(self._link_session)
        if answer != "ours" or not self.lease.may_dial or self._link_session is None:
            self.touch()
            self.link_dialer.sessions_changed()


UNFOLLOW_S: Final = 30.0
"""How long a user without a phone here is still followed, since phones come back."""
_NO_CONTEXT: Final = Context()  # for all users: a copy of the present one for each takes 64 bytes


class UserState(CommandedUser):
    """One user on this node.

    Invariant: one role at a time. The next one begins when the last has given up link and lease.

    Args:
        due: The times of the next :meth:`tick` of all users.
        serve: Has :meth:`run` called again after a silence; one object for all users.
        grant: The other node that owns the user, if that is known.
    """

    __slots__ = (
        "__weakref__",
        "_composer",
        "_empty_since",
        "_group",
        "_is_stopped",
        "_records",
        "_serve",
        "_turned",
        "due",
        "feed",
        "local",
        "over",
    )  # fmt: skip

    def __init__(
        self,
        user: UserId,
        services: OwnerServices,
        composer: Composer,
        records: CommandRecords[OutcomeWaiter],
        due: DueTime[UserId],
        group: asyncio.TaskGroup,
        serve: Callable[[UserState], Coroutine[Any, Any, None]],
        grant: Grant | None = None,
    ) -> None:
        super().__init__(services, group)
        self._group, self._serve, self.due = group, serve, due
        self.feed, self._is_stopped = Feed(user), False
        self.local: SmallMap[str, Local] = SmallMap()
        """The sessions whose phones this node serves, or is about to serve."""
        self.over = LeanEvent()
        """Set when link and lease are released: only then may the next user state begin."""
        self._composer, self._records = composer, records
        self._turned: LeanEvent | None = None  # at the next change of role; while a task waits for that
        self._empty_since: float | None = None
        self.role: Owner | Follower = self._own(NO_START) if grant is None else self._follow(grant)

    @property
    def health(self) -> Health:
        """The exact age of the user's data, which the ledger then has too."""
        if self.owner is not None:
            self.owner.link_health.catch_up()
        return self.feed.ledger.health

    @property
    def owner(self) -> Owner | None:
        """The role, if it is the owner's."""
        return self.role if isinstance(self.role, Owner) else None

    @property
    def follower(self) -> Follower | None:
        """The role, if it is a follower's."""
        return self.role if isinstance(self.role, Follower) else None

    @property
    def is_kept(self) -> bool:
        """Whether this node still acts for sessions of the user, here or on other nodes."""
        return self.owner is not None and not self.owner.is_over

    @property
    def is_over(self) -> bool:
        """Whether the user is no longer served here: a new session needs another user state."""
        return self._is_stopped or (self.role.is_over and self._following is None)

    # ---- phones ----

    def join(self, ticket: Ticket, topics: tuple[str, ...]) -> SessionWait:
        """Add a session with a phone here. Return its wait, for :meth:`facts_of`."""
        now = self._services.clock.now()
        local = Local(ticket, same_topics(topics), self._services.pauses.came_at(now), now)
        self.local[ticket.handle] = local
        return SessionWait(local, now)

    def facts_of(self, wait: SessionWait) -> SessionFacts | None:
        """Have this node's role serve a session. Return its facts if it can be served now; None: it waits on.

        Raises:
            SessionRefused: It has ended, there is no place for it, or no answer came in time.
        """
        self.due.touch()
        try:
            if wait.role is not self.role:
                wait.role = self.role
                self.role.admit(wait)
            return self.role.facts_of(wait)
        except RoleOverError:  # the next role touches the wait
            if not self.over.is_set() and self._services.clock.now() < wait.until:
                return None
            refused = not_reached(for_bus=self._services.refuses_writes())
        except SessionRefused as why:
            refused = why
        raise self._refused(wait.local, refused)

    def _refused(self, local: Local, refused: SessionRefused) -> SessionRefused:
        """Remove a session that is refused. Return how to close its connection."""
        if local.is_same(self.local.get(local.ticket.handle)):  # else its phone has come again since
            self.leave(local.ticket.handle)
        return local.replaced() if refused.code is CloseCode.REPLACED else refused

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Subscribe to the topics that the session follows now."""
        local = self.local.get(handle)
        if local is not None:
            self.local[handle] = local._replace(topics=topics)
            self.role.follow(handle, topics)

    def leave(self, handle: str) -> None:
        """Record that the session's phone left this node."""
        self.due.touch()
        if self.local.pop(handle, None) is not None:
            self.role.leave(handle)

    def drop_session(self, handle: str) -> None:
        """Stop acting for a session that is over."""
        self.due.touch()
        self.local.pop(handle, None)
        self.role.drop_session(handle)

    async def until_moved(self, role: Role, token: int) -> None:
        """See :meth:`gateway.runtime.command_execution.CommandedUser.until_moved`."""
        if isinstance(role, Follower):
            await role.until_moved(token)
            if not role.is_over:
                return
        await self._turn(role)

    async def _turn(self, role: Role) -> None:
        """Return when *role* has ended.

        Raises:
            SessionRefused: There will be no other role.
        """
        while self.role is role:
            if self.over.is_set():
                raise not_reached(for_bus=self._services.refuses_writes())
            turned = self._turned = self._turned or LeanEvent()
            await turned.wait()

    # ---- life ----

    @property
    def silence(self) -> asyncio.Future[None] | None:
        """While no task runs for the user, since their link is silent: done when one is to run again."""
        owner = self.owner
        return None if owner is None else owner.silence

    async def run(self) -> None:
        """Serve the user until no phone needs them here, or their link is silent."""
        try:
            while True:
                await self.role.run()
                if self.silence is not None:
                    self.silence.add_done_callback(self._go_on, context=_NO_CONTEXT)
                    return
                match None if self._is_stopped else self._following:
                    case None:
                        return
                    case Start() as start:
                        self.role = self._own(start)
                    case Grant() as grant:
                        self.role = self._follow(grant)
                self._wake_all()
        finally:
            if self.silence is None:
                self._end()

    def _go_on(self, _: asyncio.Future[None]) -> None:
        """Have the user served by a task again, after a silence."""
        if self.silence is not None:
            spawn(self._group, self._serve(self))

    def _end(self) -> None:
        self._is_stopped = True
        self.feed.ledger.joinable.clear()
        if isinstance(self.role, Follower) and self.role.start is not None and self.role.start.entered:
            self._services.admission_queue.done()  # else the next owner does so, but none begins
        self.over.set()
        self._wake_all()

    def _wake_all(self) -> None:
        self.due.touch()
        self._services.waits.touch_all(self.feed.connections.values())
        if self._turned is not None:
            self._turned.set()
        self._turned = None

    @property
    def _following(self) -> Start | Grant | None:
        """Return the start of this node's next ownership, or the owner that it will follow."""
        role = self.role
        if isinstance(role, Follower):
            return role.start
        return role.owned_by if self.local or self.feed.connections else None

    def _own(self, start: Start) -> Owner:
        services, records, local = self._services, self._records, tuple(self.local.values())
        return Owner(self._group, self.feed, services, self._composer, records, self.due, start, local)

    def _follow(self, grant: Grant) -> Follower:
        return Follower(self.feed, self._services, grant, self.local, self.due.touch)

    def stop(self) -> None:
        """Release the user."""
        self._is_stopped = True
        self.role.stop()

    def tick(self, now: float) -> None:
        """Do the work that is due."""
        self.role.tick(now, is_touched=self.due.was_touched)
        if self.local or self.owner is not None:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since >= UNFOLLOW_S:
            self.stop()

    def due_at(self, now: float) -> float:
        """Return when :meth:`tick` is due unless :meth:`touch` is called before; *now*: at each tick."""
        role_at = self.role.due_at(now)
        return role_at if self._empty_since is None else min(role_at, self._empty_since + UNFOLLOW_S)
