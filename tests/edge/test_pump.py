"""Does each socket have its turn in time, once, and at no more cost than two places on the wheel?"""

from __future__ import annotations

import pytest

from gateway.edge.scheduler import FAR_TICKS, NEAR_S, NEVER, TICK_S
from tests.edge.pump_house import House, is_in_time


@pytest.fixture
def house() -> House:
    return House()


# ---- who is ready ----


async def test_who_is_ready_has_one_turn_however_often_that_was_said(house: House) -> None:
    one = house.add()
    async with house.running():
        house.ready(one, one, one)
        await house.clock.settle()
        assert len(one.turns) == 1
        house.ready(one)
        await house.clock.settle()
        assert len(one.turns) == 2


async def test_turns_are_in_the_order_of_asking(house: House) -> None:
    a, b, c = house.add("a"), house.add("b"), house.add("c")
    async with house.running():
        house.ready(b, c, b, a, c)
        await house.clock.settle()
    assert house.order == ["b", "c", "a"]


async def test_who_was_ready_before_the_pump_ran_has_his_turn(house: House) -> None:
    one = house.add()
    house.ready(one)
    async with house.running():
        assert len(one.turns) == 1


async def test_who_is_made_ready_in_a_turn_comes_after_all_that_were(house: House) -> None:
    last = house.add("last")
    first = house.add("first", lambda: house.ready(last))
    second = house.add("second")
    async with house.running():
        house.ready(first, second)
        await house.clock.settle()
    assert house.order == ["first", "second", "last"]


async def test_who_waits_for_his_turn_already_has_no_second_one_for_being_made_ready_meanwhile(
    house: House,
) -> None:
    second = house.add("second")
    first = house.add("first", lambda: house.ready(second))
    async with house.running():
        house.ready(first, second)
        await house.clock.settle()
    assert house.order == ["first", "second"]


async def test_who_makes_himself_ready_in_his_turn_has_another_and_lets_others_live(house: House) -> None:
    one = house.add("one")
    one.does = lambda: house.ready(one) if len(one.turns) < 3 else None
    other = house.add("other")
    async with house.running():
        house.ready(one, other)
        await house.clock.settle()
    assert house.order == ["one", "other", "one", "one"]


# ---- times ----


@pytest.mark.parametrize(
    "in_s", [0.0001, 0.0049, TICK_S, 0.0051, 0.05, 0.9999, NEAR_S, 1.0001, 9.999, 25.0, 3_600.0]
)
async def test_a_pace_is_never_early_and_at_most_a_tick_late_and_a_deadline_some(
    house: House, in_s: float
) -> None:
    one = house.add()
    async with house.running():
        when = house.at(one, in_s)
        await house.clock.advance(in_s + 1)
    [turn] = one.turns
    assert is_in_time(turn, when, FAR_TICKS if in_s >= NEAR_S else 1)


async def test_a_time_that_is_past_comes_at_once(house: House) -> None:
    one = house.add()
    async with house.running():
        house.at(one, -5.0)
        await house.clock.settle()
    assert one.turns == [house.clock.now()]


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


async def test_an_earlier_time_of_the_same_socket_is_kept_in_time(house: House) -> None:
    one = house.add()
    async with house.running():
        house.at(one, 0.5)
        when = house.at(one, 0.1)
        await house.clock.advance(0.2)
        assert is_in_time(one.turns[0], when)


async def test_a_pace_does_not_take_the_place_of_a_deadline(house: House) -> None:
    one = house.add()
    async with house.running():
        far, near = house.at(one, 25.0), house.at(one, 0.05)
        await house.clock.advance(30)
    at_near, at_far = one.turns
    assert is_in_time(at_near, near)
    assert is_in_time(at_far, far, FAR_TICKS)


async def test_times_that_came_are_asked_for_anew(house: House) -> None:
    one = house.add()
    asked: list[float] = []
    one.does = lambda: asked.append(house.at(one, 0.05)) if len(asked) < 20 else None
    async with house.running():
        asked.append(house.at(one, 0.05))
        await house.clock.advance(2)
    assert len(one.turns) == len(asked)
    for when, turn in zip(asked, one.turns, strict=True):
        assert is_in_time(turn, when)


async def test_many_whose_time_is_the_same_tick_have_their_turns_in_the_order_of_asking(house: House) -> None:
    turners = [house.add(str(number)) for number in range(50)]
    async with house.running():
        for turner in reversed(turners):
            house.at(turner, 0.1)
        assert len(house.scheduler._ticks) == 1
        await house.clock.advance(0.2)
    assert house.order == [turner.name for turner in reversed(turners)]


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


@pytest.mark.parametrize("from_s", [0.9, 25.0])
async def test_a_socket_whose_time_moves_nearer_and_nearer_is_on_the_wheel_once(
    house: House, from_s: float
) -> None:
    one = house.add()
    async with house.running():
        for step in range(100):
            house.at(one, from_s - step * TICK_S)
        assert house.on_the_wheel <= 1


async def test_nothing_is_left_of_many_sockets_times(house: House) -> None:
    turners = [house.add(str(number)) for number in range(100)]
    async with house.running():
        for number, turner in enumerate(turners):
            house.at(turner, 0.001 * number)
            house.at(turner, 1 + 0.01 * number)
        assert house.on_the_wheel == 200
        await house.clock.advance(3)
        assert house.on_the_wheel == 0
    assert {len(turner.turns) for turner in turners} == {2}


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
