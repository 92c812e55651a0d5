"""A phone's connection without a socket: runs a session against a node, as ``edge/socket.py`` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from gateway.core.ledger import UNKNOWN_HEALTH
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import AcceptSession, Close, Effects, Invoke, Session
from gateway.domain.commands import Outcome
from gateway.domain.errors import CloseCode, SessionRefused
from gateway.domain.model import Device, Ticket
from gateway.protocol.codec import JSON
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.command_execution import CommandedUser
from gateway.runtime.node import Attachment, Node
from gateway.runtime.ports import Clock

Frame = dict[str, Any]


class SocketlessConnection:
    """See :class:`gateway.runtime.ports.Connection`. Who has it starts its tasks and gets its frames.

    Args:
        node: The node.
        clock: The node's clock.
        ticket: The phone's session.
        jitter: In [0, 1).
    """

    def __init__(self, node: Node, clock: Clock, ticket: Ticket, jitter: float) -> None:
        self.ticket = ticket
        self.session = Session(JSON, SessionLimits(), clock.now(), jitter)
        self.last_received_at = clock.now()
        self.is_gone = False
        self.closed: Close | None = None
        """How the node closed it."""
        self.commands: CommandedUser
        """What executes its commands, once it is attached."""
        self._leaves: dict[object, Callable[[], None] | None] = {}
        """For each command without an outcome: what ends the wait for it."""
        self._node = node
        self._clock = clock

    def start(self, work: Coroutine[None, None, None]) -> None:
        raise NotImplementedError

    def fail(self, fault: Exception) -> None:
        raise NotImplementedError

    def deliver(self, frame: Frame) -> None:
        """Give the phone a frame."""
        raise NotImplementedError

    def leave(self) -> None:
        """End it, for either side."""
        raise NotImplementedError

    # ---- what the node does ----

    @property
    def device(self) -> Device:
        return self.ticket.device

    def wake(self) -> None:
        if not self.is_gone:
            self.take()

    def updated(self) -> None:
        self.wake()

    def facts_changed(self, facts: SessionFacts) -> None:
        if not self.is_gone:
            self.run(self.session.facts_changed(facts))

    def announce(self, notice: NoticeFrame) -> None:
        if not self.is_gone:
            self.run(self.session.post(notice))

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        if not self.is_gone:
            self.run(self.session.close(code, reason, by=by, window_s=window_s))

    # ---- what the phone and the time do ----

    def receive(self, data: bytes) -> None:
        """Have the node receive a frame of the phone."""
        if not self.is_gone:
            now = self.last_received_at = self._clock.now()
            self.run(self.session.receive(data, now, self._clock.wall_ms()))

    def tick(self) -> None:
        if not self.is_gone:
            self.run(self.session.tick(self._clock.now()))

    # ---- inner ----

    def run(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case AcceptSession(token=None):
                    self._node.follow(self, effect.topics or ())
                case AcceptSession():
                    self.start(self._attach(effect.topics))
                case Invoke():
                    self._invoke(effect)
                case Close():
                    self.closed = effect
                    self.take()
                    self.leave()
        if not self.is_gone:
            self.take()

    async def _attach(self, topics: tuple[str, ...] | None) -> None:
        try:
            await self._node.attach(self, self.ticket, topics, self._attached)
        except SessionRefused as refused:
            self.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)

    def _attached(self, attachment: Attachment) -> None:
        if self.is_gone:
            return
        self.commands = attachment.commands
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        self.run(self.session.attached(self.ticket, attachment.facts, attachment.ledger, now, wall_ms))

    def _invoke(self, effect: Invoke) -> None:
        command = object()
        self._leaves[command] = None
        leave = self.commands.execute(effect.call, partial(self._settled, command, effect.id))
        if command in self._leaves:
            self._leaves[command] = leave

    def leave_commands(self) -> None:
        """Wait for no outcome any more."""
        leaves, self._leaves = self._leaves, {}
        for leave in leaves.values():
            if leave is not None:
                leave()

    def _settled(self, command: object, identity: str, outcome: Outcome) -> None:
        self._leaves.pop(command, None)
        if not self.is_gone:
            self.run(self.session.settled(identity, outcome))

    def take(self) -> None:
        """Take what leaves now."""
        now, live = self._clock.now(), self.session.live
        health = UNKNOWN_HEALTH if live is None else live.outbox.ledger.health
        if live is not None and live.is_ping_due(now, health):
            health = self._node.health(self.ticket.user)
        for frame in self.session.take(now, self._clock.wall_ms(), health):
            self.deliver(json.loads(frame))
