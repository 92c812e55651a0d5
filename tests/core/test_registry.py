"""Registry: connected, replaced and lingering phones, ended sessions, and due times."""

from __future__ import annotations

import math
import random  # noqa: TID251 - seeded

import pytest

from gateway.core.lease import NO_SLOT, SLOT_S, DueSlots
from gateway.core.link import Linger
from gateway.core.rate_limits import TURN_MAX_S, TurnShare
from gateway.core.registry import (
    ConnectedPhone,
    Denylist,
    DueTime,
    DueTimes,
    End,
    Registry,
    RegistryLimits,
    WaitQueue,
)
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Application, UserId

ANN, BOB = UserId("main", 1), UserId("main", 2)
DASHBOARD, ASSISTANT = Application.DASHBOARD, Application.REMOTE_ASSISTANT


def phone(
    session: str, *, user: UserId = ANN, application: Application = DASHBOARD, device: str | None = None
) -> ConnectedPhone:
    return ConnectedPhone(user, session, application, device or f"phone of {session}")


def full() -> Registry[str]:
    """Return a registry of one user who has two connections, each of which spoke once."""
    received = {"c0": 0.0, "c1": 1.0}
    registry = Registry[str](received.__getitem__, RegistryLimits(devices=2))
    for number, (connection, at) in enumerate(received.items()):
        registry.add(connection, phone(f"s{number}"), at)
    return registry


@pytest.mark.parametrize(
    ("another", "at", "replaces", "answer"),
    [
        (phone("s0", device="another phone"), 2.0, False, ("c0",)),
        (phone("s9", device="phone of s0"), 2.0, True, ("c0",)),
        (phone("s9", device="phone of s0", user=BOB), 2.0, False, ()),
        (phone("s9"), 2.0, False, CloseCode.TOO_MANY_DEVICES),
        (phone("s9"), 600.5, True, ("c0",)),
        (phone("s9"), 700.0, True, ("c0",)),
    ],
)
def test_who_makes_way_for_a_log_on_is_known_before_and_the_one_that_is_silent_longest_is_first(
    another: ConnectedPhone, at: float, replaces: bool, answer: object
) -> None:
    registry = full()
    assert registry.would_replace(another, at) is replaces
    assert len(registry) == 2
    assert registry.add("new", another, at) == answer


def test_adding_what_is_here_changes_nothing() -> None:
    received: dict[str, float] = {}
    registry = Registry[str](received.__getitem__)
    registry.add("a", phone("s"), 0.0)
    assert registry.add("a", phone("other"), 1.0) == ()
    assert (len(registry), registry.due(1e9)) == (1, ())
    registry.remove("a", 2.0)
    assert (len(registry), registry.due(1e9)) == (0, (ANN,))


def test_also_a_late_node_which_keeps_users_longer_keeps_no_more_of_them() -> None:
    registry = Registry[str](lambda _: 0.0, RegistryLimits(connections=3), Linger(dashboard_s=10.0))
    kept: set[UserId] = set()
    for number in range(12):
        user, now = UserId("main", number), 6.0 * number
        registry.add(f"c{number}", phone(f"s{number}", user=user), now)
        registry.remove(f"c{number}", now)
        kept.add(user)
        kept.difference_update(registry.due(now - 1e3))
        assert kept == {UserId("main", each) for each in range(max(0, number - 2), number + 1)}


# ---- denylist ----


HASH_OF_ANN, HASH_OF_BOB = "hash of Ann", "hash of Bob"
BLOCKED = End(EndReason.BLOCKED, None)
OUSTED = End(EndReason.TAKEN_OVER, "Ann's other phone")
OFF = End(EndReason.LOGGED_OFF, "self")


def denying(*ended: tuple[str, End], most: int = 100) -> Denylist:
    """Return what is known of sessions that ended at 10 or, of those that a log-on ended, at 20."""
    denied = Denylist(entries_max=most)
    for handle, end in ended:
        user_hash = HASH_OF_BOB if handle == "b" else HASH_OF_ANN
        denied.add(user_hash, handle, end, since_ms=20 if end is OUSTED else 10, until_ms=100)
    return denied


def test_a_turn_removes_the_ends_whose_time_is_over_and_no_others() -> None:
    denied = denying(("a", BLOCKED), ("b", OFF))
    denied.prune(99)
    assert len(denied) == 2
    denied.prune(100)
    assert len(denied) == 0
    denied = Denylist()
    for number in range(1_000):
        denied.add(HASH_OF_ANN, f"long {number}", OFF, since_ms=10, until_ms=1_000)
    denied.add(HASH_OF_BOB, "short", OFF, since_ms=10, until_ms=100)
    denied.prune(100)
    assert [session for session, _ in denied.of(HASH_OF_BOB)] == []
    assert len(denied) == 1_000


def test_an_end_is_known_until_the_token_expires_and_no_longer() -> None:
    denied = denying(("a", OUSTED))
    assert denied.get("other", 0) is None
    assert denied.get("a", 99) == OUSTED
    assert denied.get("a", 100) is None
    assert len(denied) == 0


def test_a_log_on_clears_the_users_sessions_but_what_it_ended_itself_and_nobody_elses() -> None:
    denied = denying(("a1", BLOCKED), ("a2", BLOCKED), ("taken over", OUSTED), ("b", BLOCKED))
    denied.clear(HASH_OF_ANN, 20, new="new")
    known = [denied.get(handle, 50) for handle in ("a1", "a2", "taken over", "b")]
    assert known == [None, None, OUSTED, BLOCKED]


