"""Is a silent gateway given up in time, and not before?"""

from __future__ import annotations

from gateway.client.dialogue import Liveness


def test_a_gateway_may_be_silent_for_a_ping_and_ten_seconds() -> None:
    liveness = Liveness(100.0, 25.0)
    assert liveness.over_at == 135.0
    liveness.heard(120.0)
    assert liveness.over_at == 155.0


def test_welcome_says_how_often_it_pings() -> None:
    liveness = Liveness(100.0, 25.0)
    liveness.pings_every(10.0)
    assert liveness.over_at == 120.0


def test_after_a_change_of_network_something_must_come_in_three_seconds() -> None:
    liveness = Liveness(100.0, 25.0)
    liveness.probe(110.0)
    assert liveness.over_at == 113.0
    liveness.heard(112.0)
    assert liveness.over_at == 147.0


def test_a_probe_never_grants_more_time() -> None:
    liveness = Liveness(100.0, 25.0)
    liveness.probe(134.0)
    assert liveness.over_at == 135.0
