"""Cluster receiver: process messages of other nodes, and carry requests of operators to nodes and back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

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
from gateway.runtime.cluster import ClusterMembership, Exchange, NotHeardError
from gateway.runtime.event_loop import Pauses, log_fault, spawn
from gateway.runtime.follower import Follower, Shared
from gateway.runtime.ports import Clock, Grant, RoleOverError, Tally
from gateway.runtime.user_state import Owner, UserState

ANSWER_S: Final = 2.0
"""After how long without an answer a node counts as not reached."""

Trouble = Literal["not_heard", "no_answer", "bus_down", "refused"]
"""No node received it; no answer came in time; the bus is away; or the node cannot do this."""


NOT_IN_FORCE: Final = "not_in_force"
"""The result of a reload after which a node keeps something old."""
_OF_ONE: Final = frozenset({"end_session", "end_user", "whois"})
"""Orders about one user or session, which most nodes do not know."""
EVERY_OTHER: Final = NodeId("*")
"""Stands for all other nodes where none is known, as this one has never reached the bus."""


class Page(NamedTuple):
    """What a node has to say to an order; *more*: of what was asked for, there is more after it."""

    records: tuple[Record, ...] = ()
    more: bool = False


class NodeAnswer(NamedTuple):
    """What one node answered; *trouble*: why it did not."""

    node: NodeId
    page: Page
    trouble: Trouble | None = None


Obey = Callable[[Order], Awaitable[Page]]
"""Carries an order out here; may raise :class:`GatewayError`."""


class AdminRpc:
    """What operators may ask of this node, and its way to have it asked of the others.

    Invariant: each node that is asked is answered for, by itself or by what kept it from answering; time
    to answer is bounded.

    Args:
        node: This node.
        holder: Its life.
        exchange: Sends to the other nodes.
        membership: The nodes that live.
        clock: Its time.
        audit: Writes down what was carried out for an operator of another node.
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
        """Carry orders of *act* out by *obey* from now on."""
        self._known[act] = obey

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """The nodes that live, this one first."""
        others = dict.fromkeys(each.node for each in self._membership.nodes if each.holder != self._holder)
        return (self.node, *(node for node in others if node != self.node))

    @property
    def has_joined(self) -> bool:
        """Whether this node has reached the others once, or found that it is alone."""
        return self._exchange.machine.recovery > 0 and self._membership.has_begun

    @property
    def unknown(self) -> tuple[NodeAnswer, ...]:
        """Stands for the nodes that this one does not know, as it has never reached the bus."""
        return () if self.has_joined else (NodeAnswer(EVERY_OTHER, Page(), "bus_down"),)

    async def carry_out(self, order: Order) -> None:
        """Carry out what another node asks, write down what an operator is behind, and answer."""
        report: Report | None = None
        try:
            report = await self._obeyed(order)
        finally:
            if order.act_id:
                self._audit(_act_of(order, report))
        self._exchange.send(Inbox(order.node), report)

    async def ask(
        self, order: Order, nodes: Iterable[NodeId], within_s: float = ANSWER_S
    ) -> list[NodeAnswer]:
        """Have *order* carried out by *nodes*, all at once; returns what each answered, in their order.

        Args:
            order: Its ``node`` and ``request`` are filled in here.
            nodes: The nodes to ask; this node is not asked over the bus.
            within_s: How long to wait for the others.

        Raises:
            GatewayError: This node itself refuses.
        """
        told: dict[NodeId, NodeAnswer] = {}
        wanted = tuple(dict.fromkeys(nodes))

        async def hear(node: NodeId) -> None:
            told[node] = await self._put(node, order, within_s)

        refused: GatewayError | None = None
        async with asyncio.TaskGroup() as tasks:
            for node in wanted:
                if node != self.node:
                    tasks.create_task(hear(node))
            if self.node in wanted:
                try:
                    told[self.node] = NodeAnswer(self.node, await self._obey(order))
                except GatewayError as error:  # the others are asked all the same
                    refused = error
        if refused is not None:
            raise refused
        return [told[node] for node in wanted]

    async def ask_all(self, order: Order, within_s: float = ANSWER_S) -> list[NodeAnswer]:
        """Have *order* carried out by all nodes that live; :data:`EVERY_OTHER` for those that are unknown.

        Raises:
            GatewayError: This node itself refuses.
        """
        return [*await self.ask(order, self.nodes, within_s), *self.unknown]

    async def _put(self, node: NodeId, order: Order, within_s: float) -> NodeAnswer:
        def question(number: int) -> Order:
            return replace(order, node=self.node, request=number)

        try:
            answer = await self._exchange.ask(node, question, within_s)
        except NotHeardError:
            return NodeAnswer(node, Page(), "not_heard")
        except TimeoutError:
            return NodeAnswer(node, Page(), "no_answer")
        except GatewayError:
            return NodeAnswer(node, Page(), "bus_down")
        if not isinstance(answer, Report) or answer.refused is not None:
            return NodeAnswer(node, Page(), "refused")
        return NodeAnswer(node, Page(answer.records, answer.more))

    async def _obeyed(self, order: Order) -> Report:
        try:
            page = await self._obey(order)
        except GatewayError as error:
            return Report(order.request, refused=error.code)
        return Report(order.request, page.records, page.more)

    async def _obey(self, order: Order) -> Page:
        obey = self._known.get(order.act)
        if obey is None:
            raise GatewayError(ErrorCode.NOT_FOUND, "This node does not support the request.")
        return await obey(order)


