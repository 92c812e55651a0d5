"""How does what changed for many users reach each node that follows them in one message?

Whoever has something to publish says so; what is said in one turn leaves together, a message for each
node. One such round is under way at a time: what changes meanwhile goes with the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import Channel, Envelope, Events, Inbox, Publication, Publications
from gateway.runtime.spawn import spawn

UPDATES_MAX: Final = 2_000
"""Values and publications of one message, unless a single publication has more: some 0.5 MB."""


class Share(NamedTuple):
    """What one user's owner publishes now, and for whom.

    *nodes*: who follows; None when one of them reads nothing but the user's own channel.
    """

    publication: Publication
    nodes: tuple[NodeId, ...] | None


class Source(Protocol):
    """An owner with something to publish. Told apart by identity."""

    def __hash__(self) -> int:
        """By identity."""
        ...

    def take(self) -> Share | None:
        """Return what is to be published now; it counts as sent. None: nothing any more."""
        ...


class Bundles:
    """What the owners of one node publish.

    Invariants: messages leave in the order in which they were taken, and in the order of whatever else is
    given to *deliver*; a message that is lost takes its users' changes with it, and nothing else.

    Args:
        deliver: Sends an envelope; returns when it was taken, or raises :class:`GatewayError`.
    """

    def __init__(self, deliver: Callable[[Channel, Envelope], Awaitable[int]]) -> None:
        self._deliver = deliver
        self._sources: dict[Source, None] = {}
        self._under_way = 0
        self._tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._sources)

    def run_in(self, tasks: asyncio.TaskGroup | None) -> None:
        """Publish in *tasks* from now on; None: no more."""
        self._tasks = tasks
        if tasks is None:
            self._sources.clear()

    def add(self, source: Source) -> None:
        """Take from *source* in the next round."""
        if self._tasks is not None:
            self._sources[source] = None
            self._plan()

    def hurry(self, source: Source) -> None:
        """Take from *source* now: what is sent next must not overtake it."""
        share = source.take() if self._tasks is not None else None
        if share is not None:
            self._give([share])

    def _plan(self) -> None:
        if self._sources and not self._under_way:
            self._under_way += spawn(self._tasks, self._round())

    async def _round(self) -> None:
        """Send a message for each node: all are given before the first one is waited for."""
        sources, self._sources = self._sources, {}
        shares = [share for source in sources if (share := source.take()) is not None]
        self._give(shares)
        self._done()

    def _give(self, shares: Iterable[Share]) -> None:
        for channel, envelope in _messages(shares):  # a task each, as all that is sent: so order is kept
            self._under_way += spawn(self._tasks, self._send(channel, envelope))

    async def _send(self, channel: Channel, envelope: Envelope) -> None:
        with suppress(GatewayError):  # whoever missed it finds a gap, and asks
            await self._deliver(channel, envelope)
        self._done()

    def _done(self) -> None:
        self._under_way -= 1
        self._plan()


def _messages(shares: Iterable[Share]) -> list[tuple[Channel, Envelope]]:
    alone: list[tuple[Channel, Envelope]] = []
    by_node: dict[NodeId, list[Publication]] = {}
    for publication, nodes in shares:
        if nodes is None:
            alone.append((Events(publication.user), publication))
            continue
        for node in nodes:
            by_node.setdefault(node, []).append(publication)
    bundles = [(Inbox(node), bundle) for node, told in by_node.items() for bundle in _bounded(told)]
    return [*alone, *bundles]


def _bounded(told: list[Publication]) -> list[Publications]:
    """Return *told* in messages of a bounded size."""
    bundles: list[list[Publication]] = []
    room = 0
    for publication in told:
        size = 1 + len(publication.updates)
        if not bundles or size > room:
            bundles.append([])
            room = UPDATES_MAX
        bundles[-1].append(publication)
        room -= size
    return [Publications(tuple(bundle)) for bundle in bundles]
