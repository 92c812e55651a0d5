"""Clock, agenda and changes of one contact centre.

It has no rules of contacts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Protocol

from gateway.simulator import counters
from gateway.simulator.agenda import Agenda
from gateway.simulator.changes import Changes, Kind
from gateway.simulator.directory import Directory
from gateway.simulator.functions import Functions
from gateway.simulator.model import Agent, By, Contact, Counters, Queue, UserCounters


class Fate(Protocol):
    """Whoever decides how a contact goes on; told, not asked."""

    def waits(self, contact: Contact) -> None:
        """*contact* waits in its queue."""

    def rings(self, contact: Contact) -> None:
        """*contact* rings at its agent."""

    def answered(self, contact: Contact) -> None:
        """*contact* is being talked to."""


class NoFate:
    """Nothing happens by itself."""

    def waits(self, contact: Contact) -> None:
        """Let it wait."""

    def rings(self, contact: Contact) -> None:
        """Let it ring."""

    def answered(self, contact: Contact) -> None:
        """Let them talk."""


LoggedOff = Callable[[Agent, By, str | None], None]


class Premises:
    """The centre's objects, agendas and notes of what is to be read anew.

    Invariant: happenings take place in the order of their instants, and :attr:`now_ms` never goes back.
    """

    def __init__(self, directory: Directory, now_ms: int, zone: str = "UTC") -> None:
        self.directory = directory
        self.now_ms = now_ms
        self.skew_ms = 0
        """The server's clock minus the centre's; stepping the server's clock changes it."""
        self.changes = Changes()
        self.generation = 0
        """Grows with each change."""
        self.functions = Functions()
        self.fate: Fate = NoFate()
        self.rules = Agenda()
        self.life = Agenda()
        self.paused_ms: int | None = None
        self.on_logged_off: LoggedOff = lambda _agent, _by, _name: None
        """Told after a logged-on agent was logged off by his own or another's asking."""
        self.overrides: dict[int, str] = {}
        """User → a routing state that the page does not know (a fault)."""
        self._zone = zone
        self._calls = itertools.count(1)
        self.rules.plan(counters.midnight_after(now_ms, zone), self._new_day)

    # ---- time ----

    @property
    def wall_ms(self) -> int:
        """The server's clock."""
        return self.now_ms + self.skew_ms

    def advance(self, now_ms: int) -> None:
        """Let everything due until *now_ms* happen, each at its own instant."""
        while True:
            agenda = self._earliest(now_ms)
            if agenda is None:
                break
            self.now_ms = max(self.now_ms, agenda.next_ms or 0)
            agenda.happen()
        self.now_ms = max(self.now_ms, now_ms)

    def pause(self) -> None:
        """Let nothing happen by itself any more; rules with deadlines and requests go on."""
        if self.paused_ms is None:
            self.paused_ms = self.now_ms

    def resume(self) -> None:
        """Let life go on as if no time had passed."""
        if self.paused_ms is not None:
            self.life.shift(self.now_ms - self.paused_ms)
            self.paused_ms = None

    # ---- notes ----

    def mark_agent(self, agent: Agent) -> None:
        """An agent's element changed, and the counts of his queues and groups."""
        self.changes.add(Kind.USER, (agent.key,))
        self.changes.add(Kind.QUEUE, self.directory.queues_of.get(agent.key, ()))
        self.changes.add(Kind.GROUP, agent.group_keys)
        self.generation += 1

    def mark_queue(self, queue: Queue) -> None:
        """A queue's element changed, and those of its groups and aggregates."""
        self.changes.add(Kind.QUEUE, (queue.key,))
        self.changes.add(Kind.GROUP, self.directory.groups_of.get(queue.key, ()))
        self.changes.add(Kind.AGGREGATE, self.directory.aggregates_of.get(queue.key, ()))
        self.generation += 1

    def mark_configuration(self, key: int) -> None:
        """An object's skills or routing parameters changed."""
        self.changes.add(Kind.CONFIGURATION, (key,))
        self.generation += 1

    # ---- inside ----

    def _new_day(self, due_ms: int) -> None:
        start_ms = due_ms + self.skew_ms
        for queue in self.directory.queues.values():
            queue.counters = Counters(start_ms)
            self.mark_counted(queue)
        for agent in self.directory.agents.values():
            agent.counters = UserCounters(start_ms)
        self.changes.add(Kind.USER_CUMULATIVE, self.directory.agents)
        self.rules.plan(counters.midnight_after(due_ms, self._zone), self._new_day)

    def mark_counted(self, queue: Queue) -> None:
        """A queue's cumulative element changed as well."""
        self.changes.add(Kind.QUEUE_CUMULATIVE, (queue.key,))
        self.mark_queue(queue)

    def _earliest(self, now_ms: int) -> Agenda | None:
        agendas = (self.rules,) if self.paused_ms is not None else (self.rules, self.life)
        due = [(each.next_ms, n) for n, each in enumerate(agendas) if each.next_ms is not None]
        return agendas[min(due)[1]] if due and min(due)[0] <= now_ms else None
