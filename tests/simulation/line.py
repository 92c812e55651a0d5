"""The connection between a node and a phone, without a socket.

Like ``edge/channel.py``, in virtual time: one :class:`Line` is one connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, Protocol

from gateway.core.ledger import UNKNOWN_HEALTH
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import AcceptSession, Close, Effects, Invoke, Session
from gateway.domain.commands import Outcome
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Device, Ticket
from gateway.protocol.codec import JSON
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.event_loop import log_fault
from gateway.runtime.node import Attachment, Node
from tests.simulation.loop import Host, NodeClock

LIMITS = SessionLimits()
Frame = dict[str, Any]
_LOG: Final = logging.getLogger("gateway.phones")


class Far(Protocol):
    """The phone at the other end."""

    def hear(self, line: Line, frame: Frame) -> None:
        """Receive a frame."""
        ...

    def lost(self, line: Line, closed: Close | None) -> None:
        """Record that the connection is gone; None: without a close frame."""
        ...


class Line:
    """One connection of a phone to a node.

    Args:
        node: The node.
        clock: The node's clock.
        host: Where the node runs: while it is stopped, frames of the phone wait.
        tasks: Where its requests run.
        ticket: The phone's session.
        far: The phone.
        jitter: In [0, 1).
    """

    def __init__(
        self,
        node: Node,
        clock: NodeClock,
        host: Host,
        tasks: asyncio.TaskGroup,
        ticket: Ticket,
        far: Far,
        jitter: float,
    ) -> None:
        self.ticket = ticket
        self.session = Session(JSON, LIMITS, clock.now(), jitter)
        self.last_received_at = clock.now()
        self.is_gone = False
        """Whether the node has closed it, or has ended."""
        self.is_received = True
        """Whether the phone is reachable: otherwise nothing that is sent arrives, and there is no answer."""
        self._node = node
        self._clock = clock
        self._host = host
        self._tasks = tasks
        self._far = far
        self._work: dict[asyncio.Task[None], None] = {}

    @property
    def device(self) -> Device:
        return self.ticket.device

    # ---- what the node does (Connection) ----

    def wake(self) -> None:
        if not self.is_gone:
            self._take()

    def updated(self) -> None:
        self.wake()

    def facts_changed(self, facts: SessionFacts) -> None:
        if not self.is_gone:
            self._run(self.session.facts_changed(facts))

    def announce(self, notice: NoticeFrame) -> None:
        if not self.is_gone:
            self._run(self.session.post(notice))

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        if not self.is_gone:
            self._run(self.session.close(code, reason, by=by, window_s=window_s))

    def fail(self, fault: Exception) -> None:
        log_fault(_LOG, "phone_failed", fault)
        self.close(CloseCode.INTERNAL, "internal")

    # ---- what the phone does ----

    def send(self, **frame: object) -> None:
        """Send a frame of the phone."""
        self._host.enter(self._receive, json.dumps(frame).encode())

    def _receive(self, data: bytes) -> None:
        if not self.is_gone:
            now = self.last_received_at = self._clock.now()
            self._run(self.session.receive(data, now, self._clock.wall_ms()))

    def hang_up(self) -> None:
        """Let the node see that the phone closed the connection."""
        self.is_received = False
        self._host.enter(self._leave)

    def cut(self) -> None:
        """End it because the node is gone."""
        if not self.is_gone:
            self._end()
            if self.is_received:
                self._far.lost(self, None)

    def tick(self) -> None:
        """Check the time."""
        if not self.is_gone:
            self._run(self.session.tick(self._clock.now()))

    # ---- inner ----

    def _leave(self) -> None:
        if not self.is_gone:
            self._end()
            loop = asyncio.get_running_loop()
            loop.call_soon(self._node.detach, self, context=self._host.context)

    def _end(self) -> None:
        self.is_gone = True
        self.session.release()
        for task in self._work:
            task.cancel()

    def start(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work, context=self._host.context.copy())
        self._work[task] = None
        task.add_done_callback(lambda done: self._work.pop(done, None))

    def _run(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case AcceptSession(token=None):
                    self._node.follow(self, effect.topics or ())
                case AcceptSession():
                    self.start(self._attach(effect.topics))
                case Invoke():
                    self._command(effect)
                case Close():
                    self._take()
                    self._leave()
                    if self.is_received:
                        self._far.lost(self, effect)
        if not self.is_gone:
            self._take()

    async def _attach(self, topics: tuple[str, ...] | None) -> None:
        try:
            await self._node.attach(self, self.ticket, topics, self._attached)
        except SessionRefused as refused:
            self.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)

    def _attached(self, attachment: Attachment) -> None:
        if self.is_gone:
            return
        self._commands = attachment.commands
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        self._run(self.session.attached(self.ticket, attachment.facts, attachment.ledger, now, wall_ms))

    def _command(self, effect: Invoke) -> None:
        settle = partial(self._settled, effect.id)
        if self._work or self._commands.begin(effect.call, settle) is None:
            self.start(self._invoke(effect))

    async def _invoke(self, effect: Invoke) -> None:
        self._settled(effect.id, await self._commands.execute(effect.call))

    def _settled(self, identity: str, outcome: Outcome) -> None:
        if not self.is_gone:
            self._run(self.session.settled(identity, outcome))

    def _take(self) -> None:
        now, live = self._clock.now(), self.session.live
        health = UNKNOWN_HEALTH if live is None else live.outbox.ledger.health
        if live is not None and live.is_ping_due(now, health):
            health = self._node.health(self.ticket.user)
        taken = self.session.take(now, self._clock.wall_ms(), health)
        if self.is_received:
            for frame in taken:
                self._far.hear(self, json.loads(frame))
