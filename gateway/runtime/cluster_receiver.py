"""Messages of other nodes: the list of live nodes, orders of operators, and messages about users."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

from gateway.core.element import Element
from gateway.core.follower import Arrival, Shared
from gateway.core.link import Pauses
from gateway.core.rate_limits import AdmissionQueue
from gateway.domain.commands import OrderAct, Outcome, UserHash, patience_s
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import NodeId, Ticket, UserId
from gateway.protocol.envelopes import (
    VALUES_AT_ONCE,
    Announcement,
    Asked,
    Asks,
    Attach,
    AttachAnswer,
    CallAnswer,
    CallRequest,
    Control,
    Detach,
    Envelope,
    Given,
    Here,
    Inbox,
    Leaving,
    NodeRecord,
    Offer,
    Order,
    Owned,
    Publication,
    Publications,
    Record,
    Refusal,
    Replaced,
    Report,
    SessionOver,
    Since,
    Sought,
    Value,
)
from gateway.runtime.cluster import Exchange, Failure, MessageAnswer, NotDeliveredError
from gateway.runtime.event_loop import log_fault, resolve, spawn
from gateway.runtime.follower import Follower
from gateway.runtime.ports import NODE_TTL_S, Grant, InTurnError, Local, NodeRegistry, RoleOverError
from gateway.runtime.user_state import Owner, UserState
from gateway.telemetry import RuntimeCounters

_LOG: Final = logging.getLogger(__name__)
ANNOUNCE_S: Final = 3.0
_REMEMBERED_S: Final = 60.0
"""How long the last message of a silent node is remembered: longer than any lease lives."""
_FIRST_S: Final = 0.5
"""Interval of a new node's first announcements: a message may be lost, and Redis may refuse its record.
Within this time a budget that begins empty has room for a log-on, unless it is tiny.
"""
_NOTICES: Final = 3
"""How often a leaving node without a list of live nodes tries to read one."""
READ_S: Final = 60.0
"""How often the registry is read, which scans all keys of the store."""


class ClusterMembership:
    """The list of live nodes, as this node sees it.

    Args:
        queues: The admission queues whose budgets the nodes share.
    """

    def __init__(
        self,
        registry: NodeRegistry,
        exchange: Exchange,
        record: Callable[[], NodeRecord],
        queues: tuple[AdmissionQueue, ...],
        counters: RuntimeCounters | None = None,
    ) -> None:
        self.node: Final = exchange.node
        self._counters = counters or RuntimeCounters()
        self._registry = registry
        self._exchange, self._clock = exchange, exchange.clock
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
        """This node's life, read once: a record is costly, since it counts the links of all users."""
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
    def _recent(self) -> list[NodeRecord]:
        """The nodes that sent a message lately."""
        since = self._clock.now() - NODE_TTL_S
        return [record for holder, (record, _) in self._known.items() if self.announced_at(holder) > since]

    @property
    def has_namesake(self) -> bool:
        """Whether another node with this node's name sent a message lately."""
        return any(each.node == self.node and each.holder != self._holder for each in self._recent)

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
        found = (*self._registered, *self._recent)
        return {each.node: each.sealing_keys for each in found if each.node != self.node}

    @property
    def unopened(self) -> tuple[NodeRecord, ...]:
        """The registered nodes with other sealing keys whose messages cannot be opened here."""
        own = self.sealing_keys
        return tuple(
            each
            for each in self._registered
            if each.holder not in self._known and each.sealing_keys not in {"", own}
        )

    async def run(self) -> None:
        """Announce this node until cancelled; then remove its record."""
        often_until = self._clock.now() + ANNOUNCE_S
        try:
            while True:
                again_s = ANNOUNCE_S
                try:
                    await self.announce()
                    is_first = self._clock.now() < often_until or not self.may_serve
                    again_s = _FIRST_S if is_first else ANNOUNCE_S
                except Exception as fault:  # noqa: BLE001 - one sign of life less must not end the node
                    log_fault(_LOG, "fleet_failed", fault)
                    self._counters.faulted("fleet")
                await self._clock.sleep(again_s)
        finally:
            await self._leave()

    def received(self, message: Here) -> None:
        """Record the announcement of a node. One that has left takes no share of a budget."""
        if message.has_left:
            self._last_received_at.pop(message.node.holder, None)
            if self._known.pop(message.node.holder, None) is not None:
                self._share()
            return
        is_new = message.node.holder not in self._known
        self._last_received_at[message.node.holder] = now = self._clock.now()
        self._known[message.node.holder] = (message.node, now)
        if is_new and self.has_begun:
            self._share()

    async def give_notice(self) -> None:
        """Announce at once that this node will leave, and read which others live; it leaves later."""
        self.has_given_notice = True
        self._read_at = -math.inf
        for _ in range(_NOTICES):
            if await self.announce() or self.others:
                return
            await self._clock.sleep(_FIRST_S)

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

    def announced_at(self, holder: str) -> float:
        """Return when the last announcement of a node's life arrived; -inf when none did within a minute."""
        return self._last_received_at.get(holder, -math.inf)

    def leaving_holders(self) -> frozenset[str]:
        """Return the holders of nodes that have begun to leave."""
        return frozenset(filter(self.is_leaving, self._known))

    async def announce(self) -> bool:
        """Write this node's record, and read which other nodes live; return whether that was read."""
        record = self._record()
        self._exchange.send(Control(), Here(record))
        with suppress(GatewayError):  # a store that accepts no writes still shows which nodes live
            await self._registry.announce(record)
        try:
            await self._read()
        except GatewayError:
            return False
        self._forget()
        self._share()
        return True

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
        now, nodes = self._clock.now(), len({*self._known, self._holder})
        for admission_queue in self._queues:
            admission_queue.share(nodes, now, unknown_s=0.0 if self.has_begun else ANNOUNCE_S)
        if not self.has_begun and nodes > 1:
            self._serves_at = now + ANNOUNCE_S + _FIRST_S
        self.has_begun = True

    async def _leave(self) -> None:
        record = self._record()
        with suppress(GatewayError):  # the store forgets it after a while
            await self._registry.leave(record.holder)
        with suppress(GatewayError):  # other nodes forget it after a while
            await self._exchange.deliver(Control(), Here(record, has_left=True))


