"""Transcript: an agent has calls routed to another number."""

from __future__ import annotations

from typing import Final

from tests.transcripts.handset import Handset
from tests.transcripts.stage import AGENT, NUMBER, SUPERVISOR, Stage, stage

OTHER, THIRD, FOURTH = "030 90182 1", "0049 30 901822", "+49 (30) 901823"
BOTH: Final = ("Dashboard", "RemoteAssistant")


async def remote_number() -> str:
    """Return the conversation."""
    title = "remote_number.change: an agent with the Remote Assistant works at another telephone."
    async with stage(title) as at:
        at.server.accounts.by_name[AGENT].applications = BOTH
        agent = await at.comes(AGENT, number=NUMBER, topics=[])
        await at.comes(AGENT, "agent's desk", topics=[])
        await at.comes(SUPERVISOR, topics=["agent:10001"])
        await _applied(at, agent)
        await _refused_here(at, agent)
        await _refused_there(at, agent)
        await _too_often(at, agent)
        return at.transcript.text()


async def _change(agent: Handset, number: str) -> None:
    await agent.asks("remote_number.change", number=number)


async def _applied(at: Stage, agent: Handset) -> None:
    at.note("Written as people write it, and sent on in E.164. The agent sees it whole, his desk masked.")
    await _change(agent, OTHER)
    at.note("The same key again: the same outcome. OSCC-E is not asked, and it is no second change.")
    await agent.repeats()
    at.note("The number in effect changes nothing, however it is written.")
    await _change(agent, "+4930901821")
    await agent.repeats()


async def _refused_here(at: Stage, agent: Handset) -> None:
    at.note("What the site does not allow is refused by the gateway: OSCC-E is not asked.")
    for number in (" ", "030 12", "*21#", "110", "+43 1 5880 10", "0900 1234567"):
        await _change(agent, number)
    await agent.repeats()


async def _refused_there(at: Stage, agent: Handset) -> None:
    at.note("Somebody else's number, which only OSCC-E knows.")
    with at.hidden():
        await at.comes("agent2", number="+4930901829")
    await _change(agent, "+4930901829")
    await agent.repeats()
    at.note("Not in the middle of a contact.")
    end = await at.rings()
    await _change(agent, THIRD)
    await at.happens("ends the contact", end)
    at.note("OSCC-E has the last word.")
    for error in ("RemoteNumberInvalid", "RemoteNumberNotAllowed"):
        at.refuses_next(error)
        await _change(agent, THIRD)


async def _too_often(at: Stage, agent: Handset) -> None:
    at.note("Three changes in an hour are enough; what was refused or unchanged does not count.")
    await _change(agent, THIRD)
    await _change(agent, FOURTH)
    await _change(agent, OTHER)
