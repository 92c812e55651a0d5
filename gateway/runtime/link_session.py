"""Link session: one open link until its end, the health that it shows, and the dependencies of owners.

One :class:`LinkSession` lives as long as one link. It reads the link, applies its data to the mirror and the
sessions of the user, and reports when requests are to be sent.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, assert_never

from gateway.core.lease import AssumedTokens, DueSlots, StoreWrites
from gateway.core.ledger import Health
from gateway.core.link import BEAT_S, Linger, LinkMachine, LinkState, Pauses
from gateway.core.rate_limits import AdmissionQueue, Quota, ReaderPace
from gateway.core.registry import WaitQueue
from gateway.core.view import Member
from gateway.domain.commands import Alive, KeepAlive, LinkAnswer, NumberAct
from gateway.domain.errors import EndReason, GatewayError
from gateway.domain.model import (
    LONG_AGO,
    NO_ITEMS,
    NodeId,
    Ticket,
    UserId,
    with_item,
)
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import (
    About,
    Announced,
    CatalogueChanged,
    Feature,
    FunctionChanged,
    LinkClosed,
    LinkEvent,
    LinkReplaced,
    ObjectChanged,
    Opened,
    Reading,
    ScopeChanged,
    SessionEnded,
)
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.cluster import Exchange
from gateway.runtime.event_loop import forget_frames, log_fault, spawn, weakly
from gateway.runtime.mirror import Feed, Mirror, SharedOffsets
from gateway.runtime.ports import Authority, Clock, Leases, Link, Tasks, Upstream
from gateway.runtime.subscriptions import LinkSubscriptions, SubscribingOwner
from gateway.telemetry import RuntimeCounters

_LOG: Final = logging.getLogger("gateway.link")
UNREAD_S: Final = 1.0
"""The silence of a link after which its data may be old, where messages may have waited for as long. With the
interval of the check and the way to the phone, a phone shows that before its data is 2 s old.
"""
WAITS_S: Final = 0.5
"""How long a message of a link may be known to wait here until its data counts as old. Phones are shown that
at the next tick, before the message has waited for 2 s.
"""
UNREAD_STAYS_S: Final = 10.0
"""How long it is shown then, unless messages wait no more: else each message to a busy node would change the
state of its phones twice.
"""
REPORT_EVERY_S: Final = 0.05
"""Interval in which the owner is informed of received messages."""
REPORT_LIVE_S: Final = 2.0
"""Interval for readings of live data, which change nothing but times; less if keep-alives are frequent."""
_REPORTS_LEAST: Final = 10
"""Number of reports during a keep-alive's interval, at least."""


# ---- dependencies of owners ----


RENEWED_AT_ONCE: Final = 200
"""Leases that one request renews: the store serves no other request during this time."""
FAULT_S: Final = 1.0
"""Time after which a renewal is tried again that could not be sent because of a fault."""


class Renewal(NamedTuple):
    """A lease to renew."""

    user: UserId
    token: int


class Renewer(Protocol):
    """The sender of a renewal."""

    slot: int
    """When it is due: see :class:`gateway.core.lease.DueSlots`."""

    def renew(self, now: float) -> None:
        """Send a renewal now, through :meth:`LeaseRenewals.add`, if one is needed."""

    def renewed(self, token: int, is_renewed: bool | None, tasks: Tasks | None) -> None:
        """Process the answer; None: there was none. Follow-up work runs in *tasks*."""


