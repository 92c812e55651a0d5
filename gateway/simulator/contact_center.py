"""The contact centre: events of agents and contacts, and the state of functions.

A pure model without I/O, clock and randomness. :mod:`life` and :mod:`commands` cause events; this module
applies their consequences, and records in :attr:`ContactCenter.changes` which elements changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from gateway.simulator import model, routing
from gateway.simulator.directory import Directory
from gateway.simulator.fields import Refused
from gateway.simulator.model import (
    Agent,
    AutoPostProcessing,
    By,
    Changes,
    Contact,
    ContactState,
    Counters,
    Json,
    Kind,
    Media,
    Pending,
    Queue,
    Remote,
    Schedule,
    TargetState,
    UserCounters,
)

FunctionState = Literal["Up", "Degraded", "Down"]
STATES: Final[tuple[FunctionState, ...]] = ("Up", "Degraded", "Down")

MANAGERS: Final[dict[str, str]] = {
    "RealTime": "Statistics",
    "Historical": "Statistics",
    "Voice": "Media",
    "Email": "Media",
    "Callback": "Media",
    "WebCollaboration": "Media",
    "LocalRouting": "Routing",
    "NetworkRouting": "Routing",
    "RemoteAgent": "Routing",
    "AdministrationDatabase": "Administration",
}
"""Function → its manager."""


@dataclass(slots=True)
class Functions:
    """The state of each function; all are up at first."""

    states: dict[str, FunctionState] = field(default_factory=lambda: dict.fromkeys(MANAGERS, "Up"))

    def need(self, *names: str) -> None:
        """Return only when none of *names* is down.

        Raises:
            Refused: ``FunctionUnavailable`` with the function's name.
        """
        for name in names:
            if self.is_down(name):
                raise Refused("FunctionUnavailable", Function=name)

    def is_down(self, name: str) -> bool:
        """Return whether the function is down; an unknown one never is."""
        return self.states.get(name) == "Down"

    def messages(self) -> list[Json]:
        """Return one ``ManagerStateChanged`` for each function."""
        return [self.message(name) for name in self.states]

    def message(self, name: str) -> Json:
        """Return the ``ManagerStateChanged`` of one function."""
        return {
            "Type": "ManagerStateChanged",
            "Manager": MANAGERS[name],
            "Function": name,
            "State": self.states[name],
        }


class ContactPlans:
    """Plans the future of contacts. This one plans nothing: contacts change only by calls."""

    def waits(self, contact: Contact) -> None:
        """Plan for *contact*, which waits in its queue."""

    def rings(self, contact: Contact) -> None:
        """Plan for *contact*, which rings at its agent."""

    def answered(self, contact: Contact) -> None:
        """Plan for *contact*, which was answered."""


LoggedOff = Callable[[Agent, By, str | None], None]


class CenterState:
    """The centre's objects, agendas and records of changes.

    Invariant: events happen in the order of their instants, and :attr:`now_ms` never goes back.
    """

    def __init__(self, directory: Directory, now_ms: int, zone: str = "UTC") -> None:
        self.directory = directory
        self.now_ms = now_ms
        self.skew_ms = 0
        """The server's clock minus the centre's; a step of the server's clock changes it."""
        self.changes = Changes()
        self.generation = 0
        """Increased with each change."""
        self.functions = Functions()
        self.plans = ContactPlans()
        self.rules = Schedule()
        self.life = Schedule()
        self.paused_ms: int | None = None
        self.on_logged_off: LoggedOff = lambda _agent, _by, _name: None
        """Called after a logged-on agent was logged off at the request of the agent or of another user."""
        self.overrides: dict[int, str] = {}
        """User → a routing state that the protocol page does not define (a fault)."""
        self._zone = zone
        self._calls = itertools.count(1)
        self.rules.plan(model.midnight_after(now_ms, zone), self._new_day)

    # ---- time ----

    @property
    def wall_ms(self) -> int:
        """The server's clock."""
        return self.now_ms + self.skew_ms

    def advance(self, now_ms: int) -> None:
        """Let all events that are due until *now_ms* happen, each at its own instant."""
        while True:
            agenda = self._earliest(now_ms)
            if agenda is None:
                break
            self.now_ms = max(self.now_ms, agenda.next_ms or 0)
            agenda.happen()
        self.now_ms = max(self.now_ms, now_ms)

    def pause(self) -> None:
        """Stop random events from now on; rules with deadlines and requests continue."""
        if self.paused_ms is None:
            self.paused_ms = self.now_ms

    def resume(self) -> None:
        """Continue as if no time had passed."""
        if self.paused_ms is not None:
            self.life.shift(self.now_ms - self.paused_ms)
            self.paused_ms = None

    # ---- notes ----

    def mark_agent(self, agent: Agent) -> None:
        """Record that an agent's element changed, and the counts of their queues and groups."""
        self.changes.add(Kind.USER, (agent.key,))
        self.changes.add(Kind.QUEUE, self.directory.queues_of.get(agent.key, ()))
        self.changes.add(Kind.GROUP, agent.group_keys)
        self.generation += 1

    def mark_queue(self, queue: Queue) -> None:
        """Record that a queue's element changed, and those of its groups and aggregates."""
        self.changes.add(Kind.QUEUE, (queue.key,))
        self.changes.add(Kind.GROUP, self.directory.groups_of.get(queue.key, ()))
        self.changes.add(Kind.AGGREGATE, self.directory.aggregates_of.get(queue.key, ()))
        self.generation += 1

    def mark_configuration(self, key: int) -> None:
        """Record that an object's skills or routing parameters changed."""
        self.changes.add(Kind.CONFIGURATION, (key,))
        self.generation += 1

    # ---- inside ----

    def _new_day(self) -> None:
        start_ms = self.wall_ms
        for queue in self.directory.queues.values():
            queue.counters = Counters(start_ms)
            self.mark_counted(queue)
        for agent in self.directory.agents.values():
            agent.counters = UserCounters(start_ms)
        self.changes.add(Kind.USER_CUMULATIVE, self.directory.agents)
        self.rules.plan(model.midnight_after(self.now_ms, self._zone), self._new_day)

    def mark_counted(self, queue: Queue) -> None:
        """Record that a queue's cumulative element changed as well."""
        self.changes.add(Kind.QUEUE_CUMULATIVE, (queue.key,))
        self.mark_queue(queue)

    def _earliest(self, now_ms: int) -> Schedule | None:
        agendas = (self.rules,) if self.paused_ms is not None else (self.rules, self.life)
        due = [(each.next_ms, n) for n, each in enumerate(agendas) if each.next_ms is not None]
        return agendas[min(due)[1]] if due and min(due)[0] <= now_ms else None


