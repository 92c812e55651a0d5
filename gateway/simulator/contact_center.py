"""The contact centre: everything that happens to agents and contacts.

The pure model.

No I/O, no clock, no chance: :mod:`life` and :mod:`commands` cause, this room knows what follows
and notes in :attr:`ContactCenter.changes` which elements are to be read anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.simulator import counters, routing
from gateway.simulator.changes import Kind
from gateway.simulator.model import (
    Agent,
    AutoPostProcessing,
    By,
    Contact,
    ContactState,
    Media,
    Queue,
    Remote,
    TargetState,
)
from gateway.simulator.premises import Premises


class ContactCenter(Premises):
    """Agents, queues and contacts, and everything that follows from what happens to them.

    Invariant: whenever an element would read differently, its key stands in :attr:`changes`
    (the mere passing of time is no difference: seconds follow from instants).
    """

    # ---- contacts ----

    def arrive(self, queue: Queue, media: Media | None = None) -> Contact:
        """A contact comes to a queue: to an idle agent at once, or it waits."""
        contact = Contact(self._call_id(), media or queue.media, queue.key, self.now_ms, self.now_ms)
        queue.counters = counters.received(queue.counters)
        self.mark_counted(queue)
        self._route(contact, queue)
        return contact

    def call_directly(self, agent: Agent, media: Media = "Voice") -> Contact:
        """A contact comes to an agent past all queues."""
        contact = Contact(self._call_id(), media, None, self.now_ms, self.now_ms, direct=True)
        self._ring(contact, agent)
        return contact

    def give(self, agent: Agent, queue: Queue | None, media: Media | None, state: ContactState) -> Contact:
        """Put a contact that a test drives straight to an agent, in the wished state."""
        chosen: Media = media or (queue.media if queue else "Voice")
        key = queue.key if queue else None
        contact = Contact(self._call_id(), chosen, key, self.now_ms, self.now_ms, direct=queue is None)
        contact.driven = True
        if queue is not None:
            queue.counters = counters.received(queue.counters)
        routing.contact_begins(agent, contact, self.now_ms)
        contact.state = "Ringing" if state not in {"Pending", "Ringing"} else state
        if state not in {"Pending", "Ringing"}:
            self.answer(contact)
            contact.state = state
        self.mark_agent(agent)
        return contact

    def answer(self, contact: Contact) -> None:
        """The agent takes the contact."""
        agent = self._agent_of(contact)
        contact.state = "Talking"
        contact.since_ms = contact.answered_ms = self.now_ms
        if contact.queue_key is not None:
            queue = self.directory.queues[contact.queue_key]
            wait_ms = self.now_ms - contact.arrived_ms
            threshold = queue.parameters["ServiceLevelThreshold"]
            queue.counters = counters.answered(queue.counters, wait_ms, float(threshold or 0))
            self.mark_counted(queue)
        self.mark_agent(agent)
        self.fate.answered(contact)

    def turn(self, contact: Contact, state: ContactState) -> None:
        """The contact is held, consulted about, or talked to again."""
        contact.state = state
        contact.since_ms = self.now_ms
        self.mark_agent(self._agent_of(contact))

    def end(self, contact: Contact) -> None:
        """The contact is over; the agent goes where the rules lead."""
        agent = self._agent_of(contact)
        with_pending = agent.pending
        routing.contact_ends(agent, contact, self.now_ms)
        if contact.answered_ms is not None:
            agent.counters = counters.handled(agent.counters, self.now_ms - contact.answered_ms)
            self.changes.add(Kind.USER_CUMULATIVE, (agent.key,))
        contact.agent_key = None
        self._followed(agent, with_pending.by if with_pending else "System",
                       with_pending.by_name if with_pending else None)  # fmt: skip
        self.rules.plan(self.now_ms + routing.POST_PROCESSING_GRACE_S * 1000, self._regret(agent))

    def abandon(self, contact: Contact) -> None:
        """A waiting contact gives up."""
        queue = self._queue_of(contact)
        queue.waiting.remove(contact)
        queue.counters = counters.abandoned(queue.counters, self.now_ms - contact.arrived_ms)
        self.mark_counted(queue)

    def overflow(self, contact: Contact, target: Queue) -> None:
        """A waiting contact moves to another queue."""
        queue = self._queue_of(contact)
        queue.waiting.remove(contact)
        self.mark_queue(queue)
        contact.queue_key = target.key
        target.counters = counters.received(target.counters)
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
        """Ask for a routing state and let follow what follows.

        Raises:
            Refused: As :func:`routing.ask`.
        """
        before = agent.pending
        verdict = routing.ask(agent, target, reason_key, when, self.now_ms, by, by_name)
        if verdict == "Applied" or (verdict == "Pending" and agent.pending != before):
            self._followed(agent, by, by_name)
        return verdict

    def log_on(self, agent: Agent, remote: Remote | None = None) -> None:
        """Log an agent on, at his desk or remotely."""
        if remote is not None:
            agent.retired = True
            if agent.logged_on and agent.remote is None:
                self._drop_contacts(agent)
                agent.auto = AutoPostProcessing()
        routing.log_on(agent, self.now_ms, remote)
        self.mark_agent(agent)

    def set_remote(self, agent: Agent, remote: Remote, *, seen_by_all: bool) -> None:
        """Change what is known of a remote agent."""
        agent.remote = remote
        if seen_by_all:
            self.changes.add(Kind.USER, (agent.key,))
        else:
            self.changes.own.add(agent.key)
        self.generation += 1

    def leave(self, agent: Agent, limit_ms: int) -> None:
        """The agent's session is over: log him off now, or after his contact but within *limit_ms*."""
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
        self.rules.plan(until_ms, self._overdue(agent, leaving))

    def force_off(self, agent: Agent) -> None:
        """Log the agent off at once; his contacts are lost."""
        for contact in agent.contacts:
            contact.agent_key = None
        routing.log_off(agent)
        self.mark_agent(agent)

    def drop(self, contact: Contact) -> None:
        """A contact is lost, in whatever state; its agent goes where the rules lead."""
        if contact.agent_key is not None:
            contact.answered_ms = None
            self.end(contact)
        elif contact.queue_key is not None and contact in self._queue_of(contact).waiting:
            self.abandon(contact)

    def finish_post_processing(self, agent: Agent) -> None:
        """Leave post-processing for the pending or the previous state."""
        pending = agent.pending
        routing.post_processing_ends(agent, self.now_ms)
        self._followed(agent, pending.by if pending else "System", pending.by_name if pending else None)

    def post_processing_set(self, agent: Agent) -> None:
        """Note that post-processing began, or that its end moved."""
        self.mark_agent(agent)
        if agent.post is not None:
            self.rules.plan(agent.post.ends_ms, self._post_processing_due(agent))

    # ---- what follows ----

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
        self.fate.waits(contact)

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
        self.fate.rings(contact)

    def _drop_contacts(self, agent: Agent) -> None:
        for contact in agent.contacts:
            contact.agent_key = None
        agent.contacts.clear()
        agent.post = agent.unprocessed = None
        agent.post_wanted_s = None

    def _post_processing_due(self, agent: Agent) -> Callable[[int], None]:
        expected = agent.post

        def due(_due_ms: int) -> None:
            if agent.post is not None and agent.post is expected:
                self.finish_post_processing(agent)

        return due

    def _overdue(self, agent: Agent, leaving: Remote) -> Callable[[int], None]:
        def due(_due_ms: int) -> None:
            if agent.remote is leaving:
                self.force_off(agent)

        return due

    def _regret(self, agent: Agent) -> Callable[[int], None]:
        contact = agent.last_contact

        def due(_due_ms: int) -> None:
            if contact is not None and agent.last_contact is contact:
                agent.last_contact = None
                self.changes.add(Kind.USER, (agent.key,))
                self.generation += 1

        return due

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
