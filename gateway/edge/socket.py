"""What goes on at one phone's WebSocket?

Runs a session: hears for it, writes what it gives when the kernel takes it, and carries out its
effects. What happens next is decided in :mod:`gateway.core.session`, when in :mod:`gateway.edge.pump`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Final, NamedTuple

from gateway.core.effects import Attach, Close, Effects, Health, Invoke
from gateway.core.session import Session
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Device, Ticket
from gateway.edge.channel import Channel, Gone, Heard
from gateway.edge.errands import Errands
from gateway.edge.fanout import herald_of
from gateway.edge.limits import Place
from gateway.edge.papers import Papers
from gateway.edge.ports import Sockets
from gateway.edge.pump import NEVER, Pump
from gateway.edge.stall import LOOK_S, Stall
from gateway.edge.witness import Initiator, Witness
from gateway.edge.work import Work, guarded
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import ClientInfo, ControlFrame
from gateway.protocol.websocket import Message, Violation
from gateway.runtime.faults import log_fault

_GOING_AWAY: Final = 1001
_UNKNOWN: Final = Health("down", "live", None)  # before anybody is known

_LOG: Final = logging.getLogger(__name__)


class Staff(NamedTuple):
    """Who serves all phones of a node.

    *node* serves their sessions, *pump* gives them their turns, *errands* runs their commands; *admit*
    raises SessionRefused for a program that is too old.
    """

    node: Sockets
    pump: Pump[PhoneSocket]
    errands: Errands
    admit: Callable[[ClientInfo], None]


class PhoneSocket:
    """One phone's connection, for the node: see :class:`gateway.runtime.feed.Connection`.

    Invariant: the node is told once that it is gone; what was asked to be executed is bounded by the
    session's limit of commands in flight, and cancelled at the end.

    Args:
        session: What happens next.
        channel: How messages cross.
        staff: Who serves it.
        papers: Whose session it is.
        witness: Counts.
    """

    __slots__ = (
        "_ending",
        "_is_over",
        "_papers",
        "_place",
        "_staff",
        "_stall",
        "_work",
        "channel",
        "far_tick",
        "is_ready",
        "near_tick",
        "session",
        "witness",
    )

    def __init__(
        self, session: Session, channel: Channel, staff: Staff, papers: Papers, witness: Witness
    ) -> None:
        self.session = session
        self.is_ready = False
        self.near_tick = self.far_tick = NEVER
        self.channel = channel
        self._staff = staff
        self._papers = papers
        self.witness = witness
        self._ending: Close | Gone | None = None
        self._is_over = False
        self._stall: Stall | None = None
        self._work: Work | None = None

    def begin(self, place: Place) -> None:
        """Serve from now on; the pump gives the turns. *place* is given back at the end."""
        self._place = place
        place.on_taken(self._make_room)
        self._staff.pump.sockets[self] = None
        try:
            self.channel.listen(self)
        except Exception as fault:  # noqa: BLE001 - the socket is served already: its end gives the place back
            self.fail(fault)
        self.wake()

    def _make_room(self) -> None:
        """End: a newer socket of the same caller takes the place, as this one has said no hello."""
        self.close(CloseCode.HELLO_TIMEOUT, "no hello, and others wait")

    # ---- Connection ----

    @property
    def device(self) -> Device:
        """The phone, by its ticket."""
        return self._papers.ticket.device

    def wake(self) -> None:
        """Note that something may be due, for the phone alone or all in step. Many notes are one."""
        self._staff.pump.ready(self)
        convoy = self.session.convoy
        if convoy is not None and convoy.dirty:
            self._staff.pump.ready(herald_of(convoy, self._staff.pump, self.witness.telemetry))

    def learned(self, facts: SessionFacts) -> None:
        """Take in what OSCC-E says of the session now; a moved end of life makes a fresh token."""
        self._run(self.session.learned(facts))
        self._refresh(facts)

    def notify(self) -> None:
        """Show the phone the notices that are new to it; does nothing before it is served."""
        if self.session.live is not None:
            for notice in self._papers.unread():
                self.announce(notice)

    def renew(self) -> None:
        """Give the phone a fresh token, now or once it is served: another key seals."""
        if self.session.live is None:
            self._papers.outdate()
        else:
            self.announce(self._papers.renew())

    def announce(self, notice: ControlFrame) -> None:
        """Show the phone a notice, or another frame of the gateway's own; nothing before it is served."""
        self._run(self.session.post(notice))

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        """End the connection: what is left, a `bye`, the close."""
        self._run(self.session.close(code, reason, by=by, window_s=window_s))

    # ---- what comes (Listener) ----

    def heard(self, event: Heard) -> None:
        """Take in a message, a sign of life, or a breach of RFC 6455."""
        if isinstance(event, Violation):
            self._run(self.session.violated(event.code, event.reason))
            return
        self._staff.node.touch(self)
        if not isinstance(event, Message):
            self.session.stirred()
            return
        self.witness.heard()
        if event.text is not self.channel.codec.text:
            self._run(self.session.wrong_type())
        else:
            clock = self._staff.pump.clock
            self._run(self.session.receive(event.data, clock.now(), clock.wall_ms()))

    def lost(self, gone: Gone) -> None:
        """Take in that there is nothing more."""
        self._ending = self._ending or gone
        self.wake()

    def filled(self) -> None:
        """Take in that the kernel does not take all: what follows waits as names, for this phone alone."""
        if self._stall is None:
            self._stall = Stall(self.channel.unsent_bytes, self._staff.pump.clock.now())
            self.session.keep_apart(apart=True)
            self.wake()

    def drained(self) -> None:
        """Take in that the kernel has taken all."""
        self._stall = None
        self.session.keep_apart(apart=False)
        self.session.unsent(self._staff.pump.clock.now())
        self.wake()

    # ---- its turn (Served) ----

    def turn(self, now: float) -> None:
        """Do what is due, when the kernel takes it."""
        if self._is_over:
            return
        self._carry_out(self.session.tick(now))
        if self._stall is not None:
            self._look(self._stall, now)
        if self._ending is not None:
            self._end(self._ending)
            return
        due_at = self.session.due_at(now, self._health())
        if due_at is not None and due_at <= now and self._stall is None:
            if self._write_all() and self._stall is None:
                self.session.flushed(drained=True)
            due_at = self.session.due_at(now, self._health())
        if due_at is not None and self._stall is None:
            self._staff.pump.at(self, due_at)

    def _write_all(self) -> bool:
        """Write all that the session gives; tells whether that was anything."""
        live = self.session.live  # before the last frames are taken, after which there is none
        now, waited = self._staff.pump.clock.now(), None if live is None else live.outbox.waits
        frames = self.session.take(now, self._staff.pump.clock.wall_ms(), self._health())
        if frames:
            self.channel.write(frames)
        self.witness.wrote(frames, now, waited, None if live is None else live.outbox)
        return bool(frames)

    def _look(self, stall: Stall, now: float) -> None:
        """Look at a socket that is full; without any progress for long it is the end."""
        self.session.unsent(now)
        if stall.is_over(self.channel.unsent_bytes, now):
            self.close(CloseCode.SLOW, "no write progress")
        due_at = self.session.due_at(now, self._health())
        if due_at is not None and due_at <= now and stall.was_due_first():
            self.session.flushed(drained=False)
        self._staff.pump.at(self, now + LOOK_S)

    def _health(self) -> Health:
        known = self._papers.known
        return _UNKNOWN if known is None else self._staff.node.health(known.user)

    # ---- the end ----

    def abandon(self) -> None:
        """End at once: the process ends."""
        with ExitStack() as steps:  # each is done, whatever another raises
            steps.callback(self._left)
            steps.callback(self.channel.abort)
            if not self._is_over:
                steps.callback(self._over)
                self.witness.shipped(self.session.live)

    def fail(self, fault: Exception) -> None:
        """End for a fault: one socket's ends one socket."""
        log_fault(_LOG, "socket_failed", fault)
        if self._ending is None:
            try:
                self.close(CloseCode.INTERNAL, "internal")
            except Exception as another:  # noqa: BLE001 - a session that cannot even close ends without a `bye`
                log_fault(_LOG, "socket_not_closed", another)
                self._ending = Close(CloseCode.INTERNAL, "internal")
        self.wake()

    def rested(self) -> None:
        """Let go of what ran for it: nothing does now."""
        self._work = None

    def _end(self, ending: Close | Gone) -> None:
        """Write what is left, let everybody know, and close."""
        with ExitStack() as steps:  # each is done, whatever another raises
            steps.callback(self._start_close, ending)
            steps.callback(self._over)
            self.witness.shipped(self.session.live)
            if isinstance(ending, Close):
                self._write_all()

    def _start_close(self, ending: Close | Gone) -> None:
        if self._staff.pump.start(guarded(self._close(ending), self)) is None:
            self.abandon()

    def _over(self) -> None:
        """Let go of everything but the connection; each step is done, whatever another raises."""
        self._is_over = True
        with ExitStack() as steps:
            steps.callback(self._count_end)
            steps.callback(self._staff.node.detach, self)
            steps.callback(self.session.release)
            if self._work is not None:
                steps.callback(self._work.cancel)

    def _count_end(self) -> None:
        ending = self._ending or Close(_GOING_AWAY)
        by: Initiator = "gateway" if isinstance(ending, Close) else ending.by
        reason = ending.reason if isinstance(ending, Close) else ""
        self.witness.ended(by, ending.code, reason, self._staff.pump.clock.now())

    async def _close(self, ending: Close | Gone) -> None:
        try:
            await self.channel.close(ending.code, ending.reason if isinstance(ending, Close) else "")
        finally:
            self._left()

    def _left(self) -> None:
        if self in self._staff.pump.sockets:  # an end may be cut short by another
            del self._staff.pump.sockets[self]
            self._place.leave()

    # ---- effects ----

    def _run(self, effects: Effects) -> None:
        """Carry out what the session asks for, after it was told something that may have made frames."""
        self._carry_out(effects)
        self.wake()

    def _carry_out(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Attach():
                    self._attach(effect)
                case Invoke():
                    self._start(self._invoke(effect))
                case Close():
                    self._ending = effect
                case _:
                    self.witness.noted(effect)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._work = self._work or Work(self._staff.pump, self)
        self._work.start(work)

    def _attach(self, attach: Attach) -> None:
        if attach.client is None:
            self._staff.node.follow(self, attach.topics or ())
            return
        try:
            ticket = self._papers.show(attach.token)
            self._place = self._place.helloed()
            self._staff.admit(attach.client)
        except SessionRefused as refused:
            self._refuse(refused)
            return
        self._start(self._open(ticket, attach.topics, attach.client.platform))

    async def _open(self, ticket: Ticket, topics: tuple[str, ...] | None, platform: str) -> None:
        try:
            attached = await self._staff.node.attach(self, ticket, topics)
        except SessionRefused as refused:
            self._refuse(refused)
            return
        # no await between the node's answer and what the session makes of it: nothing is missed
        now, wall_ms = self._staff.pump.clock.now(), self._staff.pump.clock.wall_ms()
        self._run(self.session.attached(ticket, attached.facts, attached.ledger, now, wall_ms))
        if self.session.live is not None:  # else its end was decided while the node was asked
            self.session.live.outbox.sink = self
            self.witness.welcomed(ticket, platform, now)
        self.notify()
        self._refresh(attached.facts)

    def _refuse(self, refused: SessionRefused) -> None:
        self.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)

    async def _invoke(self, invoke: Invoke) -> None:
        errand = await self._staff.errands.run(self, invoke.call, self._papers, self.witness)
        if errand.renewed is not None:
            self.announce(errand.renewed)
        self._run(self.session.settled(invoke.id, errand.outcome))

    def _refresh(self, facts: SessionFacts) -> None:
        """Give the phone a fresh token when its own says something old, or is sealed by an old key."""
        is_served = facts.end is None and self.session.live is not None
        if is_served and (renewed := self._papers.refresh(facts.expires_at_ms)) is not None:
            self.announce(renewed)
