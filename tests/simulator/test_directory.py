"""Who belongs to whom, and who sees what of it?"""

from __future__ import annotations

from gateway.simulator.directory import DIRECTORY_KINDS
from gateway.simulator.model import AgentSkill, Scope
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


def test_keys_tell_kinds() -> None:
    directory = World().sim.center.directory
    keys = (AGENT, 60_001, 70_001, 80_001, 90_001, 4711)
    assert [directory.kind_of(key) for key in keys] == ["User", "Queue", "Group", "Aggregate", "Skill", None]
    assert directory.object_json(4711) is None


def test_an_empty_scope_sees_catalogues_only() -> None:
    found = World().sim.center.directory.query(DIRECTORY_KINDS, Scope())
    assert [found[kind] for kind in ("User", "Queue", "Group", "Aggregate")] == [[], [], [], []]
    assert {"Key": 95_005, "Name": "Back office", "RequiredFor": ("Work",)} in found["WorkReason"]
    assert found["UnavailableReason"][0] == {"Key": 95_001, "Name": "Lunch"}
    assert {each["AppliesTo"] for each in found["RoutingParameter"]} == {"Queue", "Group"}
    assert found["Skill"][0]["LevelMax"] == 100


def test_a_user_object_has_what_the_page_names() -> None:
    directory = World().sim.center.directory
    found = directory.object_json(AGENT)
    assert found is not None
    assert list(found) == [
        "Key", "ID", "FirstName", "LastName", "Extension", "GroupKeys", "QueueKeys", "Skills", "Version",
    ]  # fmt: skip


def test_scopes_follow_from_groups() -> None:
    directory = World().sim.center.directory
    assert directory.within(()) == Scope()
    assert directory.within(directory.groups).users == frozenset(directory.agents)
    own = directory.own(directory.agents[AGENT])
    assert own.keys - own.queues - own.groups == frozenset((AGENT,))
    assert directory.within((70_001, 4711)).groups == {70_001}
