"""Transcript: a supervisor changes an agent's routing state."""

from __future__ import annotations

from dataclasses import replace

from tests.transcripts.abridged import Json
from tests.transcripts.handset import Handset
from tests.transcripts.stage import AGENT, COLLEAGUE, NUMBER, SUPERVISOR, Stage, stage

LUNCH, BACK_OFFICE, SOLVED = "95001", "95005", "95010"
MEETING = "95003"


async def agent_routing_state() -> str:
    """Return the conversation."""
    async with stage(
        "agent.routing_state.set: a supervisor changes the state of an agent at his desk."
    ) as at:
        at.server.center.log_on(at.agent)
        supervisor = await at.comes(SUPERVISOR, topics=["agents"])
        await at.comes(COLLEAGUE, topics=["agent:10001"])
        await _idle(at, supervisor)
        await _handling(at, supervisor)
        await _logged_off(at, supervisor)
        await _reasons(at, supervisor)
        await _remote(at, supervisor)
        return at.transcript.text()


async def _set(supervisor: Handset, state: str, reason_id: str | None = None, when: str = "now") -> None:
    reason: Json = {} if reason_id is None else {"reason_id": reason_id}
    await supervisor.asks("agent.routing_state.set", agent_id="10001", state=state, **reason, when=when)


async def _idle(at: Stage, supervisor: Handset) -> None:
    at.note("An idle agent changes at once. Whoever sees him sees it before the result comes.")
    await _set(supervisor, "available")
    at.note("The same key again: the same outcome. OSCC-E is not asked, and nobody sees a change.")
    await supervisor.repeats()
    at.note("The present state is unchanged, and makes no change.")
    await _set(supervisor, "available")
    await supervisor.repeats()
    at.note("A state with its reason.")
    await _set(supervisor, "unavailable", LUNCH)


async def _handling(at: Stage, supervisor: Handset) -> None:
    end = await at.rings()
    at.note("During a contact the state is pending; a later request replaces it.")
    await _set(supervisor, "available", when="after_contact")
    await supervisor.repeats()
    await _set(supervisor, "work", BACK_OFFICE)
    at.note("The present state clears what is pending.")
    await _set(supervisor, "unavailable")
    at.note("Nobody is logged off in the middle of a contact, but after it.")
    await _set(supervisor, "logged_off")
    await _set(supervisor, "logged_off", when="after_contact")
    await at.happens("ends the contact", end)


async def _logged_off(at: Stage, supervisor: Handset) -> None:
    at.note("An agent who is logged off is logged off, and nobody else can log him on.")
    await _set(supervisor, "logged_off")
    await _set(supervisor, "available")


async def _reasons(at: Stage, supervisor: Handset) -> None:
    at.note("A reason that is missing, unknown or another state's is refused by the gateway.")
    await at.happens("logs agent 10001 on", lambda: at.server.center.log_on(at.agent))
    await at.passes(1)
    await _set(supervisor, "work")
    await _set(supervisor, "work", "99999")
    await _set(supervisor, "work", LUNCH)
    at.note("OSCC-E's catalogue has changed, and the gateway has not heard of it: OSCC-E refuses the same.")
    reasons = at.server.center.directory.reasons
    del reasons[int(LUNCH)]
    reasons[int(MEETING)] = replace(reasons[int(MEETING)], kind="WorkReason", required_for=("Available",))
    await _set(supervisor, "available")
    await _set(supervisor, "unavailable", LUNCH)
    await _set(supervisor, "unavailable", MEETING)


async def _remote(at: Stage, supervisor: Handset) -> None:
    at.note("An agent with the Remote Assistant who is logged off by a supervisor loses his session.")
    await at.comes(AGENT, number=NUMBER)
    await _set(supervisor, "logged_off")