ORDER_ANSWER_S: Final = 2.0
"""Time without an answer after which a node counts as not reached."""

NodeTrouble = Literal["not_heard", "no_answer", "bus_down", "refused"]
"""No node received it; no answer in time; the bus is away; or the node does not support the order."""


NOT_IN_FORCE: Final = "not_in_force"
"""The result of a reload after which a node still uses an old file or key."""
_OF_ONE: Final = frozenset({"end_session", "end_user", "whois"})
"""Orders about one user or session, for which most nodes have no data."""
EVERY_OTHER: Final = NodeId("*")
"""Stands for all other nodes while none is known, because this node has never reached the bus."""


class Page(NamedTuple):
    """A node's answer to an order; *more*: whether there are further rows."""

    records: tuple[Record, ...] = ()
    more: bool = False


class NodeAnswer(NamedTuple):
    """The answer of one node; *trouble*: why there is none."""

    node: NodeId
    page: Page
    trouble: NodeTrouble | None = None


CarryOut = Callable[[Order], Awaitable[Page]]
"""Carries out an order on this node; may raise :class:`GatewayError`."""


class AdminRpc:
    """Orders of operators: carried out on this node, and sent to the others.

    Invariant: the result has an entry for each requested node: its answer, or the reason why there is none.
    The time to answer is bounded.

    Args:
        audit: Records orders that were carried out for an operator of another node.
    """

    def __init__(
        self,
        holder: str,
        exchange: Exchange,
        membership: ClusterMembership,
        audit: Callable[[OrderAct], None],
    ) -> None:
        self.node: Final = exchange.node
        self._holder = holder
        self._exchange = exchange
        self._membership = membership
        self._audit = audit
        self._known: dict[str, CarryOut] = {}

    def register(self, act: str, carry_out: CarryOut) -> None:
        """Register *carry_out* as the implementation of orders of the kind *act*."""
        self._known[act] = carry_out

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """The live nodes, this one first; also those that cannot answer because their sealing keys differ."""
        living = (*self._membership.nodes, *self._membership.unopened)
        others = dict.fromkeys(each.node for each in living if each.holder != self._holder)
        return (self.node, *(node for node in others if node != self.node))

    @property
    def has_joined(self) -> bool:
        """Whether this node has reached the others once, or found that it is alone."""
        return self._exchange.machine.recovery > 0 and self._membership.has_begun

    @property
    def unknown(self) -> tuple[NodeAnswer, ...]:
        """Placeholder for unknown nodes, while this node has never reached the bus."""
        return () if self.has_joined else (NodeAnswer(EVERY_OTHER, Page(), "bus_down"),)

    async def carry_out(self, order: Order) -> None:
        """Carry out an order of another node, write its audit record, and answer."""
        report: Report | None = None
        try:
            report = await self._carried_out(order)
        finally:
            if order.act_id:
                self._audit(_act_of(order, report))
        self._exchange.send(Inbox(order.node), report)

    async def ask(
        self, order: Order, nodes: Iterable[NodeId], within_s: float = ORDER_ANSWER_S
    ) -> list[NodeAnswer]:
        """Have *nodes* carry out *order* at the same time; return their answers in their order.

        Args:
            order: Its ``node`` and ``request`` are filled in here.
            nodes: The nodes to address; this node is not addressed over the bus.
            within_s: How long to wait for the others.

        Raises:
            GatewayError: This node itself refuses.
        """
        sent: dict[NodeId, NodeAnswer] = {}
        wanted = tuple(dict.fromkeys(nodes))

        async def send(node: NodeId) -> None:
            sent[node] = await self._answer_of(node, order, within_s)

        refused: GatewayError | None = None
        async with asyncio.TaskGroup() as tasks:
            for node in wanted:
                if node != self.node:
                    tasks.create_task(send(node))
            if self.node in wanted:
                try:
                    sent[self.node] = NodeAnswer(self.node, await self._run_order(order))
                except GatewayError as error:  # the others get the order all the same
                    refused = error
        if refused is not None:
            raise refused
        return [sent[node] for node in wanted]

    async def _answer_of(self, node: NodeId, order: Order, within_s: float) -> NodeAnswer:
        waiting: asyncio.Future[MessageAnswer | Failure] = asyncio.get_running_loop().create_future()
        self._exchange.request(
            node,
            lambda number: replace(order, node=self.node, request=number),
            within_s,
            partial(resolve, waiting),
        )
        match await waiting:
            case Report(refused=None, records=records, more=more):
                return NodeAnswer(node, Page(records, more))
            case NotDeliveredError():
                return NodeAnswer(node, Page(), "not_heard")
            case TimeoutError():
                return NodeAnswer(node, Page(), "no_answer")
            case GatewayError():
                return NodeAnswer(node, Page(), "bus_down")
            case _:
                return NodeAnswer(node, Page(), "refused")

    async def _carried_out(self, order: Order) -> Report:
        try:
            page = await self._run_order(order)
        except GatewayError as error:
            return Report(order.request, refused=error.code)
        return Report(order.request, page.records, page.more)

    async def _run_order(self, order: Order) -> Page:
        carry_out = self._known.get(order.act)
        if carry_out is None:
            raise GatewayError(ErrorCode.NOT_FOUND, "This node does not support the request.")
        return await carry_out(order)


