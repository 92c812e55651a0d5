"""Directory of the simulated contact centre: objects, memberships, names and routing parameters.

Invariant: keys are unique over all kinds; the maps between agents, queues, groups and aggregates follow from
the objects and are rebuilt by :meth:`Directory.relate`.
"""

from __future__ import annotations

import random  # noqa: TID251 - a generator seeded by the settings, given as an argument
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.simulator.fields import Refused
from gateway.simulator.model import (
    MEDIA,
    Agent,
    AgentSkill,
    Aggregate,
    Counters,
    Group,
    Json,
    Media,
    Queue,
    Reason,
    ReasonKind,
    Scope,
    Skill,
    UserCounters,
    Value,
)
from gateway.simulator.settings import SimulatorSettings

DataType = Literal["Integer", "Number", "Boolean", "String", "Enum", "QueueReference"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One routing parameter: its type, bounds and default."""

    name: str
    applies_to: Literal["Queue", "Group"]
    data_type: DataType
    default: Value
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    values: tuple[str, ...] | None = None
    unit: str | None = None
    read_only: bool = False

    def as_json(self) -> Json:
        """Return the directory object."""
        optional = {
            "Min": self.minimum,
            "Max": self.maximum,
            "Step": self.step,
            "Values": self.values,
            "Unit": self.unit,
        }
        return {
            "Name": self.name,
            "AppliesTo": self.applies_to,
            "DataType": self.data_type,
            **{name: value for name, value in optional.items() if value is not None},
            "ReadOnly": self.read_only,
            "Default": self.default,
        }


def _seconds(name: str, default: int, low: int, high: int) -> Parameter:
    return Parameter(name, "Queue", "Integer", default, low, high, 5, unit="s")


PARAMETERS: Final[tuple[Parameter, ...]] = (
    _seconds("ServiceLevelThreshold", 20, 5, 600),
    _seconds("OverflowAfter", 60, 5, 3600),
    Parameter("OverflowQueue", "Queue", "QueueReference", None),
    Parameter("Priority", "Queue", "Integer", 5, 1, 10, 1),
    Parameter("AttentionContacts", "Queue", "Integer", 3, 1, 500, 1),
    Parameter("ActionContacts", "Queue", "Integer", 8, 1, 500, 1),
    Parameter("WrapupReasonRequired", "Queue", "Boolean", False),
    Parameter("Announcement", "Queue", "String", ""),
    Parameter("Distribution", "Queue", "Enum", "LongestIdle", values=("LongestIdle", "BestSkilled")),
    Parameter("TargetOccupancy", "Queue", "Number", 85.0, 10.0, 100.0, 0.5, unit="%"),
    Parameter("SchedulingVersion", "Queue", "String", "S1", read_only=True),
    Parameter("MaximumCallsWaiting", "Group", "Integer", 50, 0, 500, 1),
    Parameter("OverflowEnabled", "Group", "Boolean", True),
)

STRING_LIMIT = 200
"""Characters in a parameter of type String."""


def defaults(applies_to: Literal["Queue", "Group"]) -> dict[str, Value]:
    """Return the values that a new queue or group starts with."""
    return {each.name: each.default for each in PARAMETERS if each.applies_to == applies_to}


def check_parameters(
    applies_to: Literal["Queue", "Group"], changes: Mapping[str, object]
) -> dict[str, Value]:
    """Check each change on its own and return the typed values.

    Raises:
        Refused: ``ParameterUnknown``, ``ParameterReadOnly``, ``WrongType``, ``ValueOutOfRange``.
    """
    known = {each.name: each for each in PARAMETERS if each.applies_to == applies_to}
    checked: dict[str, Value] = {}
    for name, value in changes.items():
        parameter = known.get(name)
        if parameter is None:
            raise Refused("ParameterUnknown", Parameter=name)
        if parameter.read_only:
            raise Refused("ParameterReadOnly", Parameter=name)
        checked[name] = _typed(parameter, value)
    return checked


def check_together(
    queue: Queue, values: Mapping[str, Value], queues: Mapping[int, Queue], visible: frozenset[int]
) -> None:
    """Check the result of *values* for the queue, among all *queues*.

    Raises:
        Refused: ``ReferenceUnknown`` (also for a queue out of scope), ``OverflowCycle``,
            ``InconsistentParameters``.
    """
    target = values["OverflowQueue"]
    if target is not None and target != queue.parameters["OverflowQueue"] and target not in visible:
        raise Refused("ReferenceUnknown", Parameter="OverflowQueue")
    seen = {queue.key}
    while isinstance(target, int) and target in queues:
        if target in seen:
            raise Refused("OverflowCycle", Parameter="OverflowQueue")
        seen.add(target)
        target = queues[target].parameters["OverflowQueue"]
    if _number(values["AttentionContacts"]) > _number(values["ActionContacts"]):
        raise Refused("InconsistentParameters", Parameter="AttentionContacts")


def _typed(parameter: Parameter, value: object) -> Value:
    match parameter.data_type, value:
        case "Boolean", bool():
            return value
        case "String", str() if len(value) <= STRING_LIMIT:
            return value
        case "Enum", str():
            if parameter.values is not None and value in parameter.values:
                return value
            raise Refused("ValueOutOfRange", Parameter=parameter.name, Values=parameter.values)
        case "QueueReference", None:
            return None
        case (("Integer" | "QueueReference"), int()) if not isinstance(value, bool):
            return _bounded(parameter, value)
        case "Number", (int() | float()) if not isinstance(value, bool):
            return _bounded(parameter, value)
        case _:
            raise Refused("WrongType", Parameter=parameter.name, DataType=parameter.data_type)


def _bounded(parameter: Parameter, value: float) -> float:
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None and not low <= value <= high:
        raise Refused("ValueOutOfRange", Parameter=parameter.name, Min=low, Max=high)
    return value


def _number(value: Value) -> float:
    return value if isinstance(value, int | float) else 0


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
    """Agent → queues whose skill they have."""
    agents_of: dict[int, tuple[Agent, ...]] = field(default_factory=dict)
    """Queue → agents who have its skill."""
    members_of: dict[int, tuple[Agent, ...]] = field(default_factory=dict)
    """Group → agents."""
    groups_of: dict[int, frozenset[int]] = field(default_factory=dict)
    """Queue → groups with an agent of the queue."""
    aggregates_of: dict[int, frozenset[int]] = field(default_factory=dict)
    """Queue → aggregates."""

    def __post_init__(self) -> None:
        """Compute the relations."""
        self.relate()

    def relate(self) -> None:
        """Compute again which agents serve which queues. Needed after skills or members changed."""
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
        """Return the kind of the object with *key*."""
        kinds: tuple[tuple[ObjectKind, Iterable[int]], ...] = (
            ("User", self.agents),
            ("Queue", self.queues),
            ("Group", self.groups),
            ("Aggregate", self.aggregates),
            ("Skill", self.skills),
        )
        return next((kind for kind, keys in kinds if key in keys), None)

    def everything(self) -> Scope:
        """Return the scope with all objects."""
        return Scope(
            frozenset(self.agents),
            frozenset(self.queues),
            frozenset(self.groups),
            frozenset(self.aggregates),
        )

    def within(self, groups: Iterable[int]) -> Scope:
        """Return the scope of a leader of *groups*: members, their queues, and aggregates of only these."""
        chosen = frozenset(groups) & frozenset(self.groups)
        users = frozenset(agent.key for key in chosen for agent in self.members_of[key])
        queues = frozenset(queue for user in users for queue in self.queues_of[user])
        aggregates = frozenset(
            each.key for each in self.aggregates.values() if queues.issuperset(each.queue_keys)
        )
        return Scope(users, queues, chosen, aggregates)

    def own(self, agent: Agent) -> Scope:
        """Return the scope of an agent in the Remote Assistant: the agent, their queues and their groups."""
        queues, groups = frozenset(self.queues_of[agent.key]), frozenset(agent.group_keys)
        return Scope(frozenset((agent.key,)), queues, groups & frozenset(self.groups))

    def object_json(self, key: int) -> Json | None:
        """Return the directory object with *key*; None when there is none."""
        match self.kind_of(key):
            case "User":
                return self._user(self.agents[key])
            case "Queue":
                queue = self.queues[key]
                return {
                    "Key": key,
                    "Name": queue.name,
                    "Media": queue.media,
                    "SkillKeys": (queue.skill_key,),
                }
            case "Group":
                return {"Key": key, "Name": self.groups[key].name}
            case "Aggregate":
                aggregate = self.aggregates[key]
                return {"Key": key, "Name": aggregate.name, "QueueKeys": aggregate.queue_keys}
            case "Skill":
                return _skill(self.skills[key])
            case None:
                return None

    def change_json(self, key: int, change: str) -> Json | None:
        """Return the ``Administration`` element of the object with *key*; None when there is none."""
        kind = self.kind_of(key)
        if kind is None:
            return None
        return {"ObjectType": kind, "Key": key, "Change": change, "Object": self.object_json(key)}

    def query(self, kinds: Iterable[str], scope: Scope) -> dict[str, list[Json]]:
        """Return the objects of *kinds* in *scope*; catalogues completely."""
        return {kind: self._objects(kind, scope) for kind in kinds}

    def skills_json(self, agent: Agent) -> list[Json]:
        """Return the skills of an agent, by key."""
        return [
            {"SkillKey": key, "Level": each.level, "Preference": each.preference, "Active": each.active}
            for key, each in sorted(agent.skills.items())
        ]

    def _objects(self, kind: str, scope: Scope) -> list[Json]:
        visible = {
            "User": scope.users,
            "Queue": scope.queues,
            "Group": scope.groups,
            "Aggregate": scope.aggregates,
        }.get(kind)
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


FIRST_NAMES: Final = (
    "Anna", "Ben", "Carla", "David", "Elena", "Felix", "Greta", "Hannes", "Ines", "Jonas", "Katrin", "Lukas",
    "Marie", "Nils", "Olivia", "Paul", "Rosa", "Stefan", "Tara", "Ulrich", "Vera", "Wanda", "Yusuf", "Zoe",
    "Amir", "Bianca", "Chidi", "Dorota", "Emre", "Fatima", "Giulia", "Hugo", "Irina", "Joris", "Klara",
    "Leon", "Mira", "Noah", "Otto", "Priya",
)  # fmt: skip

LAST_NAMES: Final = (
    "Albrecht", "Bauer", "Conrad", "Demir", "Engel", "Fischer", "Graf", "Hoffmann", "Ivanova", "Jansen",
    "Keller", "Lindner", "Meyer", "Nowak", "Okafor", "Petersen", "Quandt", "Richter", "Schuster", "Thoma",
    "Ullmann", "Vogel", "Weber", "Yilmaz", "Zimmermann", "Brandt", "Costa", "Dietrich", "Ferrari", "Gruber",
    "Haas", "Kowalski", "Lang", "Moreau", "Novak", "Patel", "Rossi", "Sommer", "Tanaka", "Wolf",
)  # fmt: skip

TOPICS: Final = (
    "Billing", "Support", "Sales", "Orders", "Returns", "Contracts", "Complaints", "Appointments", "Delivery",
    "Warranty", "Insurance", "Claims", "Premium", "Hotline", "Spare parts", "Service desk",
)  # fmt: skip

REGIONS: Final = ("", "DE", "AT", "CH", "EN", "FR", "IT", "NL", "PL", "ES", "TR")

TEAMS: Final = (
    "Berlin", "Munich", "Hamburg", "Vienna", "Zurich", "Cologne", "Leipzig", "Dresden", "Graz", "Basel",
    "Bremen", "Essen", "Linz", "Stuttgart", "Rostock", "Kiel",
)  # fmt: skip

REASONS: Final[tuple[tuple[ReasonKind, str, tuple[str, ...]], ...]] = (
    ("UnavailableReason", "Lunch", ()),
    ("UnavailableReason", "Break", ()),
    ("UnavailableReason", "Meeting", ()),
    ("UnavailableReason", "Training", ()),
    ("WorkReason", "Back office", ("Work",)),
    ("WorkReason", "Email", ()),
    ("WorkReason", "Outbound calls", ()),
    ("PostProcessingReason", "Documentation", ()),
    ("PostProcessingReason", "Follow-up", ()),
    ("WrapupReason", "Solved", ()),
    ("WrapupReason", "Call back", ()),
    ("WrapupReason", "Forwarded", ()),
)
"""Kind, name, the states that it makes a reason necessary for."""


def queue_name(index: int) -> str:
    """Name the queue: "Billing", …, "Billing DE", …; a number once the combinations are used up."""
    topic, region = TOPICS[index % len(TOPICS)], (index // len(TOPICS)) % len(REGIONS)
    round_ = index // (len(TOPICS) * len(REGIONS))
    return " ".join(filter(None, (topic, REGIONS[region], str(round_ + 1) if round_ else "")))


def team_name(index: int) -> str:
    """Name the group: "Team Berlin", …, "Team Berlin 2", …."""
    name = f"Team {TEAMS[index % len(TEAMS)]}"
    return name if index < len(TEAMS) else f"{name} {index // len(TEAMS) + 1}"


AGENT_KEYS, QUEUE_KEYS, GROUP_KEYS, AGGREGATE_KEYS = 10_000, 60_000, 70_000, 80_000
SKILL_KEYS, REASON_KEYS, SUPERVISOR_KEYS = 90_000, 95_000, 100_000
"""The first key of each kind; no kind is larger than the gap."""


def populate(settings: SimulatorSettings, rng: random.Random, window_start_ms: int) -> Directory:
    """Build the centre: queues with one skill each, groups that serve some of them, agents of one group."""
    groups = [GROUP_KEYS + n for n in range(1, settings.group_count + 1)]
    queues = {key: _queue(key, n, window_start_ms) for n, key in _numbered(QUEUE_KEYS, settings.queues)}
    agents = {
        key: _agent(
            key, n, groups[n % len(groups)], _team_skills(n % len(groups), len(groups), settings), rng
        )
        for n, key in _numbered(AGENT_KEYS, settings.agents)
    }
    for agent in agents.values():
        agent.counters = UserCounters(window_start_ms)
    return Directory(
        agents=agents,
        queues=queues,
        groups={key: Group(key, team_name(n), defaults("Group")) for n, key in enumerate(groups)},
        aggregates=_aggregates(settings),
        skills={key: Skill(key, queue_name(n)) for n, key in _numbered(SKILL_KEYS, settings.queues)},
        reasons={
            REASON_KEYS + n: Reason(REASON_KEYS + n, name, kind, required_for)
            for n, (kind, name, required_for) in enumerate(REASONS, 1)
        },
    )


def _numbered(first: int, count: int) -> list[tuple[int, int]]:
    return [(n, first + n + 1) for n in range(count)]


def _queue(key: int, index: int, window_start_ms: int) -> Queue:
    media: Media = "Voice" if index % 5 < 3 else MEDIA[1 + index // 5 % 4]
    queue = Queue(
        key,
        queue_name(index),
        media,
        skill_key=SKILL_KEYS + index + 1,
        level_min=10,
        parameters=defaults("Queue"),
        counters=Counters(window_start_ms),
    )
    if index % 5 == 0 and index > 0:
        queue.parameters["OverflowQueue"] = key - 1
    return queue


def _team_skills(team: int, teams: int, settings: SimulatorSettings) -> list[int]:
    """Return the skills of a team: those of its queues, at least one."""
    dealt = [SKILL_KEYS + n + 1 for n in range(settings.queues) if n % teams == team % settings.queues]
    return dealt or [SKILL_KEYS + team % settings.queues + 1]


def _agent(key: int, index: int, group: int, team_skills: list[int], rng: random.Random) -> Agent:
    chosen = rng.sample(team_skills, min(len(team_skills), rng.randint(2, 5)))
    return Agent(
        key,
        user_id=f"agent{index + 1}",
        first_name=rng.choice(FIRST_NAMES),
        last_name=rng.choice(LAST_NAMES),
        extension=str(4000 + index + 1),
        group_keys=(group,),
        skills={
            skill: AgentSkill(rng.randrange(20, 101, 5), rng.randint(1, 10), active=True)
            for skill in sorted(chosen)
        },
        counters=UserCounters(0),
    )


def _aggregates(settings: SimulatorSettings) -> dict[int, Aggregate]:
    """Return one aggregate for the queues of each team; teams that share a queue share the aggregate."""
    teams = min(settings.group_count, settings.queues)
    found: dict[int, Aggregate] = {}
    for team in range(teams):
        key = AGGREGATE_KEYS + team + 1
        skills = _team_skills(team, settings.group_count, settings)
        queues = tuple(skill - SKILL_KEYS + QUEUE_KEYS for skill in skills)
        found[key] = Aggregate(key, f"Service {TEAMS[team % len(TEAMS)]} {team + 1}", queues)
    return found