class ContactCenter(CenterState):
    """Agents, queues and contacts, with all consequences of their events.

    Invariant: when an element would read differently, its key is in :attr:`changes`. The passing of time
    alone is no difference, since elements contain instants.
    """

    # ---- contacts ----

    def arrive(self, queue: Queue, media: Media | None = None) -> Contact:
        """Add a contact to a queue: it goes to an idle agent at once, or waits."""
        contact = Contact(self._call_id(), media or queue.media, queue.key, self.now_ms, self.now_ms)
        queue.counters = model.received(queue.counters)
        self.mark_counted(queue)
        self._route(contact, queue)
        return contact

    def call_directly(self, agent: Agent, media: Media = "Voice") -> Contact:
        """Add a contact directly to an agent, without a queue."""
        contact = Contact(self._call_id(), media, None, self.now_ms, self.now_ms, direct=True)
        self._ring(contact, agent)
        return contact

    def give(self, agent: Agent, queue: Queue | None, media: Media | None, state: ContactState) -> Contact:
        """Give an agent a contact of a test, in the requested state."""
        chosen: Media = media or (queue.media if queue else "Voice")
        key = queue.key if queue else None
        contact = Contact(self._call_id(), chosen, key, self.now_ms, self.now_ms, direct=queue is None)
        contact.driven = True
        if queue is not None:
            queue.counters = model.received(queue.counters)
        routing.contact_begins(agent, contact, self.now_ms)
        contact.state = "Ringing" if state not in {"Pending", "Ringing"} else state
        if state not in {"Pending", "Ringing"}:
            self.answer(contact)
            contact.state = state
        self.mark_agent(agent)
        return contact

    def answer(self, contact: Contact) -> None:
        """Let the agent answer the contact."""
        agent = self._agent_of(contact)
        contact.state = "Talking"
        contact.since_ms = contact.answered_ms = self.now_ms
        if contact.queue_key is not None:
            queue = self.directory.queues[contact.queue_key]
            wait_ms = self.now_ms - contact.arrived_ms
            threshold = queue.parameters["ServiceLevelThreshold"]
            queue.counters = model.answered(queue.counters, wait_ms, float(threshold or 0))
            self.mark_counted(queue)
        self.mark_agent(agent)
        self.plans.answered(contact)

    def turn(self, contact: Contact, state: ContactState) -> None:
        """Put the contact on hold, into consultation, or back to talking."""
        contact.state = state
        contact.since_ms = self.now_ms
        self.mark_agent(self._agent_of(contact))

    def end(self, contact: Contact) -> None:
        """End the contact; the agent's next state follows the rules."""
        agent = self._agent_of(contact)
        pending = agent.pending
        routing.contact_ends(agent, contact, self.now_ms)
        if contact.answered_ms is not None:
            agent.counters = model.handled(agent.counters, self.now_ms - contact.answered_ms)
            self.changes.add(Kind.USER_CUMULATIVE, (agent.key,))
        contact.agent_key = None
        self._entered(agent, pending)
        forget_ms = self.now_ms + routing.POST_PROCESSING_GRACE_S * 1000
        self._plan_for(forget_ms, lambda: agent.last_contact, lambda: self._forget_last_contact(agent))

    def abandon(self, contact: Contact) -> None:
        """Let a waiting contact hang up."""
        queue = self._queue_of(contact)
        queue.waiting.remove(contact)
        queue.counters = model.abandoned(queue.counters, self.now_ms - contact.arrived_ms)
        self.mark_counted(queue)

    def overflow(self, contact: Contact, target: Queue) -> None:
        """Move a waiting contact to another queue."""
        queue = self._queue_of(contact)
        queue.waiting.remove(contact)
        self.mark_queue(queue)
        contact.queue_key = target.key
        target.counters = model.received(target.counters)
        self.mark_counted(target)
        self._route(contact, target)

    # ---- agents ----

    def ask(
        self,
        agent: Agent,
        target: TargetState,
        reason_key: int | None,
        when: routing.When,
        by: By,
        by_name: str | None = None,
    ) -> routing.Verdict:
        """Request a routing state and apply the consequences.

        Raises:
            Refused: As :func:`routing.ask`.
        """
        before = agent.pending
        verdict = routing.ask(agent, target, reason_key, when, self.now_ms, by, by_name)
        if verdict == "Applied" or (verdict == "Pending" and agent.pending != before):
            self._followed(agent, by, by_name)
        return verdict

    def log_on(self, agent: Agent, remote: Remote | None = None) -> None:
        """Log an agent on, at their desk or remotely."""
        if remote is not None:
            agent.retired = True
            if agent.logged_on and agent.remote is None:
                self._drop_contacts(agent)
                agent.auto = AutoPostProcessing()
        routing.log_on(agent, self.now_ms, remote)
        self.mark_agent(agent)

    def set_remote(self, agent: Agent, remote: Remote, *, seen_by_all: bool) -> None:
        """Change the data of a remote agent."""
        agent.remote = remote
        if seen_by_all:
            self.changes.add(Kind.USER, (agent.key,))
        else:
            self.changes.own.add(agent.key)
        self.generation += 1

    def leave(self, agent: Agent, limit_ms: int) -> None:
        """Log the agent of an ended session off: now, or after the contact but within *limit_ms*."""
        if agent.remote is None:
            return
        if not agent.contacts:
            self.force_off(agent)
            return
        until_ms = self.now_ms + limit_ms
        leaving = replace(agent.remote, routed_until_ms=until_ms, present=False, absent_since_ms=self.now_ms)
        agent.post = None
        routing.ask(agent, "LoggedOff", None, "AfterContact", self.now_ms, "System")
        self.set_remote(agent, leaving, seen_by_all=True)
        self._plan_for(until_ms, lambda: agent.remote, lambda: self.force_off(agent))

    def force_off(self, agent: Agent) -> None:
        """Log the agent off at once; their contacts are lost."""
        for contact in agent.contacts:
            contact.agent_key = None
        routing.log_off(agent)
        self.mark_agent(agent)

    def drop(self, contact: Contact) -> None:
        """Drop a contact, in any state; the agent's next state follows the rules."""
        if contact.agent_key is not None:
            contact.answered_ms = None
            self.end(contact)
        elif contact.queue_key is not None and contact in self._queue_of(contact).waiting:
            self.abandon(contact)

    def finish_post_processing(self, agent: Agent) -> None:
        """Leave post-processing for the pending or the previous state."""
        pending = agent.pending
        routing.post_processing_ends(agent, self.now_ms)
        self._entered(agent, pending)

    def post_processing_set(self, agent: Agent) -> None:
        """Record that post-processing began, or that its end moved."""
        self.mark_agent(agent)
        if agent.post is not None:
            self._plan_for(agent.post.ends_ms, lambda: agent.post, lambda: self.finish_post_processing(agent))

    # ---- what follows ----

    def _entered(self, agent: Agent, pending: Pending | None) -> None:
        """Apply the consequences after handling has emptied, when *pending* was the next state."""
        if pending is None:
            self._followed(agent, "System", None)
        else:
            self._followed(agent, pending.by, pending.by_name)

    def _followed(self, agent: Agent, by: By, by_name: str | None) -> None:
        self.mark_agent(agent)
        if not agent.logged_on:
            self.on_logged_off(agent, by, by_name)
        elif agent.idle:
            self._serve(agent)
        elif agent.post is not None:
            self.post_processing_set(agent)

    def _route(self, contact: Contact, queue: Queue) -> None:
        idle = [agent for agent in self.directory.agents_of.get(queue.key, ()) if agent.idle]
        if idle and not queue.waiting:
            self._ring(contact, min(idle, key=self._preferred(queue)))
            return
        contact.state = "Pending"
        queue.waiting.append(contact)
        self.mark_queue(queue)
        self.plans.waits(contact)

    def _serve(self, agent: Agent) -> None:
        queues = (self.directory.queues[key] for key in self.directory.queues_of.get(agent.key, ()))
        waiting = [queue for queue in queues if queue.waiting]
        if waiting:
            queue = min(waiting, key=_urgency)
            contact = queue.waiting.popleft()
            self.mark_queue(queue)
            self._ring(contact, agent)

    def _ring(self, contact: Contact, agent: Agent) -> None:
        contact.state = "Ringing"
        routing.contact_begins(agent, contact, self.now_ms)
        self.mark_agent(agent)
        self.plans.rings(contact)

    def _drop_contacts(self, agent: Agent) -> None:
        for contact in agent.contacts:
            contact.agent_key = None
        agent.contacts.clear()
        agent.post = agent.unprocessed = None
        agent.post_wanted_s = None

    def _plan_for(self, due_ms: int, read: Callable[[], object], act: Callable[[], None]) -> None:
        """Plan *act* for *due_ms*, if *read* returns something now, and the same object then."""
        expected = read()

        def due() -> None:
            if expected is not None and read() is expected:
                act()

        self.rules.plan(due_ms, due)

    def _forget_last_contact(self, agent: Agent) -> None:
        agent.last_contact = None
        self.changes.add(Kind.USER, (agent.key,))
        self.generation += 1

    def _preferred(self, queue: Queue) -> Callable[[Agent], tuple[int, int]]:
        best = queue.parameters["Distribution"] == "BestSkilled"

        def order(agent: Agent) -> tuple[int, int]:
            return (
                -agent.skills[queue.skill_key].level if best else 0,
                max(agent.since_ms, agent.last_contact_ms),
            )

        return order

    def _agent_of(self, contact: Contact) -> Agent:
        if contact.agent_key is None:
            raise LookupError(f"contact {contact.call_id} is at no agent")
        return self.directory.agents[contact.agent_key]

    def _queue_of(self, contact: Contact) -> Queue:
        if contact.queue_key is None:
            raise LookupError(f"contact {contact.call_id} waits in no queue")
        return self.directory.queues[contact.queue_key]

    def _call_id(self) -> str:
        return f"C{next(self._calls):06d}"


def _urgency(queue: Queue) -> tuple[float, int]:
    priority = queue.parameters["Priority"]
    return (-float(priority or 0), queue.waiting[0].arrived_ms)
