"""One phone's WebSocket: runs its session, writes its frames, and carries out its effects and commands.

:mod:`gateway.core.session` decides what happens next; :mod:`gateway.edge.scheduler` decides when. Phones at
the same position share one encoded frame, which :mod:`gateway.edge.scheduler` writes to all of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gateway.core.ledger import UNKNOWN_HEALTH, Health
from gateway.core.outbox import PaceLadder
from gateway.core.session import AcceptSession, Answered, Close, Effects, Invoke, Live, Session
from gateway.domain.commands import AcknowledgeNotice, Call, ChangeRemoteNumber, Command, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Device, Ticket
from gateway.edge.channel import Channel, ChannelEvent, ConnectionStats, Disconnect, Initiator
from gateway.edge.credentials import SessionCredentials
from gateway.edge.limits import SocketSlot
from gateway.edge.policies import NoticesInForce, NumberPolicies
from gateway.edge.scheduler import NEVER, TICK_S, Scheduler, fanout_writer_of
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import ClientInfo, ControlFrame, Renewed
from gateway.protocol.websocket import Message, Violation
from gateway.runtime.command_execution import CommandedUser
from gateway.runtime.event_loop import log_fault
from gateway.runtime.node import Attachment, Node
from gateway.runtime.ports import Clock, OnOutcome

STALL_S: Final = 10.0
"""A connection without write progress for this long is closed."""
PROGRESS_S: Final = 1.0
"""How often a blocked socket is checked for progress."""
CALM_S: Final = 0.05
"""A phone may always send pings and pongs of RFC 6455 at this rate."""


class WriteStall:
    """Write progress of a blocked socket, until the kernel has taken everything."""

    __slots__ = ("_is_late", "_progress_at", "_unsent_bytes")

    def __init__(self, unsent_bytes: int, now: float) -> None:
        self._is_late = False
        self._unsent_bytes = unsent_bytes
        self._progress_at = now

    def is_over(self, unsent_bytes: int, now: float) -> bool:
        """Record the bytes that wait now. Return whether there was no progress for too long."""
        if unsent_bytes < self._unsent_bytes:
            self._unsent_bytes, self._progress_at = unsent_bytes, now
        return now - self._progress_at >= STALL_S

    def was_due_first(self) -> bool:
        """Record that a frame is due while the socket is blocked. Return whether it is the first time."""
        is_first, self._is_late = not self._is_late, True
        return is_first


FAILED: Final = "failed"
"""Status of a command that was rejected for a fault of the system, not of the command."""
_FAULTS: Final = frozenset(
    {
        ErrorCode.BUS_DOWN,
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.FUNCTION_UNAVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.INTERNAL,
    }
)


class CommandRunner:
    """Runner of the commands of phones. It checks telephone numbers and notices before, and counts.

    Invariant: each command that was counted as in flight is subtracted when it ends, however it ends.
    """

    def __init__(self, numbers: NumberPolicies, notices: NoticesInForce, clock: Clock) -> None:
        self._numbers = numbers
        self._notices = notices
        self._clock = clock

    def execute(
        self,
        commands: CommandedUser,
        call: Call,
        credentials: SessionCredentials,
        stats: ConnectionStats,
        settle: OnOutcome,
    ) -> Callable[[], None]:
        """Have *call* executed. Bounded by its deadline.

        *settle* is called once with the outcome, perhaps in this call. The returned function ends the wait:
        then *settle* is not called.
        """
        began, telemetry = self._clock.now(), stats.output.telemetry
        stats.commands += 1
        telemetry.commands_in_flight.value += 1

        def settled(outcome: Outcome) -> None:
            kind, error, status = call.command.kind, outcome.error, outcome.status.value
            if outcome.status is Status.REJECTED and error is not None and error.code in _FAULTS:
                status = FAILED
            telemetry.commands_in_flight.value -= 1
            telemetry.commands.values[kind, status] += 1
            exemplar = None if outcome.trace_id is None else {"trace_id": outcome.trace_id}
            telemetry.command_seconds[kind].observe(self._clock.now() - began, exemplar)
            settle(outcome)

        try:
            checked = self._checked(call, credentials)
        except GatewayError as error:
            settled(Outcome(Status.REJECTED, error))
            return lambda: None
        return commands.execute(checked, settled)

    def _checked(self, call: Call, credentials: SessionCredentials) -> Call:
        """Return *call* as it is executed: a remote number in E.164, everything else unchanged.

        Raises:
            GatewayError: ``not_found``: there is no such notice in this version. For a remote number: the
                errors of :meth:`NumberPolicies.accept`.
        """
        match call.command:
            case ChangeRemoteNumber(number=number):
                accepted = self._numbers.accept(credentials.ticket.user.site, number)
                return replace(call, command=ChangeRemoteNumber(accepted))
            case AcknowledgeNotice(notice_id=notice_id, version=version):
                if not self._notices.kept([(notice_id, version)]):
                    raise GatewayError(ErrorCode.NOT_FOUND, "There is no such notice.")
        return call

    def renewed(self, command: Command, outcome: Outcome, credentials: SessionCredentials) -> Renewed | None:
        """Return a token to send before the outcome, if *command* has acknowledged a notice."""
        if not isinstance(command, AcknowledgeNotice) or outcome.status is not Status.APPLIED:
            return None
        acknowledged = (*credentials.ticket.notices, (command.notice_id, command.version))
        return credentials.acknowledge(self._notices.kept(acknowledged))


_GOING_AWAY: Final = 1001
_WRONG_TYPE: Final = 1003
"""RFC 6455 §7.4.1: data of a type that is not accepted, as text for binary."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SocketServices:
    """Dependencies that all sockets of a node share.

    *node* serves sessions, *scheduler* gives turns, *commands* runs commands. *admit* raises SessionRefused
    for a client program that is too old.
    """

    node: Node
    scheduler: Scheduler[PhoneSocket]
    commands: CommandRunner
    admit: Callable[[ClientInfo], None]


