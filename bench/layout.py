"""Layout of a benchmark's site: its objects, and the scope of each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FIRST_USER = 100_000_000
"""First key of supervisors; agents and queues have smaller keys."""
FIRST_AGENT = 10_000_000
FIRST_QUEUE = 1


class VisibleKeys(NamedTuple):
    """Keys that a user may see."""

    queues: range
    agents: range


@dataclass(frozen=True, slots=True)
class Layout:
    """The users of an OSCC-E Server and their resources.

    Attributes:
        users: Number of supervisors, named ``user0`` and so on.
        queues: Number of queues that each of them sees.
        agents: Number of agents that each of them sees.
        shared: Whether all see the same ones; else each supervisor has their own.
    """

    users: int
    queues: int
    agents: int = 0
    shared: bool = True

    def visible_keys(self, user: int) -> VisibleKeys:
        """Return the keys that user number *user* sees."""
        at = 0 if self.shared else user
        first_queue, first_agent = FIRST_QUEUE + at * self.queues, FIRST_AGENT + at * self.agents
        return VisibleKeys(
            range(first_queue, first_queue + self.queues), range(first_agent, first_agent + self.agents)
        )

    @property
    def resource_sets(self) -> int:
        """Number of disjoint sets of resources, which a publisher calls topics."""
        return 1 if self.shared else self.users

    def key(self, resource_set: int, turn: int) -> int:
        """Return the key at *turn* in a set; turns go round its queues, then its agents."""
        set_, at = 0 if self.shared else resource_set, turn % (self.queues + self.agents)
        if at < self.queues:
            return FIRST_QUEUE + set_ * self.queues + at
        return FIRST_AGENT + set_ * self.agents + at - self.queues
