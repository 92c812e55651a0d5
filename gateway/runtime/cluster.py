"""Messages between nodes: sending, and the requests that wait for an answer.

A message for one node goes to its inbox; a message for all nodes goes to the control channel. Changes of many
users leave in one message for each node that follows them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from gateway.core.element import Element
from gateway.core.follower import Peers
from gateway.core.lease import BusMachine, BusState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import (
    Asked,
    Asks,
    AttachAnswer,
    BusChannel,
    CallAnswer,
    Control,
    Envelope,
    Events,
    Inbox,
    Probe,
    Publication,
    Publications,
    Report,
    Since,
    Value,
)
from gateway.protocol.frames import BusHealth
from gateway.runtime.event_loop import Phones, log_fault, spawn
from gateway.runtime.ports import Bus, Clock, NotSentError, OnPosted, Receive, wait_at_most
from gateway.telemetry import RuntimeCounters

_LOG: Final = logging.getLogger(__name__)
ROUNDS_MAX: Final = 3
"""Limit of the rounds that the bus has not answered. It is above 1, since a busy node reads answers late and
followers would wait for that. With a slow bus messages become larger, not more.
"""
UPDATES_MAX: Final = 2_000
"""Values and publications of one message, unless a single publication has more: some 0.5 MB."""


class Share(NamedTuple):
    """Changes that one user's owner publishes now, and the nodes that get them.

    *nodes*: the followers; None when one of them reads the user's own channel only.
    """

    publication: Publication
    nodes: tuple[NodeId, ...] | None


BundleSource: TypeAlias = Callable[[dict[Element, Value]], Share | None]
"""Returns the changes that an owner publishes now, which then count as sent; None when there are none.

It gets the values that were made from elements before, see :func:`gateway.core.element.value_once`.
"""


@dataclass(slots=True)
class _Round:
    """The messages of one round that the bus has not answered."""

    unanswered: int


class Bundles:
    """Changes that the owners of one node publish.

    Invariants: messages leave in the order in which they were taken, and in the order of all other envelopes
    given to *post*. A lost message loses the changes of its users, and nothing else: a node that missed it
    finds a gap, and requests the changes. At most :data:`ROUNDS_MAX` rounds are under way.

    *flush* has what was posted written at once.
    """

    def __init__(
        self, post: Callable[[BusChannel, Envelope, OnPosted], None], flush: Callable[[], None]
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

    def publish_now(self, source: BundleSource) -> None:
        """Publish the changes of *source* now, so that the next envelope does not overtake them."""
        for channel, envelope in _messages(_taken([source] if self._is_running else [])):
            self._post(channel, envelope, _ignore)  # it is no round: others would wait for many commands

    def _plan(self) -> None:
        if self._sources and not self._is_planned and self._rounds < ROUNDS_MAX:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        """Send a message to each node."""
        self._is_planned = False
        sources, self._sources = self._sources, {}
        if messages := _messages(_taken(sources)):
            self._rounds += 1
            answered = partial(self._answered, _Round(len(messages)))
            for channel, envelope in messages:
                self._post(channel, envelope, answered)
        self._flush()

    def _answered(self, under_way: _Round, _: int | GatewayError) -> None:
        under_way.unanswered -= 1
        if not under_way.unanswered:
            self._rounds -= 1
            self._plan()


def _taken(sources: Iterable[BundleSource]) -> list[Share]:
    """Return what *sources* have to publish; a fault of one keeps nothing else from being sent."""
    shares = []
    made: dict[Element, Value] = {}
    for source in sources:
        try:
            share = source(made)
        except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from theirs
            log_fault(_LOG, "changes_not_taken", fault)
            continue
        if share is not None:
            shares.append(share)
    return shares


def _messages(shares: Iterable[Share]) -> list[tuple[BusChannel, Envelope]]:
    alone: list[tuple[BusChannel, Envelope]] = []
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


REPEATED_AFTER_S: Final = 0.5
"""Pause before a message that the bus has not confirmed is sent again."""
REPLIES_MAX: Final = 1_000
"""Answers that are sent again, at most."""
ASKS_MAX: Final = 200
"""Users in one batch of requests for missed changes."""
OPEN_BATCHES_MAX: Final = 1_000
"""Requests to one node without an answer; a caller that waits longer repeats its request."""
UNDER_WAY_MAX: Final = 20_000
UNDER_WAY_BYTES_MAX: Final = 32 * 1024 * 1024
"""Messages that wait for the bus, and their bytes. Further ones are dropped, and requested again. The bus
itself refuses requests and answers only beyond twice as many bytes."""
_SUBSCRIBE_AGAIN_S: Final = 1.0
_TURN_S: Final = 0.001
_READ_TURNS: Final = 5
"""Turns of the loop for reading probes and answers that have come: a node that does not get its core is late
itself, and must not count its bus or an answer as lost.
"""
_ROUNDING_S: Final = 1e-6


class NotDeliveredError(Exception):
    """No node received a request, so it had no effect."""


OnAsked: TypeAlias = Callable[[str | None], None]
"""Takes the answer to a request for changes: None, or the life of the node that denies to be the owner."""
MessageAnswer = AttachAnswer | CallAnswer | Report
Failure = NotDeliveredError | TimeoutError | GatewayError
"""Why a request has no answer.

