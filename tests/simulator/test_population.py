"""Is a centre of any size a plausible one?"""

from __future__ import annotations

import random  # noqa: TID251 - seeded by the test

import pytest

from gateway.simulator.directory import populate
from gateway.simulator.settings import SimulatorSettings


@pytest.mark.parametrize(
    ("agents", "queues", "groups"), [(1, 1, 0), (200, 20, 0), (5, 9, 7), (300, 3, 12), (1500, 100, 0)]
)
def test_every_queue_and_group_belongs_somewhere(agents: int, queues: int, groups: int) -> None:
    settings = SimulatorSettings(agents=agents, queues=queues, groups=groups)
    directory = populate(settings, random.Random(1), 0)
    assert (len(directory.agents), len(directory.queues)) == (agents, queues)
    assert all(directory.queues_of[key] for key in directory.agents)
    assert all(agent.group_keys[0] in directory.groups for agent in directory.agents.values())
    assert sorted(key for each in directory.aggregates.values() for key in each.queue_keys) == sorted(
        directory.queues
    )
    keys = [*directory.agents, *directory.queues, *directory.groups, *directory.aggregates, *directory.skills]
    assert len(set(keys)) == len(keys)
    if agents >= 10 * queues:
        assert all(directory.agents_of.values())


def test_the_same_seed_makes_the_same_people() -> None:
    settings = SimulatorSettings(agents=30)
    one, same, other = (populate(settings, random.Random(seed), 0) for seed in (1, 1, 2))
    assert repr(one.agents) == repr(same.agents) != repr(other.agents)
