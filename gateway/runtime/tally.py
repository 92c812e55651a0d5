"""Tally: the events of a cluster that metrics count, one method each.

Code reports an event once, by name. Its effect on metrics is not the runtime's concern.
"""

from __future__ import annotations

from typing import Literal

from gateway.core.rate_limits import Urgency
from gateway.domain.errors import EndReason

Takeover = Literal["planned", "early", "expired", "assumed"]
"""How a node came to own a user of another: offered by the owner; taken from one that is deaf; when
its lease was gone; without the store, which is away."""
Gift = Literal["roam", "drain", "island"]
"""Why a node gives a user to another: their phones are there; it drains; it does not reach the site."""
Detector = Literal["sequence", "probe", "subscription"]
"""What noticed that messages were lost, or may have been."""
Resync = Literal["gap", "bus", "epoch"]
"""Why a follower asks for all that may be missing: a gap, the bus is back, another owner began."""

Part = Literal["log_off", "fleet", "endings"]
"""Background work that goes on after a fault: retries of log-offs, membership, ends of sessions."""


class Tally:
    """Receives events and does nothing. A subclass counts them.

    No method blocks or raises; each is cheap enough for the place that it is called from.
    """

    def took_over(self, kind: Takeover) -> None:
        """Record that this node was granted, or assumed, a user of another."""

    def saw_again(self, blind_s: float) -> None:
        """Record how long after it began to take a user over everything asked for was there."""

    def gave(self, reason: Gift) -> None:
        """Record that another node took a user that this one offered to it."""

    def fenced_itself(self) -> None:
        """Record that a lease ran out unrenewed: this node may no longer act by it."""

    def saw_two_owners(self) -> None:
        """Record that lease and link name different owners, for longer than a move takes."""

    def dropped_stale_epoch(self) -> None:
        """Record that what an earlier owner said was not processed."""

    def found_gap(self, detector: Detector) -> None:
        """Record that messages of the bus were lost, or may have been."""

    def resynced(self, reason: Resync) -> None:
        """Record that a follower asks for all that may be missing."""

    def probed(self, seconds: float) -> None:
        """Record how long this node's own probe was under way."""

    def published(self) -> None:
        """Record that the bus took a message."""

    def read(self, seconds: float) -> None:
        """Record how long after its receipt a message of a link was in the mirror, of a sample."""

    def arrived(self, seconds: float) -> None:
        """Record how long after its receipt at the owner news was on this node, by the nodes' wall clocks."""

    def attached(self, phones: int) -> None:
        """Record that a phone is served, and how many its user has on this node."""

    def session_ended(self, reason: EndReason) -> None:
        """Record that a session of a user of this node ended."""

    def faulted(self, part: Part) -> None:
        """Record that background work failed for an unforeseen reason, and goes on."""

    def waited(self, urgency: Urgency, seconds: float) -> None:
        """Record how long a link waited for its turn at the site."""
