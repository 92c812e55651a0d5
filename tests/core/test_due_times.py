"""Due times, and the part of the loop's time that one kind of work gets."""

from __future__ import annotations

import math
import random  # noqa: TID251 - seeded

import pytest

from gateway.core.lease import NO_SLOT, SLOT_S, DueSlots
from gateway.core.rate_limits import TURN_MAX_S, TurnShare
from gateway.core.registry import DueTime, DueTimes, WaitQueue


def keys(taken: list[DueTime[str]]) -> list[str]:
    return [due.key for due in taken]


def test_what_is_touched_is_due_once_and_what_is_dropped_never() -> None:
    times: DueTimes[str] = DueTimes()
    due = times.add("a")
    times.take(0)
    times.put(due, 5)
    due.touch()
    due.touch()
    assert list(times.touched) == ["a"]
    assert keys(times.take(5)) == ["a"], "touched and due by time is due once"
    times.put(due, 9)
    assert keys(times.take(8)) == []
    assert keys(times.take(9)) == ["a"]
    times = DueTimes()
    due, other = times.add("a"), times.add("b")
    times.take(0)
    times.put(due, 1)
    times.put(other, 1)
    due.touch()
    times.drop(due)
    times.put(due, 2)
    assert keys(times.take(100)) == ["b"]


def test_turns_end_in_the_order_in_which_they_began() -> None:
    turns: WaitQueue[str] = WaitQueue()
    rung: list[float] = []
    turns.ring = lambda: rung.append(turns.due_at)
    assert turns.due_at == math.inf
    turns.begin("a", 10)
    turns.begin("b", 11)
    assert (turns.due_at, list(turns.take(9.9)), list(turns.take(11))) == (10, [], ["a", "b"])
    turns.begin("a", 20)
    turns.drop("b")
    assert (turns.due_at, list(turns.take(19))) == (20, [])
    turns.drop("a")
    turns.drop("a")
    assert (turns.due_at, list(turns.take(99))) == (math.inf, [])
    assert rung == [10], "a later turn makes nothing due earlier"


def test_who_is_touched_has_the_turn_still() -> None:
    turns: WaitQueue[str] = WaitQueue()
    turns.begin("a", 10)
    turns.begin("b", 11)
    turns.touch("b")
    turns.touch("b")
    assert turns.due_at == -math.inf
    assert list(turns.take(0)) == ["b"]
    assert list(turns.take(0)) == []
    turns.touch("a")
    turns.drop("a")
    assert list(turns.take(11)) == ["b"]


@pytest.mark.parametrize("seed", range(6))
def test_each_is_due_when_it_should_be(seed: int) -> None:
    dice, times = random.Random(seed), DueTimes[int]()
    wanted: dict[int, float] = {}
    dues = {key: times.add(key) for key in range(50)}
    times.take(0)
    for now in range(1, 400):
        for key in dice.sample(range(50), 10):
            if dice.random() < 0.3:
                dues[key].touch()
                wanted[key] = -math.inf
            elif wanted.get(key, math.inf) > -math.inf:
                wanted[key] = now + dice.choice([0, 1, 5, 50, math.inf])
                times.put(dues[key], wanted[key])
        taken = [due.key for due in times.take(now)]
        assert len(set(taken)) == len(taken)
        assert set(taken) == {key for key, at in wanted.items() if at <= now}
        for key in taken:
            wanted[key] = now + dice.choice([1, 7, 30])
            times.put(dues[key], wanted[key])


class Item:
    """An item of slots."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot = NO_SLOT


def names(taken: list[Item]) -> list[str]:
    return [item.name for item in taken]


def test_an_item_is_in_one_slot_at_most_and_due_once() -> None:
    slots, a, b = DueSlots[Item](), Item("a"), Item("b")
    slots.put(a, 100.0)
    slots.put(b, 50.0)
    slots.put(a, 20.0)
    slots.put(b, 60.0)
    assert len(slots) == 2
    assert names(slots.take(19.9 - SLOT_S)) == []
    assert names(slots.take(20.0)) == ["a"]
    assert names(slots.take(59.0)) == []
    slots.put(b, 200.0)
    slots.drop(b)
    slots.drop(b)
    assert names(slots.take(1_000.0)) == []
    assert len(slots) == 0


@pytest.mark.parametrize("at", [-math.inf, -5.0, 0.0, 5.0])
def test_an_item_whose_time_has_passed_is_due_with_the_next_take(at: float) -> None:
    slots, item = DueSlots[Item](), Item("a")
    slots.put(item, at)
    assert names(slots.take(10.0)) == ["a"]


@pytest.mark.parametrize("seed", range(5))
def test_slots_are_never_late_and_early_by_one_slot_at_most(seed: int) -> None:
    dice, slots = random.Random(seed), DueSlots[Item]()
    items = [Item(str(number)) for number in range(50)]
    due_at: dict[Item, float] = {}
    for now in range(200):
        taken = slots.take(now)
        assert len(set(taken)) == len(taken)
        expected = {item for item, at in due_at.items() if at <= now}
        assert expected <= set(taken) <= {item for item, at in due_at.items() if at <= now + SLOT_S}
        for item in taken:
            del due_at[item]
        for item in dice.sample(items, 5):
            if dice.random() < 0.2:
                slots.drop(item)
                due_at.pop(item, None)
            else:
                due_at[item] = now + dice.uniform(-3.0, 30.0)
                slots.put(item, due_at[item])
        assert len(slots) == len(due_at)


# ---- the part of the loop's time ----


def test_work_takes_more_of_a_turn_that_the_work_of_others_makes_long() -> None:
    share = TurnShare(0.005)
    assert share.time_s == 0.005
    share.others_took(0.1)
    assert share.time_s == 0.025
    share.others_took(10.0)
    assert share.time_s == TURN_MAX_S
    share.others_took(0.001)
    assert share.time_s == 0.005


def test_kinds_of_work_that_all_have_much_to_do_do_not_make_the_turns_longer_and_longer() -> None:
    shares = [TurnShare(least_s) for least_s in (0.0, 0.002, 0.002, 0.005)]
    turn_s = 0.0
    for _ in range(500):
        turn_s = 0.01 + sum(share.time_s for share in shares)  # 10 ms of anything else
        for share in shares:
            share.others_took(turn_s - share.time_s)
    assert turn_s < 0.06
