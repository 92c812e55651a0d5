"""Who else reads what the owner of a user writes, and what are they sent?

The bus is one more reader of the feed: while another node has asked within 25 s, what changes is
published. One publication is under way at a time; what changes meanwhile goes with the next.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from gateway.core.ledger import Delta
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId, Position
from gateway.protocol.envelopes import Announcement, Events, Publication, Since, Update
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.exchange import Exchange
from gateway.runtime.feed import Feed
from gateway.runtime.spawn import spawn

INTEREST_S: Final = 25.0
"""For how long a node that asked is published to, and its phones are taken to be there."""


class Sharing:
    """One owned user's other nodes.

    Invariant: nothing of an epoch is read by other nodes before :meth:`light`.

    Args:
        feed: What is shared.
        exchange: The way out.
    """

    def __init__(self, feed: Feed, exchange: Exchange) -> None:
        self._feed = feed
        self._exchange = exchange
        self._asked_at: dict[NodeId, float] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._is_lit = False
        self._is_sending = False
        self._sent = Position(0, 0)
        self._said = ""

    def run_in(self, tasks: asyncio.TaskGroup | None) -> None:
        """Publish in *tasks* from now on; None: no more."""
        self._tasks = tasks

    def darken(self) -> None:
        """Announce that a new epoch began: nothing of it is shown yet, whoever asks is told its number."""
        self._is_lit = False
        self._spawn(self._unlit())

    def light(self) -> None:
        """Note that every question of this epoch is answered: it may be read, which is announced."""
        if not self._is_lit:
            self._is_lit = True
            self._sent = self._feed.ledger.position
            self._spawn(self._publication(Delta(*self._sent, self._sent.seq, reset=False, updates=())))

    def interested(self, node: NodeId, now: float) -> None:
        """Note that *node* follows."""
        self._asked_at[node] = now

    def silent(self, now: float) -> list[NodeId]:
        """Return the nodes that have not asked for so long that they are not published to any more.

        While the bus does not work nobody can ask, and nobody is gone for it.
        """
        if self._exchange.machine.is_healthy_for(now) < INTEREST_S:
            return []
        gone = [node for node, at in self._asked_at.items() if now - at > INTEREST_S]
        for node in gone:
            del self._asked_at[node]
        return gone

    def answer(self, since: Since) -> Publication:
        """Return what whoever asks is missing; of an epoch that is not lit, its number alone."""
        if not self._is_lit:
            return self._unlit()
        return self._publication(self._feed.ledger.since(Position(since.epoch, since.seq)))

    def _unlit(self) -> Publication:
        epoch = self._feed.ledger.position.epoch
        return self._publication(Delta(epoch, 0, 0, reset=False, updates=()))

    def flush(self) -> None:
        """Publish what changed, if anybody follows."""
        position, said = self._feed.ledger.position, self._health()
        if not self._is_lit or self._is_sending or (position == self._sent and said == self._said):
            return
        if not self._asked_at:
            self._sent, self._said = position, said
            return
        delta = self._feed.ledger.since(self._sent)
        self._sent, self._said = position, said
        self._spawn(self._publication(delta))

    def announce(self, notice: NoticeFrame) -> None:
        """Have a notice shown on the nodes that follow."""
        if self._asked_at:
            self._exchange.send(Events(self._feed.user), Announcement(self._feed.user, notice))

    def _spawn(self, publication: Publication) -> None:
        self._is_sending = spawn(self._tasks, self._send(publication))

    async def _send(self, publication: Publication) -> None:
        with suppress(GatewayError):  # whoever missed it finds a gap, and asks
            await self._exchange.deliver(Events(self._feed.user), publication)
        self._is_sending = False
        self.flush()

    def _health(self) -> str:
        return self._feed.health.upstream

    def _publication(self, delta: Delta) -> Publication:
        health = self._feed.health
        upstream = health.upstream if self._is_lit or health.upstream == "down" else "stale"
        updates = tuple(
            Update(key, seq, None if element is None else element.value)
            for key, seq, element in delta.updates
        )
        return Publication(
            self._feed.user,
            delta.epoch,
            delta.after,
            delta.upto,
            delta.reset,
            updates,
            upstream,
            health.as_of_ms,
        )
