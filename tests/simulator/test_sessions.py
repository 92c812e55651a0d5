"""Sessions of the simulator: begin and end, and the state of agent and number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.simulator.fields import Refused
from tests.simulator.peer import QUIET, World

NUMBER = "+49300000001"


def test_a_log_on_takes_the_agent_from_his_desk(world: World) -> None:
    world.sim.center.log_on(world.agent())
    contact = world.sim.center.give(world.agent(), None, "Voice", "Talking")
    world.log_on("agent1")
    assert (world.agent().contacts, contact.agent_key, world.agent().state) == ([], None, "Unavailable")


def test_log_off_removes_the_routing_and_can_be_repeated_for_a_day(world: World) -> None:
    session = world.log_on("agent1")
    ended = world.sim.sessions.end(session, "LoggedOff")
    assert world.sim.sessions.routing_of(ended) == {"Routing": "Removed"}
    assert world.sim.sessions.routing_table() == {}
    world.clock.step(24 * 3600 * 1000 - 1000)
    world.pass_time(0.5)
    assert world.sim.sessions.find(session.secret) is ended
    world.pass_time(1)
    with pytest.raises(Refused, match="SessionUnknown"):
        world.sim.sessions.find(session.secret)


def test_routed_until_is_the_latest_whatever_the_contact_does(world: World) -> None:
    session = world.log_on("agent1")
    world.sim.center.give(world.agent(), None, "Voice", "Talking")
    world.sim.sessions.end(session, "Expired")
    world.pass_time(599)
    assert world.sim.sessions.routing_table() == {"agent1": NUMBER}
    world.pass_time(1)
    assert world.sim.sessions.routing_table() == {}
    assert not world.agent().logged_on


def test_an_agent_who_logs_on_again_during_the_last_contact_stays(world: World) -> None:
    session = world.log_on("agent1")
    contact = world.sim.center.give(world.agent(), None, "Voice", "Talking")
    world.sim.sessions.end(session, "LoggedOff")
    link, _ = world.open("agent1")
    world.ask(link, "Presence", Session=1, Present=True)
    world.pass_time(700)
    world.sim.center.end(contact)
    assert world.agent().logged_on


def test_expiry_moves_with_keep_alive() -> None:
    world = World(replace(QUIET, session_life_s=60))
    session = world.log_on()
    world.link(session)
    world.pass_time(59)
    assert world.sim.sessions.keep_alive(session) == world.clock.now_ms() + 60_000
    world.pass_time(59.5)
    assert world.sim.sessions.is_live(session)
    world.pass_time(0.5)
    ended = world.sim.sessions.last_end(session.account.key)
    assert ended is not None
    assert ended.reason == "Expired"


def test_dashboards_never_idle_out(world: World) -> None:
    session = world.log_on()
    world.link(session)
    world.pass_time(2000)
    assert world.sim.sessions.is_live(session)


class IdleRules(RuleBasedStateMachine):
    """Idle time: it runs while unattached or absent, stops during a contact, restarts after presence."""

    LIMIT_S = 40

    def __init__(self) -> None:
        super().__init__()
        self.world = World(replace(QUIET, idle_timeout_s=self.LIMIT_S, agents=2, queues=1, groups=1))
        self.session = self.world.log_on("agent1")
        self.link, _ = self.world.link(self.session)
        self.attached, self.present, self.contact = True, False, False
        self.idle_s = 0.0
        self.alive = True

    @precondition(lambda self: self.alive and not self.attached)
    @rule()
    def attach(self) -> None:
        self.link, _ = self.world.link(self.session)
        self.attached, self.present = True, False

    @precondition(lambda self: self.alive and self.attached)
    @rule()
    def lose_the_link(self) -> None:
        self.world.sim.board.closed(self.link)
        self.attached = self.present = False

    @precondition(lambda self: self.alive and self.attached)
    @rule(present=st.booleans())
    def say_presence(self, present: bool) -> None:
        self.world.ask(self.link, "Presence", Session=self.session.alias, Present=present)
        self.present = present
        if present:
            self.idle_s = 0

    @precondition(lambda self: self.alive)
    @rule()
    def contact_changes(self) -> None:
        agent = self.world.agent()
        if self.contact:
            self.world.sim.center.end(agent.contacts[0])
        else:
            self.world.sim.center.give(agent, None, "Voice", "Talking")
        self.contact = not self.contact

    @precondition(lambda self: self.alive)
    @rule(seconds=st.integers(1, 30))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)
        if not self.present and not self.contact:
            self.idle_s += seconds
        self.alive = self.idle_s < self.LIMIT_S

    @precondition(lambda self: not self.alive)
    @rule()
    def log_on_again(self) -> None:
        self.session = self.world.log_on("agent1")
        self.attached = self.present = self.contact = False
        self.idle_s, self.alive = 0.0, True

    @invariant()
    def as_the_page_says(self) -> None:
        assert self.world.sim.sessions.is_live(self.session) == self.alive
        assert self.world.agent().logged_on == self.alive
        assert bool(self.world.sim.sessions.routing_table()) == self.alive
        if self.alive:
            assert self.world.agent().remote.present == self.present


TestIdleRules = IdleRules.TestCase


# ---- sessions ----


def test_it_is_watched_while_attached_with_a_device_present(world: World) -> None:
    session = world.log_on("agent1")
    watched = [session.watched]
    link, _ = world.link(session)
    watched.append(session.watched)
    for method in ("Presence", "DetachSession"):
        world.ask(link, method, Session=1, Present=True)
        watched.append(session.watched)
    assert watched == [False, False, True, False]
