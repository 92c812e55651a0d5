"""Transcript: a notice is acknowledged."""

from __future__ import annotations

from gateway.edge.policies import NoticesInForce, NoticeText, OperatorNotice
from tests.transcripts.handset import Handset
from tests.transcripts.stage import AGENT, NUMBER, SUPERVISOR, Stage, stage

TERMS = OperatorNotice(
    "terms", 3, "privacy", 0, True, {"en": NoticeText("Privacy", "What we keep.", "https://x.example")}
)


async def notices() -> str:
    """Return the conversation."""
    title = "notices.acknowledge: a notice of the operator is read. OSCC-E is never asked."
    async with stage(title, NoticesInForce([TERMS])) as at:
        supervisor = await at.comes(SUPERVISOR, topics=[])
        tablet = await at.comes(SUPERVISOR, "tablet", topics=[])
        agent = await at.comes(AGENT, number=NUMBER, topics=[])
        at.note("A notice that the session has not acknowledged follows the first state.")
        await _comes_back(at, supervisor)
        await _acknowledged(at, supervisor)
        await _others(at, tablet, agent)
        await _refused(at, supervisor)
        at.note("The phone comes back with its fresh token, and is not shown the notice again.")
        await _comes_back(at, supervisor)
        return at.transcript.text()


async def _acknowledge(phone: Handset, notice_id: str, version: int) -> None:
    await phone.asks("notices.acknowledge", notice_id=notice_id, version=version)


async def _acknowledged(at: Stage, supervisor: Handset) -> None:
    at.note("A fresh token says so, and comes before the result.")
    await _acknowledge(supervisor, "terms", 3)
    at.note("The same key again: the same outcome, and the token once more: it may have been lost.")
    await supervisor.repeats()


async def _others(at: Stage, tablet: Handset, agent: Handset) -> None:
    at.note("Each session for itself: the same person's other phone, and a Remote Assistant.")
    await _acknowledge(tablet, "terms", 3)
    await _acknowledge(agent, "terms", 3)
    await agent.repeats()


async def _refused(at: Stage, supervisor: Handset) -> None:
    at.note("There is no such notice, or not in this version.")
    await _acknowledge(supervisor, "term", 3)
    await _acknowledge(supervisor, "terms", 2)
    await supervisor.repeats()


async def _comes_back(at: Stage, phone: Handset) -> None:
    with at.hidden(phones=False):
        phone.say("bye")
        await at.settle()
        await at.connects(phone, position=phone.position, topics=[])
        await at.passes(1)
