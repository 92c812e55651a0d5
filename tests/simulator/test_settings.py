"""Which settings can no centre have?"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.simulator.settings import SimulatorSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"agents": 0},
        {"queues": 0},
        {"users": 0},
        {"groups": -1},
        {"idle_timeout_s": 0},
        {"idle_timeout_s": 3601},
        {"interval_s": 0},
        {"scale": 0},
        {"warm_up_s": -1},
        {"warm_up_s": 86_401},
        {"warm_up_s": float("nan")},
    ],
)
def test_they_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a contact centre|idle timeout|above 0|has lived"):
        SimulatorSettings(**wrong)


def test_groups_follow_from_agents() -> None:
    assert SimulatorSettings().group_count == 8
    assert SimulatorSettings(agents=3).group_count == 1
    assert SimulatorSettings(groups=5).group_count == 5
