"""One node's connections to Redis, and the messages that it receives from there.

It is the node's bus, and carries its requests. Requests go one way in order, and messages come another way
in order. Both ways end with their connections. A request whose connection ends may or may not have been
received.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from gateway.bus.pubsub import SLOW_S
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.envelopes import BusChannel, Envelope, aged
from gateway.runtime.ports import OnPosted, Receive
from tests.doubles.stored import Store
from tests.simulation.loop import OUTSIDE, Host, behind
from tests.simulation.store import NetworkFaults, Server, answer_of

T = TypeVar("T")
DEADLINE_S: Final = 0.5
"""For a command, including its one retry."""
AGAIN_S: Final = (0.1, 0.5, 2.5)
"""Pause between two tries to connect."""


def bus_down() -> GatewayError:
    return GatewayError(ErrorCode.BUS_DOWN, "the bus does not answer")


class SimBus:
    """One node's connections.

    Args:
        loop: Its time.
        server: The Redis to which it connects.
        network: The faults of messages.
        host: Where the node runs.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, server: Server, network: NetworkFaults, host: Host
    ) -> None:
        self.is_dead = False
        """The node's process was killed: nothing that it sends arrives."""
        self.is_cut = False
        """Redis is not reached by this node."""
        self.channels: dict[BusChannel, Receive] = {}
        """The channels to which the node subscribes."""
        self._loop = loop
        self._server: Server | None = server
        self._network = network
        self._host = host
        self._connection = 1
        """The number of the present connections; 0 when there are none."""
        self._connections = 1
        self._asked_until = self._received_until = self._script_until = 0.0
        self._doubted: Callable[[], None] = lambda: None
        self._open: dict[asyncio.Future[Any], None] = {}

    # ---- what befalls it ----

    def kill(self) -> None:
        """Pass nothing from now on."""
        self.is_dead = True
        self._break()

    def cut(self) -> None:
        """Let Redis be unreachable."""
        self.is_cut = True
        self._break()
        self._reconnect_later()

    def mend(self) -> None:
        self.is_cut = False

    def lose(self) -> None:
        self._break()
        self._server = None
        self._reconnect_later()

    def turn_to(self, server: Server) -> None:
        """Connect to *server*, and break the connections to another."""
        if self._server is not server:
            self._break()
            self._server = server
            self._reconnect_later()

    def _break(self) -> None:
        if self._server is not None:
            self._server.leave(self)
        self._connection = 0
        for future in list(self._open):
            if not future.done():
                future.set_exception(bus_down())
        self._open.clear()

    def _reconnect_later(self) -> None:
        if not self.is_dead:
            again_s = self._network.rng.choice(AGAIN_S)
            self._loop.call_later(again_s, self._reconnect, context=self._host.context)

    def _reconnect(self) -> None:
        if self.is_dead or self._connection:
            return  # otherwise several are under way
        if self.is_cut or self._server is None or self._server.is_frozen:
            self._reconnect_later()
            return
        self._connections += 1
        self._connection = self._connections
        for channel in self.channels:
            self._server.subscribe(channel, self)
        self._doubted()

    # ---- one question ----

    def refusals(self) -> frozenset[str]:
        """Return the refusals of the server: a node tries a write at intervals."""
        server = self._server
        if not self._connection or server is None or server.refuses is None:
            return frozenset()
        return frozenset({server.refuses})

    async def request(
        self, act: Callable[[Store], Coroutine[Any, Any, T]], *, writes: bool, script: bool
    ) -> T:
        def taken(server: Server) -> T | GatewayError:
            return bus_down() if writes and server.refuses is not None else answer_of(act(server.store))

        answer = await self._ask(taken, script=script)
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    def _begin(self, act: Callable[[Server], T], *, script: bool = False) -> asyncio.Future[T] | None:
        """Send a request; None: there is no connection."""
        if self.is_dead or not self._connection:
            return None
        future: asyncio.Future[T] = self._loop.create_future()
        due = self._loop.time() + self._network.leg_s()
        if script:
            due = self._script_until = behind(self._script_until, due)
        else:
            due = self._asked_until = behind(self._asked_until, due)
        self._loop.call_at(due, self._arrive, self._connection, act, future, context=OUTSIDE)
        self._open[future] = None
        return future

    async def _ask(self, act: Callable[[Server], T], *, script: bool = False) -> T:
        future = self._begin(act, script=script)
        if future is None:
            raise bus_down()
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await future
        except TimeoutError:
            raise bus_down() from None
        finally:
            self._open.pop(future, None)

    def _arrive(self, connection: int, act: Callable[[Server], T], future: asyncio.Future[T]) -> None:
        server = self._server
        if connection != self._connection or server is None:
            return
        if server.is_frozen:
            server.backlog.append(lambda: self._arrive(connection, act, future))
            return
        answer = act(server)
        self._loop.call_later(
            self._network.leg_s(), self._answer, connection, answer, future, context=OUTSIDE
        )

    def _answer(self, connection: int, answer: T, future: asyncio.Future[T]) -> None:
        if connection == self._connection and not future.done():
            future.set_result(answer)

    # ---- Bus ----

    async def subscribe(self, channel: BusChannel, receive: Receive) -> None:
        if self.is_dead:
            raise bus_down()
        self.channels[channel] = receive
        try:
            await self._ask(lambda server: server.subscribe(channel, self))
        except GatewayError:
            return  # with the next connection

    async def unsubscribe(self, channel: BusChannel) -> None:
        self.channels.pop(channel, None)
        if self._server is not None:
            self._server.unsubscribe(channel, self)

    async def publish(self, channel: BusChannel, envelope: Envelope) -> int:
        sent_at = self._loop.time()
        return await self._ask(lambda server: server.publish(channel, envelope, sent_at))

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        sent_at = self._loop.time()
        future = self._begin(lambda server: server.publish(channel, envelope, sent_at))
        if future is None:
            answered(bus_down())
            return True
        due = self._loop.call_later(DEADLINE_S, self._expire, future)
        future.add_done_callback(partial(self._posted, due, answered))
        return True

    def _expire(self, future: asyncio.Future[int]) -> None:
        if not future.done():
            future.set_exception(bus_down())

    def _posted(
        self,
        due: asyncio.TimerHandle,
        answered: OnPosted,
        future: asyncio.Future[int],
    ) -> None:
        due.cancel()
        self._open.pop(future, None)
        is_unknown = future.cancelled() or future.exception() is not None
        answered(bus_down() if is_unknown else future.result())

    def flush(self) -> None:
        """See :meth:`gateway.runtime.ports.Bus.flush`: a message is under way when it is posted."""

    waiting_bytes = 0

    def watch(self, report_loss: Callable[[], None]) -> None:
        self._doubted = report_loss

    def deliver(self, channel: BusChannel, envelope: Envelope, sent_at: float) -> None:
        """Deliver a message, in the order of the connection."""
        for _ in range(self._network.copies()):
            due = behind(self._received_until, self._loop.time() + self._network.leg_s())
            self._received_until = due
            received = self._connection, channel, envelope, sent_at
            self._loop.call_at(due, self._receive, *received, context=self._host.context)

    def _receive(self, connection: int, channel: BusChannel, envelope: Envelope, sent_at: float) -> None:
        receive = self.channels.get(channel)
        if connection == self._connection and receive is not None:
            age_s = self._loop.time() - sent_at
            receive(envelope if age_s < SLOW_S else aged(envelope, round(age_s * 1000)))
