"""Idle users: what a node does for them costs nothing until it is due."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import gateway
from gateway.domain.commands import KeepAlive
from gateway.domain.model import Kind, NodeId, Scope
from gateway.domain.resources import Queue
from gateway.domain.upstream import Part, Source
from gateway.runtime.node import NodeSettings
from tests.runtime.scene import Scene, scene, user

_PACKAGE = str(Path(gateway.__file__).parent)
ROOM = NodeSettings(NodeId("n1"), "n1-1", log_ons_per_s=10_000.0, log_ons_in_flight=1_000)


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count the calls of the product's functions."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            calls[f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_qualname}"] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


async def idle_users(at: Scene, users: int) -> None:
    """Serve users who log on at the same time; return when nothing about them is new."""
    for key in range(100, 100 + users):
        at.upstream.add_user(key, f"user{key}", scope=Scope(queues=frozenset({5})))
    for key in range(100, 100 + users):
        await at.served(f"user{key}")
    await at.pass_time(40)


async def until_all_is_done(at: Scene, users: int) -> None:
    """Return soon after the leases were renewed and the links had a keep-alive."""
    kept_alive = len(at.asked(KeepAlive))
    while len(at.asked(KeepAlive)) < kept_alive + users:
        await at.clock.advance(0.5)
    while any((at.owner(key).lease.due_at or 0.0) - at.clock.now() < 3.5 for key in range(100, 100 + users)):
        await at.clock.advance(0.5)


async def test_the_seconds_in_which_nothing_is_due_cost_the_same_for_any_number_of_users() -> None:
    costs: list[Counter[str]] = []
    for users in (1, 25):
        async with scene(ROOM) as at:
            await idle_users(at, users)
            await until_all_is_done(at, users)
            with counted_calls() as calls:
                for _ in range(6):
                    at.node.user_states[user(100)].due.touch()  # one user is not idle
                    await at.clock.advance(0.5)
            costs.append(calls)
    few, many = costs
    assert sum(few.values()) > 0
    assert many - few == Counter()


async def test_a_minute_costs_little_more_than_what_falls_due() -> None:
    costs: list[int] = []
    for users in (5, 25):
        async with scene(ROOM) as at:
            await idle_users(at, users)
            with counted_calls() as calls:
                await at.clock.advance(60)
            costs.append(sum(calls.values()))
            assert len(at.asked(KeepAlive)) >= 6 * users
            assert all(at.owner(key).lease.left_s(at.clock.now()) > 4.0 for key in range(100, 100 + users))
    per_user_and_second = (costs[1] - costs[0]) / 20 / 60
    assert per_user_and_second < 16, "six keep-alives and twelve renewals of the lease in a minute"


async def test_a_user_who_had_nothing_new_for_long_gets_the_next_reading_at_once() -> None:
    async with scene(ROOM) as at:
        await idle_users(at, 1)
        (phone,) = at.lines
        await at.clock.advance(60)
        at.upstream.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=9)))
        await at.clock.settle()
        assert phone.shown["queue:5"]["contacts_waiting"] == 9
