"""Cluster: messages between nodes, and the list of live nodes.

A message for one node goes to its inbox; a message for all nodes goes to the control channel. Changes of many
users leave in one message for each node that follows them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import Final, NamedTuple, Protocol

from gateway.core.follower import Peers
from gateway.core.lease import BusMachine
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
from gateway.runtime.ports import NODE_TTL_S, Bus, Clock, NodeRegistry, NotSentError
from gateway.telemetry import Tally

_LOG: Final = logging.getLogger(__name__)
ROUNDS_MAX: Final = 3
"""Rounds that the bus has not answered. A node that is busy reads an answer late, and a follower would wait
for that; with a slow bus messages become larger, not more.
"""
UPDATES_MAX: Final = 2_000
"""Values and publications of one message, unless a single publication has more: some 0.5 MB."""


class Share(NamedTuple):
    """Changes that one user's owner publishes now, and the nodes that get them.

    *nodes*: the followers; None when one of them reads the user's own channel only.
    """

    publication: Publication
    nodes: tuple[NodeId, ...] | None


class BundleSource(Protocol):
    """An owner with something to publish. Compared by identity."""

    def __hash__(self) -> int:
        """By identity."""
        ...

    def take(self) -> Share | None:
        """Return the changes to publish now, which then count as sent; None when there are none."""
        ...


Answered = Callable[[int | None], None]
"""Gets the number of nodes that received a message; None: it is not known."""


class _Round:
    """The messages of one round that the bus has not answered."""

    __slots__ = ("unanswered",)

    def __init__(self, unanswered: int) -> None:
        self.unanswered = unanswered


class Bundles:
    """Changes that the owners of one node publish.

    Invariants: messages leave in the order in which they were taken, and in the order of all other envelopes
    given to *post*. A lost message loses the changes of its users, and nothing else: a node that missed it
    finds a gap, and requests the changes. At most :data:`ROUNDS_MAX` rounds are under way.

    Args:
        post: Sends an envelope.
        flush: Has what was posted written at once.
    """

    def __init__(
        self, post: Callable[[Channel, Envelope, Answered], None], flush: Callable[[], None]
    ) -> None:
        self._post = post
        self._flush = flush
        self._sources: dict[BundleSource, None] = {}
        self._rounds = 0
        """Rounds that the bus has not answered."""
        self._is_planned = False
        self._is_running = False

    def __len__(self) -> int:
        return len(self._sources)

    def run(self, *, is_running: bool) -> None:
        """Publish from now on, or not any longer."""
        self._is_running = is_running
        if not is_running:
            self._sources.clear()

    def add(self, source: BundleSource) -> None:
        """Include *source* in the next round, which is in the next turn of the loop unless others wait."""
        if self._is_running:
            self._sources[source] = None
            if not self._is_planned:
                self._plan()

    def hurry(self, source: BundleSource) -> None:
        """Publish the changes of *source* now, so that the next envelope does not overtake them."""
        share = source.take() if self._is_running else None
        for channel, envelope in _messages([] if share is None else [share]):
            self._post(channel, envelope, _ignore)  # it is no round: others would wait for many commands

    def _plan(self) -> None:
        if self._sources and not self._is_planned and self._rounds < ROUNDS_MAX:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        """Send a message to each node."""
        self._is_planned = False
        sources, self._sources = self._sources, {}
        shares = []
        for source in sources:
            try:
                share = source.take()
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from theirs
                log_fault(_LOG, "changes_not_taken", fault)
                continue
            if share is not None:
                shares.append(share)
        if messages := _messages(shares):
            self._rounds += 1
            answered = partial(self._answered, _Round(len(messages)))
            for channel, envelope in messages:
                self._post(channel, envelope, answered)
        self._flush()

    def _answered(self, under_way: _Round, _: int | None) -> None:
        under_way.unanswered -= 1
        if not under_way.unanswered:
            self._rounds -= 1
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
    bundles = [(Inbox(node), bundle) for node, sent in by_node.items() for bundle in _bounded(sent)]
    return [*alone, *bundles]


def _bounded(sent: list[Publication]) -> list[Publications]:
    """Return the publications in messages of a bounded size."""
    bundles: list[list[Publication]] = []
    room = 0
    for publication in sent:
        size = 1 + len(publication.updates)
        if not bundles or size > room:
            bundles.append([])
            room = UPDATES_MAX
        bundles[-1].append(publication)
        room -= size
    return [Publications(tuple(bundle)) for bundle in bundles]


ASKS_MAX: Final = 200
"""Users in one batch of requests for missed changes."""
QUESTIONS_MAX: Final = 1_000
"""Requests to one node without an answer; a caller that waits longer repeats its request."""
UNDER_WAY_MAX: Final = 20_000
UNDER_WAY_BYTES_MAX: Final = 32 * 1024 * 1024
"""Messages that wait for the bus, and their bytes. Further ones are dropped, and requested again. The bus
itself refuses requests and answers only beyond twice as many bytes."""
_SUBSCRIBE_AGAIN_S: Final = 1.0
_TURN_S: Final = 0.001


class NotDeliveredError(Exception):
    """No node received a request, so it had no effect."""


class Asker(Protocol):
    """The follower of one user."""

    def answered(self) -> None:
        """Record that the owner has answered a request for changes."""
        ...

    def not_mine(self, holder: str | None = None) -> None:
        """Record that the node *holder* answered that it is not the owner."""
        ...


class Listener(Protocol):
    """The receiver of messages for this node."""

    def received(self, envelope: Envelope) -> None:
        """Process a message to this node, or to all nodes. Does not block."""
        ...

    def recovered(self, recovery: int) -> None:
        """Record that the bus works again: all messages that may be missing are to be requested."""
        ...


Answer = AttachAnswer | CallAnswer | Report


class Exchange:
    """The exchange of messages between this node and the others.

    Invariants: envelopes leave in the order in which they were given. Every request ends in an answer, in
    ``bus_down``, in a timeout or in :class:`NotDeliveredError`. No request outlives its caller. A
    fault while one message is processed ends what that message requested, and nothing else.

    Args:
        node: This node.
        bus: The bus.
        clock: The node's time.
        first: The first number of a request; each life of the node begins at another one.
        tally: Receives the events that are counted.
    """

    def __init__(self, node: NodeId, bus: Bus, clock: Clock, first: int, tally: Tally | None = None) -> None:
        self.node: Final = node
        self.machine: Final = BusMachine(clock.now(), first)
        self.peers: Final = Peers(first)
        self.bundles: Final = Bundles(self.post, bus.flush)
        self.under_way = 0
        self._bus = bus
        self.clock: Final = clock
        self._number = first
        self._tally = tally or Tally()
        self._probe_sent = (first, 0.0)
        """The number of the last probe, and its time."""
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._batches: dict[NodeId, dict[UserId, tuple[Since, Asker]]] = {}
        self._put: dict[NodeId, dict[int, dict[UserId, Asker]]] = {}
        """The caller of each open request, by node."""
        self._tasks: asyncio.TaskGroup | None = None
        self._in_tasks = 0
        """Messages that a task sends: until the bus has answered them, no later one is sent without a task.
        """
        self._listener: Listener | None = None
        self._news = asyncio.Event()

    @property
    def sizes(self) -> Mapping[str, int]:
        """Number of entries held in memory, by kind."""
        return {
            "messages": self.under_way,
            "message_bytes": self._bus.waiting_bytes,
            "bundled": len(self.bundles),
            "questions": len(self._waiting),
            "batches": sum(map(len, self._put.values())),
            "peers": len(self.peers),
        }

    # ---- life ----

    async def run(self, listener: Listener) -> None:
        """Receive messages until cancelled."""
        self._listener = listener
        self._bus.watch(self._doubted)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self.bundles.run(is_running=True)
            try:
                for channel in (Inbox(self.node), Control()):
                    await self._listen(channel)
                await self._probe()
            finally:
                self._tasks = None
                self.bundles.run(is_running=False)

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
        """Send a probe to each owner node in *followed* that has not been probed in this interval."""
        self.peers.follow(nodes := frozenset(followed))
        self._put = {node: waiting for node, waiting in self._put.items() if node in nodes}
        for node in self.peers.due(now):
            self._put_questions(node, {})

    # ---- sending ----

    def send(self, channel: Channel, envelope: Envelope) -> None:
        """Send it without a guarantee: a node that misses it detects the gap."""
        if self.under_way < UNDER_WAY_MAX and self._bus.waiting_bytes < UNDER_WAY_BYTES_MAX:
            self.post(channel, envelope, _ignore)  # a failure is reported by the probes, too

    def post(self, channel: Channel, envelope: Envelope, answered: Answered) -> None:
        """Send it; *answered* gets the number of nodes that received it, or None if that is not known."""
        if self._tasks is not None and not self._in_tasks:
            self.under_way += 1
            try:
                if self._bus.post(channel, envelope, partial(self._posted, answered)):
                    return
            except Exception as fault:  # noqa: BLE001 - one message's fault must not end the node
                self.under_way -= 1
                log_fault(_LOG, "message_not_sent", fault)
                answered(None)
                return
            self.under_way -= 1
        if spawn(self._tasks, self._post_in_task(channel, envelope, answered)):
            self._in_tasks += 1
        else:
            answered(None)

    def _posted(self, answered: Answered, receivers: int | None) -> None:
        self.under_way -= 1
        if receivers is not None:
            self._tally.published()
        answered(receivers)

    async def _post_in_task(self, channel: Channel, envelope: Envelope, answered: Answered) -> None:
        receivers: int | None = None
        try:
            with suppress(GatewayError):
                receivers = await self.deliver(channel, envelope)
        finally:
            self._in_tasks -= 1
        answered(receivers)

    async def deliver(self, channel: Channel, envelope: Envelope) -> int:
        """Send it; return the number of nodes that received it.

        Raises:
            GatewayError: ``bus_down``: it may have been sent or not. ``internal``: it cannot be encoded.
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
        """Send a request to *node* and wait for its answer.

        Args:
            node: The node that gets the request.
            question: Makes the envelope from the request's number.
            within_s: How long to wait.

        Raises:
            NotDeliveredError: No node received it.
            TimeoutError: No answer came: it may have been received or not.
            NotSentError: The bus is away, and the request was not sent.
            GatewayError: ``bus_down``: neither an answer came nor a confirmation of the bus. A slow bus may
                have taken the request, so this waits for the answer all the same. ``internal``: it cannot be
                encoded.
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
                    raise NotDeliveredError
                return await future
        except TimeoutError:
            if doubt is None:
                raise
            raise doubt from None
        finally:
            del self._waiting[number]

    # ---- following ----

    async def follow(self, user: UserId, receive: Callable[[Envelope], None]) -> None:
        """Subscribe to the publications of the owner of *user*; bounded in time, also without the bus."""
        try:
            await self._bus.subscribe(Events(user), self._guarded(receive))
        except GatewayError:
            return  # the subscription takes effect when the bus is back

    async def unfollow(self, user: UserId) -> None:
        """End the subscription."""
        try:
            await self._bus.unsubscribe(Events(user))
        except GatewayError:
            return

    def want(self, node: NodeId, since: Since, asker: Asker) -> None:
        """Request all changes since a position from *node*; all requests of one turn go in one batch."""
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
        self.post(Inbox(node), asks, partial(self._put_answered, node, number))

    def _put_answered(self, node: NodeId, number: int, receivers: int | None) -> None:
        if receivers is not None:
            self.peers.received(node, number, receivers, self.clock.now())
        if not receivers:
            self._put.get(node, {}).pop(number, None)

    # ---- hearing ----

    def _guarded(self, receive: Callable[[Envelope], None]) -> Callable[[Envelope], None]:
        """Return a receiver that keeps faults of *receive* away from the bus."""

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
                self._listener.received(envelope)

    def _probed(self, number: int) -> None:
        now, recovery = self.clock.now(), self.machine.recovery
        self.machine.returned(number, now)
        if number == self._probe_sent[0]:
            self._tally.probed(now - self._probe_sent[1])
        if recovery and self.machine.recovery > recovery:  # the first probe: nothing was missed before it
            self._tally.found_gap("probe")
        self._news.set()

    def _answered(self, asked: Asked) -> None:
        self.peers.answered(asked.node, asked.number, self.clock.now())
        waiting = self._put.get(asked.node, {})
        askers = waiting.get(asked.number, {})
        # requests arrive in order: earlier ones were answered or lost
        for number in [number for number in waiting if number <= asked.number]:
            del waiting[number]
        for user, asker in askers.items():
            if user in asked.not_mine:
                asker.not_mine(asked.holder)
            else:
                asker.answered()


def _ignore(_: int | None) -> None:
    """Do nothing with the number of nodes that received a message."""


SAY_S: Final = 3.0
_REMEMBERED_S: Final = 60.0
"""How long the last message of a silent node is remembered: longer than any lease lives."""
_FIRST_S: Final = 0.5
"""Within this time a budget that begins empty has room for a log-on, unless it is tiny. At this interval a
node that does not serve yet announces itself: a message may be lost.
"""
READ_S: Final = 60.0
"""How often the registry is read, which scans all keys of the store."""


class ClusterMembership:
    """The list of live nodes, as this node sees it.

    Args:
        registry: The records of all nodes.
        exchange: Carries the announcements between nodes.
        clock: The node's time.
        record: Returns this node's present record.
        queues: The admission queues whose budgets the nodes share.
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
        """Whether this node is to leave: it gets no new phones, but serves those that connect."""
        self.has_begun = False
        """Whether the living nodes were read once, and this node has its share of the budgets."""
        self._serves_at = -math.inf
        self._known: dict[str, tuple[NodeRecord, float]] = {}
        """The nodes, by holder, and when the last message or record of each was read."""
        self._last_received_at: dict[str, float] = {}
        """When the last message of each arrived; a record alone may belong to an ended life of a node."""
        self._read_at = -math.inf
        self._registered: tuple[NodeRecord, ...] = ()
        """The nodes in the registry at the last reading."""

    @cached_property
    def _holder(self) -> str:
        """This node's life. Its record is costly: it counts the links of all users."""
        return self._record().holder

    @property
    def nodes(self) -> tuple[NodeRecord, ...]:
        """The live nodes, in the order of their ids."""
        return tuple(sorted((record for record, _ in self._known.values()), key=lambda record: record.node))

    @property
    def others(self) -> tuple[NodeRecord, ...]:
        """The other live nodes that accept phones."""
        return tuple(node for node in self.nodes if node.holder != self._holder and not node.draining)

    @property
    def may_serve(self) -> bool:
        """Whether log-ons are admitted.

        A new node waits until the others have given it its share of the budget.
        """
        return self._clock.now() >= self._serves_at

    @property
    def node(self) -> NodeId:
        """This node."""
        return self._exchange.node

    @property
    def has_namesake(self) -> bool:
        """Whether another node with this node's name sent a message lately."""
        now = self._clock.now()
        return any(
            record.node == self.node
            and holder != self._holder
            and now - self._last_received_at.get(holder, -math.inf) < NODE_TTL_S
            for holder, (record, _) in self._known.items()
        )

    @property
    def sealing_keys(self) -> str:
        """Public ids of this node's sealing keys."""
        return self._record().sealing_keys

    @property
    def sealing_keys_of_others(self) -> dict[NodeId, str]:
        """Public ids of the other nodes' sealing keys, as in their last message.

        For a node without a recent message they come from the registry. This includes a node whose messages
        cannot be opened here.
        """
        now, own = self._clock.now(), self.node
        heard = (
            record
            for holder, (record, _) in self._known.items()
            if now - self._last_received_at.get(holder, -math.inf) < NODE_TTL_S
        )
        return {each.node: each.sealing_keys for each in (*self._registered, *heard) if each.node != own}

    async def run(self) -> None:
        """Announce this node until cancelled; then remove its record."""
        try:
            while True:
                again_s = SAY_S
                try:
                    await self.say()
                    again_s = SAY_S if self.may_serve else _FIRST_S
                except Exception as fault:  # noqa: BLE001 - one sign of life less must not end the node
                    log_fault(_LOG, "fleet_failed", fault)
                    self._tally.faulted("fleet")
                await self._clock.sleep(again_s)
        finally:
            await self._leave()

    def received(self, said: Here) -> None:
        """Record the announcement of a node. One that has left takes no share of a budget."""
        if said.has_left:
            self._last_received_at.pop(said.node.holder, None)
            if self._known.pop(said.node.holder, None) is not None:
                self._share()
            return
        is_new = said.node.holder not in self._known
        self._last_received_at[said.node.holder] = now = self._clock.now()
        self._known[said.node.holder] = (said.node, now)
        if is_new and self.has_begun:
            self._share()

    async def give_notice(self) -> None:
        """Announce at once that this node will leave, and read which others live; it leaves later."""
        self.has_given_notice = True
        self._read_at = -math.inf
        await self.say()

    def leaving(self, node: NodeId) -> None:
        """Record that a node has begun to leave, before its own announcement says so."""
        for holder, (record, at) in self._known.items():
            if record.node == node:
                self._known[holder] = (record._replace(draining=True, accepts_per_s=0.0), at)

    def is_leaving(self, holder: str) -> bool:
        """Return whether the node of *holder* has begun to leave: it gives its users away, and accepts none.

        A node that has only announced it still accepts phones, and acts for its users.
        """
        known = self._known.get(holder)
        return known is not None and known[0].draining and not known[0].accepts_per_s

    def heard_at(self, holder: str) -> float:
        """Return when the last announcement of a node's life arrived; -inf when none did within a minute."""
        return self._last_received_at.get(holder, -math.inf)

    def leaving_holders(self) -> frozenset[str]:
        """Return the holders of nodes that have begun to leave."""
        return frozenset(filter(self.is_leaving, self._known))

    async def say(self) -> None:
        """Write this node's record, and read which other nodes live."""
        record = self._record()
        self._exchange.send(Control(), Here(record))
        with suppress(GatewayError):  # a store that accepts no writes still shows which nodes live
            await self._registry.announce(record)
        try:
            await self._read()
        except GatewayError:
            return
        self._forget()
        self._share()

    async def _read(self) -> None:
        """Read the registry: it also lists nodes that have sent nothing yet."""
        now = self._clock.now()
        if now - self._read_at >= READ_S:
            self._registered = await self._registry.nodes()
            for record in self._registered:
                self._known.setdefault(record.holder, (record, now))
            self._read_at = now

    def _forget(self) -> None:
        """Remove nodes that were silent for too long.

        None while the bus is away, since then all are silent.
        """
        now = self._clock.now()
        if self._exchange.machine.is_healthy_for(now) >= NODE_TTL_S:
            self._known = {
                holder: known for holder, known in self._known.items() if now - known[1] < NODE_TTL_S
            }
            self._last_received_at = {
                holder: at for holder, at in self._last_received_at.items() if now - at < _REMEMBERED_S
            }

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
        record = self._record()
        with suppress(GatewayError):  # the store forgets it after a while
            await self._registry.leave(record.holder)
        with suppress(GatewayError):  # other nodes forget it after a while
            await self._exchange.deliver(Control(), Here(record, has_left=True))
