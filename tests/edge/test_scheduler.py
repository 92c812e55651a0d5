"""Scheduler: each socket has its turn in time, once, at constant cost."""

from __future__ import annotations

import pytest

from gateway.edge.scheduler import NEVER
from tests.edge.pump_house import House, is_in_time


@pytest.fixture
def house() -> House:
    return House()


# ---- who is ready ----


async def test_who_was_ready_before_the_pump_ran_has_his_turn(house: House) -> None:
    one = house.add()
    house.ready(one)
    async with house.running():
        assert len(one.turns) == 1


# ---- times ----


async def test_deadlines_of_many_sockets_share_ticks(house: House) -> None:
    turners = [house.add(str(number)) for number in range(100)]
    async with house.running():
        for number, turner in enumerate(turners):
            house.at(turner, 20.001 + number / 1_000)
        assert len(house.scheduler._wheel) == 1
        await house.clock.advance(30)
    assert {len(turner.turns) for turner in turners} == {1}


@pytest.mark.parametrize("later_s", [0.5, 30.0])
async def test_an_earlier_time_wakes_the_pump_that_sleeps(house: House, later_s: float) -> None:
    one, other = house.add("one"), house.add("other")
    async with house.running():
        house.at(one, later_s)
        await house.clock.advance(0.01)
        when = house.at(other, 0.02)
        await house.clock.advance(0.1)
        assert is_in_time(other.turns[0], when)
        assert one.turns == []


async def test_a_pump_that_was_woken_just_before_a_tick_is_a_millisecond_late_for_it_at_most(
    house: House,
) -> None:
    one, other = house.add(), house.add()
    async with house.running():
        when = house.at(one, 0.0501)
        await house.clock.advance(0.0549)
        house.ready(other)
        for _ in range(20):
            await house.clock.advance(0.0005)
    assert is_in_time(one.turns[0], when, late_s=0.001)


async def test_a_pump_without_anything_to_do_costs_nothing(house: House) -> None:
    house.add()
    async with house.running():
        await house.clock.advance(100)
        assert house.clock.waiting == 0


# ---- what a socket may cost ----


async def test_a_socket_that_asks_again_and_again_is_on_the_wheel_once_for_each_kind_of_time(
    house: House,
) -> None:
    one = house.add()
    async with house.running():
        for _ in range(300):
            house.at(one, 0.9)
            house.at(one, 25.0)
            await house.clock.advance(0.001)
        assert house.on_the_wheel == 2
        await house.clock.advance(30)
        assert (house.on_the_wheel, one.near_tick, one.far_tick) == (0, NEVER, NEVER)


async def test_who_is_over_is_kept_by_no_time_that_he_asked_for(house: House) -> None:
    one, other = house.add("one"), house.add("other")
    async with house.running():
        for turner in (one, other):
            house.at(turner, 0.2)
            house.at(turner, 20.0)
        house.scheduler.forget(one)
        house.scheduler.forget(one)
        assert house.on_the_wheel == 2, "the other's two times"
        await house.clock.advance(25.0)
    assert one.turns == []
    assert len(other.turns) == 2
