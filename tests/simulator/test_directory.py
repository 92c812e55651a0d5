"""Directory of the simulator: members, and who sees what."""

from __future__ import annotations

import random  # noqa: TID251 - seeded by the test

import pytest

from gateway.simulator.commands import SkillChange, changed
from gateway.simulator.directory import DIRECTORY_KINDS, PARAMETERS, check_parameters, populate
from gateway.simulator.model import AgentSkill, Scope, Skill
from gateway.simulator.settings import SimulatorSettings
from tests.simulator.peer import AGENT, World


def test_agents_serve_the_queues_of_their_active_sufficient_skills() -> None:
    directory = World().sim.center.directory
    agent = directory.agents[AGENT]
    queue = directory.queues[60_001]
    for skill, serves in (
        (AgentSkill(queue.level_min), True),
        (AgentSkill(queue.level_min - 1), False),
        (AgentSkill(99, active=False), False),
    ):
        agent.skills = {queue.skill_key: skill}
        directory.relate()
        assert (directory.queues_of[AGENT] == (60_001,)) == serves
        assert (agent in directory.agents_of[60_001]) == serves


def test_scopes_follow_from_groups_and_an_empty_one_sees_catalogues_only() -> None:
    directory = World().sim.center.directory
    assert directory.within(()) == Scope()
    assert directory.within(directory.groups).users == frozenset(directory.agents)
    own = directory.own(directory.agents[AGENT])
    assert own.keys - own.queues - own.groups == frozenset((AGENT,))
    assert directory.within((70_001, 4711)).groups == {70_001}
    found = World().sim.center.directory.query(DIRECTORY_KINDS, Scope())
    assert [found[kind] for kind in ("User", "Queue", "Group", "Aggregate")] == [[], [], [], []]
    assert {"Key": 95_005, "Name": "Back office", "RequiredFor": ("Work",)} in found["WorkReason"]
    assert found["UnavailableReason"][0] == {"Key": 95_001, "Name": "Lunch"}
    assert {each["AppliesTo"] for each in found["RoutingParameter"]} == {"Queue", "Group"}
    assert found["Skill"][0]["LevelMax"] == 100


# ---- routing parameters ----


def test_every_default_is_allowed() -> None:
    for applies_to in ("Queue", "Group"):
        writable = {
            each.name: each.default
            for each in PARAMETERS
            if each.applies_to == applies_to and not each.read_only
        }
        assert check_parameters(applies_to, writable) == writable


# ---- centres of any size ----


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


# ---- skills of an agent ----


CATALOGUE = {key: Skill(key, f"Skill {key}") for key in (1, 2, 3)}
PRESENT = {1: AgentSkill(50, 7, active=False), 2: AgentSkill(20)}


def test_a_patch_keeps_what_it_does_not_name_and_a_replacement_only_what_it_names() -> None:
    changes = [SkillChange(1, 60), SkillChange(2, None), SkillChange(3, 10, 2, active=True)]
    assert changed(PRESENT, changes, CATALOGUE, replace=False) == {
        1: AgentSkill(60, 7, active=False),
        3: AgentSkill(10, 2, active=True),
    }
    assert changed(PRESENT, [SkillChange(1, 60)], CATALOGUE, replace=True) == {
        1: AgentSkill(60, 7, active=False)
    }
    assert changed(PRESENT, [], CATALOGUE, replace=True) == {}
