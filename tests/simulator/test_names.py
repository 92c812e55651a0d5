"""Are names different from each other?"""

from __future__ import annotations

from gateway.simulator.directory import queue_name, team_name


def test_names_are_unique_and_realistic() -> None:
    assert len({queue_name(n) for n in range(1000)}) == 1000
    assert len({team_name(n) for n in range(200)}) == 200
    assert [queue_name(n) for n in (0, 1, 17)] == ["Billing", "Support", "Support DE"]
    assert [team_name(n) for n in (0, 16)] == ["Team Berlin", "Team Berlin 2"]