def _act_of(order: Order, report: Report | None) -> OrderAct:
    """Return the audit's name for an order; *report* is None when it failed."""
    records = () if report is None else report.records
    user = next((str(each["user"]) for each in records if "user" in each), None)
    is_of_one = order.act in _OF_ONE
    return OrderAct(
        order.act,
        order.act_id,
        order.node,
        _result(report, is_of_one=is_of_one),
        UserHash(user) if is_of_one and user is not None else None,
    )


def _result(report: Report | None, *, is_of_one: bool) -> str:
    if report is None:
        return ErrorCode.INTERNAL.value
    if report.refused is not None:
        return report.refused.value
    if any("kept" in each for each in report.records):
        return NOT_IN_FORCE
    return ErrorCode.NOT_FOUND.value if is_of_one and not report.records else "ok"


RECENT_S: Final = 10.0
"""How long an element of another node's publication is kept for equal values of later ones."""
RESYNC_S: Final = 2.0
"""Time over which followers spread their requests when the bus is back."""
M = TypeVar("M", bound=Envelope)


class ReceivingNode(Protocol):
    """The node."""

    pauses: Pauses
    membership: ClusterMembership
    orders: AdminRpc

    @property
    def user_states(self) -> Mapping[UserId, UserState]:
        """The users of this node."""

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, if this node has a record of it."""

    def session_over(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Record that a session ended, as another node reported."""


