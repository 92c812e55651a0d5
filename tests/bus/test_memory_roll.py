"""Are the registry and the store of one process bounded, and exact about time? See also tests/contracts."""

from __future__ import annotations

from gateway.bus.memory import MemoryNodeRegistry, MemoryStore
from gateway.domain.errors import EndReason
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import NodeRecord
from tests.doubles.clock import ManualClock

RECORD = NodeRecord(NodeId("a"), "h", "1", 0, 0, False, 0.0)


async def test_a_node_lives_exactly_its_time_from_its_last_word() -> None:
    clock = ManualClock()
    registry = MemoryNodeRegistry(clock)
    await registry.announce(RECORD)
    await clock.advance(5.0)
    await registry.announce(RECORD)
    await clock.advance(9.5)
    assert await registry.nodes() == (RECORD,)
    await clock.advance(0.5)
    assert await registry.nodes() == ()


async def test_what_was_taken_away_may_come_again_and_lives_its_new_time() -> None:
    clock = ManualClock()
    shared = MemoryStore(clock)
    await shared.count("x", 10.0)
    await shared.forget("x")
    await clock.advance(5.0)
    await shared.count("x", 10.0)
    await clock.advance(6.0)
    assert await shared.counted("x") == 1


async def test_what_is_past_leaves_nothing() -> None:
    clock = ManualClock()
    shared = MemoryStore(clock)
    for number in range(100):
        await shared.deny(f"d{number}", EndReason.BLOCKED, 10.0)
        await shared.count(f"c{number}", 10.0)
        await shared.count(f"c{number}", 10.0)
        await clock.advance(1.0)
    await shared.denied("x")
    await shared.counted("x")
    assert len(shared) == 18
    assert (len(shared._reasons._ends), len(shared._counts._ends)) == (9, 9)