class LeaseRenewals:
    """The renewals of one node: when each is due, and those that have not been sent yet.

    Invariants: a lease whose renewal is not due costs nothing. Each renewal gets one answer, which may be
    None. It is sent in the next turn of the loop.
    """

    def __init__(self, leases: Leases, node: NodeId, holder: str) -> None:
        self._leases = leases
        self._node = node
        self._holder = holder
        self._due: DueSlots[Renewer] = DueSlots()
        self.put: Final = self._due.put
        """Set when the next renewal of a renewer is due."""
        self.drop: Final = self._due.drop
        """Send no more renewals of a renewer."""
        self._waiting: list[tuple[Renewal, Renewer]] = []
        self._tasks: asyncio.TaskGroup | None = None

    def run_in(self, tasks: asyncio.TaskGroup | None) -> None:
        """Send renewals from now on; None ends sending."""
        self._tasks = tasks

    def renew_due(self, now: float) -> None:
        """Send the renewals that are due, of all users at once: work for users in slices may take seconds."""
        for renewer in self._due.take(now):
            try:
                renewer.renew(now)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from theirs
                log_fault(_LOG, "lease_not_renewed", fault)
                self.put(renewer, now + FAULT_S)

    def add(self, renewal: Renewal, renewer: Renewer) -> None:
        """Renew a lease, together with all others of this turn of the loop."""
        self._waiting.append((renewal, renewer))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), RENEWED_AT_ONCE):
            batch = waiting[start : start + RENEWED_AT_ONCE]
            if not spawn(self._tasks, self._renew(batch)):
                self._answer(batch, [None] * len(batch))

    async def _renew(self, batch: list[tuple[Renewal, Renewer]]) -> None:
        answers: list[bool | None] = [None] * len(batch)
        try:
            renewals = [renewal for renewal, _ in batch]
            answers[:] = await self._leases.renew_many(self._node, self._holder, renewals)
        except GatewayError:
            return
        except Exception as fault:  # noqa: BLE001 - one request's fault must not end the node
            log_fault(_LOG, "leases_not_renewed", fault)
        finally:
            self._answer(batch, answers)

    def _answer(self, batch: list[tuple[Renewal, Renewer]], answers: list[bool | None]) -> None:
        for (renewal, renewer), is_renewed in zip(batch, answers, strict=True):
            try:
                renewer.renewed(renewal.token, is_renewed, self._tasks)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from their answers
                log_fault(_LOG, "renewal_not_noted", fault)


@dataclass(slots=True)
class OpenLinks:
    """The number of open links of one node."""

    number: int = 0


@dataclass(frozen=True, slots=True)
class OwnerServices:
    """Ports, limits and callbacks that the owners of one site's users need."""

    node: NodeId
    holder: str
    """This process's life: each start of the same node has another holder."""
    upstream: Upstream
    authority: Authority
    leases: Leases
    clock: Clock
    jitter: Callable[[], float]
    session_ended: Callable[[Ticket, EndReason, str | None], None]
    """Called with each session that OSCC-E ended or refused; the ticket has the end of its life."""
    admission_queue: AdmissionQueue
    """The queue for the site's budget of log-ons and links."""
    number_changes: Quota[UserId]
    """How often users may change their remote number."""
    audit: Callable[[NumberAct], None]
    exchange: Exchange
    """The exchange of messages with the other nodes."""
    is_draining: Callable[[], bool]
    is_leaving: Callable[[str], bool]
    """Returns whether the node of a holder has begun to leave."""
    announced_at: Callable[[str], float]
    """Returns when the node of a holder last announced itself; -inf when that is not known."""
    partitioned: Callable[[], None]
    """Called when this node is partitioned: other nodes live, and it does not reach them."""
    room_freed: Callable[[], None]
    """Called when this node may have room for another link, of any site."""
    renewals: LeaseRenewals
    """Renews leases together with those of the node's other users."""
    assumed: AssumedTokens
    """Tokens of users who are taken without the store."""
    open_links: OpenLinks
    refuses_writes: Callable[[], bool] = lambda: False
    """Returns whether the store of leases is reachable and accepts no writes."""
    writes: StoreWrites = field(default_factory=StoreWrites)
    """How long the store of leases has accepted no writes."""
    is_behind: Callable[[], bool] = lambda: False
    """Returns whether messages of links may have waited in this process for too long."""
    devices: int = 5
    """Maximum of one user's phones at a time, on all nodes."""
    linger: Linger = field(default_factory=Linger)
    waits: WaitQueue[Any] = field(default_factory=WaitQueue)
    """The sessions for which phones of this node wait, of all sites."""
    pauses: Pauses = field(default_factory=Pauses)
    """When this process was stopped."""
    counters: RuntimeCounters = field(default_factory=RuntimeCounters)
    """Receives the events that are counted."""
    offsets: SharedOffsets = field(default_factory=SharedOffsets)
    """The clock offsets of the site's links."""


