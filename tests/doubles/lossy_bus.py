"""A bus that loses, doubles or delays messages, goes away, loses its data, or splits.

One :class:`Trouble` stands for the Redis of a cluster and its network. Without faults it keeps the contracts
of the ports Bus, Leases, NodeRegistry and SharedStore (``tests/contracts``) like the memory adapters.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.envelopes import BusChannel, Envelope
from gateway.runtime.ports import WRITE_REFUSALS, Clock, Cluster, NotSentError, OnPosted, Receive
from tests.doubles.stored import Store, cluster

T = TypeVar("T")
DEADLINE_S: Final = 0.25
"""Time after which a command is given up when Redis does not answer."""


class Trouble:
    """The faults of messages and requests of the nodes 0, 1, 2…; none until a test sets them.

    Invariant: messages from one node arrive at another in the order in which they were sent, as the port
    promises, except for lost and doubled ones.

    Args:
        clock: The only time.
        chance: Returns numbers in [0, 1) for :attr:`loses`, :attr:`doubles` and :attr:`delays`.
    """

    def __init__(self, clock: Clock, chance: Callable[[], float] = lambda: 0.0) -> None:
        self.clock: Final = clock
        self.chance = chance
        self.loses = 0.0
        """The share of messages that are lost, though their sender gets a success."""
        self.doubles = 0.0
        """The share of messages that arrive twice."""
        self.delays = 0.0
        """The share of messages that arrive up to :attr:`delay_s` late; later messages of the same node
        wait.
        """
        self.delay_s = 1.0
        self.lose: Callable[[int, int, BusChannel, Envelope], bool] | None = None
        """Decides whether one message of a sender to a receiver is lost."""
        self.unanswered: Callable[[int], bool] | None = None
        """Decides whether the answer to a request of a node is lost after its execution."""
        self.refused: frozenset[str] = frozenset()
        """The words with which Redis refuses requests of nodes; with one of ``WRITE_REFUSALS`` it refuses
        writes.
        """
        self.said: Callable[[int, BusChannel, Envelope], None] | None = None
        """Called with each message that the bus accepts, and its sender."""
        self.sides: dict[int, int] = {}
        """The Redis of a node, if it is not number 0: nodes of two sides get no messages of each other."""
        self.stores: dict[int, Store] = {0: Store(clock)}
        self._away: set[int] = set()
        self._dead: set[int] = set()
        self._is_frozen = False
        self._held: list[Callable[[], Awaitable[object]]] = []
        self.buses: dict[int, LossyBus] = {}
        self._late: list[tuple[float, int, Callable[[], None]]] = []
        self._last_at: dict[tuple[int, int], float] = {}
        self._numbers = itertools.count()
        self._news = asyncio.Event()

    def cluster(self, node: int) -> Cluster:
        """Return a node's adapters of the ports."""
        bus = self.buses[node] = LossyBus(self, node)
        return cluster(bus, _Requests(self, node), self.stores[0], lambda: self.refused)

    async def run(self) -> None:
        """Deliver late messages until cancelled; only needed for :attr:`delays`."""
        while True:
            now = self.clock.now()
            while self._late and self._late[0][0] <= now:
                heapq.heappop(self._late)[2]()
            self._news.clear()
            with suppress(TimeoutError):
                async with self.clock.timeout(self._late[0][0] - now if self._late else 3600.0):
                    await self._news.wait()

    # ---- what a test says ----

    def lose_all(self, *kinds: type[Envelope], to: int | None = None) -> None:
        """Lose all messages of these kinds, to one node or to each."""
        self.lose = lambda _, node, __, envelope: to in (None, node) and isinstance(envelope, kinds)

    def take_away(self, *nodes: int) -> None:
        """Let nodes (all without names) reach no Redis: each request fails at once."""
        self._away |= set(nodes or self.buses)

    def give_back(self, *nodes: int) -> None:
        """Let nodes (all without names) reach it again; they are informed that messages may be lost."""
        back = self._away & set(nodes or self.buses)
        self._away -= back
        self.renew(*sorted(back))

    def renew(self, *nodes: int) -> None:
        """Simulate an unasked renewal of the nodes' connections."""
        for node in nodes:
            for report_loss in self.buses[node].watchers:
                report_loss()

    def freeze(self) -> None:
        """Let Redis answer no request; they take effect when it thaws."""
        self._is_frozen = True

    async def thaw(self) -> None:
        """Execute all waiting requests in order."""
        self._is_frozen = False
        held, self._held = self._held, []
        for act in held:
            await act()
        self.renew(*sorted(self.buses.keys() - self._away))

    def kill(self, node: int) -> None:
        """End a node: it sends and receives nothing, and no other node is informed."""
        self._dead.add(node)
        self.buses[node].receivers.clear()

    def flush(self, side: int = 0) -> None:
        self.stores[side] = Store(self.clock)

    def copied(self, side: int = 0) -> Store:
        """Return the present data of a replica; as ``stores[side]`` it is the result of a fail-over."""
        return self.stores[side].replica(self.clock)

    def split(self, *nodes: int, side: int = 1) -> None:
        """Connect nodes to another Redis, which begins with the data of the first."""
        self.stores[side] = self.copied()
        self.sides |= dict.fromkeys(nodes, side)

    # ---- what nodes ask ----

    def store(self, node: int) -> Store:
        """Return the data for *node*."""
        return self.stores[self.sides.get(node, 0)]

    async def ask(self, node: int, act: Callable[[], Awaitable[T]]) -> T:
        """Run *act* for *node*.

        Raises:
            GatewayError: ``bus_down``: it has run, will run, or never will.
        """
        if node in self._away or node in self._dead:
            raise NotSentError("the bus is away")
        if self._is_frozen:
            self._held.append(act)
            await self.clock.sleep(DEADLINE_S)
            raise _down()
        answer = await act()
        if self.unanswered is not None and self.unanswered(node):
            raise _down()
        return answer

    def is_away(self, node: int) -> bool:
        """Return whether a node reaches no Redis that answers."""
        return node in self._away or node in self._dead or self._is_frozen

    async def publish(self, sender: int, channel: BusChannel, envelope: Envelope) -> int:
        """Send to every node of the sender's side that is subscribed to the channel; return their number."""
        if self.said is not None:
            self.said(sender, channel, envelope)
        received = [
            node
            for node, bus in self.buses.items()
            if channel in bus.receivers and self.sides.get(node, 0) == self.sides.get(sender, 0)
        ]
        received = [node for node in received if node not in self._away]
        for node in received:
            self._send(sender, node, channel, envelope)
        return len(received)

    def _send(self, sender: int, to: int, channel: BusChannel, envelope: Envelope) -> None:
        is_lost = self.lose is not None and self.lose(sender, to, channel, envelope)
        copies = 0 if is_lost or self._happens(self.loses) else 2 if self._happens(self.doubles) else 1
        for _ in range(copies):
            late_s = self.delay_s * self.chance() if self._happens(self.delays) else 0.0
            self._bring(sender, to, late_s, lambda: self.buses[to].receive(channel, envelope))

    def _bring(self, sender: int, to: int, late_s: float, deliver: Callable[[], None]) -> None:
        now = self.clock.now()
        at = max(now + late_s, self._last_at.get((sender, to), now))
        if at <= now and not self._is_under_way(sender, to):
            deliver()
            return
        self._last_at[sender, to] = at
        heapq.heappush(self._late, (at, next(self._numbers), deliver))
        self._news.set()

    def _is_under_way(self, sender: int, to: int) -> bool:
        """Return whether an earlier message is due at this instant, but was not delivered yet."""
        return self._last_at.get((sender, to), -1.0) >= self.clock.now()

    def _happens(self, part: float) -> bool:
        return part > 0 and self.chance() < part


