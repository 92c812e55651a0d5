"""Denylist: ended sessions are refused until their tokens expire."""

from __future__ import annotations

from gateway.core.registry import Denylist, End
from gateway.domain.errors import EndReason

ANN, BOB = "hash of Ann", "hash of Bob"
BLOCKED = End(EndReason.BLOCKED, None)
OUSTED = End(EndReason.TAKEN_OVER, "Ann's other phone")


def test_nothing_is_known_of_a_session_that_nobody_ended() -> None:
    denied = Denylist()
    denied.add(ANN, "a", BLOCKED, since_ms=10, until_ms=100)
    assert denied.get("b", 0) is None


def test_an_end_is_known_until_the_token_expires_and_no_longer() -> None:
    denied = Denylist()
    denied.add(ANN, "a", OUSTED, since_ms=10, until_ms=100)
    assert denied.get("a", 99) == OUSTED
    assert denied.get("a", 100) is None
    assert len(denied) == 0


def test_what_was_said_first_stands() -> None:
    denied = Denylist()
    denied.add(ANN, "a", OUSTED, since_ms=10, until_ms=100)
    denied.add(ANN, "a", BLOCKED, since_ms=10, until_ms=200)
    assert denied.get("a", 0) == OUSTED
    assert denied.get("a", 150) is None


def test_a_log_on_clears_the_users_sessions_and_nobody_elses() -> None:
    denied = Denylist()
    denied.add(ANN, "a1", BLOCKED, since_ms=10, until_ms=100)
    denied.add(ANN, "a2", BLOCKED, since_ms=10, until_ms=100)
    denied.add(BOB, "b", OUSTED, since_ms=10, until_ms=100)
    denied.clear(ANN, 20, new="new")
    assert [denied.get(handle, 0) for handle in ("a1", "a2", "b")] == [None, None, OUSTED]


def test_when_full_the_first_is_forgotten() -> None:
    denied = Denylist(entries_max=2)
    for handle in ("a", "b", "c"):
        denied.add(ANN, handle, BLOCKED, since_ms=10, until_ms=100)
    assert [denied.get(handle, 0) for handle in ("a", "b", "c")] == [None, BLOCKED, BLOCKED]
    assert len(denied) == 2


def test_what_the_log_on_itself_ended_stays_said() -> None:
    denied = Denylist()
    denied.add(ANN, "old", BLOCKED, since_ms=10, until_ms=100)
    denied.add(ANN, "taken over", OUSTED, since_ms=20, until_ms=100)
    denied.clear(ANN, 20, new="new")
    assert denied.get("old", 50) is None
    assert denied.get("taken over", 50) == OUSTED


def test_the_ended_sessions_of_a_user_are_found() -> None:
    denied = Denylist()
    denied.add(ANN, "a1", BLOCKED, since_ms=10, until_ms=100)
    denied.add(BOB, "b", OUSTED, since_ms=10, until_ms=100)
    denied.add(ANN, "a2", OUSTED, since_ms=20, until_ms=100)
    assert denied.of(ANN) == (("a1", BLOCKED), ("a2", OUSTED))


def test_a_logged_off_session_stays_refused_after_any_log_on() -> None:
    denied, off = Denylist(), End(EndReason.LOGGED_OFF, "self")
    denied.add(ANN, "off", off, since_ms=10, until_ms=100)
    assert denied.clear(ANN, 20, new="new") == ()
    assert denied.get("off", 50) == off


def test_of_a_new_session_under_an_old_id_nothing_is_known() -> None:
    denied = Denylist()
    denied.add(ANN, "again", End(EndReason.LOGGED_OFF, "self"), since_ms=10, until_ms=100)
    assert denied.clear(ANN, 20, new="again") == ("again",)
    assert denied.get("again", 50) is None
