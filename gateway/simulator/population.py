"""Population: people, queues and groups of a contact centre of a given size.

The same seed makes the same people.
"""

from __future__ import annotations

import random  # noqa: TID251 - a generator seeded by the settings, given as an argument

from gateway.simulator.directory import Directory
from gateway.simulator.model import (
    MEDIA,
    Agent,
    AgentSkill,
    Aggregate,
    Counters,
    Group,
    Media,
    Queue,
    Reason,
    Skill,
    UserCounters,
)
from gateway.simulator.names import FIRST_NAMES, LAST_NAMES, REASONS, TEAMS, queue_name, team_name
from gateway.simulator.parameters import defaults
from gateway.simulator.settings import SimulatorSettings

AGENT_KEYS, QUEUE_KEYS, GROUP_KEYS, AGGREGATE_KEYS = 10_000, 60_000, 70_000, 80_000
SKILL_KEYS, REASON_KEYS, SUPERVISOR_KEYS = 90_000, 95_000, 100_000
"""Keys of a kind start one above these; no kind is larger than the gap."""


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
    """The skills of a team: those of the queues dealt to it, at least one."""
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
    """One for the queues of each team; teams that share a queue share the aggregate."""
    teams = min(settings.group_count, settings.queues)
    found: dict[int, Aggregate] = {}
    for team in range(teams):
        key = AGGREGATE_KEYS + team + 1
        skills = _team_skills(team, settings.group_count, settings)
        queues = tuple(skill - SKILL_KEYS + QUEUE_KEYS for skill in skills)
        found[key] = Aggregate(key, f"Service {TEAMS[team % len(TEAMS)]} {team + 1}", queues)
    return found
