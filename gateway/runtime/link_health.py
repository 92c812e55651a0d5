"""Link health: freshness of the owner's link, as phones see it."""

from __future__ import annotations

import math

from gateway.core.effects import Health
from gateway.core.link import LinkMachine, LinkState
from gateway.runtime.feed import Feed
from gateway.runtime.linked import Linked
from gateway.runtime.mirror import Mirror
from gateway.runtime.world import World


class LinkHealth:
    """One owner's link, by its signs of life.

    Args:
        feed: Who is told.
        mirror: What is told.
        machine: The link's.
        world: The outside.
        is_taking_over: Whether another owner's data is shown: it is stale until a link was tried.
    """

    def __init__(
        self, feed: Feed, mirror: Mirror, machine: LinkMachine, world: World, *, is_taking_over: bool
    ) -> None:
        self._feed = feed
        self._mirror = mirror
        self._machine = machine
        self._world = world
        self.is_taking_over = is_taking_over
        self._blind_since = world.clock.now() if is_taking_over else None
        self._as_of = feed.health.as_of
        self._is_doubted = False
        """Whether another node was granted the lease, and the link has brought nothing since."""

    def doubted(self, linked: Linked | None) -> None:
        """Note that another node was granted the lease: the link may be replaced, and its end lost."""
        if linked is not None:
            self._is_doubted = True
            linked.keep_alive()
            self.say()

    def heard(self) -> None:
        """Note that a message came."""
        self._is_doubted = False
        self._machine.heard(self._world.clock.now())
        self._date()
        self.say()

    def read(self) -> None:
        """Note that a message is in the mirror, and its readers are told."""
        self._world.tally.read(self._world.clock.now() - self._feed.ledger.came_at)

    def sees(self, *, regained: bool) -> None:
        """Note that the server may have begun or ceased to tell realtime data."""
        if regained:
            self._machine.doubt()
        self.say()

    def agreed(self, keep_alive_s: float) -> None:
        """Note after which silence the server wants a sign of life."""
        self._machine.agreed(keep_alive_s)

    def synced(self) -> None:
        """Note that every question asked so far is answered, and the mirror shows it."""
        self._machine.synced(self._world.clock.now())
        self.is_taking_over = False
        if self._blind_since is not None:
            self._world.tally.saw_again(self._world.clock.now() - self._blind_since)
            self._blind_since = None
        self._date()
        self.say()

    def unreached(self) -> None:
        """Note that there is no link now."""
        self._is_doubted = False
        self.is_taking_over = False
        self.say()

    def tend(self, linked: Linked | None, now: float) -> None:
        """Do for the open link what is due."""
        if linked is None:
            return
        match self._machine.need(now):
            case "keep_alive":
                linked.keep_alive()
            case "listen_anew":
                linked.listen_anew()
            case "drop":
                linked.close()
            case "nothing":
                linked.tick(now)

    def due_at(self, linked: Linked) -> float:
        """Return when the link needs something by time alone; in the past: in each tick."""
        is_odd = self._is_doubted or self.is_taking_over
        return -math.inf if is_odd else min(self._machine.due_at, linked.due_at)

    def _date(self) -> None:
        """Move the age of the data if all that is shown was read on this link since its last silence."""
        mirror, came_at = self._mirror, self._feed.ledger.came_at
        is_read = mirror.live and self._machine.state is LinkState.LIVE and not self._is_old
        is_first = mirror.has_snapshot and self._as_of is None
        if (is_read or is_first) and came_at > -math.inf:
            self._as_of = came_at

    @property
    def _is_old(self) -> bool:
        return self._mirror.is_blind or self._mirror.is_partial or self._is_doubted

    def say(self) -> None:
        """Tell phones and other nodes."""
        upstream = self._machine.health(self._world.clock.now())
        if (upstream == "live" and self._is_old) or (upstream == "down" and self.is_taking_over):
            upstream = "stale"
        is_known = self._mirror.has_snapshot or self._feed.health.as_of is not None
        bus = self._world.exchange.machine.health
        self._feed.say(Health(upstream, bus, self._as_of if is_known else None))
