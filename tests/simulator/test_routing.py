"""Routing state rules of the simulator; properties/test_state_rules.py has any order of events."""

from __future__ import annotations

from gateway.simulator import routing
from gateway.simulator.model import Agent, AutoPostProcessing, Contact, Remote, UserCounters


def new_agent() -> Agent:
    return Agent(1, "agent1", "Anna", "Bauer", "4001", (), {}, UserCounters(0))


def contact(number: int = 1, *, answered: bool = True) -> Contact:
    return Contact(f"C{number}", "Voice", None, 0, 0, answered_ms=0 if answered else None)


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