# ---- the link ----


class OnDemandTasks(ABC):
    """The tasks of an object that needs none while nothing happens, unlike an :class:`asyncio.TaskGroup`."""

    __slots__ = ("_are_over", "_fault", "_running", "group")

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.group: Final = group
        self._are_over = False
        self._fault: Exception | None = None
        """Why one of them has failed."""
        self._running: dict[asyncio.Task[None], Coroutine[Any, Any, None]] = NO_ITEMS

    def create_task(self, work: Coroutine[Any, Any, None], /) -> None:
        """Run *work*. Raises :class:`RuntimeError` when no more tasks begin."""
        if self._are_over:
            raise RuntimeError
        run = self._run(work)
        try:
            task = self.group.create_task(run)
        except RuntimeError:
            run.close()
            raise
        self._running = with_item(self._running, task, work)
        task.add_done_callback(self._ran)

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as fault:  # noqa: BLE001 - it ends this object, not the group
            self.failed(fault)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task).close()  # it has not begun if it was cancelled before
        self._running = self._running or NO_ITEMS

    @abstractmethod
    def failed(self, fault: Exception) -> None:
        """Record that one of the tasks has failed."""

    async def end_tasks(self, *, at_once: bool) -> None:
        """Begin no more tasks, and return when all have ended; cancel them *at_once*, or when cancelled."""
        self._are_over = True
        try:
            while self._running and not at_once:
                await asyncio.wait(self._running)
        finally:
            for task in self._running:
                task.cancel()
            while self._running:
                await asyncio.wait(self._running)


class LinkOwner(SubscribingOwner, Protocol):
    """The owner of a link."""

    pauses: Pauses

    @property
    def link_health(self) -> LinkHealth:
        """The link's health."""

    def replaced(self, token: int) -> None:
        """Record that the link with *token* replaced this one."""


