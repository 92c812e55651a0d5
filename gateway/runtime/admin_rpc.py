"""Requests of operators to one node or to all nodes, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, OrderAct, UserHash
from gateway.protocol.envelopes import Inbox, Order, Record, Report
from gateway.runtime.cluster import ClusterMembership, Exchange, NotHeardError
from gateway.runtime.ports import Clock

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
            raise GatewayError(ErrorCode.NOT_FOUND, "This node does not know how to do that.")
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
