"""The connection between a node and a phone in virtual time."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from typing import Final, Protocol

from gateway.core.session import Close
from gateway.domain.errors import CloseCode
from gateway.domain.model import Ticket
from gateway.runtime.event_loop import log_fault
from gateway.runtime.node import Node
from tests.doubles.connection import Frame, SocketlessConnection
from tests.simulation.loop import Host, NodeClock

_LOG: Final = logging.getLogger("gateway.phones")


class PhoneEnd(Protocol):
    """The phone at the other end."""

    def received(self, line: Line, frame: Frame) -> None:
        """Receive a frame."""
        ...

    def lost(self, line: Line, closed: Close | None) -> None:
        """Record that the connection is gone; None: without a close frame."""
        ...


class Line(SocketlessConnection):
    """One connection of a phone to a node.

    Args:
        node: The node.
        clock: The node's clock.
        host: Where the node runs: while it is stopped, frames of the phone wait.
        tasks: Where its requests run.
        ticket: The phone's session.
        phone: The phone.
        jitter: In [0, 1).
    """

    def __init__(
        self,
        node: Node,
        clock: NodeClock,
        host: Host,
        tasks: asyncio.TaskGroup,
        ticket: Ticket,
        phone: PhoneEnd,
        jitter: float,
    ) -> None:
        super().__init__(node, clock, ticket, jitter)
        self.is_received = True
        """Whether the phone is reachable: otherwise nothing that is sent arrives, and there is no answer."""
        self._host = host
        self._tasks = tasks
        self._phone = phone
        self._work: dict[asyncio.Task[None], None] = {}

    def start(self, work: Coroutine[None, None, None]) -> None:
        task = self._tasks.create_task(work, context=self._host.context.copy())
        self._work[task] = None
        task.add_done_callback(lambda done: self._work.pop(done, None))

    def fail(self, fault: Exception) -> None:
        log_fault(_LOG, "phone_failed", fault)
        self.close(CloseCode.INTERNAL, "internal")

    def deliver(self, frame: Frame) -> None:
        if self.is_received:
            self._phone.received(self, frame)

    def leave(self) -> None:
        if self.is_gone:
            return
        self._end()
        loop = asyncio.get_running_loop()
        loop.call_soon(self._node.detach, self, context=self._host.context)
        if self.closed is not None and self.is_received:
            self._phone.lost(self, self.closed)

    def _end(self) -> None:
        self.is_gone = True
        self.session.release()
        for task in self._work:
            task.cancel()
        self.leave_commands()

    # ---- what the phone does ----

    def send(self, **frame: object) -> None:
        self._host.enter(self.receive, json.dumps(frame).encode())

    def hang_up(self) -> None:
        """Let the node see that the phone closed the connection."""
        self.is_received = False
        self._host.enter(self.leave)

    def cut(self) -> None:
        """End it because the node is gone."""
        if not self.is_gone:
            self._end()
            if self.is_received:
                self._phone.lost(self, None)