class LinkSession(OnDemandTasks):
    """One open link.

    Invariant: data that was read is in the mirror, and its readers are awake, before more is read.

    Args:
        link: The open link; its first event is ``Opened``.
        opener: The session by which it was opened.
    """

    __slots__ = (
        "__weakref__", "_about", "_asking", "_counters", "_feed", "_is_answered", "_is_over", "_is_timed",
        "_link_health", "_mirror", "_opened_at", "_opener", "_owner", "_pauses", "_report_live_s",
        "_reported_at", "_user_sessions", "features", "fenced", "link", "replaced_by", "silence",
    )  # fmt: skip

    def __init__(
        self, group: asyncio.TaskGroup, link: Link, opener: Member, about: About, owner: LinkOwner
    ) -> None:
        super().__init__(group)
        self.link = link
        self.silence: asyncio.Future[None] | None = None
        """After a :meth:`run` whose link is not gone: done when to call it again."""
        self.replaced_by: int | None = None
        """The token of the link that replaced this one."""
        self.fenced = Feature.LINK_FENCING in about.features
        """Whether OSCC-E executes no command on a link that was replaced."""
        self.features = about.features
        """The features of the server."""
        self._opener = opener
        self._about = about
        self._owner = owner
        self._user_sessions = owner.user_sessions
        self._mirror = owner.mirror
        self._feed = owner.feed
        self._asking: LinkSubscriptions | None = None
        self._opened_at = owner.clock.now()
        self._pauses, self._link_health, self._counters = owner.pauses, owner.link_health, owner.counters
        self._reported_at, self._report_live_s = LONG_AGO, REPORT_EVERY_S
        self._is_answered = False
        """Whether a task with an answer may not have run since its arrival."""
        self._is_over = False
        self._is_timed = False
        """Whether a time of the server was read on this link while no message waited unread in this node."""
        owner.feed.ledger.under_way_s = 0.0

    # ---- life ----

    async def run(self) -> None:
        """Serve the link until it is gone, or silent: see :attr:`silence`."""
        silence, self.silence = self.silence, None
        try:
            if silence is not None:
                await silence  # it raises what failed while messages were taken
            while self.replaced_by is None:
                self.silence = None if self._is_answered else self.link.arrival(self._apply_readings)
                if self.silence is not None:
                    return
                await self._turn()
        except LinkClosed as closed:
            forget_frames(closed)
        finally:
            if self.silence is None:
                await self._end()
        if self._fault is not None:
            raise self._fault

    async def _end(self) -> None:
        """End all that is asked on the link, and close it."""
        asking, self._asking = self._asking, None
        try:
            await self.end_tasks(at_once=True)
        finally:
            self._over("closed by this node")
            await self.link.close()
        if asking is not None:
            asking.requests.end()

    def failed(self, fault: Exception) -> None:
        """Close the link; :meth:`run` raises *fault* then, unless the link is gone anyway."""
        forget_frames(fault)
        _, other = ExceptionGroup("on a link", [fault]).split(LinkClosed)
        self._fault = self._fault or other
        self.close()

    @property
    def settled(self) -> bool:
        """Whether all wanted requests were sent and answered."""
        return self._asking is not None and self._asking.settled

    def need(self) -> None:
        """Record that the wanted subscriptions have changed."""
        if self._asking is not None:
            self._asking.need()

    def leave(self, member: Member) -> None:
        """Detach a session from the link."""
        if self._asking is not None and member.on_link and member.attached is not None:
            self._asking.leave(member.attached.alias)

    def listen_again(self) -> None:
        """Request whole sets again."""
        if self._asking is not None:
            self._asking.listen_again()

    def keep_alive(self) -> None:
        """End a silence: send a keep-alive. Its answer is a message of the server, like any other."""
        if self._asking is not None and self.link.send(KeepAlive(), weakly(self._alive)) is None:
            spawn(self, self._keep_alive())

    def _alive(self, answer: LinkAnswer | GatewayError | LinkClosed) -> None:
        """Compare the clocks: all messages of a silent link so far may have come late."""
        if isinstance(answer, Alive) and self._asking is not None:
            self._mirror.see_clock(answer.time_ms)
            self._feed.flush()
            if not self._is_timed:
                self._note_time()

    def close(self) -> None:
        """Close the link: :meth:`run` returns soon."""
        self._over("closed by this node")
        spawn(self, self.link.close())

    def _over(self, reason: str) -> None:
        """Log the end of the link, once."""
        if not self._is_over:
            self._is_over = True
            _LOG.debug("link_closed", extra={"user": self._feed.user, "close_reason": reason})

    def tick(self, now: float) -> None:
        """Record that time has passed."""
        if self._asking is not None:
            self._asking.tick(now)

    @property
    def due_at(self) -> float:
        """When :meth:`tick` has work; in the past when it has work each time."""
        return LONG_AGO if self._asking is None else self._asking.due_at

    async def _keep_alive(self) -> None:
        try:
            self._alive(await self.link.request(KeepAlive()))
        except GatewayError:
            return  # the silence continues, and is noticed

    # ---- reading ----

    async def _turn(self) -> None:
        try:
            event = await self.link.receive(None if self._is_answered else self._apply_readings)
        except LinkClosed as closed:
            self._over(closed.reason)
            raise
        if event is None and (self.link.has_message or not self.settled):
            self._is_answered = True  # answers come in groups when many phones are active, or on a new link
            self._note_message(self.link.last_received_at)
            return
        if event is None or self._is_answered:
            self._is_answered = False
            await self._let_waiting_tasks_run()
        if isinstance(event, Reading):
            self._apply_readings((event,))
            return
        self._note_message(self.link.last_received_at)
        if event is not None:
            self._counters.event_came(event)
        asking = self._asking
        if isinstance(event, Opened):
            self._opened(event)
        elif event is not None and asking is not None:
            self._process(event, asking)
        self._owner.feed.flush()

    def _apply_readings(self, readings: Sequence[Reading]) -> ReaderPace | None:
        """Apply *readings*, which bring nearly all data of a link; an answer may have come without any.

        Return the pace of the only reader; None: later readings must not wait.
        """
        now, asking, counters = self.link.last_received_at, self._asking, self._counters
        pauses, ledger, since_s = self._pauses, self._feed.ledger, now - self._reported_at
        if (
            self._mirror.is_blind
            or not pauses.prompt_from <= now <= pauses.prompt_until
            or since_s >= (self._report_live_s if ledger.health.upstream == "live" else REPORT_EVERY_S)
        ):
            self._note_message(now, readings)
        else:  # mostly
            ledger.came_at = now
        if not readings and not self.settled:
            return None  # on a new link answers come in groups: what one removes, another may add
        if asking is not None:
            self._mirror.read_all(readings)
            if not asking.settled:
                asking.settle()
        pace = self._feed.flush()
        if now >= counters.samples_from:
            counters.read(self._feed.ledger.came_at, self._owner.clock.now())
        return pace

    def _note_message(self, at: float, readings: Sequence[Reading] = ()) -> None:
        """Record that a message arrived, and inform the owner, if that is due.

        Ages are shown in seconds, so a slightly longer silence does no harm.
        """
        is_due = at - self._reported_at >= REPORT_EVERY_S
        if is_due:
            self._link_health.catch_up()  # the silence ends with this message, and began with the last one
        if not self._mirror.is_blind:
            is_prompt = self._pauses.prompt_from <= at <= self._pauses.prompt_until
            self._feed.ledger.came_at = at if is_prompt else self._sent_at(at, readings)
        if not is_due:
            return
        self._reported_at = at
        if readings and not self._is_timed:
            self._note_time()
        if not self._link_health.received_live(at) and self._link_health.received():
            self._owner.touch()

    def _note_time(self) -> None:
        """Record whether the time of the server that was just read shows the difference of the clocks."""
        now = self._owner.clock.now()
        self._is_timed = now <= self._pauses.prompt_until and now - self.link.last_received_at < BEAT_S

    def _sent_at(self, at: float, readings: Sequence[Reading]) -> float:
        """Return when a message that is read at *at* may have been sent.

        A node that is behind computes from the time in the message how long it waited unread. It cannot while
        all messages of the link have waited: their delay looks like a difference of the clocks.
        """
        sent_at, waited_s = self._pauses.sent_at(at), self._pauses.unread_s(at)
        if waited_s and readings and self._is_timed:
            waited_s = min(waited_s, self._mirror.late_s(readings[-1].time_ms, at))
        sent_at = min(sent_at, at - waited_s)
        return at if sent_at == at else max(sent_at, self._opened_at, self._feed.ledger.came_at)

    async def _let_waiting_tasks_run(self) -> None:
        """Let waiting tasks take their answers before the next event is processed.

        The execution of a command waits for an answer, and its phone for the result. The phone must have the
        result before the next event: another state, or an end of its session.
        """
        for _ in ("execution", "phone"):
            await self._owner.clock.sleep(0)

    def _opened(self, event: Opened) -> None:
        self._link_health.agreed(event.keep_alive_s)
        self._report_live_s = min(REPORT_LIVE_S, event.keep_alive_s / _REPORTS_LEAST)
        self._mirror.begin(self._about, event.time_ms, event.last_end)
        self._note_time()
        self._user_sessions.server = event.server
        self._asking = LinkSubscriptions(self.link, self._owner, self)
        if self._opener in self._user_sessions:
            self._user_sessions.accepted(self._opener.handle, event.attached)
            self._mirror.narrowed()
            self._mirror.show_sessions()
        else:
            self._asking.leave(event.attached.alias)
        self._asking.need()

    def _process(self, event: LinkEvent, asking: LinkSubscriptions) -> None:
        """Process rare events."""
        match event:
            case ObjectChanged():
                self._mirror.object(event)
            case CatalogueChanged():
                asking.directory_changed()
            case FunctionChanged():
                self._function(event, asking)
            case ScopeChanged() | SessionEnded() | LinkReplaced():
                self._process_session(event, asking)
            case Announced():
                self._announce(event)
            case Opened() | Reading():
                pass
            case _:
                assert_never(event)

    def _function(self, event: FunctionChanged, asking: LinkSubscriptions) -> None:
        regained = self._mirror.function(event)
        asking.function(event)
        if event.state is not FunctionState.DOWN and not regained:
            asking.ask_refused_again()
        self._owner.touch()
        self._link_health.realtime_changed(regained=regained)

    def _announce(self, event: Announced) -> None:
        """Show the server's notice. It needs no acknowledgement, since no log-on requires one."""
        effective_ms = event.effective_at_ms
        now_ms, offset_ms = self._owner.clock.wall_ms(), self._mirror.offset_ms
        notice = NoticeFrame(
            id=event.id,
            version=event.version,
            category=event.category,
            title=event.title,
            summary=event.summary,
            link=event.link,
            effective_at_ms=now_ms if effective_ms is None else effective_ms + offset_ms,
            must_acknowledge=False,
        )
        self._owner.feed.announce(notice)

    def _process_session(
        self, event: ScopeChanged | SessionEnded | LinkReplaced, asking: LinkSubscriptions
    ) -> None:
        match event:
            case ScopeChanged():
                before = self._user_sessions.scope
                if self._user_sessions.rescoped(event.alias, event.rights, event.scope) is not None:
                    self._mirror.rescoped(before)
                    asking.rescoped(before)
            case SessionEnded():
                member = self._user_sessions.by_alias(event.alias)
                if member is None:
                    asking.ended(event)
                else:
                    self._owner.ended(member, event.reason, event.by)
            case LinkReplaced():
                self.replaced_by = event.token
                self._owner.replaced(event.token)


