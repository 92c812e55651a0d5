"""Cluster receiver: process messages of other nodes, and carry requests of operators to nodes and back."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

from gateway.core.follower import Shared
from gateway.domain.commands import Outcome
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import NodeId, OrderAct, Ticket, UserHash, UserId
from gateway.protocol.envelopes import (
    VALUES_AT_ONCE,
    Announcement,
    Asked,
    Asks,
    Attach,
    AttachAnswer,
    CallAnswer,
    CallRequest,
    Detach,
    Envelope,
    Given,
    Here,
    Inbox,
    Leaving,
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
    Sought,
)
from gateway.runtime.cluster import ClusterMembership, Exchange, NotDeliveredError
from gateway.runtime.event_loop import Pauses, log_fault, spawn
from gateway.runtime.follower import Arrival, Follower
from gateway.runtime.ports import Clock, Grant, RoleOverError
from gateway.runtime.user_state import Owner, UserState
from gateway.telemetry import Tally

ANSWER_S: Final = 2.0
"""Time without an answer after which a node counts as not reached."""

Trouble = Literal["not_heard", "no_answer", "bus_down", "refused"]
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
    trouble: Trouble | None = None


Obey = Callable[[Order], Awaitable[Page]]
"""Carries out an order on this node; may raise :class:`GatewayError`."""


class AdminRpc:
    """Orders of operators: carried out on this node, and sent to the others.

    Invariant: the result has an entry for each requested node: its answer, or the reason why there is none.
    The time to answer is bounded.

    Args:
        node: This node.
        holder: Its life.
        exchange: Sends to the other nodes.
        membership: The list of live nodes.
        clock: The node's time.
        audit: Records orders that were carried out for an operator of another node.
    """

    def __init__(
        self,
        node: NodeId,
        holder: str,
        exchange: Exchange,
        membership: ClusterMembership,
        clock: Clock,
        audit: Callable[[OrderAct], None],
    ) -> None:
        self.node: Final = node
        self._holder = holder
        self._exchange = exchange
        self._membership = membership
        self._clock = clock
        self._audit = audit
        self._known: dict[str, Obey] = {}

    def learn(self, act: str, obey: Obey) -> None:
        """Register *obey* as the implementation of orders of the kind *act*."""
        self._known[act] = obey

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """The live nodes, this one first."""
        others = dict.fromkeys(each.node for each in self._membership.nodes if each.holder != self._holder)
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
        self, order: Order, nodes: Iterable[NodeId], within_s: float = ANSWER_S
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
            sent[node] = await self._put(node, order, within_s)

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

    async def ask_all(self, order: Order, within_s: float = ANSWER_S) -> list[NodeAnswer]:
        """Have all live nodes carry out *order*; :data:`EVERY_OTHER` stands for unknown nodes.

        Raises:
            GatewayError: This node itself refuses.
        """
        return [*await self.ask(order, self.nodes, within_s), *self.unknown]

    async def _put(self, node: NodeId, order: Order, within_s: float) -> NodeAnswer:
        def numbered(number: int) -> Order:
            return replace(order, node=self.node, request=number)

        try:
            answer = await self._exchange.ask(node, numbered, within_s)
        except NotDeliveredError:
            return NodeAnswer(node, Page(), "not_heard")
        except TimeoutError:
            return NodeAnswer(node, Page(), "no_answer")
        except GatewayError:
            return NodeAnswer(node, Page(), "bus_down")
        if not isinstance(answer, Report) or answer.refused is not None:
            return NodeAnswer(node, Page(), "refused")
        return NodeAnswer(node, Page(answer.records, answer.more))

    async def _carried_out(self, order: Order) -> Report:
        try:
            page = await self._run_order(order)
        except GatewayError as error:
            return Report(order.request, refused=error.code)
        return Report(order.request, page.records, page.more)

    async def _run_order(self, order: Order) -> Page:
        obey = self._known.get(order.act)
        if obey is None:
            raise GatewayError(ErrorCode.NOT_FOUND, "This node does not support the request.")
        return await obey(order)


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


RESYNC_S: Final = 2.0
"""Time over which followers spread their requests when the bus is back."""
_LOG: Final = logging.getLogger(__name__)
M = TypeVar("M", bound=Envelope)


class ReceivingNode(Protocol):
    """The node."""

    clock: Clock
    pauses: Pauses
    membership: ClusterMembership
    orders: AdminRpc

    @property
    def user_states(self) -> Mapping[UserId, UserState]:
        """The users of this node."""
        ...

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, if this node has a record of it."""
        ...

    def session_over(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Record that a session ended, as another node reported."""
        ...


class ClusterReceiver:
    """Receives and dispatches the messages of other nodes.

    Invariant: a fault while one user's message is processed ends what it requested, and nothing else.

    Args:
        node: This node's name.
        holder: Its life.
        local: The node itself.
        exchange: Its messages to other nodes.
        tally: Receives the events that are counted.
    """

    def __init__(
        self, node: NodeId, holder: str, local: ReceivingNode, exchange: Exchange, tally: Tally
    ) -> None:
        self._node = node
        self._holder = holder
        self._local = local
        self._exchange = exchange
        self._tally = tally
        self._tasks: asyncio.TaskGroup | None = None
        self._executing: Counter[UserId] = Counter()
        """Commands of each user that run in tasks, or are about to: later ones follow them."""

    async def run(self) -> None:
        """Receive messages until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._exchange.run(self)
            finally:
                self._tasks = None

    # ---- Listener ----

    def received(self, envelope: Envelope) -> None:  # noqa: C901, PLR0912 - the exhaustive match over what nodes say
        """Process a message to this node, or to all nodes."""
        match envelope:
            case Asks():
                spawn(self._tasks, self._carry_out(self._asks, envelope))
            case Attach():
                spawn(self._tasks, self._carry_out(self._attach, envelope))
            case CallRequest():
                self._call(envelope)
            case Detach():
                owner = self._owner(envelope.user)
                if owner is not None:
                    owner.leave(envelope.handle, envelope.node)
            case Publications() | Publication() | Offer() | Announcement() | Given():
                self._pass_publications(envelope)
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

    def _pass_publications(self, envelope: Publications | Publication | Offer | Announcement | Given) -> None:
        """Pass publications to the followers; equal values of several users become one element."""
        if isinstance(envelope, Given):
            self._given(envelope)
            return
        if not isinstance(envelope, Publications):
            follower = self._follower(envelope.user)
            if follower is not None:
                follower.receive(envelope)
            return
        clock, made, states = self._local.clock, Shared(), self._local.user_states
        now = clock.now()
        arrival = Arrival(now, clock.wall_ms(), now - self._local.pauses.came_at(now))
        for publication in envelope.told:
            user_state = states.get(publication.user)
            follower = None if user_state is None else user_state.follower
            if follower is None:
                continue
            try:
                follower.read(publication, made, arrival)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from theirs
                log_fault(_LOG, "publication_failed", fault)

    def _follower(self, user: UserId) -> Follower | None:
        user_state = self._local.user_states.get(user)
        return None if user_state is None else user_state.follower

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
            follower.unsure()
            self._tally.resynced("bus")
            await self._local.clock.sleep(pause_s)
        self._exchange.machine.resynced(recovery)

    # ---- to the owner ----

    def _owner(self, user: UserId) -> Owner | None:
        """Return the user's owner, if it is this node."""
        user_state = self._local.user_states.get(user)
        owner = None if user_state is None else user_state.owner
        return owner if owner is not None and owner.token else None

    async def _asks(self, asked: Asks) -> None:
        """Answer requests for missed changes.

        Each large answer is followed by a turn of the loop for others.
        """
        not_mine, values = [], 0
        for since in asked.asks:
            owner = self._owner(since.user)
            if owner is None or asked.node == self._node:
                not_mine.append(since.user)
                continue
            owner.sharing.reads(asked.node, together=since.together)
            owner.asked(asked.node, since)
            answer = owner.sharing.answer(since)
            self._exchange.send(Inbox(asked.node), answer)
            values += len(answer.updates)
            if values > VALUES_AT_ONCE:
                await self._local.clock.sleep(0)
                values = 0
        self._exchange.send(Inbox(asked.node), Asked(self._node, self._holder, asked.number, tuple(not_mine)))

    async def _attach(self, asked: Attach) -> None:
        owner, refused, moved = self._owner(asked.ticket.user), None, False
        epoch: int | None = None
        try:
            if owner is None or asked.node == self._node:
                moved = True
            else:
                await self._attach_at(owner, asked)
                epoch = owner.epoch
        except SessionRefused as why:
            refused = Refusal(why.code, why.reason, why.by, why.window_s)
        except RoleOverError:
            moved = True
        self._exchange.send(Inbox(asked.node), AttachAnswer(asked.request, refused, moved, epoch))

    async def _attach_at(self, owner: Owner, asked: Attach) -> None:
        ended = self._local.denied(asked.ticket)
        if ended is not None:
            raise ended
        now = self._local.clock.now()
        owner.sharing.interested(asked.node, now)
        since = None if asked.age_ms is None else self._local.pauses.came_at(now) - asked.age_ms / 1000
        await owner.attach(asked.ticket, asked.topics, asked.node, since)

    def _call(self, asked: CallRequest) -> None:
        """Execute a command; without a task if nothing is in its way, as most of the time."""
        owner = self._owner(asked.user)
        if asked.left_ms is not None:  # the deadline by this node's clock
            deadline_ms = self._local.clock.wall_ms() + asked.left_ms
            asked = replace(asked, call=replace(asked.call, deadline_ms=deadline_ms))
        if owner is None or asked.node == self._node:
            self._answer_call(owner, asked, None)
            return
        settle = partial(self._answer_call, owner, asked)
        if asked.user in self._executing or owner.begin(asked.call, settle, asked.node) is None:
            self._executing[asked.user] += 1
            if not spawn(self._tasks, self._carry_out(self._execute, asked)):
                self._executed(asked.user)

    async def _execute(self, asked: CallRequest) -> None:
        try:
            owner = self._owner(asked.user)
            outcome = None if owner is None else await owner.execute(asked.call, asked.node)
        finally:
            self._executed(asked.user)
        self._answer_call(owner, asked, outcome)

    def _executed(self, user: UserId) -> None:
        self._executing[user] -= 1
        if not self._executing[user]:
            del self._executing[user]

    def _answer_call(self, owner: Owner | None, asked: CallRequest, outcome: Outcome | None) -> None:
        if owner is not None:
            owner.sharing.hurry()  # the state that a command caused is sent before its result
        self._exchange.send(Inbox(asked.node), CallAnswer(asked.request, outcome))

    def _process_ownership(self, said: Sought | Owned) -> None:
        """Answer which node owns a user, or record it, while the store of leases accepts no writes."""
        if isinstance(said, Owned):
            user_state = self._local.user_states.get(said.user)
            if user_state is not None and said.holder != self._holder:
                user_state.role.owned(Grant(said.node, said.holder, said.token))
            return
        owner = self._owner(said.user)
        if owner is not None and said.node != self._node:
            self._exchange.send(Inbox(said.node), Owned(said.user, self._node, self._holder, owner.token))

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
            came_at = self._local.pauses.came_at(self._local.clock.now()) - sent.age_ms / 1000
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
                follower.look()
