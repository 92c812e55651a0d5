"""What goes on at one phone's WebSocket?

Runs a session: reads for it, writes what it gives when the kernel takes it, and carries out the
effects that it asks for. What happens next is decided in :mod:`gateway.core.session`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final, NoReturn, assert_never

from gateway.core.effects import Attach, Close, Effects, Health, Invoke
from gateway.core.session import Session
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Device
from gateway.edge.bearer import TOKEN_INVALID, Bearer, same_session
from gateway.edge.channel import Channel, Gone
from gateway.edge.ports import Sockets
from gateway.edge.token import Opened
from gateway.edge.witness import Witness
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import ClientInfo, Renewed
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
        bearer: Opens tokens.
        shown: What the token in the header said, if there was one.
        helloed: Called when a valid token was shown.
        witness: Counts.
    """

    def __init__(
        self,
        session: Session,
        channel: Channel,
        node: Sockets,
        bearer: Bearer,
        clock: Clock,
        *,
        shown: Opened | None,
        helloed: Callable[[ClientInfo], None],
        witness: Witness,
    ) -> None:
        self.session = session
        self._channel = channel
        self._node = node
        self._bearer = bearer
        self._clock = clock
        self._shown = shown
        self._helloed = helloed
        self._witness = witness
        self._opened: Opened | None = None
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
        assert self._opened is not None  # noqa: S101 - the node meets a socket at its attach
        return self._opened.ticket.device

    def wake(self) -> None:
        """Note that something may be due. Many notes before the writer's turn are one."""
        self._wake.set()

    def learned(self, facts: SessionFacts) -> None:
        """Take in what OSCC-E says of the session now; a moved end of life makes a fresh token."""
        self._run(self.session.learned(facts))
        self._renew(facts)

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
        return _UNKNOWN if self._opened is None else self._node.health(self._opened.ticket.user)

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

    def _start(self, work: Coroutine[None, None, None]) -> None:
        assert self._tasks is not None  # noqa: S101 - sessions ask for nothing before they are told something
        self._tasks.create_task(work)

    def _attach(self, attach: Attach) -> None:
        if attach.client is None:
            self._node.follow(self, attach.topics or ())
            return
        try:
            self._opened = self._identify(attach.token)
            self._helloed(attach.client)
        except SessionRefused as refused:
            self._refuse(refused)
            return
        self._start(self._open(self._opened, attach.topics))

    def _identify(self, token: str | None) -> Opened:
        """Return what the token in `hello` says, or the one in the header; both must be of one session."""
        said = self._shown if token is None else self._bearer.whose(token)
        if said is None or (self._shown is not None and not same_session(self._shown.ticket, said.ticket)):
            raise SessionRefused(CloseCode.TOKEN_INVALID, TOKEN_INVALID)
        return said

    async def _open(self, opened: Opened, topics: tuple[str, ...] | None) -> None:
        try:
            attached = await self._node.attach(self, opened.ticket, topics)
        except SessionRefused as refused:
            self._refuse(refused)
            return
        # no await between the node's answer and what the session makes of it: nothing is missed
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        self._run(self.session.attached(opened.ticket, attached.facts, attached.ledger, now, wall_ms))
        self._witness.welcomed(opened.ticket, now)
        self._renew(attached.facts)

    def _refuse(self, refused: SessionRefused) -> None:
        self.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)

    async def _invoke(self, invoke: Invoke) -> None:
        began = self._clock.now()
        self._witness.asked()
        try:
            outcome = await self._node.invoke(self, invoke.call)
        except BaseException:
            self._witness.forgot()
            raise
        self._witness.settled(invoke.call, outcome, self._clock.now() - began)
        self._run(self.session.settled(invoke.id, outcome))

    def _renew(self, facts: SessionFacts) -> None:
        """Give the phone a fresh token when its own says something old, or is sealed by an old key."""
        opened = self._opened
        if opened is None or facts.end is not None or self.session.live is None:
            return
        if not opened.stale and facts.expires_at_ms == opened.ticket.expires_at_ms:
            return
        ticket, token = self._bearer.tokens.renew(opened.ticket, facts.expires_at_ms, self._clock.wall_ms())
        self._opened = Opened(ticket, expired=False, stale=False)
        self._run(self.session.post(Renewed(token, facts.expires_at_ms)))