class ClusterReceiver:
    """Receives and dispatches the messages of other nodes.

    Invariant: a fault while one user's message is processed ends what it requested, and nothing else.
    """

    def __init__(
        self, holder: str, local: ReceivingNode, exchange: Exchange, counters: RuntimeCounters
    ) -> None:
        self._node, self._clock = exchange.node, exchange.clock
        self._holder = holder
        self._local = local
        self._exchange = exchange
        self._counters = counters
        self._tasks: asyncio.TaskGroup | None = None
        self._recent: dict[str, Element] = {}
        """The newest elements of shared keys of other nodes' publications, for :data:`RECENT_S`."""
        self._cleared_at = -math.inf

    async def run(self) -> None:
        """Receive messages until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._exchange.run(self.received, self.recovered)
            finally:
                self._tasks = None

    def tick(self, now: float) -> None:
        """Forget the elements of earlier publications in time: users who are gone leave nothing here."""
        if now - self._cleared_at >= RECENT_S:
            self._recent.clear()
            self._cleared_at = now

    # ---- what the exchange reports ----

    def received(self, envelope: Envelope) -> None:  # noqa: C901, PLR0912 - the exhaustive match over what nodes say
        """Process a message to this node, or to all nodes."""
        match envelope:
            case Asks():
                spawn(self._tasks, self._carry_out(self._asks, envelope))
            case Attach():
                spawn(self._tasks, self._carry_out(self._attach, envelope))
            case CallRequest():
                self._call(envelope)
            case Detach():  # in a task, so that it does not overtake the request before it
                spawn(self._tasks, self._carry_out(self._detach, envelope))
            case Publications(told=publications):
                self._pass_publications(publications)
            case Publication():
                self._pass_publications((envelope,))
            case Announcement():
                if (follower := self._follower(envelope.user)) is not None:
                    follower.feed.announce(envelope.notice)
            case Offer():
                if (follower := self._follower(envelope.user)) is not None:
                    spawn(self._tasks, self._carry_out(follower.take, envelope))
            case Given():
                self._given(envelope)
            case Replaced():
                self._replaced(envelope)
            case SessionOver():
                self._local.session_over(envelope.ticket, envelope.reason, envelope.by)
            case Order():
                spawn(self._tasks, self._carry_out(self._local.orders.carry_out, envelope))
            case Here():
                self._local.membership.received(envelope)
            case Leaving():
                self._leaving(envelope.node)
            case Sought() | Owned():
                self._process_ownership(envelope)
            case _:
                return  # an answer that the exchange matched, or one that came too late

    def _pass_publications(self, publications: Iterable[Publication]) -> None:
        """Pass publications to the followers; equal values of several users become one element."""
        clock, made, states = self._clock, Shared(self._recent), self._local.user_states
        now = clock.now()
        bus = self._exchange.health(now)
        came_at = min(self._local.pauses.came_at(now), self._exchange.machine.carried_since(now))
        arrival = Arrival(now, clock.wall_ms(), now - came_at, bus)
        for publication in publications:
            user_state = states.get(publication.user)
            role = None if user_state is None else user_state.role
            if not isinstance(role, Follower):
                continue
            try:
                role.read(publication, made, arrival)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from theirs
                log_fault(_LOG, "publication_failed", fault)

    def _follower(self, user: UserId) -> Follower | None:
        """Return the user's follower, if this node follows the user."""
        user_state = self._local.user_states.get(user)
        follower = None if user_state is None else user_state.follower
        return None if follower is None or follower.is_over else follower

    async def _carry_out(self, work: Callable[[M], Awaitable[None]], asked: M) -> None:
        try:
            await work(asked)
        except Exception as fault:  # noqa: BLE001 - the caller gets no answer, and asks again or gives up
            log_fault(_LOG, "node_request_failed", fault)

    def recovered(self, recovery: int) -> None:
        """Request everything that may have been lost."""
        spawn(self._tasks, self._resync(recovery))

    async def _resync(self, recovery: int) -> None:
        states = self._local.user_states.values()
        followers = [state.follower for state in states if state.follower is not None]
        pause_s = RESYNC_S / len(followers) if followers else 0.0
        for follower in followers:
            follower.messages_lost()
            self._counters.resynced("bus")
            await self._clock.sleep(pause_s)
        self._exchange.machine.resynced(recovery)

    # ---- to the owner ----

    def _owner(self, user: UserId) -> Owner | None:
        """Return the user's owner, if it is this node."""
        user_state = self._local.user_states.get(user)
        owner = None if user_state is None else user_state.owner
        return owner if owner is not None and owner.token else None

    async def _asks(self, asked: Asks) -> None:
        """Answer requests for missed changes.

        Answers of many users leave in one message. After each large one others have a turn of the loop.
        """
        not_mine: list[UserId] = []
        answers: list[Publication] = []
        made: dict[Element, Value] = {}
        values = 0
        for since in asked.asks:
            owner = self._owner(since.user)
            if owner is None or asked.node == self._node:
                not_mine.append(since.user)
                continue
            owner.phones_at(asked.node, since.phones)
            answer = self._answer(owner, asked.node, since, made)
            answers.append(answer)
            values += len(answer.updates)
            if not since.together or values > VALUES_AT_ONCE:
                self._send_answers(asked.node, answers)
                made.clear()
            if values > VALUES_AT_ONCE:
                await self._clock.sleep(0)
                values = 0
        self._send_answers(asked.node, answers)
        self._exchange.send(Inbox(asked.node), Asked(self._node, self._holder, asked.number, tuple(not_mine)))

    def _answer(self, owner: Owner, node: NodeId, since: Since, made: dict[Element, Value]) -> Publication:
        """Record a request of *node*, and return the changes that it misses."""
        owner.publisher.reads(node, together=since.together)
        owner.asked(node, since)
        return owner.publisher.answer(since, made)

    def _send_answers(self, node: NodeId, answers: list[Publication]) -> None:
        """Send *answers*, and clear the list; later changes must not overtake them."""
        if answers:
            self._exchange.send(
                Inbox(node), answers[0] if len(answers) == 1 else Publications(tuple(answers))
            )
            answers.clear()

    async def _attach(self, asked: Attach) -> None:
        try:
            answer = await self._attached(asked)
        except SessionRefused as why:
            refused = Refusal(why.code, why.reason, why.by, why.window_s)
            answer = AttachAnswer(asked.request, refused)
        except RoleOverError:
            answer = AttachAnswer(asked.request, moved=True)
        except InTurnError:
            if not asked.may_wait:  # a node of an older version asks again without an answer, too
                return
            answer = AttachAnswer(asked.request, waits=True)
        self._exchange.send(Inbox(asked.node), answer)

    async def _attached(self, asked: Attach) -> AttachAnswer:
        """Return when the session is accepted, and the changes that were requested with it are sent."""
        owner = self._owner(asked.ticket.user)
        if owner is None or asked.node == self._node:
            raise RoleOverError
        ended = self._local.denied(asked.ticket)
        if ended is not None:
            raise ended
        now = self._clock.now()
        owner.publisher.interested(asked.node, now)
        if asked.since is not None:  # now: phones may come and leave while the session waits
            owner.phones_at(asked.node, asked.since.phones)
        since = self._local.pauses.came_at(now) - (asked.age_ms or 0) / 1000
        await owner.attach(Local(asked.ticket, asked.topics, since), asked.node)
        is_read = asked.since is not None and owner is self._owner(asked.since.user)
        if asked.since is not None and is_read:
            self._exchange.send(Inbox(asked.node), self._answer(owner, asked.node, asked.since, {}))
        return AttachAnswer(asked.request, epoch=owner.epoch, read=is_read)

    async def _detach(self, sent: Detach) -> None:
        owner = self._owner(sent.user)
        if owner is not None:
            owner.leave(sent.handle, sent.node)

    def _call(self, asked: CallRequest) -> None:
        """Have a command executed, and send its outcome."""
        owner = self._owner(asked.user)
        if asked.left_ms is not None:  # the deadline by this node's clock
            deadline_ms = self._clock.wall_ms() + asked.left_ms
            asked = replace(asked, call=replace(asked.call, deadline_ms=deadline_ms))
        if owner is None or asked.node == self._node:
            self._answer_call(owner, asked, None)
            return
        settle = partial(self._answer_call, owner, asked)
        try:
            owner.execution.execute(asked.call, settle, asked.node)
        except Exception as fault:  # noqa: BLE001 - as in _carry_out
            log_fault(_LOG, "node_request_failed", fault)

    def _answer_call(self, owner: Owner | None, asked: CallRequest, outcome: Outcome | None) -> None:
        answer = CallAnswer(asked.request, outcome)
        if owner is not None:
            owner.publisher.publish_now()  # the state that a command caused is sent before its result
            if outcome is not None:
                answer = CallAnswer(asked.request, outcome, owner.publisher.sent)  # and may be lost
        self._exchange.reply(asked.node, answer, patience_s(asked.call, self._clock.wall_ms()))

    def _process_ownership(self, message: Sought | Owned) -> None:
        """Answer which node owns a user, or record it, while the store of leases accepts no writes."""
        if isinstance(message, Owned):
            user_state = self._local.user_states.get(message.user)
            if user_state is not None and message.holder != self._holder:
                user_state.role.owned(Grant(message.node, message.holder, message.token))
            return
        owner = self._owner(message.user)
        if owner is not None and message.node != self._node:
            self._exchange.send(
                Inbox(message.node), Owned(message.user, self._node, self._holder, owner.token)
            )

    def _given(self, sent: Given) -> None:
        user_state = self._local.user_states.get(sent.user)
        if user_state is not None and user_state.owner is not None:
            user_state.owner.given(sent.token, sent.history)

    # ---- to phones here ----

    def _replaced(self, sent: Replaced) -> None:
        user_state = self._local.user_states.get(sent.user)
        connection = None if user_state is None else user_state.feed.connections.get(sent.handle)
        local = None if user_state is None else user_state.local.get(sent.handle)
        refused = SessionRefused(CloseCode.REPLACED, "replaced")
        if user_state is not None and local is not None and sent.age_ms is not None:
            came_at = self._local.pauses.came_at(self._clock.now()) - sent.age_ms / 1000
            refused = local.replaced(came_at)
            if local.since >= came_at:  # no earlier than the true time: the age does not include the transit
                # the owner accepted a connection that the phone had left before: submit this one again
                user_state.follow(sent.handle, local.topics)
                return
        if connection is not None:
            connection.close(refused.code, refused.reason, window_s=refused.window_s)

    def _leaving(self, node: NodeId) -> None:
        self._local.membership.leaving(node)
        for user_state in self._local.user_states.values():
            follower = user_state.follower
            if follower is not None and follower.owner.node == node:
                follower.run_soon()
