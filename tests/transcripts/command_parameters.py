"""Transcript: a supervisor changes routing parameters of a queue or a group."""

from __future__ import annotations

from dataclasses import replace

from tests.transcripts.handset import Handset
from tests.transcripts.stage import COLLEAGUE, SUPERVISOR, Stage, stage

ALONE = ("ParameterUnknown", "ParameterReadOnly", "ValueOutOfRange")


async def queue_parameters() -> str:
    """Return the conversation about queues."""
    title = "queue.routing_parameters.set: a supervisor changes how contacts of a queue are routed."
    async with stage(title) as at:
        supervisor = await at.comes(SUPERVISOR, topics=["queue:60001"])
        await at.comes(COLLEAGUE, topics=["queue:60001"])
        await _applied(at, supervisor)
        await _refused_here(at, supervisor)
        await _references(at, supervisor)
        await _refused_there(at, supervisor)
        return at.transcript.text()


async def group_parameters() -> str:
    """Return the conversation about groups."""
    title = "group.routing_parameters.set: a supervisor changes how contacts of a group are routed."
    async with stage(title) as at:
        supervisor = await at.comes(SUPERVISOR, topics=["groups"])
        await at.comes(COLLEAGUE, topics=["group:70001"])
        at.note("Parameters are set. Whoever sees the group sees it before the result comes.")
        await _group(supervisor, 1, MaximumCallsWaiting=20, OverflowEnabled=False)
        await supervisor.repeats()
        at.note("What is so already is unchanged.")
        await _group(supervisor, 2, OverflowEnabled=False)
        await supervisor.repeats()
        at.note(
            "What the catalogue does not allow is refused by the gateway: queues' parameters are not groups'."
        )
        await _group(supervisor, 2, Priority=5)
        await _group(supervisor, 2, OverflowEnabled="no")
        await _group(supervisor, 2, MaximumCallsWaiting=501)
        at.note("Somebody else was faster.")
        await _group(supervisor, 1, MaximumCallsWaiting=30)
        await supervisor.repeats()
        at.note("What OSCC-E refuses though the catalogue allows it.")
        for error in (*ALONE, "WrongType", "ReferenceUnknown", "OverflowCycle", "InconsistentParameters"):
            at.refuses_next(error)
            await _group(supervisor, 2, MaximumCallsWaiting=30)
        return at.transcript.text()


async def _queue(supervisor: Handset, version: int, **changes: object) -> None:
    await supervisor.asks(
        "queue.routing_parameters.set", queue_id="60001", changes=changes, if_version=version
    )


async def _group(supervisor: Handset, version: int, **changes: object) -> None:
    await supervisor.asks(
        "group.routing_parameters.set", group_id="70001", changes=changes, if_version=version
    )


async def _applied(at: Stage, supervisor: Handset) -> None:
    at.note("Parameters are set, the others stay. Whoever sees the queue sees it before the result comes.")
    await _queue(supervisor, 1, Priority=8, Distribution="BestSkilled", TargetOccupancy=72.5)
    at.note("The same key again: the same outcome. OSCC-E is not asked, and nobody sees a change.")
    await supervisor.repeats()
    at.note("A queue is referred to by its id, which is OSCC-E's Key; null takes the reference away.")
    await _queue(supervisor, 2, OverflowQueue="60003", WrapupReasonRequired=True)
    await _queue(supervisor, 3, OverflowQueue=None)
    at.note("What is so already is unchanged, and makes no change.")
    await _queue(supervisor, 4, Priority=8)
    await supervisor.repeats()


async def _refused_here(at: Stage, supervisor: Handset) -> None:
    at.note("What the catalogue does not allow is refused by the gateway: OSCC-E is not asked.")
    await _queue(supervisor, 4, Prioritie=8)
    await _queue(supervisor, 4, SchedulingVersion="S2")
    await _queue(supervisor, 4, Priority="high")
    await _queue(supervisor, 4, OverflowQueue=60_003)
    await _queue(supervisor, 4, OverflowAfter=4)
    await _queue(supervisor, 4, Distribution="Random")


async def _references(at: Stage, supervisor: Handset) -> None:
    at.note("A queue out of the supervisor's scope is told like one that does not exist.")
    await _queue(supervisor, 4, OverflowQueue="60002")
    await _queue(supervisor, 4, OverflowQueue="69999")
    at.note("OSCC-E has taken a queue out of the scope, and the gateway has not heard of it.")
    session = next(each for each in at.server.sessions if each.account.user_name == SUPERVISOR)
    scope = session.scope
    session.scope = replace(scope, queues=scope.queues - {60_003})
    await _queue(supervisor, 4, OverflowQueue="60003")
    session.scope = scope


async def _refused_there(at: Stage, supervisor: Handset) -> None:
    at.note("What depends on other values only OSCC-E can judge.")
    await _queue(supervisor, 4, AttentionContacts=9)
    at.server.center.directory.queues[60_003].parameters["OverflowQueue"] = 60_001
    await _queue(supervisor, 4, OverflowQueue="60003")
    await supervisor.repeats()
    at.note("Somebody else was faster: the version to look at comes with the refusal.")
    await _queue(supervisor, 3, Priority=9)
    at.note("What OSCC-E refuses though the catalogue allows it.")
    await _queue(supervisor, 4, Announcement="Please hold the line. " * 10)
    for error in ALONE:
        at.refuses_next(error)
        await _queue(supervisor, 4, Priority=9)
