"""Random events of the contact centre: contacts that arrive, wait, are handled and end.

They come from a seeded generator: Poisson arrivals, exponential talk times and patience, desks that open and
close, breaks.
"""

from __future__ import annotations

import random  # noqa: TID251 - a generator seeded by the settings, given as an argument
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.simulator.contact_center import ContactCenter, ContactPlans
from gateway.simulator.fields import Refused
from gateway.simulator.model import Agent, AutoPostProcessing, Contact, ContactState, Queue, TargetState

TALK_S, RING_S, PATIENCE_S, DIRECT_S = 150.0, 4.0, 150.0, 90.0
AFTER_S = 25
"""Automatic post-processing at desks."""
TALK_REMOTE_S = 15.0
"""Mean talk time of Remote Assistants: a person who tries the application soon sees a contact end."""
CALL_REMOTE_S = 15.0
"""Interval in which an available Remote Assistant without a recent contact is called."""
AT_DESK = 0.75
"""Share of agents logged on at first."""
OCCUPANCY = 0.8
"""Share of the agents' time that arrivals would fill if all agents were always available."""
CHANGES_PER_CONTACT = 30
"""Element changes that one contact causes, from arrival to the end of post-processing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen."""

    contacts_per_s: float
    stay_s: float = 600.0
    """How long a desk keeps its state."""


def pace_for(center: ContactCenter, events_per_s: float | None) -> Pace:
    """Choose arrivals that the desks can nearly handle, with at most half of the requested changes."""
    desks = len(center.directory.agents) * AT_DESK
    natural = OCCUPANCY * 0.7 * desks / (TALK_S + RING_S + AFTER_S)
    if events_per_s is not None:
        natural = min(natural, events_per_s / 2 / CHANGES_PER_CONTACT)
    return Pace(max(natural, 1e-6))


