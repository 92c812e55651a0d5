"""Transcript: an agent starts, extends, finishes and automates post-processing."""

from __future__ import annotations

from tests.transcripts.handset import Handset
from tests.transcripts.stage import AGENT, NUMBER, SUPERVISOR, Stage, stage

LUNCH, SOLVED = "95001", "95010"
ACTIONS = ("Start", "Extend", "Finish", "SetAuto")
SKEW_MS = 3_600_000


async def post_processing() -> str:
    """Return the conversation."""
    title = "post_processing.*: an agent works after his contacts. OSCC-E's clock is one hour ahead."
    async with stage(title) as at:
        at.server.center.skew_ms = SKEW_MS
        agent = await at.comes(AGENT, number=NUMBER, topics=["agent:10001"])
        await at.comes(SUPERVISOR, topics=["agent:10001"])
        await _start(at, agent)
        await _extend(at, agent)
        await _finish(at, agent)
        await _set_auto(at, agent)
        await _unsupported(at, agent)
        return at.transcript.text()


async def _start(at: Stage, agent: Handset) -> None:
    at.note("Without a contact there is nothing to process.")
    await agent.asks("post_processing.start")
    await agent.repeats()
    end = await at.rings()
    at.note("During a contact it is pending: it follows the contact. Whoever asks twice changes nothing.")
    await agent.asks("post_processing.start")
    await agent.repeats()
    await agent.asks("post_processing.start")
    await at.happens("ends the contact", end)
    at.note("Finished, and started again within a minute: at once.")
    await agent.asks("post_processing.finish")
    end = await at.rings()
    await at.happens("ends the contact", end)
    await agent.asks("post_processing.start")
    await agent.repeats()
    at.note("A server with a limit of its own refuses.")
    at.refuses_next("LimitReached")
    await agent.asks("post_processing.start")


async def _extend(at: Stage, agent: Handset) -> None:
    ends_ms = at.wall_ms + 120_000
    at.note("Its end is moved: until_ms is the gateway's time, Until is OSCC-E's.")
    await agent.asks("post_processing.extend", until_ms=ends_ms)
    await agent.repeats()
    at.note("An end that is not later changes nothing; one beyond the limit is refused, and the limit told.")
    await agent.asks("post_processing.extend", until_ms=ends_ms - 60_000)
    await agent.asks("post_processing.extend", until_ms=ends_ms + 600_000)
    await agent.repeats()


async def _finish(at: Stage, agent: Handset) -> None:
    at.note("Reasons of another kind are refused by the gateway, a missing one by OSCC-E.")
    at.server.center.directory.queues[60_001].parameters["WrapupReasonRequired"] = True
    await agent.asks("post_processing.finish", wrap_up_reason_ids=["99999"])
    await agent.asks("post_processing.finish", wrap_up_reason_ids=[LUNCH])
    await agent.asks("post_processing.finish")
    await agent.repeats()
    at.note("Finished, to another state than before.")
    await agent.asks("post_processing.finish", next_state="available", wrap_up_reason_ids=[SOLVED])
    await agent.repeats()
    at.note("What is over can neither be finished nor extended.")
    await agent.asks("post_processing.finish", wrap_up_reason_ids=[SOLVED])
    await agent.asks("post_processing.extend", until_ms=at.wall_ms + 60_000)


async def _set_auto(at: Stage, agent: Handset) -> None:
    at.note("It shall follow each contact by itself. Nobody but the agent sees that.")
    await agent.asks("post_processing.set_auto", on=True, duration_s=45)
    await agent.repeats()
    await agent.asks("post_processing.set_auto", on=True)
    at.note("Too long; the limits are OSCC-E's.")
    await agent.asks("post_processing.set_auto", on=True, duration_s=301)


async def _unsupported(at: Stage, agent: Handset) -> None:
    at.note("What OSCC-E has ceased to offer it refuses.")
    features = set(at.server.about.features)
    at.server.faults.set_features(features - {f"PostProcessing.{each}" for each in ACTIONS})
    await agent.asks("post_processing.start")
    at.note("Once the link was opened anew the gateway knows, and does not ask.")
    with at.hidden():
        await at.reopens(10_001)
    await agent.asks("post_processing.start")
    await agent.asks("post_processing.extend", until_ms=at.wall_ms + 60_000)
    await agent.asks("post_processing.finish")
    await agent.asks("post_processing.set_auto", on=False)
    await agent.repeats()
