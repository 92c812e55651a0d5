"""Which nodes live, and what is this node's part?

Every node says every 3 s that it lives, and takes its part of each site's log-on budget: one of as
many as live. While the store does not answer, what was known last counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.core.turnstile import Turnstile
from gateway.domain.errors import GatewayError
from gateway.runtime.ports import Clock, NodeRecord, Roll

SAY_S: Final = 3.0


class Fleet:
    """The nodes that live, as this one knows them.

    Args:
        roll: Where they say so.
        clock: Its time.
        record: Says what this node is now.
        turnstiles: Whose budgets are shared.
    """

    def __init__(
        self,
        roll: Roll,
        clock: Clock,
        record: Callable[[], NodeRecord],
        turnstiles: tuple[Turnstile, ...],
    ) -> None:
        self.nodes: tuple[NodeRecord, ...] = ()
        self._roll = roll
        self._clock = clock
        self._record = record
        self._turnstiles = turnstiles
        self._is_new = True

    @property
    def others(self) -> tuple[NodeRecord, ...]:
        """The nodes that live beside this one and take phones."""
        holder = self._record().holder
        return tuple(node for node in self.nodes if node.holder != holder and not node.draining)

    async def run(self) -> None:
        """Say that this node lives, until cancelled; then that it is gone."""
        try:
            while True:
                await self.say()
                await self._clock.sleep(SAY_S)
        finally:
            await self._leave()

    async def say(self) -> None:
        """Say what this node is now, and look who else is there."""
        try:
            await self._roll.announce(self._record())
            self.nodes = await self._roll.nodes()
        except GatewayError:
            return
        now, nodes = self._clock.now(), max(1, len(self.nodes))
        for turnstile in self._turnstiles:
            if self._is_new:
                turnstile.begin_beside(nodes, now, SAY_S)
            else:
                turnstile.share(nodes, now)
        self._is_new = False

    async def _leave(self) -> None:
        try:
            await self._roll.leave(self._record().holder)
        except GatewayError:
            return
