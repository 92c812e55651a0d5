"""Which changes to an agent's skills are allowed?"""

from __future__ import annotations

import pytest

from gateway.simulator.commands import SkillChange, changed
from gateway.simulator.fields import Refused
from gateway.simulator.model import AgentSkill, Skill

CATALOGUE = {key: Skill(key, f"Skill {key}") for key in (1, 2, 3)}
PRESENT = {1: AgentSkill(50, 7, active=False), 2: AgentSkill(20)}


def test_a_patch_keeps_what_it_does_not_name() -> None:
    changes = [SkillChange(1, 60), SkillChange(2, None), SkillChange(3, 10, 2, active=True)]
    assert changed(PRESENT, changes, CATALOGUE, replace=False) == {
        1: AgentSkill(60, 7, active=False),
        3: AgentSkill(10, 2, active=True),
    }


def test_a_replacement_keeps_only_what_it_names() -> None:
    assert changed(PRESENT, [SkillChange(1, 60)], CATALOGUE, replace=True) == {
        1: AgentSkill(60, 7, active=False)
    }
    assert changed(PRESENT, [], CATALOGUE, replace=True) == {}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([SkillChange(1, 5), SkillChange(1, None)], "DuplicateSkill"),
        ([SkillChange(4, 5)], "SkillUnknown"),
        ([SkillChange(4, None)], "SkillUnknown"),
        ([SkillChange(1, 0)], "LevelOutOfRange"),
        ([SkillChange(1, 101)], "LevelOutOfRange"),
        ([SkillChange(1, 5, 11)], "PreferenceOutOfRange"),
    ],
)
def test_what_is_refused(changes: list[SkillChange], error: str) -> None:
    with pytest.raises(Refused, match=error):
        changed(PRESENT, changes, CATALOGUE, replace=False)
