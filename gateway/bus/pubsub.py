"""Messages between nodes over Redis pub/sub: publishing, subscribing, and noticing losses.

On one Redis all messages are one partition. In a Redis Cluster there are several, each served by one shard:
every node receives on the connection of one partition, which its name decides. So messages of one node arrive
at another in the order in which they were published, over all channels, as on one Redis.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple, TypeVar
from zlib import crc32

from redis.exceptions import RedisError

from gateway.bus import NOBODY
from gateway.bus.connect import CLOSED, LIVES, UNEXPECTED, Connector, KeyNames, Reply, Word, bus_down, code
from gateway.bus.redis import Pipeline, RedisClient, RedisLimits, ignore
from gateway.bus.sealing import (
    DropReason,
    Freshness,
    Head,
    Seals,
    SenderInstances,
    WaitingMessage,
    opened,
    read,
    written,
)
from gateway.core.rate_limits import TurnShare
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import (
    BadEnvelope,
    BusChannel,
    Envelope,
    Inbox,
    Sliced,
    aged,
    decode,
    decoding,
    encode,
    encoding,
    is_large,
)
from gateway.runtime.ports import Clock, NotSentError, OnPosted, Receive, wait_at_most

SUBSCRIBE_MAX: Final = 512
"""Channels of one command: the server confirms each of them, and serves no other client meanwhile."""
SUBSCRIBING: Final = RedisLimits(deadline_s=1.0, window=100_000, waiting_max=200_000)
"""A second: after a loss tens of thousands of channels are subscribed again."""
CONFIRMED_S: Final = 1.25
"""How long a confirmation is awaited: a little longer than the deadline, which drops the connection."""
PUBLISHING: Final = RedisLimits(window=2_000)
GREET_S: Final = 0.02
"""Interval between two greetings of this node: later answers go with the next greeting."""
GREET_AGAIN_S: Final = 0.25
"""Pause after a greeting that could not be published."""
SLICED_BYTES: Final = 64 * 1024
"""Messages above this size are decoded in slices; others have a turn of the loop between two slices."""
DECODE_SLICE_S: Final = 0.0
"""Time for slices of a message in one turn of the loop, plus one slice; more in long turns."""
SLOW_S: Final = 0.02
"""Transit time below which the age in a message is not changed."""
_DROPPED: Final = {
    Freshness.REPEATED: DropReason.REPEATED,
    Freshness.LATE: DropReason.LATE,
}

_Handler = Callable[[bytes], Awaitable[None] | None]
"""Handles a payload; what it returns is awaited before the next payload is handled."""
T = TypeVar("T")


class Verbs(NamedTuple):
    """The commands of pub/sub."""

    publish: bytes
    subscribe: bytes
    unsubscribe: bytes


PLAIN: Final = Verbs(b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE")
SHARDED: Final = Verbs(b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE")


class Partition(NamedTuple):
    """A part of all messages that keeps its order: the server that passes them on, and its names.

    *prefix*: what the names of its channels begin with; in a Redis Cluster with a hash tag.
    """

    connector: Connector
    prefix: bytes = b""
    verbs: Verbs = PLAIN

    def name(self, channel: bytes) -> bytes:
        """Return the name of *channel* in this partition."""
        return self.prefix + channel


def partition_of(node: NodeId, partitions: int) -> int:
    """Return the index of the partition in which *node* receives; the same at all nodes of all versions."""
    return crc32(node.encode()) % partitions


class _Subscription:
    """A subscribed channel. *in_force*: the server has confirmed it on this connection."""

    __slots__ = ("handle", "in_force")

    def __init__(self, handle: _Handler) -> None:
        self.handle = handle
        self.in_force = asyncio.Event()


class _Change(NamedTuple):
    """A subscription to begin or end at the server; its confirmation sets *done*."""

    verb: bytes
    name: bytes
    done: asyncio.Event


class Subscriber:
    """The channels that a node is subscribed to, on one kept connection.

    Redis keeps no messages for a client that is away. After a reconnect every channel is subscribed again,
    and when the last one is confirmed, the watchers are called: messages may be missing.

    Invariant: payloads are handled as they are read, in the order in which Redis sent them, and never after
    :meth:`unsubscribe` returned.

    Args:
        verbs: The commands by which channels are subscribed to.
    """

    def __init__(
        self,
        connector: Connector,
        clock: Clock,
        jitter: Callable[[], float],
        verbs: Verbs = PLAIN,
    ) -> None:
        self.possible_losses: Final[Counter[str]] = Counter()
        """How often messages may have been lost, by evidence: ``renewed`` or ``unrequested``."""
        self.client: Final = RedisClient(
            connector,
            clock,
            jitter,
            SUBSCRIBING,
            pipelines=lambda connection: Pipeline(connection, self._receive, self._unrequested),
            opened=self._opened,
        )
        self._clock = clock
        self._verbs = verbs
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._changes: list[_Change] = []
        """The changes of this turn of the loop."""
        self._watchers: list[Callable[[], None]] = []
        self._owes_report = False
        """Whether to call the watchers as soon as every channel is subscribed."""

    @property
    def channels(self) -> int:
        """How many are subscribed."""
        return len(self._subscriptions)

    def watch(self, report_loss: Callable[[], None]) -> None:
        """Call *report_loss* whenever payloads may have been lost unnoticed."""
        self._watchers.append(report_loss)

    async def subscribe(self, name: bytes, handle: _Handler) -> None:
        """Call *handle* with each payload of channel *name*; replaces the handler before it.

        In force when it returns, unless the bus is away: then as soon as it is back.
        """
        known = self._subscriptions.get(name)
        if known is None:
            known = self._subscriptions[name] = _Subscription(handle)
            self._change(_Change(self._verbs.subscribe, name, known.in_force))
        known.handle = handle
        if not self.client.is_up:
            known.in_force.clear()
        if not await self._is_confirmed(known.in_force):
            self._owes_report = True

    async def unsubscribe(self, name: bytes) -> None:
        """Stop handling payloads of channel *name*."""
        if self._subscriptions.pop(name, None) is not None:
            done = asyncio.Event()
            self._change(_Change(self._verbs.unsubscribe, name, done))
            await self._is_confirmed(done)

    # ---- changes ----

    def _change(self, change: _Change) -> None:
        if not self.client.is_up:  # a new connection begins with the present subscriptions
            self._failed(change)
            return
        if not self._changes:
            asyncio.get_running_loop().call_soon(self._send_changes)
        self._changes.append(change)

    def _send_changes(self) -> None:
        changes, self._changes = self._changes, []
        if self.client.is_up:
            for verb, group in groupby(changes, lambda change: change.verb):
                self._send(verb, list(group))
        else:
            for change in changes:
                self._failed(change)

    def _send(self, verb: bytes, changes: Sequence[_Change]) -> asyncio.Future[Reply] | None:
        """Send *changes* in commands of bounded size; returns the last confirmation to come."""
        last: asyncio.Future[Reply] | None = None
        for at in range(0, len(changes), SUBSCRIBE_MAX):
            batch = changes[at : at + SUBSCRIBE_MAX]
            answers = self.client.ask_about(verb, [change.name for change in batch])
            for change, answer in zip(batch, answers, strict=True):
                answer.add_done_callback(partial(self._settled, change))
            last = answers[-1]
        return last

    def _settled(self, change: _Change, answer: asyncio.Future[Reply]) -> None:
        if answer.exception() is not None:
            self._failed(change)
        elif isinstance(reply := answer.result(), RedisError):
            # one refusal for all channels of the command: later replies cannot be assigned
            self.client.drop(f"it refused to let this node listen: {code(reply)}")
        else:
            change.done.set()

    def _failed(self, change: _Change) -> None:
        """Settle a change whose connection was lost: every subscription ended with it."""
        if change.verb == self._verbs.unsubscribe:
            change.done.set()

    async def _is_confirmed(self, event: asyncio.Event) -> bool:
        """Wait for *event*, for a bounded time, and not at all while the server is unreachable."""
        if event.is_set() or self.client.is_down:
            return event.is_set()
        try:
            async with self._clock.timeout(CONFIRMED_S):
                await event.wait()
        except TimeoutError:
            return False
        return True

    # ---- events of the connection ----

    def _opened(self, _: Sequence[Reply]) -> None:
        for subscription in self._subscriptions.values():
            subscription.in_force.clear()
        wanted = [
            _Change(self._verbs.subscribe, name, of.in_force) for name, of in self._subscriptions.items()
        ]
        last = self._send(self._verbs.subscribe, wanted)
        if last is not None and self._owes_report:
            last.add_done_callback(self._in_force_again)
        self._owes_report = True  # when this connection ends

    def _in_force_again(self, last: asyncio.Future[Reply]) -> None:
        if last.exception() is None and not isinstance(last.result(), RedisError):
            self._report_possible_loss("renewed")

    def _unrequested(self) -> None:
        """Handle a confirmation without a command: a proxy in between renewed the connection.

        A node of a Redis Cluster sends it when another node serves the channel from now on.
        """
        if self._verbs is SHARDED:
            self.client.drop("another serves its slot")
        else:
            self._report_possible_loss("unrequested")

    def _report_possible_loss(self, why: str) -> None:
        self.possible_losses[why] += 1
        for report_loss in self._watchers:
            report_loss()

    def _receive(self, name: bytes, payload: bytes) -> Awaitable[None] | None:
        subscription = self._subscriptions.get(name)
        return None if subscription is None else subscription.handle(payload)


class _Published(NamedTuple):
    """A message on its way to one partition, and the reply to come."""

    publisher: RedisClient
    reply: asyncio.Future[Reply]


class RedisBus:
    """See :class:`gateway.runtime.ports.Bus`. Works while :meth:`run` runs.

    One connection for each partition publishes the messages of this node to that partition, in order. One
    more connection receives all messages to this node. Messages are sealed, and received once, see
    :mod:`gateway.bus.sealing`.

    Invariants: a received message was sealed for its channel by a running node of this cluster, after this
    process started, and is received once; a message is published once or not at all, in the order in which it
    was given, and none that failed is delivered after one that was asked later.

    Args:
        partitions: All of them, in the same order at all nodes.
        node: Whose bus it is, which decides the partition in which it receives.
    """

    def __init__(
        self,
        partitions: Sequence[Partition],
        names: KeyNames,
        seals: Seals,
        clock: Clock,
        jitter: Callable[[], float],
        draw: Callable[[int], bytes],
        *,
        node: NodeId = NOBODY,
    ) -> None:
        self.published = 0
        """Messages that Redis accepted."""
        self.received = 0
        """Messages that were passed to a receiver."""
        self.partitions: Final = tuple(partitions)
        self._all_partitions: Final = range(len(self.partitions))
        self.own: Final = self.partitions[partition_of(node, len(partitions))]
        """The partition in which this node receives."""
        self.subscriber: Final = Subscriber(self.own.connector, clock, jitter, verbs=self.own.verbs)
        self.publishers: Final = tuple(
            _publisher(partition.connector, clock, jitter) for partition in self.partitions
        )
        self.seals: Final = seals
        self.instances: Final = SenderInstances(draw, clock.now())
        self._names = names
        self._clock = clock
        self._receivers: dict[bytes, Receive] = {}
        self._greet_soon = asyncio.Event()
        self._unsent = 0
        """Messages that are being encoded, or wait behind one that is."""
        self._share = TurnShare(DECODE_SLICE_S)
        self._encoding = asyncio.Lock()
        """Held while a message is encoded; waiting tasks get it in the order of their arrival."""
        self.subscriber.watch(self._miss_greetings)

    async def run(self) -> None:
        """Keep the connections until cancelled, and prove to other nodes that this one runs."""
        async with asyncio.TaskGroup() as tasks:
            for publisher in self.publishers:
                tasks.create_task(publisher.run())
            tasks.create_task(self.subscriber.client.run())
            tasks.create_task(self._greet())

    async def subscribe(self, channel: BusChannel, receive: Receive) -> None:
        """See :meth:`gateway.runtime.ports.Bus.subscribe`.

        Raises:
            ValueError: It is the inbox of a node that receives in another partition.
        """
        if self.own not in [self.partitions[at] for at in self._reached_by(channel)]:
            raise ValueError("this bus receives in another partition than that node")
        name = self.own.name(self._names.channel(channel))
        self._receivers[name] = receive
        await self.subscriber.subscribe(name, partial(self._receive, name))

    async def unsubscribe(self, channel: BusChannel) -> None:
        """See :meth:`gateway.runtime.ports.Bus.unsubscribe`."""
        name = self.own.name(self._names.channel(channel))
        self._receivers.pop(name, None)
        await self.subscriber.unsubscribe(name)

    async def publish(self, channel: BusChannel, envelope: Envelope) -> int:
        """See :meth:`gateway.runtime.ports.Bus.publish`."""
        name, reached = self._names.channel(channel), self._reached_by(channel)
        self._unsent += 1
        try:
            async with self._encoding:
                body = await self._whole(encoding(envelope)) if is_large(envelope) else encode(envelope)
                asked = self._ask(name, body, reached)
        finally:
            self._unsent -= 1
        receivers = await self._receivers_in(asked)
        self.published += 1
        return receivers

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        """See :meth:`gateway.runtime.ports.Bus.post`."""
        reached = self._reached_by(channel)
        if self._unsent or len(reached) != 1 or is_large(envelope):
            return False
        ((publisher, reply),) = self._ask(self._names.channel(channel), encode(envelope), reached)
        reply.add_done_callback(partial(self._posted, publisher, answered))
        return True

    def _posted(self, publisher: RedisClient, answered: OnPosted, reply: asyncio.Future[Reply]) -> None:
        try:
            receivers = _receivers(publisher, reply.result())
        except GatewayError as error:
            answered(error.with_traceback(None))
        except asyncio.CancelledError:
            answered(bus_down(CLOSED))
        else:
            self.published += 1
            answered(receivers)

    def flush(self) -> None:
        """See :meth:`gateway.runtime.ports.Bus.flush`."""
        for publisher in self.publishers:
            publisher.flush()

    @property
    def waiting_bytes(self) -> int:
        """See :attr:`gateway.runtime.ports.Bus.waiting_bytes`."""
        return sum(publisher.waiting_bytes for publisher in self.publishers)

    def watch(self, report_loss: Callable[[], None]) -> None:
        """See :meth:`gateway.runtime.ports.Bus.watch`."""
        self.subscriber.watch(report_loss)

    # ---- one message ----

    def sealed(self, name: bytes, body: bytes) -> bytes:
        """Return *body* sealed for channel *name* with the next number of this life; to be sent once."""
        return self.seals.seal(name, self.instances.stamp(self._clock.now()) + body)

    def _reached_by(self, channel: BusChannel) -> Sequence[int]:
        """Return the indexes of the partitions in which the subscribers of *channel* receive."""
        if isinstance(channel, Inbox) and len(self.partitions) > 1:
            return (partition_of(channel.node, len(self.partitions)),)
        return self._all_partitions

    def _ask(self, channel: bytes, body: bytes, reached: Sequence[int]) -> list[_Published]:
        """Publish to all partitions at once.

        All are sent before the first is awaited, which keeps the order.
        """
        asked = []
        for at in reached:
            partition, publisher = self.partitions[at], self.publishers[at]
            name = partition.name(channel)
            reply = publisher.ask(partition.verbs.publish, name, self.sealed(name, body))
            asked.append(_Published(publisher, reply))
        return asked

    async def _receivers_in(self, asked: Sequence[_Published]) -> int:
        receivers = 0
        for _, reply in asked:
            reply.add_done_callback(ignore)
        for publisher, reply in asked:
            try:
                receivers += _receivers(publisher, await reply)
            except NotSentError as error:  # other partitions may have it
                raise error if len(asked) == 1 else bus_down(error.message) from None
        return receivers

    async def _whole(self, work: Sliced[T]) -> T:
        """Do *work*; others have turns of the loop between its slices.

        All later messages wait for it, so a turn that the work of others makes long has several slices.
        """
        began = self._clock.now()
        while True:
            try:
                next(work)
            except StopIteration as done:
                result: T = done.value
                return result
            now = self._clock.now()
            if now - began >= self._share.time_s:
                await self._clock.sleep(0)
                began = self._clock.now()
                self._share.others_took(began - now)

    def _opened(self, name: bytes, sealed: bytes) -> tuple[Head, bytes] | None:
        plain = self.seals.open(name, sealed)
        if plain is None:
            return None
        found = opened(plain)
        if found is None:
            self.seals.drop(DropReason.UNREADABLE)
        return found

    def _receive(self, name: bytes, sealed: bytes) -> Awaitable[None] | None:
        found = self._opened(name, sealed)
        if found is None:
            return None
        head, body = found
        now = self._clock.now()
        verdict = self.instances.judge(head, now)
        if verdict is Freshness.NEW:
            age_s = self.instances.age_s(head, now)
            if len(body) > SLICED_BYTES:
                return self._deliver_in_slices(name, body, age_s)
            self._deliver(name, body, age_s)
            return None
        self._greet_soon.set()
        if verdict is Freshness.UNPROVEN:
            self.seals.drop(DropReason.UNPROVEN, self.instances.hold(WaitingMessage(head, now, name, body)))
        else:
            self.seals.drop(_DROPPED[verdict])
        return None

    def _deliver(self, name: bytes, body: bytes, age_s: float) -> None:
        if name not in self._receivers:
            return
        try:
            envelope = decode(body)
        except BadEnvelope:
            self.seals.drop(DropReason.UNREADABLE)
        else:
            self._pass_on(name, envelope, age_s)

    async def _deliver_in_slices(self, name: bytes, body: bytes, age_s: float) -> None:
        if name not in self._receivers:
            return
        came_at = self._clock.now()
        try:
            envelope = await self._whole(decoding(body))
            await self._clock.sleep(0)  # its processing by the receivers has its own turn
        except BadEnvelope:
            self.seals.drop(DropReason.UNREADABLE)
        else:
            self._pass_on(name, envelope, age_s + self._clock.now() - came_at)

    async def _deliver_all(self, messages: Iterable[WaitingMessage], now: float) -> None:
        for held in messages:
            age_s = self.instances.age_s(held.head, now) + self._clock.now() - now
            await self._deliver_in_slices(held.channel, held.body, age_s)

    def _pass_on(self, name: bytes, envelope: Envelope, age_s: float) -> None:
        receive = self._receivers.get(name)
        if receive is None:
            return
        self.received += 1
        receive(envelope if age_s < SLOW_S else aged(envelope, round(age_s * 1000)))

    # ---- proofs of life ----

    async def _greet(self) -> None:
        """Challenge unknown nodes and answer the challenges of others, until cancelled."""
        name = self.own.name(LIVES)
        await self.subscriber.subscribe(name, partial(self._receive_greeting, name))
        while True:
            now = self._clock.now()
            self.seals.drop(DropReason.UNPROVEN, self.instances.expire(now))
            if (due_at := self.instances.due_at(now)) <= now:
                await self._clock.sleep(await self._send_greeting(now))
                continue
            self._greet_soon.clear()
            await wait_at_most(self._clock, due_at - now, self._greet_soon.wait())

    async def _send_greeting(self, now: float) -> float:
        """Publish a greeting; returns how long to wait until the next."""
        try:
            greeting = written(self.instances.greeting(now))
            await self._receivers_in(self._ask(LIVES, greeting, range(len(self.partitions))))
        except GatewayError:
            self.instances.challenge_again()
            return GREET_AGAIN_S
        return GREET_S

    def _miss_greetings(self) -> None:
        self.instances.challenge_again()
        self._greet_soon.set()

    def _receive_greeting(self, name: bytes, sealed: bytes) -> Awaitable[None] | None:
        found = self._opened(name, sealed)
        if found is None:
            return None
        head, body = found
        greeting = read(body)
        if greeting is None:
            self.seals.drop(DropReason.UNREADABLE)
            return None
        now = self._clock.now()
        verdict, released = self.instances.greeted(head, greeting, now)
        if verdict in _DROPPED:
            self.seals.drop(_DROPPED[verdict])
        self._greet_soon.set()
        return self._deliver_all(released, now) if released else None


def _receivers(publisher: RedisClient, reply: Reply) -> int:
    """Return how many nodes received a message, or raise what :meth:`CommandSender.accepted` raises."""
    receivers = publisher.accepted(reply)
    if not isinstance(receivers, int):
        raise bus_down(UNEXPECTED)
    return receivers


def _publisher(connector: Connector, clock: Clock, jitter: Callable[[], float]) -> RedisClient:
    last = _LastConnection()
    return RedisClient(connector, clock, jitter, PUBLISHING, first=last.commands, opened=last.opened)


class _LastConnection:
    """The connection on which this node published before.

    A server that was frozen may still read data of that connection while the next one already publishes. So
    the next one ends it first, by id and address: after a restart of the server the id alone may name another
    connection.
    """

    def __init__(self) -> None:
        self._known: tuple[str, str] | None = None

    def commands(self) -> Sequence[Sequence[Word]]:
        """Return the commands that identify the new connection and end the last one."""
        ask = ("CLIENT", "INFO")
        if self._known is None:
            return (ask,)
        number, address = self._known
        return (("CLIENT", "KILL", "ID", number, "ADDR", address), ask)

    def opened(self, replies: Sequence[Reply]) -> None:
        """Store the identity of the new connection, if the server returns it."""
        self._known = None
        if isinstance(replies[-1], bytes):
            fields = dict(
                word.split("=", 1) for word in replies[-1].decode(errors="replace").split() if "=" in word
            )
            if "id" in fields and "addr" in fields:
                self._known = fields["id"], fields["addr"]
