"""Cluster: messages between nodes, and which nodes are there.

A message for one node goes to its inbox; a message for all goes to the control channel. Changes of many
users leave together, in one message for each node that follows them; one such round is under way at a time.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from gateway.core.bus_health import BusMachine, Peers
from gateway.core.rate_limits import AdmissionQueue
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import (
    Asked,
    Asks,
    AttachAnswer,
    CallAnswer,
    Channel,
    Control,
    Envelope,
    Events,
    Here,
    Inbox,
    NodeRecord,
    Probe,
    Publication,
    Publications,
    Report,
    Since,
)
from gateway.runtime.event_loop import log_fault, spawn
from gateway.runtime.ports import NODE_TTL_S, Bus, Clock, NodeRegistry, NotSentError, Tally

UPDATES_MAX: Final = 2_000
"""Values and publications of one message, unless a single publication has more: some 0.5 MB."""


class Share(NamedTuple):
    """What one user's owner publishes now, and for which nodes.

    *nodes*: the followers; None when one of them reads nothing but the user's own channel.
    """

    publication: Publication
    nodes: tuple[NodeId, ...] | None


class BundleSource(Protocol):
    """An owner with something to publish. Compared by identity."""

    def __hash__(self) -> int:
        """By identity."""
        ...

    def take(self) -> Share | None:
        """Return what is to be published now; it counts as sent. None: nothing."""
        ...


class Bundles:
    """What the owners of one node publish.

    Invariants: messages leave in the order in which they were taken, and in the order of whatever else is
    given to *deliver*; a message that is lost takes its users' changes with it, and nothing else.

    Args:
        deliver: Sends an envelope; returns when it was taken, or raises :class:`GatewayError`.
    """

    def __init__(self, deliver: Callable[[Channel, Envelope], Awaitable[int]]) -> None:
        self._deliver = deliver
        self._sources: dict[BundleSource, None] = {}
        self._under_way = 0
        self._tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._sources)

    def run_in(self, tasks: asyncio.TaskGroup | None) -> None:
        """Publish in *tasks* from now on; None: no more."""
        self._tasks = tasks
        if tasks is None:
            self._sources.clear()

    def add(self, source: BundleSource) -> None:
        """Take from *source* in the next round."""
        if self._tasks is not None:
            self._sources[source] = None
            self._plan()

    def hurry(self, source: BundleSource) -> None:
        """Take from *source* now: what is sent next must not overtake it."""
        share = source.take() if self._tasks is not None else None
        if share is not None:
            self._give([share])

    def _plan(self) -> None:
        if self._sources and not self._under_way:
            self._under_way += spawn(self._tasks, self._round())

    async def _round(self) -> None:
        """Send a message for each node: all are given before the first one is waited for."""
        sources, self._sources = self._sources, {}
        shares = [share for source in sources if (share := source.take()) is not None]
        self._give(shares)
        self._done()

    def _give(self, shares: Iterable[Share]) -> None:
        for channel, envelope in _messages(shares):  # a task each, as all that is sent: so order is kept
            self._under_way += spawn(self._tasks, self._send(channel, envelope))

    async def _send(self, channel: Channel, envelope: Envelope) -> None:
        with suppress(GatewayError):  # a node that missed it finds a gap, and asks
            await self._deliver(channel, envelope)
        self._done()

    def _done(self) -> None:
        self._under_way -= 1
        self._plan()


def _messages(shares: Iterable[Share]) -> list[tuple[Channel, Envelope]]:
    alone: list[tuple[Channel, Envelope]] = []
    by_node: dict[NodeId, list[Publication]] = {}
    for publication, nodes in shares:
        if nodes is None:
            alone.append((Events(publication.user), publication))
            continue
        for node in nodes:
            by_node.setdefault(node, []).append(publication)
    bundles = [(Inbox(node), bundle) for node, told in by_node.items() for bundle in _bounded(told)]
    return [*alone, *bundles]


def _bounded(told: list[Publication]) -> list[Publications]:
    """Return publications in messages of a bounded size."""
    bundles: list[list[Publication]] = []
    room = 0
    for publication in told:
        size = 1 + len(publication.updates)
        if not bundles or size > room:
            bundles.append([])
            room = UPDATES_MAX
        bundles[-1].append(publication)
        room -= size
    return [Publications(tuple(bundle)) for bundle in bundles]


_LOG: Final = logging.getLogger(__name__)
ASKS_MAX: Final = 200
"""Users in one batch of questions."""
QUESTIONS_MAX: Final = 1_000
"""Questions to one node whose answers are awaited; a caller that waits longer asks again."""
UNDER_WAY_MAX: Final = 20_000
"""Messages that wait for the bus, which bounds their bytes; beyond that they are lost, which the repair
heals."""
_SUBSCRIBE_AGAIN_S: Final = 1.0
_TURN_S: Final = 0.001


class NotHeardError(Exception):
    """No node received a question: nothing became of it."""


class Asker(Protocol):
    """The follower of one user."""

    def answered(self) -> None:
        """Record that the owner has answered what was asked."""
        ...

    def not_mine(self, holder: str | None = None) -> None:
        """Record that the node that was asked is not the owner; *holder*: which life of it says so."""
        ...


class Listener(Protocol):
    """The receiver of what came for this node."""

    def heard(self, envelope: Envelope) -> None:
        """Process what was said to this node, or to all. Does not block."""
        ...

    def recovered(self, recovery: int) -> None:
        """Record that the bus carries messages again: all that may be missing is to be asked for."""
        ...


Answer = AttachAnswer | CallAnswer | Report


class Exchange:
    """One node's place among the others.

    Invariants: what is sent leaves in the order in which it was given; every question ends in an
    answer, in :class:`NotHeardError`, in ``bus_down`` or in a time-out; no question outlives its caller; a
    fault over one message ends what that message asked for, and nothing else.

    Args:
        node: This node.
        bus: The bus.
        clock: Its time.
        first: Where the numbers of questions begin: another life of the node begins elsewhere.
        tally: Gets the events that are counted.
    """

    def __init__(self, node: NodeId, bus: Bus, clock: Clock, first: int, tally: Tally | None = None) -> None:
        self.node: Final = node
        self.machine: Final = BusMachine(clock.now(), first)
        self.peers: Final = Peers(first)
        self.bundles: Final = Bundles(self.deliver)
        self.under_way = 0
        self._bus = bus
        self.clock: Final = clock
        self._number = first
        self._tally = tally or Tally()
        self._probe_sent = (first, 0.0)
        """The number of the last probe, and when it was sent."""
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._batches: dict[NodeId, dict[UserId, tuple[Since, Asker]]] = {}
        self._put: dict[NodeId, dict[int, dict[UserId, Asker]]] = {}
        """The caller of each open question, by node."""
        self._tasks: asyncio.TaskGroup | None = None
        self._listener: Listener | None = None
        self._news = asyncio.Event()

    @property
    def sizes(self) -> Mapping[str, int]:
        """How much is remembered, by what it is."""
        return {
            "messages": self.under_way,
            "bundled": len(self.bundles),
            "questions": len(self._waiting),
            "batches": sum(map(len, self._put.values())),
            "peers": len(self.peers),
        }

    # ---- life ----

    async def run(self, listener: Listener) -> None:
        """Listen until cancelled."""
        self._listener = listener
        self._bus.watch(self._doubted)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self.bundles.run_in(tasks)
            try:
                for channel in (Inbox(self.node), Control()):
                    await self._listen(channel)
                await self._probe()
            finally:
                self._tasks = None
                self.bundles.run_in(None)

    async def _listen(self, channel: Channel) -> None:
        while True:
            try:
                await self._bus.subscribe(channel, self._guarded(self._receive))
            except GatewayError:
                await self.clock.sleep(_SUBSCRIBE_AGAIN_S)
            else:
                return

    async def _probe(self) -> None:
        recovery = self.machine.recovery
        while True:
            now = self.clock.now()
            if self.machine.tick(now):
                self._probe_sent = (self.machine.probing(now), now)
                spawn(self._tasks, self._put_probe(self._probe_sent[0]))
            if self.machine.recovery != recovery and self._listener is not None:
                recovery = self.machine.recovery
                self._listener.recovered(recovery)
            self._news.clear()
            with suppress(TimeoutError):
                async with self.clock.timeout(max(self.machine.due_at - now, _TURN_S)):
                    await self._news.wait()

    async def _put_probe(self, number: int) -> None:
        try:
            await self.deliver(Inbox(self.node), Probe(number))
        except GatewayError:
            self.machine.failed(number, self.clock.now())
            self._news.set()

    def _doubted(self) -> None:
        self._tally.found_gap("subscription")
        self.machine.doubted()
        self._news.set()

    def tick(self, now: float, followed: Iterable[NodeId]) -> None:
        """Ask each owner node that is *followed* for a sign of life, when none was asked for just now."""
        self.peers.follow(nodes := frozenset(followed))
        self._put = {node: waiting for node, waiting in self._put.items() if node in nodes}
        for node in self.peers.due(now):
            self._put_questions(node, {})

    # ---- sending ----

    def send(self, channel: Channel, envelope: Envelope) -> None:
        """Send it, or lose it: a node that misses it finds out by itself."""
        if self.under_way < UNDER_WAY_MAX:
            spawn(self._tasks, self._send(channel, envelope))

    async def _send(self, channel: Channel, envelope: Envelope) -> None:
        try:
            await self.deliver(channel, envelope)
        except GatewayError:
            return  # the probes say it too

    async def deliver(self, channel: Channel, envelope: Envelope) -> int:
        """Send it; return how many nodes received it.

        Raises:
            GatewayError: ``bus_down``: it may have been sent or not. ``internal``: it cannot be written.
        """
        self.under_way += 1
        try:
            receivers = await self._bus.publish(channel, envelope)
        except GatewayError:
            raise
        except Exception as fault:  # noqa: BLE001 - one message's fault must not end the node
            log_fault(_LOG, "message_not_sent", fault)
            raise GatewayError(ErrorCode.INTERNAL, "the message cannot be written") from None
        finally:
            self.under_way -= 1
        self._tally.published()
        return receivers

    async def ask(self, node: NodeId, question: Callable[[int], Envelope], within_s: float) -> Answer:
        """Put a question to *node* and wait for its answer.

        Args:
            node: The node that is asked.
            question: Makes the envelope with the question's number.
            within_s: How long to wait.

        Raises:
            NotHeardError: No node received it.
            TimeoutError: No answer came: it may have been received or not.
            NotSentError: The bus is away, and it was not sent.
            GatewayError: ``bus_down``: no answer came, nor did the bus say that it took the question. A slow
                one may have, so the answer is waited for all the same. ``internal``: it cannot be written.
        """
        self._number += 1
        number = self._number
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        doubt: GatewayError | None = None
        try:
            async with self.clock.timeout(within_s):
                try:
                    is_heard = await self.deliver(Inbox(node), question(number)) > 0
                except NotSentError:
                    raise
                except GatewayError as error:
                    if error.code is not ErrorCode.BUS_DOWN:
                        raise
                    doubt, is_heard = error, True
                if not is_heard:
                    raise NotHeardError
                return await future
        except TimeoutError:
            if doubt is None:
                raise
            raise doubt from None
        finally:
            del self._waiting[number]

    # ---- following ----

    async def follow(self, user: UserId, receive: Callable[[Envelope], None]) -> None:
        """Subscribe to what the owner of *user* publishes. Returns in bounded time, also without the bus."""
        try:
            await self._bus.subscribe(Events(user), self._guarded(receive))
        except GatewayError:
            return  # it comes into force with the bus

    async def unfollow(self, user: UserId) -> None:
        """End the subscription."""
        try:
            await self._bus.unsubscribe(Events(user))
        except GatewayError:
            return

    def want(self, node: NodeId, since: Since, asker: Asker) -> None:
        """Ask *node* what is since a position; what is wanted in one turn goes in one batch."""
        batch = self._batches.setdefault(node, {})
        batch[since.user] = (since, asker)
        if len(batch) == 1:
            spawn(self._tasks, self._put_batch(node))

    async def _put_batch(self, node: NodeId) -> None:
        wanted = list(self._batches.pop(node, {}).items())
        for at in range(0, len(wanted), ASKS_MAX):
            self._put_questions(node, dict(wanted[at : at + ASKS_MAX]))

    def _put_questions(self, node: NodeId, wanted: dict[UserId, tuple[Since, Asker]]) -> None:
        number = self.peers.asking(node, self.clock.now())
        asks = Asks(self.node, number, tuple(since for since, _ in wanted.values()))
        waiting = self._put.setdefault(node, {})
        waiting[number] = {user: asker for user, (_, asker) in wanted.items()}
        while len(waiting) > QUESTIONS_MAX:
            del waiting[next(iter(waiting))]
        spawn(self._tasks, self._put_to(node, number, asks))

    async def _put_to(self, node: NodeId, number: int, asks: Asks) -> None:
        try:
            receivers = await self.deliver(Inbox(node), asks)
        except GatewayError:
            receivers = None
        if receivers is not None:
            self.peers.received(node, number, receivers, self.clock.now())
        if not receivers:
            self._put.get(node, {}).pop(number, None)

    # ---- hearing ----

    def _guarded(self, receive: Callable[[Envelope], None]) -> Callable[[Envelope], None]:
        """Return a receiver of messages that keeps the bus from the faults of its receivers."""

        def heard(envelope: Envelope) -> None:
            try:
                receive(envelope)
            except Exception as fault:  # noqa: BLE001 - one message's fault must not make the node deaf
                log_fault(_LOG, "message_failed", fault)

        return heard

    def _receive(self, envelope: Envelope) -> None:
        match envelope:
            case Probe(number):
                self._probed(number)
            case AttachAnswer(request=number) | CallAnswer(request=number) | Report(request=number):
                future = self._waiting.get(number)
                if future is not None and not future.done():
                    future.set_result(envelope)
            case Asked():
                self._answered(envelope)
            case _ if self._listener is not None:
                self._listener.heard(envelope)

    def _probed(self, number: int) -> None:
        now, recovery = self.clock.now(), self.machine.recovery
        self.machine.returned(number, now)
        if number == self._probe_sent[0]:
            self._tally.probed(now - self._probe_sent[1])
        if recovery and self.machine.recovery > recovery:  # the first probe of all missed nothing
            self._tally.found_gap("probe")
        self._news.set()

    def _answered(self, asked: Asked) -> None:
        self.peers.answered(asked.node, asked.number, self.clock.now())
        waiting = self._put.get(asked.node, {})
        askers = waiting.get(asked.number, {})
        # questions arrive in order: those before this one were answered, or lost
        for number in [number for number in waiting if number <= asked.number]:
            del waiting[number]
        for user, asker in askers.items():
            if user in asked.not_mine:
                asker.not_mine(asked.holder)
            else:
                asker.answered()


SAY_S: Final = 3.0
_FIRST_S: Final = 0.5
"""Within this a budget that begins empty has room for a log-on, unless it is tiny."""
READ_S: Final = 60.0
"""How often the registry is read; a scan of all keys of the store."""


class ClusterMembership:
    """The nodes that live, as this one knows them.

    Args:
        registry: The records of all nodes.
        exchange: How they say it to each other.
        clock: Its time.
        record: Says what this node is now.
        queues: Whose budgets are shared.
        tally: Counts faults.
    """

    def __init__(
        self,
        registry: NodeRegistry,
        exchange: Exchange,
        clock: Clock,
        record: Callable[[], NodeRecord],
        queues: tuple[AdmissionQueue, ...],
        tally: Tally | None = None,
    ) -> None:
        self._tally = tally or Tally()
        self._registry = registry
        self._exchange = exchange
        self._clock = clock
        self._record = record
        self._queues = queues
        self.has_given_notice = False
        """Whether this node is to leave: no new phone should be sent here, those that come are served."""
        self.has_begun = False
        """Whether the living nodes were read once, and this node has its part of the budgets."""
        self._serves_at = -math.inf
        self._known: dict[str, tuple[NodeRecord, float]] = {}
        """The nodes, by holder, and when the last message or record of each was read."""
        self._heard_at: dict[str, float] = {}
        """When the last message of each came: a record that was only read may be of a life that is over."""
        self._read_at = -math.inf
        self._registered: tuple[NodeRecord, ...] = ()
        """The nodes in the registry when it was read last."""

    @property
    def nodes(self) -> tuple[NodeRecord, ...]:
        """The nodes that live, in the order of their ids."""
        return tuple(sorted((record for record, _ in self._known.values()), key=lambda record: record.node))

    @property
    def others(self) -> tuple[NodeRecord, ...]:
        """The nodes that live beside this one and take phones."""
        holder = self._record().holder
        return tuple(node for node in self.nodes if node.holder != holder and not node.draining)

    @property
    def may_serve(self) -> bool:
        """Whether log-ons are admitted: a new node waits until the others leave it its part of the budget."""
        return self._clock.now() >= self._serves_at

    @property
    def node(self) -> NodeId:
        """This node."""
        return self._record().node

    @property
    def has_namesake(self) -> bool:
        """Whether a message of another node with this one's name came lately."""
        own, now = self._record(), self._clock.now()
        return any(
            record.node == own.node
            and holder != own.holder
            and now - self._heard_at.get(holder, -math.inf) < NODE_TTL_S
            for holder, (record, _) in self._known.items()
        )

    @property
    def sealing_keys(self) -> str:
        """What may be shown of this node's sealing keys."""
        return self._record().sealing_keys

    @property
    def sealing_keys_of_others(self) -> dict[NodeId, str]:
        """The same of the other nodes, as each reported; of those silent lately as in the registry.

        A node whose messages do not open here is silent, but is in the registry.
        """
        now, own = self._clock.now(), self._record().node
        heard = (
            record
            for holder, (record, _) in self._known.items()
            if now - self._heard_at.get(holder, -math.inf) < NODE_TTL_S
        )
        return {each.node: each.sealing_keys for each in (*self._registered, *heard) if each.node != own}

    async def run(self) -> None:
        """Say that this node lives, until cancelled; then that it is gone."""
        try:
            while True:
                try:
                    await self.say()
                except Exception as fault:  # noqa: BLE001 - one sign of life less must not end the node
                    log_fault(_LOG, "fleet_failed", fault)
                    self._tally.faulted("fleet")
                await self._clock.sleep(SAY_S)
        finally:
            await self._leave()

    def heard(self, said: Here) -> None:
        """Record that a node lives, and what it is."""
        is_new = said.node.holder not in self._known
        self._heard_at[said.node.holder] = now = self._clock.now()
        self._known[said.node.holder] = (said.node, now)
        if is_new and self.has_begun:
            self._share()

    async def give_notice(self) -> None:
        """Say at once that this node is to leave; it leaves only later."""
        self.has_given_notice = True
        await self.say()

    def leaving(self, node: NodeId) -> None:
        """Record that a node has begun to leave, which it will say of itself only later."""
        for holder, (record, at) in self._known.items():
            if record.node == node:
                self._known[holder] = (record._replace(draining=True, accepts_per_s=0.0), at)

    def is_leaving(self, holder: str) -> bool:
        """Return whether that life of a node has begun to leave: it gives its users, and accepts none.

        One that has only given notice accepts phones, and goes on speaking for its users.
        """
        known = self._known.get(holder)
        return known is not None and known[0].draining and not known[0].accepts_per_s

    def leaving_holders(self) -> frozenset[str]:
        """Return the lives of nodes that have begun to leave."""
        return frozenset(filter(self.is_leaving, self._known))

    async def say(self) -> None:
        """Write what this node is now, and read which others are there."""
        record = self._record()
        self._exchange.send(Control(), Here(record))
        with suppress(GatewayError):  # a store that takes no writes still shows which nodes live
            await self._registry.announce(record)
        try:
            await self._read()
        except GatewayError:
            return
        self._forget()
        self._share()

    async def _read(self) -> None:
        """Read the registry: it has nodes that have not been received from yet."""
        now = self._clock.now()
        if now - self._read_at >= READ_S:
            self._registered = await self._registry.nodes()
            for record in self._registered:
                self._known.setdefault(record.holder, (record, now))
            self._read_at = now

    def _forget(self) -> None:
        """Forget nodes that were silent for long. Without the bus all are silent, and none is forgotten."""
        now = self._clock.now()
        if self._exchange.machine.is_healthy_for(now) >= NODE_TTL_S:
            self._known = {
                holder: known for holder, known in self._known.items() if now - known[1] < NODE_TTL_S
            }
            self._heard_at = {holder: at for holder, at in self._heard_at.items() if holder in self._known}

    def _share(self) -> None:
        now, nodes = self._clock.now(), max(1, len(self._known))
        for admission_queue in self._queues:
            if self.has_begun:
                admission_queue.share(nodes, now)
            else:
                admission_queue.begin_beside(nodes, now, SAY_S)
        if not self.has_begun and nodes > 1:
            self._serves_at = now + SAY_S + _FIRST_S
        self.has_begun = True

    async def _leave(self) -> None:
        try:
            await self._registry.leave(self._record().holder)
        except GatewayError:
            return
