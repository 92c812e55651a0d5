"""Registry: connected, replaced and lingering phones, and ended sessions."""

from __future__ import annotations

import pytest

from gateway.core.link import Linger
from gateway.core.registry import Denylist, End, Registry, RegistryLimits, Seat
from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Application, UserId

ANN, BOB = UserId("main", 1), UserId("main", 2)
DASHBOARD, ASSISTANT = Application.DASHBOARD, Application.REMOTE_ASSISTANT


def seat(
    session: str, *, user: UserId = ANN, application: Application = DASHBOARD, device: str | None = None
) -> Seat:
    return Seat(user, session, application, device or f"phone of {session}")


def full(received: dict[str, float] | None = None, devices: int = 2) -> Registry[str]:
    """Return a registry of one user who has *devices* connections, each of which spoke once."""
    received = {} if received is None else received
    registry = Registry[str](received.__getitem__, RegistryLimits(devices=devices))
    for number in range(devices):
        received[f"c{number}"] = float(number)
        registry.add(f"c{number}", seat(f"s{number}"), float(number))
    return registry


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
def test_a_log_on_that_would_end_another_session_is_known_before(
    newcomer: Seat, at: float, unseats: bool
) -> None:
    registry = full()
    assert registry.unseats(newcomer, at) is unseats
    assert len(registry) == 2


def test_adding_what_is_here_changes_nothing() -> None:
    received: dict[str, float] = {}
    registry = Registry[str](received.__getitem__)
    registry.add("a", seat("s"), 0.0)
    assert registry.add("a", seat("other"), 1.0) == ()
    assert (len(registry), registry.due(1e9)) == (1, ())
    registry.remove("a", 2.0)
    assert (len(registry), registry.due(1e9)) == (0, (ANN,))


def test_also_a_late_node_which_keeps_users_longer_keeps_no_more_of_them() -> None:
    registry = Registry[str](lambda _: 0.0, RegistryLimits(connections=3), Linger(dashboard_s=10.0))
    kept: set[UserId] = set()
    for number in range(12):
        user, now = UserId("main", number), 6.0 * number
        registry.add(f"c{number}", seat(f"s{number}", user=user), now)
        registry.remove(f"c{number}", now)
        kept.add(user)
        kept.difference_update(registry.due(now - 1e3))
        assert kept == {UserId("main", each) for each in range(max(0, number - 2), number + 1)}


def test_silent_devices_make_way_in_the_order_of_their_silence_unless_they_spoke_since() -> None:
    received = {"n0": 700.0, "n1": 702.0, "n2": 703.0, "n3": 704.0}
    registry = full(received, devices=4)
    assert registry.add("n0", seat("t0"), 700.0) == ("c0",)
    received["c1"] = 701.0
    assert registry.add("n1", seat("t1"), 702.0) == ("c2",)
    registry.remove("c3", 703.0)
    registry.add("n2", seat("t2"), 703.0)
    assert registry.add("n3", seat("t3"), 704.0) is CloseCode.TOO_MANY_DEVICES
    assert registry.add("n3", seat("t3"), 1301.0) == ("n0",)


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
    denied.turn(99)
    assert len(denied) == 2
    denied.turn(100)
    assert len(denied) == 0
    denied = Denylist()
    for number in range(1_000):
        denied.add(HASH_OF_ANN, f"long {number}", OFF, since_ms=10, until_ms=1_000)
    denied.add(HASH_OF_BOB, "short", OFF, since_ms=10, until_ms=100)
    denied.turn(100)
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
