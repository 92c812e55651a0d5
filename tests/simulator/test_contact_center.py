"""Contacts and agents of the simulated contact centre; the state rules: properties/test_state_rules.py."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import model, routing
from gateway.simulator.fields import Refused
from gateway.simulator.model import (
    Agent,
    AutoPostProcessing,
    Changes,
    Contact,
    Counters,
    Kind,
    Queue,
    Remote,
    Schedule,
    UserCounters,
)
from tests.simulator.peer import AGENT, World

NUMBER = "+49301234567"


def queue_of(world: World, agent: Agent) -> Queue:
    return world.sim.center.directory.queues[world.sim.center.directory.queues_of[agent.key][0]]


def available(world: World, key: int = AGENT) -> Agent:
    agent: Agent = world.agent(key)
    world.sim.center.log_on(agent)
    world.sim.center.ask(agent, "Available", None, "Now", "Self")
    return agent


def test_the_longest_idle_is_preferred_or_the_best_skilled(world: World) -> None:
    center = world.sim.center
    first = available(world)
    queue = queue_of(world, first)
    others = [agent for agent in center.directory.agents_of[queue.key] if agent is not first]
    world.pass_time(10)
    second = available(world, others[0].key)
    center.arrive(queue)
    assert first.contacts
    assert not second.contacts
    center.drop(first.contacts[0])
    queue.parameters["Distribution"] = "BestSkilled"
    center.arrive(queue)
    best = max((first, second), key=lambda agent: agent.skills[queue.skill_key].level)
    assert best.contacts or first.skills[queue.skill_key] == second.skills[queue.skill_key]


def test_urgent_queues_are_served_first(world: World) -> None:
    agent = world.agent()
    keys = world.sim.center.directory.queues_of[agent.key]
    low, high = (world.sim.center.directory.queues[key] for key in keys[:2])
    high.parameters["Priority"] = 9
    world.sim.center.arrive(low)
    urgent = world.sim.center.arrive(high)
    available(world)
    assert agent.contacts == [urgent]


def test_counters_count(world: World) -> None:
    agent = available(world)
    queue = queue_of(world, agent)
    contact = world.sim.center.arrive(queue)
    waiting = world.sim.center.arrive(queue)
    world.pass_time(10)
    world.sim.center.answer(contact)
    world.pass_time(5)
    world.sim.center.abandon(waiting)
    world.sim.center.end(contact)
    count = queue.counters
    assert (count.received, count.answered, count.within_threshold, count.abandoned) == (2, 1, 1, 1)
    assert (count.wait_total_ms, count.wait_max_ms) == (10_000, 15_000)
    assert (agent.counters.handled, agent.counters.talk_ms) == (1, 5000)


def test_a_contact_flows_over(world: World) -> None:
    source, target = list(world.sim.center.directory.queues.values())[:2]
    contact = world.sim.center.arrive(source)
    world.sim.center.overflow(contact, target)
    assert (list(source.waiting), list(target.waiting), contact.queue_key) == ([], [contact], target.key)


def test_an_equal_pending_state_changes_nothing(world: World) -> None:
    agent = available(world)
    world.sim.center.give(agent, None, "Voice", "Talking")
    world.sim.center.ask(agent, "Unavailable", None, "Now", "Self")
    world.sim.center.changes = Changes()
    assert world.sim.center.ask(agent, "Unavailable", None, "Now", "Self") == "Pending"
    assert not world.sim.center.changes


def test_a_ringing_contact_that_is_dropped_counts_for_nobody(world: World) -> None:
    agent = available(world)
    queue = queue_of(world, agent)
    contact = world.sim.center.arrive(queue)
    world.sim.center.drop(contact)
    assert (agent.counters.handled, agent.handling) == (0, False)
    world.sim.center.ask(agent, "Unavailable", None, "Now", "Self")
    waiting = world.sim.center.arrive(queue)
    world.sim.center.drop(waiting)
    assert not queue.waiting


def test_post_processing_is_bounded(world: World) -> None:
    agent = available(world)
    routing.post_processing_begins(agent, Contact("C1", "Voice", None, 0, 0, answered_ms=0), 1000, 10_000)
    assert agent.post is not None
    assert agent.post.ends_ms == agent.post.limit_ms == 301_000


def test_who_is_not_logged_on_can_only_be_logged_off(world: World) -> None:
    agent = world.agent()
    routing.log_off(agent)
    assert routing.ask(agent, "LoggedOff", None, "Now", 0, "System") == "Unchanged"
    with pytest.raises(Refused, match="NotLoggedOn"):
        routing.ask(agent, "Work", None, "Now", 0, "System")


def test_an_agent_who_leaves_during_a_contact_has_no_post_processing(world: World) -> None:
    agent = available(world)
    agent.auto = AutoPostProcessing(on=True)
    agent.remote = Remote(NUMBER, routed_until_ms=60_000)
    call = Contact("C1", "Voice", None, 0, 0, answered_ms=0)
    routing.contact_begins(agent, call, 0)
    routing.ask(agent, "LoggedOff", None, "AfterContact", 0, "System")
    routing.contact_ends(agent, call, 1000)
    assert not agent.logged_on


def test_a_new_reason_is_a_new_state_and_the_present_one_is_none(world: World) -> None:
    agent = available(world)
    since_ms = agent.since_ms
    world.pass_time(5)
    assert world.sim.center.ask(agent, "Available", None, "Now", "Self") == "Unchanged"
    assert agent.since_ms == since_ms
    assert world.sim.center.ask(agent, "Available", 7, "Now", "Self") == "Applied"
    assert (agent.reason_key, agent.since_ms) == (7, since_ms + 5_000)


def test_post_processing_follows_an_answered_contact_also_when_the_last_one_only_rang(world: World) -> None:
    agent = available(world)
    agent.auto = AutoPostProcessing(on=True)
    talked = world.sim.center.give(agent, None, "Voice", "Talking")
    rang = world.sim.center.give(agent, None, "Voice", "Ringing")
    world.sim.center.end(talked)
    assert agent.contacts == [rang]
    world.sim.center.end(rang)
    assert agent.post is not None
    assert agent.post.call_id == talked.call_id


def test_post_processing_ends_by_itself_and_the_next_contact_comes(world: World) -> None:
    agent = available(world)
    agent.auto = AutoPostProcessing(on=True, duration_s=20)
    queue = queue_of(world, agent)
    first, second = world.sim.center.arrive(queue), world.sim.center.arrive(queue)
    world.sim.center.answer(first)
    world.sim.center.end(first)
    world.pass_time(19.75)
    assert (agent.contacts, agent.handling) == ([], True)
    world.pass_time(0.25)
    assert (agent.contacts, agent.post) == ([second], None)


def test_the_end_of_an_earlier_post_processing_does_not_end_a_later_one(world: World) -> None:
    agent = available(world)
    agent.auto = AutoPostProcessing(on=True, duration_s=5)
    world.sim.center.end(world.sim.center.give(agent, None, "Voice", "Talking"))
    world.sim.center.finish_post_processing(agent)
    world.pass_time(2)
    world.sim.center.end(world.sim.center.give(agent, None, "Voice", "Talking"))
    for seconds, handling in ((4, True), (1, False)):
        world.pass_time(seconds)
        assert agent.handling is handling


def test_a_log_off_after_a_contact_is_reported_with_who_requested_it(world: World) -> None:
    received: list[tuple[int, str, str | None]] = []
    world.sim.center.on_logged_off = lambda agent, by, name: received.append((agent.key, by, name))
    agent = available(world)
    contact = world.sim.center.give(agent, None, "Voice", "Talking")
    world.sim.center.ask(agent, "LoggedOff", None, "AfterContact", "Supervisor", "Eva")
    assert received == []
    world.sim.center.end(contact)
    assert received == [(AGENT, "Supervisor", "Eva")]


def test_post_processing_can_be_started_for_a_minute_after_a_contact(world: World) -> None:
    agent = available(world)
    world.sim.center.end(world.sim.center.give(agent, None, "Voice", "Talking"))
    world.pass_time(59.75)
    assert agent.last_contact is not None
    world.pass_time(0.25)
    assert agent.last_contact is None


def test_every_agent_change_marks_him_his_queues_and_groups(world: World) -> None:
    agent = world.agent()
    world.sim.center.changes = Changes()
    world.sim.center.log_on(agent)
    keys = world.sim.center.changes.keys
    assert keys[Kind.USER] == {AGENT}
    assert keys[Kind.QUEUE] == set(world.sim.center.directory.queues_of[AGENT])
    assert keys[Kind.GROUP] == set(agent.group_keys)


def test_a_contact_that_is_nowhere_is_a_mistake() -> None:
    center = World().sim.center
    with pytest.raises(LookupError):
        center.answer(Contact("C", "Voice", None, 0, 0))
    with pytest.raises(LookupError):
        center.abandon(Contact("C", "Voice", None, 0, 0))


# ---- order of happenings ----


@given(st.lists(st.integers(0, 50)))
def test_in_order_of_instants_then_of_planning(instants: list[int]) -> None:
    agenda, happened = Schedule(), list[tuple[int, int]]()
    for number, instant in enumerate(instants):
        agenda.plan(instant, partial(happened.append, (instant, number)))
    while agenda.next_ms is not None:
        agenda.happen()
    assert happened == sorted((instant, number) for number, instant in enumerate(instants))
    assert len(agenda) == 0


def test_a_shift_puts_everything_off() -> None:
    agenda, happened = Schedule(), list[int]()
    agenda.plan(5, partial(happened.append, 5))
    agenda.shift(10)
    assert agenda.next_ms == 15
    assert agenda.happen() == 15
    assert happened == [5]


# ---- changed keys ----


def test_a_key_changed_twice_stands_once() -> None:
    changes = Changes()
    changes.add(Kind.USER, (1, 2))
    changes.add(Kind.USER, (2,))
    assert (len(changes), list(changes)) == (2, [Kind.USER])


def test_what_was_reported_waits_no_more() -> None:
    one, other = Changes(), Changes()
    one.add(Kind.QUEUE, (5, 6))
    one.own |= {7, 8}
    other.add(Kind.QUEUE, (5,))
    other.own.add(7)
    one.discard(other)
    assert (one.keys[Kind.QUEUE], one.own) == ({6}, {8})


# ---- statistics of a day ----


BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000


def ms(*fields: int) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type] # fields of a date


def test_midnight_is_local_also_when_the_clocks_change() -> None:
    assert model.midnight_before(ms(2025, 7, 1, 12), BERLIN) == ms(2025, 6, 30, 22)
    assert model.midnight_after(ms(2025, 10, 26, 12), BERLIN) == ms(2025, 10, 26, 23)
    spring = model.midnight_before(ms(2025, 3, 30, 12), BERLIN)
    assert model.midnight_after(ms(2025, 3, 30, 12), BERLIN) - spring == 23 * HOUR_MS


@given(st.integers(ms(2020, 1, 1), ms(2040, 1, 1)))
def test_an_instant_lies_between_its_midnights(now_ms: int) -> None:
    assert model.midnight_before(now_ms, BERLIN) <= now_ms < model.midnight_after(now_ms, BERLIN)


def test_counting_and_what_nobody_has_counted_is_unknown() -> None:
    assert model.service_level(0, 0, 0) is None
    assert model.abandoned_rate(Counters(0)) is None
    assert model.average_wait_s(Counters(0)) is None
    count = model.answered(model.received(model.received(Counters(0))), 20_000, 20)
    count = model.abandoned(model.answered(count, 40_000, 20), 50_000)
    assert count == Counters(0, 2, 2, 1, 1, 60_000, 50_000)
    assert model.service_level(1, 2, 1) == 33.3
    assert model.abandoned_rate(count) == 33.3
    assert model.average_wait_s(count) == 30.0
    assert model.handled(UserCounters(0), 500) == UserCounters(0, 1, 500)
