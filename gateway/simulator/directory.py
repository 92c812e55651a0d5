"""Directory: objects and their memberships.

Invariant: keys are unique over all kinds; the maps between agents, queues, groups and
aggregates follow from the objects and are rebuilt by :meth:`Directory.relate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.simulator.model import (
    Agent,
    Aggregate,
    Group,
    Json,
    Queue,
    Reason,
    ReasonKind,
    Scope,
    Skill,
)
from gateway.simulator.parameters import PARAMETERS

ObjectKind = Literal["User", "Queue", "Group", "Aggregate", "Skill"]
REASON_KINDS: Final[tuple[ReasonKind, ...]] = (
    "UnavailableReason",
    "WorkReason",
    "PostProcessingReason",
    "WrapupReason",
)
DIRECTORY_KINDS: Final = (
    "User", "Queue", "Group", "Aggregate", "Skill", *REASON_KINDS, "RoutingParameter",
)  # fmt: skip


@dataclass(slots=True)
class Directory:
    """All objects by key, and their relations."""

    agents: dict[int, Agent]
    queues: dict[int, Queue]
    groups: dict[int, Group]
    aggregates: dict[int, Aggregate]
    skills: dict[int, Skill]
    reasons: dict[int, Reason]
    queues_of: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Agent → queues whose skill he has."""
    agents_of: dict[int, tuple[Agent, ...]] = field(default_factory=dict)
    """Queue → agents who have its skill."""
    members_of: dict[int, tuple[Agent, ...]] = field(default_factory=dict)
    """Group → agents."""
    groups_of: dict[int, frozenset[int]] = field(default_factory=dict)
    """Queue → groups with an agent of the queue."""
    aggregates_of: dict[int, frozenset[int]] = field(default_factory=dict)
    """Queue → aggregates."""

    def __post_init__(self) -> None:
        """Relate what was given."""
        self.relate()

    def relate(self) -> None:
        """Work out anew who serves what. Needed after skills or members changed."""
        self.queues_of = {agent.key: self._served(agent) for agent in self.agents.values()}
        agents_of: dict[int, list[Agent]] = {key: [] for key in self.queues}
        members_of: dict[int, list[Agent]] = {key: [] for key in self.groups}
        groups_of: dict[int, set[int]] = {key: set() for key in self.queues}
        for agent in self.agents.values():
            for queue_key in self.queues_of[agent.key]:
                agents_of[queue_key].append(agent)
                groups_of[queue_key].update(key for key in agent.group_keys if key in self.groups)
            for group_key in agent.group_keys:
                if group_key in members_of:
                    members_of[group_key].append(agent)
        self.agents_of = {key: tuple(agents) for key, agents in agents_of.items()}
        self.members_of = {key: tuple(agents) for key, agents in members_of.items()}
        self.groups_of = {key: frozenset(groups) for key, groups in groups_of.items()}
        self.aggregates_of = {
            key: frozenset(a.key for a in self.aggregates.values() if key in a.queue_keys)
            for key in self.queues
        }

    def kind_of(self, key: int) -> ObjectKind | None:
        """Tell which kind of object has *key*."""
        kinds: tuple[tuple[ObjectKind, Iterable[int]], ...] = (
            ("User", self.agents),
            ("Queue", self.queues),
            ("Group", self.groups),
            ("Aggregate", self.aggregates),
            ("Skill", self.skills),
        )
        return next((kind for kind, keys in kinds if key in keys), None)

    def everything(self) -> Scope:
        """Return the scope that holds all objects."""
        return Scope(
            frozenset(self.agents),
            frozenset(self.queues),
            frozenset(self.groups),
            frozenset(self.aggregates),
        )

    def within(self, groups: Iterable[int]) -> Scope:
        """Return the scope of whoever leads *groups*: members, their queues, and aggregates of only these."""
        chosen = frozenset(groups) & frozenset(self.groups)
        users = frozenset(agent.key for key in chosen for agent in self.members_of[key])
        queues = frozenset(queue for user in users for queue in self.queues_of[user])
        aggregates = frozenset(
            each.key for each in self.aggregates.values() if queues.issuperset(each.queue_keys)
        )
        return Scope(users, queues, chosen, aggregates)

    def own(self, agent: Agent) -> Scope:
        """Return what an agent sees in the Remote Assistant: himself, his queues and his groups."""
        queues, groups = frozenset(self.queues_of[agent.key]), frozenset(agent.group_keys)
        return Scope(frozenset((agent.key,)), queues, groups & frozenset(self.groups))

    def object_json(self, key: int) -> Json | None:
        """Return the directory object with *key*; None when there is none."""
        match self.kind_of(key):
            case "User":
                return self._user(self.agents[key])
            case "Queue":
                queue = self.queues[key]
                return {"Key": key, "Name": queue.name, "Media": queue.media}
            case "Group":
                return {"Key": key, "Name": self.groups[key].name}
            case "Aggregate":
                aggregate = self.aggregates[key]
                return {"Key": key, "Name": aggregate.name, "QueueKeys": aggregate.queue_keys}
            case "Skill":
                return _skill(self.skills[key])
            case None:
                return None

    def query(self, kinds: Iterable[str], scope: Scope) -> dict[str, list[Json]]:
        """Return the objects of *kinds*, as far as *scope* holds them; catalogues whole."""
        return {kind: self._objects(kind, scope) for kind in kinds}

    def skills_json(self, agent: Agent) -> list[Json]:
        """Return the skills of an agent, by key."""
        return [
            {"SkillKey": key, "Level": each.level, "Preference": each.preference, "Active": each.active}
            for key, each in sorted(agent.skills.items())
        ]

    def _objects(self, kind: str, scope: Scope) -> list[Json]:
        visible = {"User": scope.users, "Queue": scope.queues, "Group": scope.groups}.get(kind)
        if kind == "Aggregate":
            visible = scope.aggregates
        if visible is not None:
            return [found for key in sorted(visible) if (found := self.object_json(key)) is not None]
        if kind == "Skill":
            return [_skill(each) for each in self.skills.values()]
        if kind == "RoutingParameter":
            return [each.as_json() for each in PARAMETERS]
        return [_reason(each) for each in self.reasons.values() if each.kind == kind]

    def _user(self, agent: Agent) -> Json:
        return {
            "Key": agent.key,
            "ID": agent.user_id,
            "FirstName": agent.first_name,
            "LastName": agent.last_name,
            "Extension": agent.extension,
            "GroupKeys": agent.group_keys,
            "QueueKeys": self.queues_of[agent.key],
            "Skills": self.skills_json(agent),
            "Version": agent.version,
        }

    def _served(self, agent: Agent) -> tuple[int, ...]:
        return tuple(
            queue.key
            for queue in self.queues.values()
            if (skill := agent.skills.get(queue.skill_key)) is not None
            and skill.active
            and skill.level >= queue.level_min
        )


def _skill(skill: Skill) -> Json:
    return {
        "Key": skill.key,
        "Name": skill.name,
        "LevelMin": skill.level_min,
        "LevelMax": skill.level_max,
        "PreferenceMin": skill.preference_min,
        "PreferenceMax": skill.preference_max,
    }


def _reason(reason: Reason) -> Json:
    found: Json = {"Key": reason.key, "Name": reason.name}
    if reason.required_for:
        found["RequiredFor"] = reason.required_for
    return found
