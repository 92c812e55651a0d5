"""Who is here, who makes way, who lingers?"""

from __future__ import annotations

import pytest

from gateway.core.registry import Added, NotAdmitted, Registry, RegistryLimits, Removed, Seat
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, UserId

ANN, BOB = UserId("main", 1), UserId("main", 2)
DASHBOARD, ASSISTANT = Application.DASHBOARD, Application.REMOTE_ASSISTANT


def seat(
    session: str, *, user: UserId = ANN, application: Application = DASHBOARD, device: str | None = None
) -> Seat:
    return Seat(user, session, application, device or f"phone of {session}")


def full(devices: int = 2) -> Registry[str]:
    registry = Registry[str](RegistryLimits(devices=devices))
    for number in range(devices):
        registry.add(f"c{number}", seat(f"s{number}"), float(number))
    return registry


def test_the_first_device_of_a_user_is_told_from_the_next() -> None:
    registry = Registry[str]()
    assert registry.add("a", seat("s1"), 0.0) == Added(first=True)
    assert registry.add("b", seat("s2"), 0.0) == Added(first=False)
    assert registry.add("c", seat("s3", user=BOB), 0.0) == Added(first=True)
    assert registry.connections(ANN) == ("a", "b")
    assert set(registry) == {ANN, BOB}
    assert len(registry) == 3


def test_the_last_device_of_a_user_is_told_from_the_others() -> None:
    registry = full()
    assert registry.remove("c0", 5.0) == Removed(seat("s0"), last=False)
    assert registry.remove("c1", 6.0) == Removed(seat("s1"), last=True)
    assert registry.connections(ANN) == ()
    assert "c1" not in registry


def test_nobody_who_is_unknown_is_removed() -> None:
    assert Registry[str]().remove("a", 0.0) is None


@pytest.mark.parametrize(
    ("newcomer", "replaces"),
    [
        (seat("s0", device="another phone"), True),
        (seat("s9", device="phone of s0"), True),
        (seat("s9", device="phone of s0", application=ASSISTANT), False),
        (seat("s9", device="another phone"), False),
        (seat("s0", user=BOB, device="phone of s0"), False),
    ],
)
def test_the_same_session_or_device_makes_way(newcomer: Seat, replaces: bool) -> None:
    registry = Registry[str]()
    registry.add("old", seat("s0"), 0.0)
    added = registry.add("new", newcomer, 1.0)
    assert isinstance(added, Added)
    assert added.replaced == (("old",) if replaces else ())
    assert ("old" in registry) is not replaces


@pytest.mark.parametrize(
    ("newcomer", "at", "unseats"),
    [
        (seat("s0", device="another phone"), 2.0, False),
        (seat("s9", device="phone of s0"), 2.0, True),
        (seat("s9", device="phone of s0", user=BOB), 2.0, False),
        (seat("s9"), 2.0, False),
        (seat("s9"), 601.0, True),
    ],
)
def test_whoever_would_send_another_session_away_is_known_before(
    newcomer: Seat, at: float, unseats: bool
) -> None:
    registry = full()
    assert registry.unseats(newcomer, at) is unseats
    assert len(registry) == 2


def test_one_newcomer_may_replace_two() -> None:
    registry = Registry[str]()
    registry.add("by session", seat("s1", device="x"), 0.0)
    registry.add("by device", seat("s2", device="y"), 0.0)
    assert registry.add("new", seat("s1", device="y"), 1.0) == Added(False, ("by session", "by device"))
    assert registry.connections(ANN) == ("new",)


def test_a_replaced_connection_does_not_take_its_successor_with_it() -> None:
    registry = Registry[str]()
    registry.add("old", seat("s"), 0.0)
    registry.add("new", seat("s"), 1.0)
    assert registry.remove("old", 2.0) is None
    assert registry.connections(ANN) == ("new",)
    assert registry.next_at is None


def test_adding_what_is_here_changes_nothing() -> None:
    registry = Registry[str]()
    registry.add("a", seat("s"), 0.0)
    assert registry.add("a", seat("other"), 1.0) == Added(first=False)
    assert registry.remove("a", 2.0) == Removed(seat("s"), last=True)


def test_a_user_has_so_many_devices() -> None:
    registry = full()
    assert registry.add("c", seat("s"), 600.0) == NotAdmitted(CloseCode.TOO_MANY_DEVICES)
    assert registry.connections(ANN) == ("c0", "c1")


