"""Which of the nodes that own what this node follows do not listen any more?

Pure: *now* is monotonic seconds. What a node that is deaf owns may be taken from it, if the bus itself
has carried this node's probes for long enough (:mod:`gateway.core.bus_state`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.domain.model import NodeId

ASK_EVERY_S: Final = 1.0
UNHEARD_S: Final = 1.0
"""How far apart two questions must be that nobody received."""
UNANSWERED_S: Final = 3.0


@dataclass(slots=True)
class _Peer:
    """What is known of one node. Numbers up to *settled* are of no interest any more."""

    settled: int
    asked_at: float = -math.inf
    received: int = 0
    """The newest question of which it is known whether anybody received it."""
    waits_for: int = 0
    """The newest question that somebody received."""
    waits_since: float | None = None
    unheard_since: float | None = None
    unheard_at: float = -math.inf

    def is_deaf(self, now: float) -> bool:
        is_unheard = self.unheard_since is not None and self.unheard_at - self.unheard_since >= UNHEARD_S
        return is_unheard or (self.waits_since is not None and now - self.waits_since >= UNANSWERED_S)


class Peers:
    """Signs of life of the owner nodes that this node follows.

    Each is asked at least once a second, if only for a sign of life. A question has a number; what
    becomes of it is told by :meth:`received` and :meth:`answered`, in any order; that the bus did not take
    it is not told, as it shows nothing of the node.

    Bounded: nothing is remembered but of nodes that are followed, and of each the same few numbers
    however often it is asked.

    Invariants: a node is deaf only when nobody received two questions at least 1 s apart and nothing
    showed otherwise between, or when a question that was received, and every later one, has had no
    answer for 3 s.

    Args:
        first: The number before that of its first question: another life of the node counts elsewhere.
    """

    def __init__(self, first: int = 0) -> None:
        self._number = first
        self._peers: dict[NodeId, _Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def follow(self, nodes: Iterable[NodeId]) -> None:
        """Follow exactly *nodes*; what is known of others is forgotten."""
        self._peers = {node: self._peers.get(node) or _Peer(self._number) for node in nodes}

    # ---- questions ----

    def due(self, now: float) -> tuple[NodeId, ...]:
        """Return who is to be asked now, whatever there is to ask."""
        return tuple(node for node, peer in self._peers.items() if now >= peer.asked_at + ASK_EVERY_S)

    @property
    def due_at(self) -> float:
        """When somebody is to be asked; inf when nobody is followed."""
        return min((peer.asked_at + ASK_EVERY_S for peer in self._peers.values()), default=math.inf)

    def asking(self, node: NodeId, now: float) -> int:
        """Note that *node* is asked, and return the question's number: above all before."""
        self._number += 1
        peer = self._peers.get(node)
        if peer is not None:
            peer.asked_at = now
        return self._number

    def received(self, node: NodeId, number: int, receivers: int, now: float) -> None:
        """Note how many were subscribed when a question was published."""
        peer = self._peers.get(node)
        if peer is None or number <= max(peer.settled, peer.received):
            return
        peer.received = number
        if receivers:
            peer.unheard_since = None
            peer.waits_for = number
            peer.waits_since = now if peer.waits_since is None else peer.waits_since
        else:
            peer.unheard_since = now if peer.unheard_since is None else peer.unheard_since
            peer.unheard_at = now

    def answered(self, node: NodeId, number: int, now: float) -> None:
        """Note an answer. It settles every question up to its own, as questions arrive in order."""
        peer = self._peers.get(node)
        if peer is None or not peer.settled < number <= self._number:
            return
        peer.settled = number
        peer.unheard_since = None
        # what is still open counts from this sign of life, so that only one time must be remembered
        peer.waits_since = None if peer.waits_since is None or number >= peer.waits_for else now

    # ---- what it tells ----

    def deaf(self, now: float) -> frozenset[NodeId]:
        """Return the followed nodes that do not listen any more."""
        return frozenset(node for node, peer in self._peers.items() if peer.is_deaf(now))