class LossyBus:
    """One node's bus. See :class:`gateway.runtime.ports.Bus`."""

    def __init__(self, trouble: Trouble, node: int) -> None:
        self.receivers: dict[BusChannel, Receive] = {}
        self.watchers: list[Callable[[], None]] = []
        self._trouble = trouble
        self._node = node

    async def subscribe(self, channel: BusChannel, receive: Receive) -> None:
        """Subscribe to a channel; while the bus is away, when it is back."""
        self.receivers[channel] = receive
        if self._trouble.is_away(self._node):
            await self._trouble.clock.sleep(DEADLINE_S)

    async def unsubscribe(self, channel: BusChannel) -> None:
        self.receivers.pop(channel, None)

    async def publish(self, channel: BusChannel, envelope: Envelope) -> int:
        trouble, node = self._trouble, self._node
        return await trouble.ask(node, lambda: trouble.publish(node, channel, envelope))

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        """Return False: a receiver would run inside of the call of the sender."""
        return False

    def flush(self) -> None: ...

    waiting_bytes = 0

    def watch(self, report_loss: Callable[[], None]) -> None:
        self.watchers.append(report_loss)

    def receive(self, channel: BusChannel, envelope: Envelope) -> None:
        receive = self.receivers.get(channel)
        if receive is not None:
            receive(envelope)


class _Requests:
    """One node's requests to the Redis of its side."""

    def __init__(self, trouble: Trouble, node: int) -> None:
        self._trouble = trouble
        self._node = node

    async def request(self, act: Callable[[Store], Awaitable[T]], *, writes: bool, script: bool) -> T:
        async def taken() -> T:
            words = self._trouble.refused & WRITE_REFUSALS
            if writes and words:
                raise GatewayError(ErrorCode.BUS_DOWN, min(words))
            return await act(self._trouble.store(self._node))

        return await self._trouble.ask(self._node, taken)


def _down() -> GatewayError:
    return GatewayError(ErrorCode.BUS_DOWN, "The bus does not answer.")