def _act_of(order: Order, report: Report | None) -> OrderAct:
    """Return what the audit says of an order; no report: it failed."""
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
"""Over how long followers ask again when the bus is back."""
_LOG: Final = logging.getLogger(__name__)
M = TypeVar("M", bound=Envelope)


class Home(Protocol):
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
        """Return how the session ended, when that is known here."""
        ...

    def session_over(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Record that a session ended, as another node says."""
        ...


class ClusterReceiver:
    """Receives and dispatches the messages of other nodes.

    Invariant: a fault over one user's message ends what that one asked for, and nothing else.

    Args:
        node: Its name.
        holder: Its life.
        home: The node itself.
        exchange: Its messages to other nodes.
        tally: Gets the events that are counted.
    """

    def __init__(self, node: NodeId, holder: str, home: Home, exchange: Exchange, tally: Tally) -> None:
        self._node = node
        self._holder = holder
        self._home = home
        self._exchange = exchange
        self._tally = tally
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._exchange.run(self)
            finally:
                self._tasks = None

    # ---- Listener ----

    def heard(self, envelope: Envelope) -> None:  # noqa: C901, PLR0912 - the exhaustive match over what nodes say
        """Process what was said to this node, or to all."""
        match envelope:
            case Asks():
                spawn(self._tasks, self._carry_out(self._asks, envelope))
            case Attach():
                spawn(self._tasks, self._carry_out(self._attach, envelope))
            case CallRequest():
                spawn(self._tasks, self._carry_out(self._call, envelope))
            case Detach():
                owner = self._owner(envelope.user)
                if owner is not None:
                    owner.leave(envelope.handle, envelope.node)
            case Publications() | Publication() | Offer() | Announcement() | Given():
                self._told(envelope)
            case Replaced():
                self._replaced(envelope)
            case SessionOver():
                self._home.session_over(envelope.ticket, envelope.reason, envelope.by)
            case Order():
                spawn(self._tasks, self._carry_out(self._home.orders.carry_out, envelope))
            case Here():
                self._home.membership.heard(envelope)
            case Leaving():
                self._leaving(envelope.node)
            case Sought() | Owned():
                self._owner_word(envelope)
            case _:
                return  # an answer that the exchange matched, or one that came too late

    def _told(self, envelope: Publications | Publication | Offer | Announcement | Given) -> None:
        """Send followers what is theirs, with one element for a value that several of them share."""
        if isinstance(envelope, Given):
            self._given(envelope)
            return
        if not isinstance(envelope, Publications):
            follower = self._follower(envelope.user)
            if follower is not None:
                follower.receive(envelope)
            return
        made: Shared = {}
        for publication in envelope.told:
            follower = self._follower(publication.user)
            if follower is not None:
                self._read(follower, publication, made)

    def _read(self, follower: Follower, told: Publication, made: Shared) -> None:
        try:
            follower.read(told, made)
        except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from what is theirs
            log_fault(_LOG, "publication_failed", fault)

    def _follower(self, user: UserId) -> Follower | None:
        user_state = self._home.user_states.get(user)
        return None if user_state is None else user_state.follower

    async def _carry_out(self, work: Callable[[M], Awaitable[None]], asked: M) -> None:
        try:
            await work(asked)
        except Exception as fault:  # noqa: BLE001 - the caller gets no answer, and asks again or gives up
            log_fault(_LOG, "node_request_failed", fault)

    def recovered(self, recovery: int) -> None:
        """Have everything asked for again that may have been lost."""
        spawn(self._tasks, self._resync(recovery))

    async def _resync(self, recovery: int) -> None:
        followers = [home.follower for home in self._home.user_states.values() if home.follower is not None]
        pause_s = RESYNC_S / len(followers) if followers else 0.0
        for follower in followers:
            follower.unsure()
            self._tally.resynced("bus")
            await self._home.clock.sleep(pause_s)
        self._exchange.machine.resynced(recovery)

    # ---- to the owner ----

    def _owner(self, user: UserId) -> Owner | None:
        """Return the user's owner, if that is this node."""
        user_state = self._home.user_states.get(user)
        owner = None if user_state is None else user_state.owner
        return owner if owner is not None and owner.token else None

    async def _asks(self, asked: Asks) -> None:
        """Answer what a node misses; after each large answer others have a turn of the loop."""
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
                await self._home.clock.sleep(0)
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
        ended = self._home.denied(asked.ticket)
        if ended is not None:
            raise ended
        now = self._home.clock.now()
        owner.sharing.interested(asked.node, now)
        since = None if asked.age_ms is None else self._home.pauses.came_at(now) - asked.age_ms / 1000
        await owner.attach(asked.ticket, asked.topics, asked.node, since)

    async def _call(self, asked: CallRequest) -> None:
        owner = self._owner(asked.user)
        call = asked.call
        if asked.left_ms is not None:  # the deadline by this node's clock
            call = replace(call, deadline_ms=self._home.clock.wall_ms() + asked.left_ms)
        outcome = None if owner is None or asked.node == self._node else await owner.execute(call, asked.node)
        if owner is not None:
            owner.sharing.hurry()  # the state that a command caused leaves before its result
        self._exchange.send(Inbox(asked.node), CallAnswer(asked.request, outcome))

    def _owner_word(self, said: Sought | Owned) -> None:
        """Answer which node owns a user, or learn it, while the store of leases takes no writes."""
        if isinstance(said, Owned):
            user_state = self._home.user_states.get(said.user)
            if user_state is not None and said.holder != self._holder:
                user_state.role.owned(Grant(said.node, said.holder, said.token))
            return
        owner = self._owner(said.user)
        if owner is not None and said.node != self._node:
            self._exchange.send(Inbox(said.node), Owned(said.user, self._node, self._holder, owner.token))

    def _given(self, told: Given) -> None:
        user_state = self._home.user_states.get(told.user)
        if user_state is not None and user_state.owner is not None:
            user_state.owner.given(told.token, told.history)

    # ---- to phones here ----

    def _replaced(self, told: Replaced) -> None:
        user_state = self._home.user_states.get(told.user)
        connection = None if user_state is None else user_state.feed.connections.get(told.handle)
        local = None if user_state is None else user_state.local.get(told.handle)
        if local is not None and told.age_ms is not None:
            came_at = self._home.pauses.came_at(self._home.clock.now()) - told.age_ms / 1000
            if local.since >= came_at:  # which is no earlier than it was: the way is not in the age
                return  # this was sent or read late: the phone has come back here since
        if connection is not None:
            connection.close(CloseCode.REPLACED, "replaced")

    def _leaving(self, node: NodeId) -> None:
        self._home.membership.leaving(node)
        for user_state in self._home.user_states.values():
            follower = user_state.follower
            if follower is not None and follower.owner.node == node:
                follower.look()
