"""Rules for changes of an agent's skills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.simulator.errors import Refused
from gateway.simulator.model import AgentSkill, Skill


@dataclass(frozen=True, slots=True)
class SkillChange:
    """One skill set, or taken away (*level* None); what is None otherwise stays as it is."""

    key: int
    level: int | None
    preference: int | None = None
    active: bool | None = None


def changed(
    present: Mapping[int, AgentSkill],
    changes: Sequence[SkillChange],
    catalogue: Mapping[int, Skill],
    *,
    replace: bool,
) -> dict[int, AgentSkill]:
    """Return the skills after *changes*: patched, or replaced whole.

    Raises:
        Refused: ``DuplicateSkill``, ``SkillUnknown``, ``LevelOutOfRange``, ``PreferenceOutOfRange``.
    """
    if len({change.key for change in changes}) != len(changes):
        raise Refused("DuplicateSkill")
    result = {} if replace else dict(present)
    for change in changes:
        _check(change, catalogue)
        if change.level is None:
            result.pop(change.key, None)
            continue
        old = present.get(change.key, AgentSkill(change.level))
        result[change.key] = AgentSkill(
            change.level,
            old.preference if change.preference is None else change.preference,
            old.active if change.active is None else change.active,
        )
    return result


def _check(change: SkillChange, catalogue: Mapping[int, Skill]) -> None:
    skill = catalogue.get(change.key)
    if skill is None:
        raise Refused("SkillUnknown", SkillKey=change.key)
    if change.level is not None and not skill.level_min <= change.level <= skill.level_max:
        raise Refused("LevelOutOfRange", SkillKey=change.key, Min=skill.level_min, Max=skill.level_max)
    preference = change.preference
    if preference is not None and not skill.preference_min <= preference <= skill.preference_max:
        raise Refused(
            "PreferenceOutOfRange", SkillKey=change.key, Min=skill.preference_min, Max=skill.preference_max
        )
