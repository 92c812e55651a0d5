"""Time and random activity of the simulated contact centre."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.simulator import post_processing
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.elements import allowed_actions
from gateway.simulator.life import pace_for
from gateway.simulator.model import Changes, Kind, Remote
from tests.simulator.peer import AGENT, QUIET, World

LIVELY = replace(QUIET, agents=60, queues=8, groups=4, start_paused=False, seed=11)


@pytest.fixture(scope="module")
def lived() -> World:
    """Two hours of life."""
    world = World(LIVELY)
    world.sim.life.begin()
    for _ in range(2 * 3600):
        world.clock.step(1000)
        world.sim.board.turn(world.clock.now_ms())
    return world


def test_contacts_come_are_answered_and_some_give_up(lived: World) -> None:
    counts = [queue.counters for queue in lived.sim.center.directory.queues.values()]
    received = sum(each.received for each in counts)
    assert received > 500
    assert sum(each.answered for each in counts) > 0.6 * received
    assert 0 < sum(each.abandoned for each in counts) < 0.4 * received


def test_agents_are_in_various_states(lived: World) -> None:
    agents = lived.sim.center.directory.agents.values()
    on = [agent for agent in agents if agent.logged_on]
    assert len(agents) / 2 < len(on)
    assert {agent.state for agent in on} == {"Available", "Unavailable", "Work"}
    assert any(agent.contacts for agent in on)
    assert sum(agent.counters.handled for agent in agents) > 300


def test_what_is_planned_is_bounded(lived: World) -> None:
    assert len(lived.sim.center.life) < 20 * 60


def test_a_pause_holds_everything_and_a_resume_goes_on() -> None:
    world = World(LIVELY)
    world.sim.life.begin()
    world.pass_time(60)
    world.sim.center.pause()
    world.pass_time(400)
    still = repr([*world.sim.center.directory.agents.values()])
    world.pass_time(400)
    assert repr([*world.sim.center.directory.agents.values()]) == still
    world.sim.center.resume()
    world.pass_time(60)
    assert repr([*world.sim.center.directory.agents.values()]) != still


def test_remote_agents_are_left_to_themselves_but_get_contacts() -> None:
    world = World(replace(LIVELY, agents=3, queues=1, groups=1))
    link, _ = world.open("agent1")
    world.ask(link, "Presence", Session=1, Present=True)
    world.sim.life.begin()
    assert world.agent().state == "Unavailable"
    world.pass_time(1200)
    assert (world.agent().state, world.agent().counters.handled) == ("Unavailable", 0)
    world.sim.center.ask(world.agent(), "Available", None, "Now", "Self")
    world.pass_time(1200)
    assert world.agent().counters.handled > 0
    world.sim.sessions.end(world.sim.sessions.of_user(AGENT)[0], "LoggedOff")
    world.pass_time(3600)
    assert not world.agent().logged_on


def test_contacts_of_tests_are_left_alone() -> None:
    world = World(LIVELY)
    world.sim.center.log_on(world.agent())
    contact = world.sim.center.give(world.agent(), None, "Voice", "Ringing")
    world.pass_time(600)
    assert contact.state == "Ringing"


def test_a_medium_that_is_down_brings_no_contacts() -> None:
    world = World(replace(LIVELY, queues=1))
    world.sim.life.begin()
    world.sim.center.functions.states["Voice"] = "Down"
    world.pass_time(600)
    assert world.sim.center.directory.queues[60_001].counters.received == 0


def test_stirring_reaches_the_wished_number() -> None:
    world = World(LIVELY)
    world.sim.life.begin()
    world.sim.board.publish()
    world.sim.life.change_desks(40)
    assert 40 <= len(world.sim.center.changes) < 60


def test_few_wished_events_make_few_contacts() -> None:
    center = World(LIVELY).sim.center
    assert pace_for(center, 6.0).contacts_per_s == pytest.approx(0.1)
    assert pace_for(center, None).contacts_per_s > 0.1


# ---- time of the simulator passes in order, and days end ----


def test_happenings_take_place_at_their_own_instants() -> None:
    center = World().sim.center
    center.resume()
    began_ms, seen = center.now_ms, list[tuple[str, int]]()
    center.life.plan(began_ms + 20, lambda: seen.append(("life", center.now_ms)))
    center.rules.plan(began_ms + 10, lambda: seen.append(("rule", center.now_ms)))
    center.advance(began_ms + 50)
    assert seen == [("rule", began_ms + 10), ("life", began_ms + 20)]
    assert center.now_ms == began_ms + 50
    center.advance(began_ms)
    assert center.now_ms == began_ms + 50


def test_a_pause_holds_life_but_not_rules() -> None:
    center = World().sim.center
    center.resume()
    began_ms, seen = center.now_ms, list[int]()
    center.life.plan(began_ms + 10, lambda: seen.append(center.now_ms))
    center.pause()
    center.pause()
    center.rules.plan(began_ms + 10, lambda: seen.append(-center.now_ms))
    center.advance(began_ms + 100)
    assert seen == [-(began_ms + 10)]
    center.resume()
    center.advance(began_ms + 110)
    assert seen[1:] == [began_ms + 110]


def test_counters_restart_at_midnight(world: World) -> None:
    center = world.sim.center
    center.log_on(world.agent())
    queue = center.directory.queues[60_001]
    center.end(center.give(world.agent(), queue, None, "Talking"))
    center.changes = Changes()
    center.advance(center.now_ms + 24 * 3_600_000)
    assert (queue.counters.received, world.agent().counters.handled) == (0, 0)
    assert center.now_ms - 24 * 3_600_000 < queue.counters.window_start_ms <= center.now_ms
    assert {60_001} <= center.changes.keys[Kind.QUEUE_CUMULATIVE]
    assert {AGENT} <= center.changes.keys[Kind.USER_CUMULATIVE]


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_remote_assistant_of_the_demonstration_soon_reaches_post_processing(seed: int) -> None:
    world = World(replace(LIVELY, agents=200, queues=20, seed=seed))
    center = world.sim.center
    world.sim.life.begin()
    world.pass_time(300)
    agent = next(iter(center.directory.agents.values()))
    center.log_on(agent, Remote("+49301234567", present=True))
    center.ask(agent, "Available", None, "Now", "Self")
    waited_s = 0
    while "StartPostProcessing" not in allowed_actions(agent):
        world.pass_time(1)
        waited_s += 1
        assert waited_s <= 30
    post_processing.start(center, agent, None, None)  # it follows the contact
    while agent.post is None:
        world.pass_time(1)
        waited_s += 1
        assert waited_s <= 90
    assert post_processing.extend(center, agent, None) == "Applied"
    assert post_processing.finish(center, agent, None, _any_wrapup(center)) == "Applied"
    assert agent.post is None


def _any_wrapup(center: ContactCenter) -> list[int]:
    return [each.key for each in center.directory.reasons.values() if each.kind == "WrapupReason"][:1]
