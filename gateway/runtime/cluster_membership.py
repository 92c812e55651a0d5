"""Cluster membership: live nodes, and this node's share.

Every node announces itself every 3 s, to the other nodes and to the registry, and takes its part of each
site's log-on budget: one of as many as live. The registry is read at the start and at intervals; while
nobody is heard what was known last counts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.core.rate_limits import AdmissionQueue
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import Control, Here, NodeRecord
from gateway.runtime.cluster_transport import Exchange
from gateway.runtime.faults import log_fault
from gateway.runtime.ports import NODE_TTL_S, Clock, NodeRegistry
from gateway.runtime.tally import Tally

_LOG: Final = logging.getLogger(__name__)
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
        """Whether it was read once who lives, and this node has its part of the budgets."""
        self._serves_at = -math.inf
        self._known: dict[str, tuple[NodeRecord, float]] = {}
        """The nodes, by holder, and when each was heard or read of last."""
        self._heard_at: dict[str, float] = {}
        """When each was heard last: a record that was only read may be of a life that is over."""
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
        """Whether log-ons are let through: who begins beside others waits until they leave it its part."""
        return self._clock.now() >= self._serves_at

    @property
    def node(self) -> NodeId:
        """This node."""
        return self._record().node

    @property
    def has_namesake(self) -> bool:
        """Whether another node with this one's name was heard lately."""
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
        """The same of the other nodes, as each was heard; of those not heard lately as in the registry.

        A node whose messages do not open here is not heard, but is in the registry.
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
        """Note that a node lives, and what it is."""
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
        """Note that a node has begun to leave, which it will say of itself only later."""
        for holder, (record, at) in self._known.items():
            if record.node == node:
                self._known[holder] = (record._replace(draining=True, accepts_per_s=0.0), at)

    def is_leaving(self, holder: str) -> bool:
        """Tell whether that life of a node has begun to leave: it gives its users, and accepts nobody.

        One that has only given notice accepts phones, and goes on speaking for its users.
        """
        known = self._known.get(holder)
        return known is not None and known[0].draining and not known[0].accepts_per_s

    def leaving_holders(self) -> frozenset[str]:
        """Return the lives of nodes that have begun to leave."""
        return frozenset(filter(self.is_leaving, self._known))

    async def say(self) -> None:
        """Say what this node is now, and look who else is there."""
        record = self._record()
        self._exchange.send(Control(), Here(record))
        with suppress(GatewayError):  # a store that takes no writes still tells who lives
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
        """Forget who was not heard for long. Without the bus nobody is, and all are remembered."""
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
