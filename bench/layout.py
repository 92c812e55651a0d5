"""Layout of a benchmark's site: its objects, and the scope of each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FIRST_USER = 100_000_000
"""Keys of supervisors; agents and queues have smaller ones, so that no two objects share a key."""
FIRST_AGENT = 10_000_000
FIRST_QUEUE = 1


class Sight(NamedTuple):
    """What a user may see."""

    queues: range
    agents: range


@dataclass(frozen=True, slots=True)
class Layout:
    """The users of an OSCC-E Server and their resources.

    Attributes:
        users: Supervisors, whose names are ``user0`` and so on.
        queues: That each of them sees.
        agents: That each of them sees.
        shared: Whether all see the same ones; else each has his own.
    """

    users: int
    queues: int
    agents: int = 0
    shared: bool = True

    def sight(self, user: int) -> Sight:
        """Return what user number *user* sees: keys."""
        at = 0 if self.shared else user
        first_queue, first_agent = FIRST_QUEUE + at * self.queues, FIRST_AGENT + at * self.agents
        return Sight(
            range(first_queue, first_queue + self.queues), range(first_agent, first_agent + self.agents)
        )

    @property
    def worlds(self) -> int:
        """How many disjoint sets of resources there are: topics, as a publisher calls them."""
        return 1 if self.shared else self.users

    def key(self, world: int, turn: int) -> int:
        """Return the resource that is next in a set: all its queues and agents, one after the other."""
        sight = self.sight(world)
        at = turn % (self.queues + self.agents)
        return sight.queues[at] if at < self.queues else sight.agents[at - self.queues]