class PhoneSocket:
    """Socket of one phone: a :class:`gateway.runtime.ports.Connection` for the node.

    Invariants: the node's `detach` is called once. Commands are bounded by the session's limit of commands in
    flight, and cancelled at the end.
    """

    __slots__ = (
        "_commands", "_credentials", "_ending", "_is_over", "_leaves", "_services", "_slot", "_stall",
        "_tasks", "channel", "far_tick", "is_ready", "last_received_at", "near_tick", "session", "stats",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        channel: Channel,
        services: SocketServices,
        credentials: SessionCredentials,
        stats: ConnectionStats,
    ) -> None:
        self.session = session
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self.last_received_at = services.scheduler.clock.now()
        self.channel = channel
        self._services = services
        self._credentials = credentials
        self.stats = stats
        self._commands: CommandedUser | None = None
        """What executes the phone's commands, from the attach to the end."""
        self._ending: Close | Disconnect | None = None
        self._is_over = False
        self._stall: WriteStall | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        """The attach."""
        self._leaves: dict[object, Callable[[], None] | None] | None = None
        """For each command in flight: the function that ends the wait for it."""

    def begin(self, slot: SocketSlot) -> None:
        """Serve from now on, in turns of the scheduler. *slot* is released at the end."""
        self._slot = slot
        slot.on_evicted(partial(self.close, CloseCode.HELLO_TIMEOUT, "no hello, and others wait"))
        self._services.scheduler.sockets[self] = None
        try:
            self.channel.listen(self)
        except Exception as fault:  # noqa: BLE001 - the socket is served already: its end releases the slot
            self.fail(fault)
        self.wake()

    # ---- Connection ----

    @property
    def device(self) -> Device:
        """The device in the phone's ticket."""
        return self._credentials.ticket.device

    def wake(self) -> None:
        """Ask for a turn in which everything due is done, and for one of its fan-out group.

        Several calls count as one.
        """
        self._services.scheduler.ready(self)
        live = self.session.live
        if live is not None:
            live.outbox.has_only_changes = False
            if live.outbox.fanout_group is not None:
                self.updated()

    def updated(self) -> None:
        """Ask for a turn for the fan-out group if something waits there, or else for the phone.

        A phone whose pace allows no frame yet has its turn when it does and none before, unless other readers
        may be at the same position, or a ping is due.
        """
        live, scheduler = self.session.live, self._services.scheduler
        fanout_group = None if live is None else live.outbox.fanout_group
        if fanout_group is None:
            if self.is_ready:
                return
            if live is not None:
                ledger, pace = live.outbox.ledger, live.outbox.pace
                due_at = pace.sent_at + pace.interval_s
                if (
                    ledger.came_at < due_at
                    and ledger.readers.only_key is not None
                    and self._waits(live, due_at)
                ):
                    return
            self.is_ready = True  # as in Scheduler.ready, without its call
            scheduler.waiting.append(self)
            if not scheduler.is_held:
                scheduler.ring()
        elif fanout_group.dirty:
            scheduler.ready(fanout_writer_of(fanout_group, scheduler, self.stats.output.telemetry))

    def _waits(self, live: Live, due_at: float) -> bool:
        """Return whether changes wait until *due_at*, and have the turn then."""
        scheduler = self._services.scheduler
        now = scheduler.clock.now()
        if self._stall is not None or self.far_tick == NEVER or now >= min(due_at, live.heartbeat.next_at):
            return False
        if self.near_tick * TICK_S >= due_at + TICK_S:
            scheduler.at(self, due_at)
        return True

    def facts_changed(self, facts: SessionFacts) -> None:
        """Apply new facts of the session. A new end makes a new token."""
        self._run(self.session.facts_changed(facts))
        self._refresh(facts)

    def notify(self) -> None:
        """Send the notices that are new to the phone. Do nothing before the session is served."""
        if self.session.live is not None:
            for notice in self._credentials.unread_notices():
                self.announce(notice)

    def renew(self) -> None:
        """Send a token sealed by the new key, now or as soon as the session is served."""
        if self.session.live is None:
            self._credentials.mark_stale()
        else:
            self.announce(self._credentials.renew())

    def announce(self, notice: ControlFrame) -> None:
        """Send a notice or another control frame. Do nothing before the session is served."""
        self._run(self.session.post(notice))

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        """Close the connection after the remaining frames and a `bye`."""
        self._run(self.session.close(code, reason, by=by, window_s=window_s))

    # ---- what arrives (ChannelListener) ----

    def event_received(self, event: ChannelEvent) -> None:
        """Handle a message, a ping or pong, or a violation of RFC 6455."""
        if isinstance(event, Violation):
            self._run(self.session.violated(event.code, event.reason))
            return
        clock, before = self._services.scheduler.clock, self.last_received_at
        now = self.last_received_at = clock.now()
        if not isinstance(event, Message):
            if now - before >= CALM_S:
                self.channel.restart_count()
            self.session.frame_received()
            return
        self.stats.frames_in += 1
        if event.text is not self.channel.codec.text:
            self._run(self.session.violated(_WRONG_TYPE, "wrong message type"))
        else:
            effects = self.session.receive(event.data, now, clock.wall_ms())
            self._carry_out(effects)
            if not (effects and isinstance(effects[0], Invoke | Answered)):
                self.wake()  # a command that is executed, or an answer to a ping, makes nothing due earlier

    def disconnected(self, gone: Disconnect) -> None:
        """Handle the end of the connection."""
        self._ending = self._ending or gone
        self.wake()

    def write_blocked(self) -> None:
        """Handle a full send buffer: updates wait as keys, for this phone alone."""
        if self._stall is None:
            self._stall = WriteStall(self.channel.unsent_bytes, self._services.scheduler.clock.now())
            self.session.keep_apart(apart=True)
            self.wake()

    def write_unblocked(self) -> None:
        """Handle an empty send buffer."""
        self._stall = None
        self.session.keep_apart(apart=False)
        self.session.unsent(self._services.scheduler.clock.now())
        self.wake()

    # ---- its turn (Schedulable) ----

    def turn(self, now: float) -> None:
        """Do what is due: mostly write the waiting changes, and nothing else."""
        live = self.session.live
        if live is None or now >= live.heartbeat.next_at or self.far_tick == NEVER:
            self._do_all(now)
            return
        outbox = live.outbox
        news = outbox.take_news(now)
        if news is None:
            self._do_all(now)
        elif isinstance(news, float):
            self._services.scheduler.at(self, news)
        else:  # its deadline is in the scheduler already: nothing written here moves it
            channel, stats, frame = self.channel, self.stats, news.frame
            size_bytes, fd = len(frame), channel.open_fd
            data = channel.codec.heads[size_bytes] + frame
            try:  # as in Channel.put, without its call
                sent_bytes = os.write(fd, data) if fd >= 0 else 0
            except OSError:  # full or lost: the transport detects which
                sent_bytes = 0
            if sent_bytes != len(data):
                channel.put(data[sent_bytes:])
            stats.frames_out += 1
            stats.bytes_out += size_bytes
            ledger = outbox.ledger
            stats.output.telemetry.update_times.sent_one(
                size_bytes, news.elements, news.since, ledger.came_at, ledger.under_way_s, now
            )
            if news.conflated != stats.conflated or outbox.pace.to_go:
                self._keeps_up(outbox.pace, news.conflated)

    def _keeps_up(self, pace: PaceLadder, conflated: int) -> None:
        """Record a frame that was written while the phone is slow, or after values were replaced."""
        self.stats.count_conflated(conflated)
        if pace.to_go and not self.channel.is_full:
            pace.flushed(drained=True)

    def _do_all(self, now: float) -> None:
        """Do what is due, unless the send buffer is full."""
        if self._is_over:
            return
        if self.session.is_late(now):
            if self.channel.has_unread:
                self.session.unread(now)
            self._carry_out(self.session.tick(now))
        if self._stall is not None:
            self._check_stall(self._stall, now)
        if self._ending is not None:
            self._end(self._ending)
            return
        if self._stall is None:
            self._write_due(now)

    def _write_due(self, now: float) -> None:
        """Write what is due, and ask for a turn when more will be. A large state takes several turns."""
        due_at = self.session.due_at(now, self._health)
        if due_at is not None and due_at <= now:
            if not self.session.prepare():
                self._services.scheduler.ready(self)
                return
            if self._write_all() and self._stall is None:
                self.session.flushed(drained=True)
            due_at = self.session.due_at(now, self._health)
        if due_at is not None and self._stall is None:
            self._services.scheduler.at(self, due_at)

    def _write_all(self) -> bool:
        """Write all frames that are due. Return whether there were any."""
        live = self.session.live  # after the last frames it ends
        now, waited = self._services.scheduler.clock.now(), None if live is None else live.outbox.waits
        known = self._credentials.verified
        if live is not None and known is not None and live.is_ping_due(now, self._health):
            self._services.node.health(known.user)  # after which the age in the ledger is exact
        frames = self.session.take(now, self._services.scheduler.clock.wall_ms(), self._health)
        if frames:
            self.channel.write(frames)
        self.stats.frames_written(frames, now, waited, None if live is None else live.outbox)
        return bool(frames)

    def _check_stall(self, stall: WriteStall, now: float) -> None:
        """Check a blocked socket. Close it after too long without progress."""
        self.session.unsent(now)
        if stall.is_over(self.channel.unsent_bytes, now):
            self.close(CloseCode.SLOW, "no write progress")
        due_at = self.session.due_at(now, self._health)
        if due_at is not None and due_at <= now and stall.was_due_first():
            self.session.flushed(drained=False)
        self._services.scheduler.at(self, now + PROGRESS_S)

    @property
    def _health(self) -> Health:
        """The health of the user's data; its age may be a little older than it was."""
        live = self.session.live
        return UNKNOWN_HEALTH if live is None else live.outbox.ledger.health

    # ---- the end ----

    def abandon(self) -> None:
        """End at once: the process ends."""
        with ExitStack() as steps:  # each step runs, whatever another raises
            steps.callback(self._left)
            steps.callback(self.channel.abort)
            if not self._is_over:
                steps.callback(self._over)
                self.stats.shared_frames_written(self.session.live)

    def fail(self, fault: Exception) -> None:
        """Close after a fault, which ends this socket only."""
        log_fault(_LOG, "socket_failed", fault)
        if self._ending is None:
            try:
                self.close(CloseCode.INTERNAL, "internal")
            except Exception as another:  # noqa: BLE001 - a session that cannot close ends without a `bye`
                log_fault(_LOG, "socket_not_closed", another)
                self._ending = Close(CloseCode.INTERNAL, "internal")
        self.wake()

    def _end(self, ending: Close | Disconnect) -> None:
        """Write the remaining frames, release everything, and close."""
        with ExitStack() as steps:  # each step runs, whatever another raises
            steps.callback(self._start_close, ending)
            steps.callback(self._over)
            self.stats.shared_frames_written(self.session.live)
            if isinstance(ending, Close):
                self._write_all()

    def _start_close(self, ending: Close | Disconnect) -> None:
        if self._services.scheduler.start(self._guarded(self._close(ending))) is None:
            self.abandon()

    def _over(self) -> None:
        """Release everything but the connection; each step runs, whatever another raises."""
        self._is_over = True
        with ExitStack() as steps:
            steps.callback(self._count_end)
            steps.callback(self._services.node.detach, self)
            steps.callback(self.session.release)
            for task in self._tasks:
                steps.callback(task.cancel)
            steps.callback(self._leave_commands)

    def _leave_commands(self) -> None:
        """Stop waiting for outcomes. The commands themselves continue."""
        leaves, self._leaves, self._commands = self._leaves, None, None
        for leave in (leaves or {}).values():
            self.stats.output.telemetry.commands_in_flight.value -= 1
            if leave is not None:
                leave()

    def _count_end(self) -> None:
        ending = self._ending or Close(_GOING_AWAY)
        by: Initiator = "gateway" if isinstance(ending, Close) else ending.by
        reason = ending.reason if isinstance(ending, Close) else ""
        self.stats.closed(by, ending.code, reason, self._services.scheduler.clock.now())

    async def _close(self, ending: Close | Disconnect) -> None:
        try:
            await self.channel.close(ending.code, ending.reason if isinstance(ending, Close) else "")
        finally:
            self._left()

    def _left(self) -> None:
        self._services.scheduler.forget(self)
        if self in self._services.scheduler.sockets:  # two ends may overlap
            del self._services.scheduler.sockets[self]
            self._slot.release()

    # ---- effects ----

    def _run(self, effects: Effects) -> None:
        """Carry out *effects* and ask for a turn, as the session may have new frames."""
        self._carry_out(effects)
        self.wake()

    def _carry_out(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case AcceptSession():
                    self._attach(effect)
                case Invoke():
                    self._invoke(effect)
                case Close():
                    self._ending = effect
                case _:
                    self.stats.effect_received(effect)

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run *work* until it ends, or the connection does. A fault in it ends the connection."""
        task = self._services.scheduler.start(self._guarded(work))
        if task is None:
            work.close()
        else:
            self._tasks = (*self._tasks, task)
            task.add_done_callback(partial(self._task_ended, work))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """Run *work*. A fault in it ends nothing but this connection."""
        try:
            await work
        except Exception as fault:  # noqa: BLE001 - the outermost handler before the shared task group
            self.fail(fault)

    def _task_ended(self, work: Coroutine[None, None, None], task: asyncio.Task[None]) -> None:
        work.close()  # it may have been cancelled before its first step
        self._tasks = tuple(each for each in self._tasks if each is not task)

    def _attach(self, attach: AcceptSession) -> None:
        if attach.client is None:
            self._services.node.follow(self, attach.topics or ())
            return
        try:
            ticket = self._credentials.verify(attach.token)
            self._slot = self._slot.hello_accepted(
                is_user_present=ticket.user in self._services.node.user_states
            )
            self._services.admit(attach.client)
        except SessionRefused as refused:
            self._refuse(refused)
            return
        self.start(self._open(ticket, attach.topics, partial(self._attached, attach.client.platform)))

    async def _open(
        self, ticket: Ticket, topics: tuple[str, ...] | None, serve: Callable[[Attachment], None]
    ) -> None:
        try:
            await self._services.node.attach(self, ticket, topics, serve)
        except SessionRefused as refused:
            self._refuse(refused)

    def _attached(self, platform: str, attached: Attachment) -> None:
        """Serve the session, at once: no change is missed after the node's answer."""
        ticket, clock = self._credentials.ticket, self._services.scheduler.clock
        now = clock.now()
        self._commands = attached.commands
        try:
            self._run(self.session.attached(ticket, attached.facts, attached.ledger, now, clock.wall_ms()))
            if self.session.live is not None:  # None: the session ended during the attach
                self.session.live.outbox.sink = self
                self._slot = self._slot.served()
                self.stats.welcomed(ticket, platform, now)
            self.notify()
            self._refresh(attached.facts)
        except Exception as fault:  # noqa: BLE001 - a fault of one socket ends that socket only
            self.fail(fault)

    def _refuse(self, refused: SessionRefused) -> None:
        self.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)

    def _invoke(self, invoke: Invoke) -> None:
        """Have a command executed, and wait for its outcome until the connection ends."""
        if self._commands is None:
            return  # the socket has ended
        command, leaves = object(), self._leaves or {}  # a phone may use the id of its frame twice
        self._leaves, leaves[command] = leaves, None
        settle = partial(self._settled, command, invoke)
        leave = self._services.commands.execute(
            self._commands, invoke.call, self._credentials, self.stats, settle
        )
        if command in leaves:
            leaves[command] = leave

    def _settled(self, command: object, invoke: Invoke, outcome: Outcome) -> None:
        """Process the outcome of a command."""
        if self._leaves is not None:
            self._leaves.pop(command, None)
            self._leaves = self._leaves or None
        try:
            renewed = self._services.commands.renewed(invoke.call.command, outcome, self._credentials)
            if renewed is not None:
                self.announce(renewed)
            self._run(self.session.settled(invoke.id, outcome))
        except Exception as fault:  # noqa: BLE001 - a fault of one socket ends that socket only
            self.fail(fault)

    def _refresh(self, facts: SessionFacts) -> None:
        """Send a new token if the phone's token has an outdated end or is sealed by an old key."""
        is_served = facts.end is None and self.session.live is not None
        if is_served and (renewed := self._credentials.refresh(facts.expires_at_ms)) is not None:
            self.announce(renewed)