class LinkHealth:
    """The health of one owner's link.

    Args:
        is_taking_over: Whether another owner's data is shown: it is stale until a link was tried.
    """

    __slots__ = (
        "_as_of", "_blind_since", "_feed", "_is_lease_elsewhere", "_machine", "_mirror", "_services",
        "_unread_until", "_waits", "is_taking_over", "link",
    )  # fmt: skip

    def __init__(
        self,
        feed: Feed,
        mirror: Mirror,
        machine: LinkMachine,
        services: OwnerServices,
        *,
        is_taking_over: bool,
    ) -> None:
        self._feed = feed
        self._mirror = mirror
        self._machine = machine
        self._services = services
        self.is_taking_over = is_taking_over
        self.link: Link | None = None
        """The open link."""
        self._blind_since = services.clock.now() if is_taking_over else None
        self._as_of = feed.ledger.health.as_of
        self._is_lease_elsewhere = False
        """Whether another node was granted the lease, and the link has received nothing since."""
        self._unread_until = LONG_AGO
        """Until when data is shown as old because messages may wait unread, at least."""
        self._waits = False
        """Whether messages of the link waited here for too long when the health was published last."""

    def lease_granted_elsewhere(self, link_session: LinkSession | None) -> None:
        """Record that another node was granted the lease: the link may be replaced, and its end lost."""
        if link_session is not None:
            self._is_lease_elsewhere = True
            link_session.keep_alive()
            self.publish()

    def received(self) -> bool:
        """Record that a message arrived. Return whether something is due earlier than before."""
        machine, now = self._machine, self._services.clock.now()
        self._is_lease_elsewhere = False
        before = machine.state
        machine.received(now)
        self._date()
        self.publish()
        return self._waits or machine.state is not before

    def received_live(self, now: float) -> bool:
        """Record that a message arrived at *now*.

        False, and nothing is recorded, unless the link is live and stays so.
        """
        feed, services, mirror = self._feed, self._services, self._mirror
        health, bus = feed.ledger.health, services.exchange.machine.health
        if health.upstream != "live" or health.bus != bus or self._is_lease_elsewhere or mirror.is_blind:
            return False
        if mirror.assembly.lacks_realtime or not self._machine.received_live(now):
            return False
        as_of = self._as_of = feed.ledger.came_at
        feed.ledger.health = Health("live", bus, as_of)
        return True

    def realtime_changed(self, *, regained: bool) -> None:
        """Record that the server may have begun or ceased to send realtime data."""
        self.catch_up()
        if regained:
            self._machine.changes_missed()
        self.publish()

    def agreed(self, keep_alive_s: float) -> None:
        """Record after which silence the server expects a keep-alive."""
        self._machine.agreed(keep_alive_s)

    def synced(self) -> None:
        """Record that every request so far was answered, and the mirror has the data."""
        self._machine.synced(self._services.clock.now())
        self.is_taking_over = False
        if self._blind_since is not None:
            self._services.counters.realtime_resumed(self._services.clock.now() - self._blind_since)
            self._blind_since = None
        self._date()
        self.publish()

    def catch_up(self) -> None:
        """Record the last reading of live data, as not each one is reported."""
        ledger = self._feed.ledger
        health, came_at = ledger.health, ledger.came_at
        is_newer = health.as_of is not None and came_at > health.as_of
        if is_newer and health.upstream == "live" and self._machine.received_live(came_at):
            self._as_of = came_at
            ledger.health = Health("live", health.bus, came_at)

    def unlinked(self) -> None:
        """Record that the link is gone."""
        self.catch_up()
        self.link = None

    def unreached(self) -> None:
        """Record that there is no link now."""
        self._is_lease_elsewhere = False
        self.is_taking_over = False
        self.publish()

    def do_due_work(self, link_session: LinkSession | None, now: float) -> None:
        """Do the due work for the open link."""
        if link_session is None:
            return
        self.catch_up()
        match self._machine.need(now):
            case "keep_alive":
                link_session.keep_alive()
            case "listen_again":
                link_session.listen_again()
            case "drop":
                link_session.close()
            case "nothing":
                link_session.tick(now)

    def due_at(self, link_session: LinkSession | None) -> float:
        """Return when the link needs work by time alone; in the past: at each tick."""
        if link_session is None:
            return math.inf
        is_odd = self._is_lease_elsewhere or self.is_taking_over or self._waits
        return LONG_AGO if is_odd else min(self._machine.due_at, link_session.due_at)

    def _date(self) -> None:
        """Move the age of the data if all shown data was read on this link since its last silence."""
        mirror, came_at = self._mirror, self._feed.ledger.came_at
        is_read = mirror.live and self._machine.state is LinkState.LIVE and not self._is_unsure
        is_first = mirror.has_snapshot and self._as_of is None
        if (is_read or is_first) and came_at > LONG_AGO:
            self._as_of = came_at

    @property
    def _is_unsure(self) -> bool:
        return self._is_lease_elsewhere or self._mirror.is_blind or self._mirror.assembly.lacks_realtime

    def may_wait(self, now: float) -> bool:
        """Return whether messages of the link may have waited in this process for too long, or lately did."""
        since = None if self.link is None else self.link.waits_since
        self._waits = since is not None and now - since > WAITS_S
        if self._waits or not self._services.is_behind():
            return self._waits
        return now < self._unread_until or now - self._feed.ledger.came_at > UNREAD_S

    def publish(self) -> None:
        """Send the health to phones and other nodes."""
        self.catch_up()
        now = self._services.clock.now()
        upstream = self._machine.health(now)
        is_waiting = self.may_wait(now)
        if not is_waiting:
            self._unread_until = LONG_AGO
        elif self._feed.ledger.health.upstream == "live":
            self._unread_until = now + UNREAD_STAYS_S
        is_old = self._is_unsure or is_waiting
        if (upstream == "live" and is_old) or (upstream == "down" and self.is_taking_over):
            upstream = "stale"
        is_known = self._mirror.has_snapshot or self._feed.ledger.health.as_of is not None
        bus = self._services.exchange.machine.health
        self._feed.set_health(Health(upstream, bus, self._as_of if is_known else None))