def test_a_silent_device_makes_way_for_a_newcomer() -> None:
    registry = full()
    registry.touch("c0", 2.0)
    assert registry.add("c", seat("s"), 601.0) == NotAdmitted(CloseCode.TOO_MANY_DEVICES)
    assert registry.add("c", seat("s"), 601.5) == Added(False, ("c1",))


def test_a_silent_device_stays_when_there_is_room_or_another_makes_way() -> None:
    registry = full()
    assert registry.add("again", seat("s1"), 9999.0) == Added(False, ("c1",))
    registry.remove("again", 9999.0)
    assert registry.add("c", seat("s"), 9999.0) == Added(False)


def test_touching_what_is_not_here_changes_nothing() -> None:
    registry = full()
    registry.touch("unknown", 1000.0)
    assert registry.connections(ANN) == ("c0", "c1")


def test_a_node_has_so_many_connections() -> None:
    registry = Registry[str](RegistryLimits(connections=1))
    registry.add("a", seat("s"), 0.0)
    assert registry.add("b", seat("s2", user=BOB), 0.0) == NotAdmitted(CloseCode.OVER_CAPACITY)
    assert set(registry) == {ANN}
    assert registry.add("c", seat("s"), 0.0) == Added(False, ("a",))


def test_a_user_lingers_after_his_last_device_and_is_let_go_once() -> None:
    registry = Registry[str]()
    registry.add("a", seat("s"), 0.0)
    registry.remove("a", 10.0)
    assert registry.lingering == 1
    assert registry.next_at == 100.0
    assert registry.due(99.9) == ()
    assert registry.due(100.0) == (ANN,)
    assert registry.due(100.0) == ()
    assert registry.add("b", seat("s"), 101.0) == Added(first=True)


def test_a_user_who_comes_back_in_time_was_never_gone() -> None:
    registry = Registry[str]()
    registry.add("a", seat("s"), 0.0)
    registry.remove("a", 10.0)
    assert registry.add("b", seat("s"), 99.0) == Added(first=False)
    assert registry.due(1000.0) == ()
    assert registry.lingering == 0


def test_a_logged_on_assistant_lingers_longer_whichever_device_was_last() -> None:
    registry = Registry[str]()
    registry.add("phone", seat("ra", application=ASSISTANT), 0.0)
    registry.add("desk", seat("db"), 0.0)
    registry.remove("phone", 10.0)
    registry.remove("desk", 20.0)
    assert registry.next_at == 920.0


def test_an_ended_assistant_does_not_linger_longer() -> None:
    registry = Registry[str]()
    registry.add("phone", seat("ra", application=ASSISTANT), 0.0)
    registry.remove("phone", 10.0)
    registry.ended(ANN, "another")
    registry.ended(BOB, "ra")
    assert registry.next_at == 910.0
    registry.ended(ANN, "ra")
    assert registry.next_at == 100.0


def test_an_assistant_that_ended_while_connected_does_not_linger_longer() -> None:
    registry = Registry[str]()
    registry.add("phone", seat("ra", application=ASSISTANT), 0.0)
    registry.ended(ANN, "ra")
    registry.remove("phone", 10.0)
    assert registry.next_at == 100.0


def test_when_too_many_linger_the_next_to_end_goes_at_once() -> None:
    registry = Registry[str](RegistryLimits(connections=1))
    registry.add("a", seat("s", application=ASSISTANT), 0.0)
    registry.remove("a", 0.0)
    registry.add("b", seat("s", user=BOB), 50.0)
    registry.remove("b", 50.0)
    assert registry.due(50.0) == (BOB,)
    assert registry.lingering == 1


def test_silent_devices_make_way_in_the_order_of_their_silence_unless_they_spoke_since() -> None:
    registry = full(devices=4)
    assert registry.add("n0", seat("t0"), 700.0) == Added(False, ("c0",))
    registry.touch("c1", 701.0)
    assert registry.add("n1", seat("t1"), 702.0) == Added(False, ("c2",))
    registry.remove("c3", 703.0)
    registry.add("n2", seat("t2"), 703.0)
    assert registry.add("n3", seat("t3"), 704.0) == NotAdmitted(CloseCode.TOO_MANY_DEVICES)
    assert registry.add("n3", seat("t3"), 1301.0) == Added(False, ("n0",))
    assert registry.connections(ANN) == ("c1", "n1", "n2", "n3")
