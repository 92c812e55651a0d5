"""The routing state rules hold, whatever happens in which order: against an independent tiny model."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.simulator import routing
from gateway.simulator.fields import Refused
from gateway.simulator.model import Agent, AutoPostProcessing, Contact, Remote, UserCounters
from tests.simulator.peer import Free

STATES = ("Available", "Unavailable", "Work")
TARGETS = st.sampled_from((*STATES, "LoggedOff"))
REASONS = st.sampled_from((None, None, 1, 2))


def new_agent() -> Agent:
    return Agent(1, "agent1", "Anna", "Bauer", "4001", (), {}, UserCounters(0))


def contact(number: int = 1, *, answered: bool = True) -> Contact:
    return Contact(f"C{number}", "Voice", None, 0, 0, answered_ms=0 if answered else None)


class RoutingRules(RuleBasedStateMachine):
    """The agent under rule, beside a model of five plain variables."""

    def __init__(self) -> None:
        super().__init__()
        self.agent = new_agent()
        self.now = 0
        self.on = False
        self.state: tuple[Any, Any] = ("Unavailable", None)
        self.pending: tuple[Any, Any] | None = None
        self.calls = 0
        self.post = False
        self.auto = False
        self.talked = False
        """Whether he talked to a contact that is over, and that no post-processing followed yet."""

    def empties(self) -> None:
        if self.calls or self.post:
            return
        self.talked = False
        if self.pending is not None:
            self.enter(self.pending)
        self.pending = None

    def enter(self, target: tuple[Any, Any]) -> None:
        if target[0] == "LoggedOff":
            self.on, self.state = False, ("Unavailable", None)
        else:
            self.state = target

    @rule()
    def log_on(self) -> None:
        routing.log_on(self.agent, self.now)
        self.on, self.state, self.pending = True, ("Unavailable", None), None

    @rule(wanted=TARGETS, reason=REASONS, when=st.sampled_from(("Now", "AfterContact")))
    def ask(self, wanted: Free, reason: Free, when: Free) -> None:
        self.now += 1000
        before = repr(self.agent)
        try:
            verdict: str = routing.ask(self.agent, wanted, reason, when, self.now, "Self")
        except Refused as refused:
            verdict = refused.name
        assert verdict == self.expected(wanted, reason, when)
        if verdict in {"Unchanged", "NotLoggedOn", "NotAllowedWhileHandling"}:
            assert repr(self.agent) == before

    def expected(self, target: Free, reason: Free, when: Free) -> str:
        if not self.on:
            return "Unchanged" if target == "LoggedOff" else "NotLoggedOn"
        if target == self.state[0] and reason in {None, self.state[1]}:
            verdict = "Unchanged" if self.pending is None else "Applied"
            self.pending = None
            return verdict
        if not (self.calls or self.post):
            self.pending = None
            self.enter((target, reason))
            return "Applied"
        if target == "LoggedOff" and when == "Now":
            return "NotAllowedWhileHandling"
        self.pending = (target, reason)
        return "Pending"

    @precondition(lambda self: self.on and self.calls < 2)
    @rule(answered=st.booleans())
    def contact_begins(self, answered: bool) -> None:
        routing.contact_begins(self.agent, contact(self.now, answered=answered), self.now)
        self.calls += 1

    @precondition(lambda self: self.calls > 0)
    @rule()
    def contact_ends(self) -> None:
        ending = self.agent.contacts[0]
        routing.contact_ends(self.agent, ending, self.now)
        self.calls -= 1
        self.talked = self.talked or ending.answered_ms is not None
        if not self.calls and not self.post and self.auto and self.talked:
            self.post, self.talked = True, False
        self.empties()

    @precondition(lambda self: self.post)
    @rule()
    def finish(self) -> None:
        routing.post_processing_ends(self.agent, self.now)
        self.post = False
        self.empties()

    @rule(on=st.booleans())
    def automate(self, on: bool) -> None:
        self.agent.auto = AutoPostProcessing(on)
        self.auto = on

    @invariant()
    def equal(self) -> None:
        agent = self.agent
        pending = None if agent.pending is None else (agent.pending.state, agent.pending.reason_key)
        assert (agent.logged_on, len(agent.contacts), agent.post is not None) == (
            self.on,
            self.calls,
            self.post,
        )
        assert (agent.state, agent.reason_key) == self.state
        assert pending == self.pending

    @invariant()
    def logged_off_is_empty(self) -> None:
        if not self.agent.logged_on:
            assert not self.agent.handling
            assert self.agent.pending is None
            assert self.agent.remote is None


TestRoutingRules = RoutingRules.TestCase


def test_a_new_reason_is_a_new_state() -> None:
    agent = new_agent()
    routing.log_on(agent, 0)
    assert routing.ask(agent, "Unavailable", 7, "Now", 5000, "Self") == "Applied"
    assert (agent.reason_key, agent.since_ms) == (7, 5000)


def test_nothing_pending_and_nothing_handled_leaves_the_instant_alone() -> None:
    agent = new_agent()
    routing.log_on(agent, 1000)
    assert routing.ask(agent, "Unavailable", None, "Now", 9000, "Self") == "Unchanged"
    assert agent.since_ms == 1000


def test_post_processing_is_bounded() -> None:
    agent = new_agent()
    routing.log_on(agent, 0)
    routing.post_processing_begins(agent, contact(), 1000, 10_000)
    assert agent.post is not None
    assert agent.post.ends_ms == agent.post.limit_ms == 301_000


def test_an_agent_who_logs_off_has_no_post_processing() -> None:
    agent = new_agent()
    agent.auto = AutoPostProcessing(on=True)
    routing.log_on(agent, 0, Remote("+49301234567", routed_until_ms=60_000))
    call = contact()
    routing.contact_begins(agent, call, 0)
    routing.ask(agent, "LoggedOff", None, "AfterContact", 0, "System")
    routing.contact_ends(agent, call, 1000)
    assert not agent.logged_on


def test_post_processing_follows_when_the_last_contact_only_rang() -> None:
    agent = new_agent()
    agent.auto = AutoPostProcessing(on=True)
    routing.log_on(agent, 0)
    talked, rang = contact(1), contact(2, answered=False)
    for each in (talked, rang):
        routing.contact_begins(agent, each, 0)
    routing.contact_ends(agent, talked, 1000)
    routing.contact_ends(agent, rang, 2000)
    assert agent.post is not None
    assert (agent.post.call_id, agent.post.since_ms) == ("C1", 2000)
