"""Transcript: errors that any command may end with."""

from __future__ import annotations

from typing import Final

from tests.transcripts.abridged import Json
from tests.transcripts.handset import Handset
from tests.transcripts.stage import AGENT, NUMBER, SUPERVISOR, Stage, stage

SKILL: Final[Json] = {
    "agent_id": "10001",
    "changes": [{"skill_id": "90001", "level": 45}],
    "mode": "patch",
    "if_version": 1,
}


async def errors() -> str:
    """Return the conversation."""
    async with stage("Errors that any command may meet.") as at:
        supervisor = await at.comes(SUPERVISOR, topics=["agents"])
        agent = await at.comes(AGENT, number=NUMBER, topics=["agent:10001"])
        await _forbidden(at, supervisor, agent)
        await _not_found(at, supervisor)
        await _bad_requests(at, supervisor)
        await _deadlines(at, supervisor)
        await _functions(at, supervisor, agent)
        await _features(at, supervisor)
        await _refused_there(at, supervisor)
        return at.transcript.text()


async def _asks(supervisor: Handset, **other: object) -> Json:
    return await supervisor.asks("agent.skills.set", **(SKILL | other))


async def _forbidden(at: Stage, supervisor: Handset, agent: Handset) -> None:
    at.note("forbidden: another application's command, whatever it is about.")
    await supervisor.asks("routing_state.set", state="work", when="now")
    await _asks(agent)
    at.note("forbidden: OSCC-E takes the right away, and the session's next command meets it.")
    account = at.server.accounts.by_name[SUPERVISOR]
    administration = at.server.administration
    rights = account.dashboard_rights
    await at.happens("leaves no rights", lambda: administration.set_rights(account, ()))
    await at.passes(1)
    await _asks(supervisor)
    await supervisor.repeats()
    await at.happens("gives the rights back", lambda: administration.set_rights(account, rights))
    await at.passes(1)
    at.note("forbidden: OSCC-E has taken the right away, and the gateway has not heard of it.")
    session = next(each for each in at.server.sessions if each.account is account)
    session.rights = ()
    await _asks(supervisor)
    session.rights = rights


async def _not_found(at: Stage, supervisor: Handset) -> None:
    at.note("not_found: an agent out of the scope is told like one that does not exist.")
    out_of_scope = await _asks(supervisor, agent_id="10002")
    assert await _asks(supervisor, agent_id="99999") == out_of_scope
    at.note("wrong_resource_kind: a queue is no agent, told by its number or by its key.")
    await _asks(supervisor, agent_id="60001")
    await _asks(supervisor, agent_id="queue:60001")
    at.note("OSCC-E tells the same.")
    for error in ("NotFound", "WrongObjectType"):
        at.refuses_next(error)
        await _asks(supervisor)


async def _bad_requests(at: Stage, supervisor: Handset) -> None:
    at.note("bad_request: what is no command is no command that could have a result.")
    await _asks(supervisor, changes=[{"skill_id": "90001", "level": "45"}])
    await _asks(supervisor, if_version=None)
    await supervisor.asks("agent.dance", agent_id="10001")
    at.refuses_next("BadRequest")
    await _asks(supervisor)


async def _deadlines(at: Stage, supervisor: Handset) -> None:
    at.note("bad_request: a deadline more than 60 s ahead.")
    await supervisor.asks("agent.skills.set", expires_in_s=60.001, **SKILL)
    at.note("expired: at the gateway.")
    await supervisor.asks("agent.skills.set", expires_in_s=0, **SKILL)
    at.note("expired: at OSCC-E, whose clock was put forward by a minute.")
    at.server.center.skew_ms += 60_000
    await _asks(supervisor)
    await supervisor.repeats()
    at.server.center.skew_ms -= 60_000


async def _functions(at: Stage, supervisor: Handset, agent: Handset) -> None:
    at.note("function_unavailable: OSCC-E has told that it is down, so it is not asked.")
    faults, functions = at.server.faults, at.server.center.functions
    await at.happens("loses its database", lambda: faults.set_function("AdministrationDatabase", "Down"))
    await at.passes(1)
    await _asks(supervisor)
    await at.happens("has its database again", lambda: faults.set_function("AdministrationDatabase", "Up"))
    await at.passes(1)
    at.note("function_unavailable: OSCC-E has not told it yet.")
    functions.states["RemoteAgent"] = "Down"
    await agent.asks("remote_number.change", number="+4930901822")
    await agent.repeats()
    functions.states["RemoteAgent"] = "Up"


async def _features(at: Stage, supervisor: Handset) -> None:
    at.note("unsupported_by_upstream: OSCC-E does not offer skills. It was asked when the link was opened.")
    features = set(at.server.about.features)
    at.server.faults.set_features(features - {"Skills"})
    with at.hidden():
        await at.reopens(100_002)
    await _asks(supervisor)
    at.server.faults.set_features(features)
    with at.hidden():
        await at.reopens(100_002)


async def _refused_there(at: Stage, supervisor: Handset) -> None:
    at.note("What OSCC-E refuses for reasons of its own.")
    for error in ("Busy", "MethodUnknown", "Internal"):
        at.refuses_next(error)
        await _asks(supervisor)
    await supervisor.repeats()
    at.note("None of all this has changed anything.")
    await _asks(supervisor)
