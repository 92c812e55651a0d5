"""Transcript: agents change their own routing state."""

from __future__ import annotations

from tests.transcripts.abridged import Json
from tests.transcripts.handset import Handset
from tests.transcripts.stage import AGENT, NUMBER, SUPERVISOR, Stage, stage

LUNCH, BACK_OFFICE, SOLVED = "95001", "95005", "95010"


async def own_routing_state() -> str:
    """Return the conversation."""
    async with stage("routing_state.set: an agent with the Remote Assistant changes his own state.") as at:
        agent = await at.comes(AGENT, number=NUMBER, topics=["agent:10001"])
        await at.comes(SUPERVISOR, topics=["agent:10001"])
        await _idle(at, agent)
        await _handling(at, agent)
        await _refused(at, agent)
        return at.transcript.text()


async def _set(agent: Handset, state: str, reason_id: str | None = None, when: str = "now") -> None:
    reason: Json = {} if reason_id is None else {"reason_id": reason_id}
    await agent.asks("routing_state.set", state=state, **reason, when=when)


async def _idle(at: Stage, agent: Handset) -> None:
    at.note("An idle agent changes at once; his supervisor sees it, too. No id: it is always his own agent.")
    await _set(agent, "available")
    at.note("The same key again: the same outcome. OSCC-E is not asked, and nobody sees a change.")
    await agent.repeats()
    at.note("A reason tells one unavailable from another; the state without a reason is the present one.")
    await _set(agent, "unavailable", LUNCH)
    await _set(agent, "unavailable")
    await agent.repeats()


async def _handling(at: Stage, agent: Handset) -> None:
    end = await at.rings()
    at.note("During a contact the state is pending, now and after the contact alike.")
    await _set(agent, "work", BACK_OFFICE)
    await agent.repeats()
    await _set(agent, "available", when="after_contact")
    at.note("The present state clears what is pending.")
    await _set(agent, "unavailable", LUNCH)
    await _set(agent, "work", BACK_OFFICE)
    await at.happens("ends the contact", end)
    await at.passes(1)


async def _refused(at: Stage, agent: Handset) -> None:
    at.note("The present state needs no reason. What the catalogue does not allow is refused by the gateway.")
    await _set(agent, "work")
    await _set(agent, "available")
    await _set(agent, "work")
    await _set(agent, "work", "99999")
    await _set(agent, "work", LUNCH)
    await _set(agent, "available", SOLVED)
    at.note("What OSCC-E refuses though the catalogue allows it.")
    for error in ("ReasonRequired", "ReasonUnknown", "ReasonWrongKind", "NotAllowedWhileHandling"):
        at.refuses_next(error)
        await _set(agent, "unavailable", LUNCH)
    at.note("OSCC-E has logged the agent off and lets his session live: he is not logged on.")
    await at.happens("logs agent 10001 off", lambda: at.server.center.force_off(at.agent))
    await at.passes(1)
    await _set(agent, "available")
    await agent.repeats()
