"""What may be asked of post-processing?"""

from __future__ import annotations

import pytest

from gateway.simulator import post_processing
from gateway.simulator.fields import Refused
from gateway.simulator.model import Agent, AutoPostProcessing
from tests.simulator.peer import World


@pytest.fixture
def world() -> World:
    """An agent whose contact has just ended."""
    world = World()
    world.sim.center.log_on(world.agent())
    world.sim.center.end(world.sim.center.give(world.agent(), None, "Voice", "Talking"))
    return world


def started(world: World, seconds: int = 60) -> Agent:
    agent: Agent = world.agent()
    assert post_processing.start(world.sim.center, agent, None, seconds) == "Applied"
    return agent


def test_it_starts_until_an_instant(world: World) -> None:
    agent, now_ms = world.agent(), world.clock.now_ms()
    with pytest.raises(Refused) as refused:
        post_processing.start(world.sim.center, agent, now_ms + 300_001, None)
    assert refused.value.details == {"Until": now_ms + 300_000}
    assert post_processing.start(world.sim.center, agent, now_ms + 300_000, None) == "Applied"
    assert agent.post.ends_ms == now_ms + 300_000


def test_during_a_contact_it_is_to_follow(world: World) -> None:
    agent, center = world.agent(), world.sim.center
    contact = center.give(agent, None, "Voice", "Talking")
    assert post_processing.start(center, agent, None, 7) == "Pending"
    assert post_processing.start(center, agent, None, 7) == "Unchanged"
    center.end(contact)
    assert agent.post.ends_ms == world.clock.now_ms() + 7000


def test_what_was_asked_for_follows_though_the_last_contact_only_rang(world: World) -> None:
    agent, center = world.agent(), world.sim.center
    talked, rang = (center.give(agent, None, "Voice", state) for state in ("Talking", "Ringing"))
    assert post_processing.start(center, agent, None, 7) == "Pending"
    center.end(talked)
    center.end(rang)
    assert agent.post.call_id == talked.call_id
    assert agent.post.ends_ms == world.clock.now_ms() + 7000


def test_not_for_a_contact_that_only_rings_and_not_too_late(world: World) -> None:
    agent, center = world.agent(), world.sim.center
    contact = center.give(agent, None, "Voice", "Ringing")
    with pytest.raises(Refused, match="NoContact"):
        post_processing.start(center, agent, None, None)
    center.end(contact)
    world.pass_time(60)
    with pytest.raises(Refused, match="NoContact"):
        post_processing.start(center, agent, None, None)


def test_it_extends_to_its_limit(world: World) -> None:
    agent, center, now_ms = started(world), world.sim.center, world.clock.now_ms()
    assert post_processing.extend(center, agent, None) == "Applied"
    assert agent.post is not None
    assert agent.post.ends_ms == now_ms + 90_000
    assert post_processing.extend(center, agent, now_ms + 10_000) == "Unchanged"
    with pytest.raises(Refused, match="LimitReached"):
        post_processing.extend(center, agent, now_ms + 300_001)
    assert post_processing.extend(center, agent, now_ms + 300_000) == "Applied"
    with pytest.raises(Refused, match="LimitReached"):
        post_processing.extend(center, agent, None)
    world.pass_time(299.75)
    assert agent.post is not None
    world.pass_time(0.25)
    assert agent.post is None


def test_it_finishes_into_the_pending_or_the_previous_state(world: World) -> None:
    agent = started(world)
    world.sim.center.ask(agent, "Available", None, "Now", "Self")
    post_processing.finish(world.sim.center, agent, None, [])
    assert agent.state == "Available"


@pytest.mark.parametrize(("key", "error"), [(1, "ReasonUnknown"), (95_001, "ReasonWrongKind")])
def test_wrap_up_reasons_are_checked(world: World, key: int, error: str) -> None:
    agent = started(world)
    with pytest.raises(Refused, match=error):
        post_processing.finish(world.sim.center, agent, None, [key])
    assert post_processing.finish(world.sim.center, agent, None, [95_010]) == "Applied"


@pytest.mark.parametrize("seconds", [0, 301])
def test_durations_have_bounds(world: World, seconds: int) -> None:
    bounds = {"Min": 1, "Max": 300}
    with pytest.raises(Refused) as refused:
        post_processing.set_auto(world.sim.center, world.agent(), seconds, on=True)
    assert refused.value.details == bounds
    with pytest.raises(Refused) as refused:
        post_processing.start(world.sim.center, world.agent(), None, seconds)
    assert refused.value.details == bounds


def test_automatic_is_of_the_own_view_only(world: World) -> None:
    center, agent = world.sim.center, world.agent()
    world.sim.board.publish()
    assert post_processing.set_auto(center, agent, 45, on=True) == "Applied"
    assert agent.auto == AutoPostProcessing(on=True, duration_s=45)
    assert (center.changes.own, len(center.changes)) == ({agent.key}, 1)
    assert post_processing.set_auto(center, agent, None, on=True) == "Unchanged"