class Life(ContactPlans):
    """Plans the future of contacts, and the changes of desks.

    Invariant: all plans are in the centre's life agenda, so that a pause stops them.
    """

    def __init__(self, center: ContactCenter, rng: random.Random, pace: Pace) -> None:
        self._center = center
        self._rng = rng
        self._pace = pace
        self._weights = {key: rng.uniform(0.5, 1.5) for key in center.directory.queues}
        center.plans = self

    def begin(self) -> None:
        """Open the desks and start the arrivals."""
        center = self._center
        for agent in center.directory.agents.values():
            if self._rng.random() < AT_DESK and not agent.retired:
                self._open_desk(agent)
            self._plan(self._rng.uniform(0, self._pace.stay_s), partial(self._change_desk, agent))
        for key in center.directory.queues:
            self._plan_arrival(key)
        self._plan(self._exp(10 / self._pace.contacts_per_s), self._direct_call)
        self._plan(CALL_REMOTE_S, self._call_remote)

    def change_desks(self, wished: int) -> None:
        """Change desks until about *wished* elements have changed since the last reading."""
        center = self._center
        agents = list(center.directory.agents.values())
        tries = 2 * len(agents)
        while len(center.changes) < wished and tries > 0:
            tries -= 1
            agent = self._rng.choice(agents)
            if self._at_desk(agent) and not agent.handling:
                self._turn_desk(agent)

    # ---- contacts ----

    def waits(self, contact: Contact) -> None:
        """Plan when the contact hangs up and when it overflows."""
        queue_key = contact.queue_key
        if contact.driven or queue_key is None:
            return

        def waiting_still() -> Queue | None:
            queue = self._center.directory.queues.get(queue_key)
            return queue if queue is not None and contact in queue.waiting else None

        def give_up() -> None:
            if waiting_still() is not None:
                self._center.abandon(contact)

        def flow_over() -> None:
            if (queue := waiting_still()) is not None and (target := self._overflow_of(queue)) is not None:
                self._center.overflow(contact, target)

        patience_s = PATIENCE_S * (1 if contact.media in {"Voice", "WebCollaboration"} else 10)
        self._plan(self._exp(patience_s), give_up)
        after = self._center.directory.queues[queue_key].parameters["OverflowAfter"]
        self._plan(float(after or 0), flow_over)

    def rings(self, contact: Contact) -> None:
        """Plan the answer."""
        self._later(contact, 1 + self._exp(RING_S), "Ringing", lambda: self._center.answer(contact))

    def answered(self, contact: Contact) -> None:
        """Plan the talk: perhaps a hold or a consultation, and the end."""
        agent = self._center.directory.agents.get(contact.agent_key or 0)
        is_remote = agent is not None and agent.remote is not None
        talk_s = 10 + self._exp(TALK_REMOTE_S if is_remote else TALK_S)
        whim = self._rng.random()
        if whim < 0.2:
            state: ContactState = "Holding" if whim < 0.15 else "Consulting"
            self._later(contact, talk_s * 0.4, "Talking", lambda: self._center.turn(contact, state))
            self._later(contact, talk_s * 0.6, state, lambda: self._center.turn(contact, "Talking"))
        self._later(contact, talk_s, "Talking", lambda: self._center.end(contact))

    def _arrive(self, queue_key: int) -> None:
        queue = self._center.directory.queues.get(queue_key)
        if queue is not None:
            if not self._center.functions.is_down(queue.media):
                self._center.arrive(queue)
            self._plan_arrival(queue_key)

    def _plan_arrival(self, queue_key: int) -> None:
        share = self._weights.get(queue_key, 1.0) / (sum(self._weights.values()) or 1.0)
        self._plan(self._exp(1 / (share * self._pace.contacts_per_s)), partial(self._arrive, queue_key))

    def _direct_call(self) -> None:
        agents = [a for a in self._center.directory.agents.values() if self._at_desk(a) and not a.handling]
        if agents and not self._center.functions.is_down("Voice"):
            self._center.call_directly(self._rng.choice(agents))
        self._plan(self._exp(10 / self._pace.contacts_per_s), self._direct_call)

    def _call_remote(self) -> None:
        """Call a Remote Assistant who is free and could start no post-processing."""
        free = [
            agent
            for agent in self._center.directory.agents.values()
            if agent.remote is not None
            and agent.remote.present
            and agent.state == "Available"
            and not agent.handling
            and agent.last_contact is None
        ]
        if free and not self._center.functions.is_down("Voice"):
            self._center.call_directly(self._rng.choice(free))
        self._plan(CALL_REMOTE_S, self._call_remote)

    def _overflow_of(self, queue: Queue) -> Queue | None:
        target = queue.parameters["OverflowQueue"]
        return self._center.directory.queues.get(target) if isinstance(target, int) else None

    def _later(self, contact: Contact, delay_s: float, expected: str, then: Callable[[], None]) -> None:
        """Plan *then* for a contact, if it is still at its agent in the expected state."""
        if contact.driven:
            return
        agent_key = contact.agent_key

        def happen() -> None:
            if contact.agent_key is not None and contact.agent_key == agent_key and contact.state == expected:
                then()

        self._plan(delay_s, happen)

    # ---- desks ----

    def _change_desk(self, agent: Agent) -> None:
        if not agent.retired:
            if not agent.logged_on:
                self._open_desk(agent)
            elif self._rng.random() < 0.05:
                self._ask(agent, "LoggedOff", None)
            else:
                self._turn_desk(agent)
        self._plan(self._stay_s(agent), partial(self._change_desk, agent))

    def _open_desk(self, agent: Agent) -> None:
        agent.auto = AutoPostProcessing(on=True, duration_s=AFTER_S)
        self._center.log_on(agent)
        if self._rng.random() < 0.8:
            self._ask(agent, "Available", None)

    def _turn_desk(self, agent: Agent) -> None:
        if agent.state != "Available":
            self._ask(agent, "Available", None)
            return
        kind, target = self._rng.choice(_AWAY)
        reasons = [each.key for each in self._center.directory.reasons.values() if each.kind == kind]
        self._ask(agent, target, self._rng.choice(reasons))

    def _ask(self, agent: Agent, target: TargetState, reason_key: int | None) -> None:
        try:
            self._center.ask(agent, target, reason_key, "AfterContact", "Self")
        except Refused:  # a refused request is not repeated
            return

    def _stay_s(self, agent: Agent) -> float:
        away = not agent.logged_on or agent.state != "Available"
        return self._exp(self._pace.stay_s * (0.3 if away else 1.0))

    def _at_desk(self, agent: Agent) -> bool:
        return agent.logged_on and agent.remote is None and not agent.retired

    def _plan(self, delay_s: float, happening: Callable[[], None]) -> None:
        self._center.life.plan(self._center.now_ms + max(1, round(delay_s * 1000)), happening)

    def _exp(self, mean_s: float) -> float:
        return self._rng.expovariate(1 / mean_s)


_AWAY: tuple[tuple[str, TargetState], ...] = (
    ("UnavailableReason", "Unavailable"),
    ("UnavailableReason", "Unavailable"),
    ("WorkReason", "Work"),
)
