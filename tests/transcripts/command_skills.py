"""Transcript: a supervisor changes an agent's skills."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from tests.transcripts.abridged import Json
from tests.transcripts.handset import Handset
from tests.transcripts.stage import COLLEAGUE, SUPERVISOR, Stage, stage

HANNES = "10001"


async def skills() -> str:
    """Return the conversation."""
    async with stage("agent.skills.set: a supervisor changes what an agent is able to do.") as at:
        supervisor = await at.comes(SUPERVISOR, topics=["agents"])
        await at.comes(COLLEAGUE, topics=["agent:10001"])
        await _applied(at, supervisor)
        await _refused_here(at, supervisor)
        await _refused_there(at, supervisor)
        return at.transcript.text()


async def _set(
    supervisor: Handset, *changes: Json, version: int, mode: Literal["patch", "replace"] = "patch"
) -> None:
    await supervisor.asks(
        "agent.skills.set", agent_id=HANNES, changes=list(changes), mode=mode, if_version=version
    )


async def _applied(at: Stage, supervisor: Handset) -> None:
    at.note("A skill is set, the others stay. Whoever sees the agent sees it before the result comes.")
    await _set(supervisor, {"skill_id": "90001", "level": 45, "preference": 2}, version=1)
    at.note("The same key again: the same outcome. OSCC-E is not asked, and nobody sees a change.")
    await supervisor.repeats()
    at.note("All skills are replaced.")
    await _set(
        supervisor,
        {"skill_id": "90001", "level": 45},
        {"skill_id": "90002", "level": 30, "preference": 1, "active": False},
        version=2,
        mode="replace",
    )
    at.note("A skill is taken away: its level is null.")
    await _set(supervisor, {"skill_id": "90002", "level": None}, version=3)
    at.note("What is so already is unchanged, and makes no change.")
    await _set(supervisor, {"skill_id": "90001", "level": 45}, version=4)
    await supervisor.repeats()


async def _refused_here(at: Stage, supervisor: Handset) -> None:
    at.note("What the catalogue does not allow is refused by the gateway: OSCC-E is not asked.")
    await _set(supervisor, {"skill_id": "99999", "level": 45}, version=4)
    await _set(supervisor, {"skill_id": "90001", "level": 101}, version=4)
    await _set(supervisor, {"skill_id": "90001", "level": 45, "preference": 11}, version=4)
    await _set(supervisor, {"skill_id": "90001", "level": 45}, {"skill_id": "90001", "level": 46}, version=4)
    await supervisor.repeats()


async def _refused_there(at: Stage, supervisor: Handset) -> None:
    at.note("Somebody else was faster: the version to look at comes with the refusal, and again for the key.")
    await _set(supervisor, {"skill_id": "90001", "level": 50}, version=3)
    await supervisor.repeats()
    at.note("OSCC-E's catalogue has changed, and the gateway has not heard of it: OSCC-E refuses the same.")
    catalogue = at.server.center.directory.skills
    catalogue[90_003] = replace(catalogue[90_003], level_max=5, preference_max=3)
    del catalogue[90_004]
    await _set(supervisor, {"skill_id": "90004", "level": 45}, version=4)
    await _set(supervisor, {"skill_id": "90003", "level": 45}, version=4)
    await _set(supervisor, {"skill_id": "90003", "level": 5, "preference": 4}, version=4)
    at.refuses_next("DuplicateSkill")
    await _set(supervisor, {"skill_id": "90003", "level": 5}, version=4)
