"""What goes on at one phone's WebSocket?

Runs a session: reads for it, writes what it gives when the kernel takes it, and carries out the
effects that it asks for. What happens next is decided in :mod:`gateway.core.session`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final, NoReturn, assert_never

from gateway.core.effects import Attach, Close, Effects, Health, Invoke
from gateway.core.session import Session
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Device, Ticket
from gateway.edge.channel import Channel, Gone
from gateway.edge.errands import Errands
from gateway.edge.papers import Papers
from gateway.edge.ports import Sockets
from gateway.edge.unread import Unread
from gateway.edge.witness import Witness
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import ControlFrame, NoticeFrame
from gateway.protocol.websocket import Message, Violation
from gateway.runtime.faults import place
from gateway.runtime.ports import Clock

STALL_S: Final = 10.0
"""No write progress for this long ends a connection."""
_LOOK_S: Final = 1.0
"""How often a full socket is looked at for progress."""
_WAIT_MIN_S: Final = 0.001
"""Event loops wake up to a millisecond early; waiting at least this long they do not spin."""
_GOING_AWAY: Final = 1001
_UNKNOWN: Final = Health("down", "live", None)
"""Health before anybody is known."""

_LOG: Final = logging.getLogger(__name__)


class _Over(Exception):  # noqa: N818 - names what happened
    """Ends the task group of a socket."""


class PhoneSocket:
    """One phone's connection, for the node: see :class:`gateway.runtime.feed.Connection`.

    Invariant: every task of the socket lives in its group, which :meth:`run` owns; the node is
    told once that it is gone; what was asked to be executed is bounded by the session's limit of
    commands in flight.

    Args:
        session: What happens next.
        channel: How messages cross.
        node: Who serves the session.
        papers: Whose session it is.
        errands: What becomes of its commands.
        unread: Which notices the phone has not been shown.
        witness: Counts.
    """

    def __init__(
        self,
        session: Session,
        channel: Channel,
        node: Sockets,
        clock: Clock,
        *,
        papers: Papers,
        errands: Errands,
        unread: Unread,
        witness: Witness,
    ) -> None:
        self.session = session
        self._channel = channel
        self._node = node
        self._clock = clock
        self._papers = papers
        self._errands = errands
        self._unread = unread
        self._witness = witness
        self._ending: Close | Gone | None = None
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._unsent = 0
        self._progress_at = 0.0
        self._is_draining = False
        self._is_late = False

    # ---- Connection ----

    @property
    def device(self) -> Device:
        """The phone, by its ticket."""
        return self._papers.ticket.device

    def wake(self) -> None:
        """Note that something may be due. Many notes before the writer's turn are one."""
        self._wake.set()

    def learned(self, facts: SessionFacts) -> None:
        """Take in what OSCC-E says of the session now; a moved end of life makes a fresh token."""
        self._run(self.session.learned(facts))
        self._refresh(facts)

    def notify(self) -> None:
        """Show the phone the notices that are new to it; does nothing before it is served."""
        if self.session.live is not None:
            for notice in self._unread.take(self._papers.ticket.notices, self._clock.wall_ms()):
                self._post(notice)

    def announce(self, notice: NoticeFrame) -> None:
        """Show the phone a notice; does nothing before it is served."""
        self._post(notice)

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

    # ---- life ----

    async def run(self) -> None:
        """Serve until the end, of which the node is told in any case."""
        try:
            await self._serve()
            if isinstance(self._ending, Close):
                self._write_all()
        finally:
            self.session.release()
            self._node.detach(self)
            self._count_end()
        match self._ending:
            case Close(code=code, reason=reason):
                await self._channel.close(code, reason)
            case Gone(code=code):
                await self._channel.close(code, "")

    def _count_end(self) -> None:
        now = self._clock.now()
        match self._ending:
            case Close(code=code, reason=reason):
                self._witness.ended("gateway", code, reason, now)
            case Gone(by=by, code=code):
                self._witness.ended(by, code, "", now)
            case None:  # cancelled: the process ends
                self._witness.ended("gateway", _GOING_AWAY, "", now)

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._read())
                await self._write()
        except* _Over:
            pass
        except* Exception as faults:  # noqa: BLE001 - the last line: one socket's fault ends one socket
            _LOG.error("a socket failed: %s", place(faults))
            self.close(CloseCode.INTERNAL, "internal")

    async def _read(self) -> None:
        while self._ending is None:
            match await self._channel.receive():
                case Message(data=data, text=text):
                    self._hear(data, text=text)
                case Violation(code=code, reason=reason):
                    self._run(self.session.violated(code, reason))
                case Gone() as gone:
                    self._lose(gone)

    def _lose(self, gone: Gone) -> None:
        self._ending = self._ending or gone
        self.wake()

    def _hear(self, data: bytes, *, text: bool) -> None:
        self._node.touch(self)
        self._witness.heard()
        if text is not self._channel.codec.text:
            self._run(self.session.wrong_type())
        else:
            self._run(self.session.receive(data, self._clock.now(), self._clock.wall_ms()))

    # ---- writing ----

    async def _write(self) -> NoReturn:
        """Write what is due, when the kernel takes it.

        Raises:
            _Over: The connection has ended, or is to be.
        """
        while True:
            now = self._clock.now()
            is_full = self._is_full(now)
            self._carry_out(self.session.tick(now))
            if self._ending is not None:
                raise _Over
            due_at = self.session.due_at(now, self._health())
            is_due = due_at is not None and due_at <= now
            if is_full:
                self._note_late(is_due=is_due)
                await self._pause(_LOOK_S)
            elif is_due:
                await self._flush()
            else:
                await self._pause(None if due_at is None else due_at - now)

    async def _flush(self) -> None:
        """Write what is due into the empty socket."""
        if self._write_all():
            self.session.flushed(drained=True)
            self._unsent = self._channel.unsent_bytes
            self._progress_at = self._clock.now()
        await asyncio.sleep(0)  # the transport's turn, and the reader's

    def _write_all(self) -> bool:
        """Write all that the session gives; tells whether that was anything."""
        live = self.session.live  # before the last frames are taken, after which there is none
        frames = self.session.take(self._clock.now(), self._clock.wall_ms(), self._health())
        self._channel.write(frames)
        self._witness.wrote(frames, 0 if live is None else live.outbox.conflated)
        return bool(frames)

    def _is_full(self, now: float) -> bool:
        """Tell whether the kernel has not taken all yet; without any progress for long it is the end."""
        unsent = self._channel.unsent_bytes
        if not unsent:
            self._is_late = False
            return False
        if not self._is_draining:
            self._is_draining = True
            self._start(self._drain())
        self.session.unsent(now)
        if unsent < self._unsent:
            self._unsent, self._progress_at = unsent, now
        elif now - self._progress_at >= STALL_S:
            self.close(CloseCode.SLOW, "no write progress")
        return True

    def _note_late(self, *, is_due: bool) -> None:
        """Let the pace know, once for each time that the socket is full when something is due."""
        if is_due and not self._is_late:
            self._is_late = True
            self.session.flushed(drained=False)

    async def _drain(self) -> None:
        await self._channel.drained()
        self._is_draining = False
        self.session.unsent(self._clock.now())
        self.wake()

    async def _pause(self, seconds: float | None) -> None:
        """Return when woken, or after *seconds*."""
        if seconds is None:
            await self._wake.wait()
        else:
            with suppress(TimeoutError):
                async with self._clock.timeout(max(seconds, _WAIT_MIN_S)):
                    await self._wake.wait()
        self._wake.clear()

    def _health(self) -> Health:
        known = self._papers.known
        return _UNKNOWN if known is None else self._node.health(known.user)

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
                    assert_never(effect)

    def _post(self, frame: ControlFrame) -> None:
        self._run(self.session.post(frame))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        assert self._tasks is not None  # noqa: S101 - sessions ask for nothing before they are told something
        self._tasks.create_task(work)

    def _attach(self, attach: Attach) -> None:
        if attach.client is None:
            self._node.follow(self, attach.topics or ())
            return
        try:
            ticket = self._papers.show(attach.token, attach.client)
        except SessionRefused as refused:
            self._refuse(refused)
            return
        self._start(self._open(ticket, attach.topics))

    async def _open(self, ticket: Ticket, topics: tuple[str, ...] | None) -> None:
        try:
            attached = await self._node.attach(self, ticket, topics)
        except SessionRefused as refused:
            self._refuse(refused)
            return
        # no await between the node's answer and what the session makes of it: nothing is missed
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        self._run(self.session.attached(ticket, attached.facts, attached.ledger, now, wall_ms))
        self._witness.welcomed(ticket, now)
        self.notify()
        self._refresh(attached.facts)

    def _refuse(self, refused: SessionRefused) -> None:
        self.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)

    async def _invoke(self, invoke: Invoke) -> None:
        errand = await self._errands.run(self, invoke.call)
        if errand.renewed is not None:
            self._post(errand.renewed)
        self._run(self.session.settled(invoke.id, errand.outcome))

    def _refresh(self, facts: SessionFacts) -> None:
        """Give the phone a fresh token when its own says something old, or is sealed by an old key."""
        if facts.end is None and self.session.live is not None:
            renewed = self._papers.refresh(facts.expires_at_ms)
            if renewed is not None:
                self._post(renewed)