A timeout: it may have been received or not. :class:`NotSentError`: the bus is away, and it was not sent.
``bus_down``: neither an answer came in time nor a confirmation of the bus. ``internal``: it is unencodable.
"""


@dataclass(slots=True)
class _Request:
    """A request without an answer so far."""

    node: NodeId
    until: float
    """When it ends without an answer."""
    settle: Callable[[MessageAnswer | Failure], None]
    again: Callable[[int], Envelope | None] | None
    """Makes the envelope that is sent again; None: it is sent once."""
    send_error: GatewayError | None = None
    """Why it is not known whether it was sent."""


class _Reply(NamedTuple):
    """An answer to another node that is of use until then."""

    node: NodeId
    answer: MessageAnswer
    until: float


class Exchange:
    """The exchange of messages between this node and the others.

    Invariants: envelopes leave in the order in which they were given. Every request ends in an answer, in
    ``bus_down``, in a timeout or in :class:`NotDeliveredError`. A fault while one message is processed ends
    what that message requested, and nothing else.

    *first* is the first number of a request; each life of the node begins at another one.
    """

    def __init__(
        self, node: NodeId, bus: Bus, clock: Clock, first: int, counters: RuntimeCounters | None = None
    ) -> None:
        self.node: Final = node
        self.machine: Final = BusMachine(clock.now(), first)
        self.peers: Final = Peers(first)
        self.bundles: Final = Bundles(self.post, bus.flush)
        self.under_way = 0
        self._bus = bus
        self.clock: Final = clock
        self._number = first
        self._counters = counters or RuntimeCounters()
        self._probe_sent = (first, 0.0)
        """The number of the last probe, and its time."""
        self._requests: dict[int, _Request] = {}
        self._unconfirmed: dict[int, _Request] = {}
        """Requests to be sent again."""
        self._replies: list[_Reply] = []
        """Answers to be sent again."""
        self._is_repeating = False
        """Whether a task sends them again."""
        self._ends_at = math.inf
        """When requests without an answer are ended next; infinity while there are none."""
        self._drop_timer: Callable[[], None] = lambda: None
        self._batches: dict[NodeId, dict[UserId, tuple[Since, OnAsked]]] = {}
        self._open_batches: dict[NodeId, dict[int, dict[UserId, OnAsked]]] = {}
        """What takes the answer to each open request, by node."""
        self._tasks: asyncio.TaskGroup | None = None
        self._in_tasks = 0
        """Messages that a task sends: until the bus has answered them, no later one is sent without a task.
        """
        self._received: Receive | None = None
        """Takes the messages that are no answers, while this runs."""
        self._probed = asyncio.Event()
        self.phones: Phones | None = None
        """The phones, which are written to as soon as a message was processed."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Number of entries held in memory, by kind."""
        return {
            "messages": self.under_way,
            "message_bytes": self._bus.waiting_bytes,
            "bundled": len(self.bundles),
            "questions": len(self._requests) + len(self._replies),
            "batches": sum(map(len, self._open_batches.values())),
            "peers": len(self.peers),
        }

    def health(self, now: float) -> BusHealth | None:
        """Return the health of the bus; None when it is down, or any followed node does not receive."""
        bus = self.machine.health
        return bus if bus != "down" and self.peers.are_reachable(now) else None

    # ---- life ----

    async def run(self, received: Receive, recovered: Callable[[int], None]) -> None:
        """Receive messages until cancelled.

        Args:
            received: Called with each message to this node, to all nodes, or about a followed user.
            recovered: Called with the number of a recovery of the bus: messages may be missing.
        """
        self._received = received
        self._bus.watch(self._report_possible_loss)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self.bundles.run(is_running=True)
            try:
                for channel in (Inbox(self.node), Control()):
                    await self._listen(channel)
                await self._probe(recovered)
            finally:
                self._tasks = None
                self.bundles.run(is_running=False)
                for number in list(self._requests):
                    self._end(number, GatewayError(ErrorCode.BUS_DOWN, "the node ends"))
                self._end_overdue_at(math.inf)

    async def _listen(self, channel: BusChannel) -> None:
        while True:
            try:
                await self._bus.subscribe(channel, self._receive)
            except GatewayError:
                await self.clock.sleep(_SUBSCRIBE_AGAIN_S)
            else:
                return

    async def _probe(self, recovered: Callable[[int], None]) -> None:
        recovery = self.machine.recovery
        while True:
            if self.machine.is_overdue(self.clock.now()):
                for _ in range(_READ_TURNS):
                    await self.clock.sleep(0)
            now = self.clock.now()
            if self.machine.tick(now):
                number = self.machine.probing(now)
                self._probe_sent = (number, now)
                self.post(Inbox(self.node), Probe(number), partial(self._probe_posted, number))
            if self.machine.recovery != recovery:
                recovery = self.machine.recovery
                recovered(recovery)
            self._probed.clear()
            await wait_at_most(self.clock, max(self.machine.due_at - now, _TURN_S), self._probed.wait())

    def _probe_posted(self, number: int, receivers: int | GatewayError) -> None:
        if isinstance(receivers, GatewayError):
            self.machine.failed(number, self.clock.now())
            self._probed.set()

    def _report_possible_loss(self) -> None:
        self._counters.found_gap("subscription")
        self.machine.possible_loss()
        self._probed.set()

    def tick(self, now: float, followed: Iterable[NodeId]) -> None:
        """Send a request to each owner node in *followed* that has had none in this interval.

        It is empty, and so a probe, unless followers have requests in this turn of the loop.
        """
        self.peers.follow(nodes := frozenset(followed))
        self._open_batches = {node: waiting for node, waiting in self._open_batches.items() if node in nodes}
        for node in self.peers.due(now):
            self._batch(node)

    # ---- sending ----

    def send(self, channel: BusChannel, envelope: Envelope) -> None:
        """Send it without a guarantee: a node that misses it detects the gap."""
        if self._has_room:
            self.post(channel, envelope, _ignore)  # a failure is reported by the probes, too

    @property
    def _has_room(self) -> bool:
        return self.under_way < UNDER_WAY_MAX and self._bus.waiting_bytes < UNDER_WAY_BYTES_MAX

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> None:
        """Send it; *answered* gets what :meth:`deliver` returns, or the error that it would raise."""
        if self._tasks is not None and not self._in_tasks:
            self.under_way += 1
            try:
                if self._bus.post(channel, envelope, partial(self._posted, answered)):
                    return
            except Exception as fault:  # noqa: BLE001 - one message's fault must not end the node
                self.under_way -= 1
                log_fault(_LOG, "message_not_sent", fault)
                answered(_unwritten())
                return
            self.under_way -= 1
        if spawn(self._tasks, self._post_in_task(channel, envelope, answered)):
            self._in_tasks += 1
        else:
            answered(NotSentError("this node does not run"))

    def _posted(self, answered: OnPosted, receivers: int | GatewayError) -> None:
        self.under_way -= 1
        if isinstance(receivers, int):
            self._counters.published()
        answered(receivers)

    async def _post_in_task(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> None:
        try:
            receivers: int | GatewayError = await self.deliver(channel, envelope)
        except GatewayError as error:
            receivers = error.with_traceback(None)
        finally:
            self._in_tasks -= 1
        answered(receivers)

    async def deliver(self, channel: BusChannel, envelope: Envelope) -> int:
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
            raise _unwritten() from None
        finally:
            self.under_way -= 1
        self._counters.published()
        return receivers

    def request(
        self,
        node: NodeId,
        question: Callable[[int], Envelope],
        within_s: float,
        settle: Callable[[MessageAnswer | Failure], None],
        again: Callable[[int], Envelope | None] | None = None,
    ) -> Callable[[], object]:
        """Send a request to *node* without a task.

        *settle* is called once, perhaps in this call, unless the returned function is called before.

        Args:
            node: The node that gets the request.
            question: Makes the envelope from the request's number.
            within_s: How long to wait.
            settle: Gets the answer, or why there is none. It must not raise.
            again: Makes the envelope to send again until the bus has confirmed the request;
                None: it must not be sent again. It leaves before all later requests with *again*.
        """
        self._number += 1
        number, until = self._number, self.clock.now() + within_s
        self._requests[number] = _Request(node, until, settle, again)
        if until < self._ends_at:
            self._end_overdue_at(until)
        if again is not None:
            self._request_again()
        self.post(Inbox(node), question(number), partial(self._request_sent, number))
        return partial(self._requests.pop, number, None)

    def _request_sent(self, number: int, receivers: int | GatewayError) -> None:
        request = self._requests.get(number)
        if request is None:
            return
        is_first = request.send_error is None
        if isinstance(receivers, int):
            if is_first and not receivers:
                self._end(number, NotDeliveredError())
        elif is_first and (isinstance(receivers, NotSentError) or receivers.code is not ErrorCode.BUS_DOWN):
            self._end(number, receivers)
        else:
            request.send_error = request.send_error or receivers  # a slow bus may have taken it
            if request.again is not None:
                self._unconfirmed[number] = request
                self._repeat_soon()

    def _request_again(self) -> None:
        """Send again the requests that the bus did not confirm, in their order."""
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for number in sorted(unconfirmed.keys() & self._requests.keys()):
            request = unconfirmed[number]
            envelope = None if request.again is None else request.again(number)
            if envelope is not None:
                self.post(Inbox(request.node), envelope, partial(self._request_sent, number))

    def reply(self, node: NodeId, answer: MessageAnswer, within_s: float) -> None:
        """Send an answer to *node*, and again until the bus has confirmed it.

        It may arrive several times, and is of use for *within_s*.
        """
        self._send_reply(_Reply(node, answer, self.clock.now() + within_s))

    def _send_reply(self, reply: _Reply) -> None:
        if self._has_room:
            self.post(Inbox(reply.node), reply.answer, partial(self._reply_sent, reply))
        else:
            self._send_later(reply)

    def _reply_sent(self, reply: _Reply, receivers: int | GatewayError) -> None:
        if isinstance(receivers, GatewayError) and receivers.code is ErrorCode.BUS_DOWN:
            self._send_later(reply)

    def _send_later(self, reply: _Reply) -> None:
        if len(self._replies) < REPLIES_MAX:
            self._replies.append(reply)
            self._repeat_soon()

    def _repeat_soon(self) -> None:
        if not self._is_repeating:
            self._is_repeating = spawn(self._tasks, self._repeat())

    async def _repeat(self) -> None:
        """Send again what the bus did not confirm, at intervals until all is confirmed or of no use."""
        while self._unconfirmed or self._replies:
            await self.clock.sleep(REPEATED_AFTER_S)
            now = self.clock.now()
            replies = [reply for reply in self._replies if now < reply.until]
            self._unconfirmed = {
                number: each for number, each in self._unconfirmed.items() if number in self._requests
            }
            if self.machine.state in {BusState.LIVE, BusState.RECOVERING}:
                self._replies = []
                for reply in replies:
                    self._send_reply(reply)
                self._request_again()
                await self.clock.sleep(0)
            else:
                self._replies = replies
        self._is_repeating = False

    def _end(self, number: int, answer: MessageAnswer | Failure) -> None:
        request = self._requests.pop(number, None)
        if request is None:
            return
        try:
            request.settle(answer)
        except Exception as fault:  # noqa: BLE001 - one request's fault must not end those of others
            log_fault(_LOG, "answer_failed", fault)

    def _end_overdue_at(self, at: float) -> None:
        """Set when the next request has had no answer in time."""
        self._drop_timer()
        self._ends_at = at
        if at < math.inf:
            end_overdue = partial(self._end_overdue, _READ_TURNS)
            self._drop_timer = self.clock.call_later(at - self.clock.now(), end_overdue)

    def _end_overdue(self, turns: int) -> None:
        """End the requests that have no answer in time, after *turns* of the loop."""
        if turns:
            self._drop_timer = asyncio.get_running_loop().call_soon(self._end_overdue, turns - 1).cancel
            return
        now = self.clock.now()
        for number, request in list(self._requests.items()):
            if request.until <= now + _ROUNDING_S:
                self._end(number, request.send_error or TimeoutError())
        self._end_overdue_at(min((request.until for request in self._requests.values()), default=math.inf))

    # ---- following ----

    async def follow(self, user: UserId) -> None:
        """Subscribe to the publications of the owner of *user*; bounded in time, also without the bus."""
        try:
            await self._bus.subscribe(Events(user), self._receive)
        except GatewayError:
            return  # the subscription takes effect when the bus is back

    async def unfollow(self, user: UserId) -> None:
        """End the subscription without waiting for Redis: this node may be about to own the user."""
        if spawn(self._tasks, self._unsubscribe(user)):
            await self.clock.sleep(0)  # it begins before a later subscription
        else:
            await self._unsubscribe(user)

    async def _unsubscribe(self, user: UserId) -> None:
        try:
            await self._bus.unsubscribe(Events(user))
        except GatewayError:
            return
        except Exception as fault:  # noqa: BLE001 - one user's fault must not end the node
            log_fault(_LOG, "unsubscribe_failed", fault)

    def request_changes(self, node: NodeId, since: Since, asked: OnAsked) -> None:
        """Request all changes since a position from *node*; all requests of one turn go in one batch."""
        self._batch(node)[since.user] = (since, asked)

    def _batch(self, node: NodeId) -> dict[UserId, tuple[Since, OnAsked]]:
        """Return the requests that leave for *node* in the next turn of the loop."""
        batch = self._batches.get(node)
        if batch is None:
            batch = self._batches[node] = {}
            asyncio.get_running_loop().call_soon(self._send_batch, node)
        return batch

    def _send_batch(self, node: NodeId) -> None:
        wanted = list(self._batches.pop(node).items())
        for at in range(0, max(len(wanted), 1), ASKS_MAX):
            self._send_requests(node, dict(wanted[at : at + ASKS_MAX]))

    def _send_requests(self, node: NodeId, wanted: dict[UserId, tuple[Since, OnAsked]]) -> None:
        number = self.peers.asking(node, self.clock.now())
        asks = Asks(self.node, number, tuple(since for since, _ in wanted.values()))
        waiting = self._open_batches.setdefault(node, {})
        waiting[number] = {user: asked for user, (_, asked) in wanted.items()}
        while len(waiting) > OPEN_BATCHES_MAX:
            del waiting[next(iter(waiting))]
        self.post(Inbox(node), asks, partial(self._batch_sent, node, number))

    def _batch_sent(self, node: NodeId, number: int, receivers: int | GatewayError) -> None:
        if isinstance(receivers, int):
            self.peers.received(node, number, receivers, self.clock.now())
            if receivers:
                return
        self._open_batches.get(node, {}).pop(number, None)

    # ---- receiving ----

    def _receive(self, envelope: Envelope) -> None:
        """Process a message, keep its faults away from the bus, and then write to phones."""
        phones = self.phones
        if phones is not None:
            phones.is_held = True
        try:
            self._process(envelope)
        except Exception as fault:  # noqa: BLE001 - one message's fault must not make the node deaf
            log_fault(_LOG, "message_failed", fault)
        finally:
            if phones is not None:
                phones.is_held = False
                phones.release()

    def _process(self, envelope: Envelope) -> None:
        match envelope:
            case Probe(number):
                self._probe_returned(number)
            case AttachAnswer(request=number) | CallAnswer(request=number) | Report(request=number):
                self._end(number, envelope)
            case Asked():
                self._answered(envelope)
            case _ if self._received is not None:
                self._received(envelope)

    def _probe_returned(self, number: int) -> None:
        now, recovery = self.clock.now(), self.machine.recovery
        self.machine.returned(number, now)
        if number == self._probe_sent[0]:
            self._counters.probed(now - self._probe_sent[1])
        if recovery and self.machine.recovery > recovery:  # the first probe: nothing was missed before it
            self._counters.found_gap("probe")
        self._probed.set()

    def _answered(self, asked: Asked) -> None:
        self.peers.answered(asked.node, asked.number, self.clock.now())
        waiting = self._open_batches.get(asked.node, {})
        takers = waiting.get(asked.number, {})
        # requests arrive in order: earlier ones were answered or lost
        for number in [number for number in waiting if number <= asked.number]:
            del waiting[number]
        for user, take in takers.items():
            take(asked.holder if user in asked.not_mine else None)


def _ignore(_: int | GatewayError) -> None:
    """Do nothing with the number of nodes that received a message."""


def _unwritten() -> GatewayError:
    return GatewayError(ErrorCode.INTERNAL, "the message cannot be written")
