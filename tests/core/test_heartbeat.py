"""Heartbeat: pings in time, and phones that do not answer."""

from __future__ import annotations

import pytest

from gateway.core.session import Heartbeat


def beating(jitter: float = 0.5) -> Heartbeat:
    return Heartbeat(100.0, every_s=20.0, pong_s=10.0, jitter=jitter)


@pytest.mark.parametrize(("jitter", "every_s"), [(0.0, 18.0), (0.5, 20.0), (0.999, 22.0)])
def test_pings_are_spread_by_a_tenth(jitter: float, every_s: float) -> None:
    heartbeat = beating(jitter)
    assert heartbeat.next_at == pytest.approx(100.0 + every_s, abs=0.01)
    assert not heartbeat.due(100.0 + every_s - 0.1)
    assert heartbeat.due(100.0 + every_s + 0.1)


def test_the_first_ping_without_an_answer_counts() -> None:
    heartbeat = beating()
    heartbeat.ping(120.0)
    heartbeat.ping(129.0)
    assert heartbeat.silent(130.0)


def test_a_ping_that_has_not_left_cannot_be_answered() -> None:
    heartbeat = beating()
    heartbeat.unsent(110.0)
    assert heartbeat.next_at == 120.0, "nothing was asked"
    heartbeat.ping(120.0)
    heartbeat.unsent(135.0)
    assert heartbeat.next_at == 140.0
    assert not heartbeat.silent(144.9)
    assert heartbeat.silent(145.0)
    heartbeat.received()
    heartbeat.unsent(146.0)
    assert not heartbeat.silent(1_000.0)


# ---- pongs ----


def test_how_long_the_newest_ping_was_under_way_is_reported_once() -> None:
    heartbeat = beating()
    first, newest = heartbeat.ping(120.0), heartbeat.ping(130.0)
    assert heartbeat.pong(first, 130.5) is None
    assert heartbeat.pong(newest, 130.75) == 0.75
    assert heartbeat.pong(newest, 131.0) is None
    assert heartbeat.pong(None, 131.0) is None


@pytest.mark.parametrize("nonce", [None, "", "1", "2"])
def test_a_pong_that_no_ping_asked_for_is_answered_by_one(nonce: str | None) -> None:
    heartbeat = beating()
    heartbeat.pong(heartbeat.ping(101.0), 102.0)
    heartbeat.received()
    heartbeat.pong(nonce, 110.0)
    assert heartbeat.due(110.0)


def test_a_phone_that_never_asks_by_name_is_answered_once_a_second() -> None:
    heartbeat = beating()
    heartbeat.ping(120.0)
    for now in (120.1, 120.2, 120.9):
        heartbeat.pong(None, now)
        assert not heartbeat.due(now)
    assert heartbeat.due(121.0)


def test_an_unasked_pong_puts_off_no_ping() -> None:
    heartbeat = Heartbeat(100.0, every_s=0.5, pong_s=10.0, jitter=0.5)
    heartbeat.ping(100.0)
    heartbeat.pong(None, 100.1)
    assert heartbeat.due(100.5)
