"""Time of the simulator passes in order, and days end."""

from __future__ import annotations

from gateway.simulator.model import Changes, Kind
from tests.simulator.peer import AGENT, World


def test_happenings_take_place_at_their_own_instants() -> None:
    center = World().sim.center
    center.resume()
    began_ms, seen = center.now_ms, list[tuple[str, int]]()
    center.life.plan(began_ms + 20, lambda _due: seen.append(("life", center.now_ms)))
    center.rules.plan(began_ms + 10, lambda _due: seen.append(("rule", center.now_ms)))
    center.advance(began_ms + 50)
    assert seen == [("rule", began_ms + 10), ("life", began_ms + 20)]
    assert center.now_ms == began_ms + 50
    center.advance(began_ms)
    assert center.now_ms == began_ms + 50


def test_a_pause_holds_life_but_not_rules() -> None:
    center = World().sim.center
    center.resume()
    began_ms, seen = center.now_ms, list[int]()
    center.life.plan(began_ms + 10, seen.append)
    center.pause()
    center.pause()
    center.rules.plan(began_ms + 10, lambda due: seen.append(-due))
    center.advance(began_ms + 100)
    assert seen == [-(began_ms + 10)]
    center.resume()
    center.advance(began_ms + 110)
    assert seen[1:] == [began_ms + 110]


def test_counters_restart_at_midnight() -> None:
    world = World()
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