def test_the_ends_of_a_user_stand_as_they_were_said_first_until_there_are_too_many() -> None:
    denied = denying(("a1", BLOCKED), ("b", OUSTED), ("a2", OUSTED))
    assert denied.of(HASH_OF_ANN) == (("a1", BLOCKED), ("a2", OUSTED))
    denied = denying(("a", OUSTED))
    denied.add(HASH_OF_ANN, "a", BLOCKED, since_ms=10, until_ms=200)
    assert denied.get("a", 0) == OUSTED
    assert denied.get("a", 150) is None
    denied = denying(("a", BLOCKED), ("b", BLOCKED), ("c", BLOCKED), most=2)
    assert [denied.get(handle, 0) for handle in ("a", "b", "c")] == [None, BLOCKED, BLOCKED]
    assert len(denied) == 2


@pytest.mark.parametrize(("new", "cleared", "known"), [("new", (), OFF), ("off", ("off",), None)])
def test_a_logged_off_session_stays_refused_after_any_log_on(
    new: str, cleared: tuple[str, ...], known: End | None
) -> None:
    denied = denying(("off", OFF))
    assert denied.clear(HASH_OF_ANN, 20, new=new) == cleared
    assert denied.get("off", 50) == known


# ---- due times, and the part of the loop's time that one kind of work gets ----


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
    waits: WaitQueue[str] = WaitQueue()
    rung: list[float] = []
    waits.ring = lambda: rung.append(waits.due_at)
    assert waits.due_at == math.inf
    waits.begin("a", 10)
    waits.begin("b", 11)
    assert (waits.due_at, list(waits.take(9.9)), list(waits.take(11))) == (10, [], ["a", "b"])
    waits.begin("a", 20)
    waits.drop("b")
    assert (waits.due_at, list(waits.take(19))) == (20, [])
    waits.drop("a")
    waits.drop("a")
    assert (waits.due_at, list(waits.take(99))) == (math.inf, [])
    assert rung == [10], "a later turn makes nothing due earlier"


@pytest.mark.parametrize("seed", range(6))
def test_a_turn_ends_in_time_though_longer_ones_began_before_it(seed: int) -> None:
    rng, waits = random.Random(seed), WaitQueue[int]()
    rung: list[float] = []
    waits.ring = lambda: rung.append(waits.due_at)
    wanted: dict[int, float] = {}
    for now in range(400):
        for item in rng.sample(range(50), 5):
            before = min(wanted.values(), default=math.inf)
            waits.drop(item)
            wanted.pop(item, None)
            if rng.random() < 0.8:
                rung.clear()
                wanted[item] = now + rng.choice([1, 10, 10, 10, 11])
                waits.begin(item, wanted[item])
                assert wanted[item] >= before or rung == [wanted[item]]
        assert waits.due_at == min(wanted.values(), default=math.inf)
        due = {item for item, until in wanted.items() if until <= now}
        assert set(waits.take(now)) == due
        for item in due:
            waits.drop(item)
            del wanted[item]


def test_who_is_touched_has_the_turn_still() -> None:
    waits: WaitQueue[str] = WaitQueue()
    waits.begin("a", 10)
    waits.begin("b", 11)
    waits.touch("b")
    waits.touch("b")
    assert waits.due_at == -math.inf
    assert list(waits.take(0)) == ["b"]
    assert list(waits.take(0)) == []
    waits.touch("a")
    waits.drop("a")
    assert list(waits.take(11)) == ["b"]


@pytest.mark.parametrize("seed", range(6))
def test_each_is_due_when_it_should_be(seed: int) -> None:
    rng, times = random.Random(seed), DueTimes[int]()
    wanted: dict[int, float] = {}
    dues = {key: times.add(key) for key in range(50)}
    times.take(0)
    for now in range(1, 400):
        for key in rng.sample(range(50), 10):
            if rng.random() < 0.3:
                dues[key].touch()
                wanted[key] = -math.inf
            elif wanted.get(key, math.inf) > -math.inf:
                wanted[key] = now + rng.choice([0, 1, 5, 50, math.inf])
                times.put(dues[key], wanted[key])
        taken = [due.key for due in times.take(now)]
        assert len(set(taken)) == len(taken)
        assert set(taken) == {key for key, at in wanted.items() if at <= now}
        for key in taken:
            wanted[key] = now + rng.choice([1, 7, 30])
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
    rng, slots = random.Random(seed), DueSlots[Item]()
    items = [Item(str(number)) for number in range(50)]
    due_at: dict[Item, float] = {}
    for now in range(200):
        taken = slots.take(now)
        assert len(set(taken)) == len(taken)
        expected = {item for item, at in due_at.items() if at <= now}
        assert expected <= set(taken) <= {item for item, at in due_at.items() if at <= now + SLOT_S}
        for item in taken:
            del due_at[item]
        for item in rng.sample(items, 5):
            if rng.random() < 0.2:
                slots.drop(item)
                due_at.pop(item, None)
            else:
                due_at[item] = now + rng.uniform(-3.0, 30.0)
                slots.put(item, due_at[item])
        assert len(slots) == len(due_at)


# ---- the part of the loop's time ----


def test_work_takes_more_of_long_turns_and_does_not_make_them_longer_and_longer() -> None:
    share = TurnShare(0.005)
    assert share.time_s == 0.005
    share.others_took(0.1)
    assert share.time_s == 0.025
    share.others_took(10.0)
    assert share.time_s == TURN_MAX_S
    share.others_took(0.001)
    assert share.time_s == 0.005
    shares = [TurnShare(least_s) for least_s in (0.0, 0.002, 0.002, 0.005)]
    turn_s = 0.0
    for _ in range(500):
        turn_s = 0.01 + sum(share.time_s for share in shares)  # 10 ms of anything else
        for share in shares:
            share.others_took(turn_s - share.time_s)
    assert turn_s < 0.06
