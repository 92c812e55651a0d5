"""Sharing: send an owner's changes to the nodes that follow.

The bus is one more reader of the feed: while another node has asked within 25 s, what changes is
published, together with what changes for other users. One publication is under way at a time; what changes
meanwhile goes with the next.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from gateway.core.element import Element
from gateway.core.ledger import Delta
from gateway.domain.model import NodeId, Position
from gateway.protocol.envelopes import Announcement, Events, Publication, PublishedValue, Since
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.cluster import Exchange, Share
from gateway.runtime.mirror import Feed

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
        self._together: set[NodeId] = set()
        """The nodes that read :class:`Publications`; all others read the user's own channel alone."""
        self._is_running = False
        self._is_reading = False
        self._is_lit = False
        self._sent = Position(0, 0)
        self._said = ""
        self._changed: dict[str, None] = {}
        """Keys that changed since what was sent last, while a node follows."""

    def run_in(self, tasks: asyncio.TaskGroup | None) -> None:
        """Publish from now on; None: no more."""
        self._is_running = tasks is not None
        self._read(self._is_running and bool(self._asked_at))

    def darken(self) -> None:
        """Announce that a new epoch began: nothing of it is shown yet, a node that asks gets its number."""
        self._is_lit = False
        self._tell_all(self._unlit())

    def light(self) -> None:
        """Record that every question of this epoch is answered: it may be read, which is announced."""
        if not self._is_lit:
            self._is_lit = True
            self._take_stock()
            self._tell_all(self._publication(Delta(*self._sent, self._sent.seq, reset=False, updates=())))

    def interested(self, node: NodeId, now: float) -> None:
        """Record that *node* follows."""
        self._read(self._is_running)
        self._asked_at[node] = now

    def reads(self, node: NodeId, *, together: bool) -> None:
        """Record whether *node* reads :class:`Publications`; until then it reads the user's channel."""
        if together:
            self._together.add(node)
        else:
            self._together.discard(node)

    def silent(self, now: float) -> list[NodeId]:
        """Return the nodes that have not asked for so long that they are no longer published to.

        While the bus does not work no node can ask, and none is removed for it.
        """
        if not self._asked_at or self._exchange.machine.is_healthy_for(now) < INTEREST_S:
            return []
        gone = [node for node, at in self._asked_at.items() if now - at > INTEREST_S]
        for node in gone:
            del self._asked_at[node]
            self._together.discard(node)
        if not self._asked_at:
            self._read(False)
        return gone

    @property
    def due_at(self) -> float:
        """When :meth:`silent` may name a node."""
        return min(self._asked_at.values(), default=math.inf) + INTEREST_S

    def answer(self, since: Since) -> Publication:
        """Return what the asking node is missing; of an epoch that is not announced, its number alone."""
        if not self._is_lit:
            return self._unlit()
        return self._publication(self._feed.ledger.since(Position(since.epoch, since.seq)))

    def _unlit(self) -> Publication:
        epoch = self._feed.ledger.position.epoch
        return self._publication(Delta(epoch, 0, 0, reset=False, updates=()))

    # ---- what is published ----

    def flush(self) -> None:
        """Publish what changed, if a node follows."""
        if self._is_reading and self._has_news():
            self._exchange.bundles.add(self)

    def hurry(self) -> None:
        """Publish it before whatever is sent next."""
        self._exchange.bundles.hurry(self)

    def take(self) -> Share | None:
        """See :meth:`gateway.runtime.cluster.BundleSource.take`."""
        if not self._has_news():
            return None
        delta = self._feed.ledger.told(self._sent, self._changed)
        self._take_stock()
        all_together = self._together >= self._asked_at.keys()
        return Share(self._publication(delta), tuple(self._asked_at) if all_together else None)

    def _has_news(self) -> bool:
        if not (self._is_reading and self._is_lit):
            return False
        return self._feed.ledger.position != self._sent or self._feed.health.upstream != self._said

    def _read(self, is_wanted: bool) -> None:
        """Receive every change from now on, or none."""
        if is_wanted and not self._is_reading:
            self._take_stock()
            self._feed.ledger.readers[self] = None
        elif self._is_reading and not is_wanted:
            del self._feed.ledger.readers[self]
        self._is_reading = is_wanted

    def _take_stock(self) -> None:
        """Record that all followers are sent all that there is now."""
        self._sent, self._said = self._feed.ledger.position, self._feed.health.upstream
        self._changed.clear()

    def announce(self, notice: NoticeFrame) -> None:
        """Have a notice shown on the nodes that follow."""
        if self._asked_at:
            self._exchange.send(Events(self._feed.user), Announcement(self._feed.user, notice))

    def _tell_all(self, publication: Publication) -> None:
        """Publish to all followers, known or not."""
        if self._is_running:
            self._exchange.send(Events(self._feed.user), publication)

    # ---- a reader of the ledger ----

    def waiting(self) -> str | None:
        """See :meth:`gateway.core.ledger.Reader.waiting`: no connection waits for this."""
        return None

    def mark(self, key: str, before: Element | None) -> None:  # noqa: ARG002 - the port's
        """See :meth:`gateway.core.ledger.Reader.mark`."""
        self._changed[key] = None

    def epoch_began(self) -> None:
        """See :meth:`gateway.core.ledger.Reader.epoch_began`: :meth:`light` begins again."""

    def _publication(self, delta: Delta) -> Publication:
        health = self._feed.health
        upstream = health.upstream if self._is_lit or health.upstream == "down" else "stale"
        updates = tuple(
            PublishedValue(key, seq, None if element is None else element.value)
            for key, seq, element in delta.updates
        )
        age_ms = self._age_ms()
        as_of_ms = None if age_ms is None else self._exchange.clock.wall_ms() - age_ms
        return Publication(
            self._feed.user,
            delta.epoch,
            delta.after,
            delta.upto,
            delta.reset,
            updates,
            upstream,
            as_of_ms,
            delta.floor,
            age_ms,
        )

    def _age_ms(self) -> int | None:
        """Return since when the link is silent: to the millisecond, while phones get it less exactly."""
        health, came_at = self._feed.health, self._feed.ledger.came_at
        as_of = health.as_of
        if as_of is None:
            return None
        if health.upstream == "live" and came_at > -math.inf:
            as_of = max(as_of, came_at)
        return max(0, round((self._exchange.clock.now() - as_of) * 1000))
