"""The bus of one process is bounded, and exact about time and tokens. See also tests/contracts."""

from __future__ import annotations

from gateway.bus.memory import MemoryBus, MemoryChannels, MemoryLeases, MemoryNodeRegistry, MemoryStore
from gateway.domain.errors import EndReason
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Inbox, NodeRecord
from tests.doubles.clock import ManualClock

ANN = UserId("main", 1)
NODE = NodeId("n")
A = Inbox(NODE)


async def test_a_channel_that_nobody_listens_to_leaves_nothing() -> None:
    exchange = MemoryChannels()
    bus = MemoryBus(exchange)
    await bus.subscribe(A, lambda _: None)
    await bus.unsubscribe(A)
    assert exchange.receivers == {}


async def test_a_token_is_the_wall_clock_in_microseconds_unless_others_are_higher() -> None:
    clock = ManualClock(wall_ms=1_000)
    leases = MemoryLeases(clock)
    assert (await leases.acquire(ANN, NODE, "h", floor=0)).token == 1_000_000
    clock.jump_wall(-500)
    assert (await leases.acquire(ANN, NODE, "h", floor=0, expected=1_000_000)).token == 1_000_001
    assert (await leases.acquire(ANN, NODE, "h", floor=5_000_000, expected=1_000_001)).token == 5_000_001


async def test_a_lease_lasts_exactly_its_time_and_leases_of_users_who_never_come_back_go() -> None:
    clock = ManualClock()
    leases = MemoryLeases(clock, ttl_s=15.0)
    grant = await leases.acquire(ANN, NODE, "h", floor=0)
    await clock.advance(14.5)
    assert await leases.read(ANN) == grant
    await clock.advance(0.5)
    assert await leases.read(ANN) is None
    for number in range(100):
        await leases.acquire(UserId("main", number), NODE, "h", floor=0)
        await clock.advance(1.0)
    assert len(leases) == 15


async def test_the_oldest_tokens_are_forgotten() -> None:
    clock = ManualClock(wall_ms=1_000)
    leases = MemoryLeases(clock, ttl_s=1.0, floors_max=2)
    tokens = [(await leases.acquire(UserId("main", n), NODE, "h", floor=9_000_000)).token for n in range(3)]
    assert tokens == [9_000_001] * 3
    await clock.advance(1.0)
    again = [(await leases.acquire(UserId("main", n), NODE, "h", floor=0)).token for n in (1, 2, 0)]
    assert again == [9_000_002, 9_000_002, 2_000_000]


# ---- registry and store of one process ----


async def test_a_node_lives_exactly_its_time_from_its_last_word() -> None:
    clock, record = ManualClock(), NodeRecord(NODE, "h", "1", 0, 0, False, 0.0)
    registry = MemoryNodeRegistry(clock)
    for _ in range(2):
        await registry.announce(record)
        await clock.advance(9.5)
        assert await registry.nodes() == (record,)
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
