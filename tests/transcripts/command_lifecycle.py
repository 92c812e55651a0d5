"""Transcript: a command is sent again, or its answer does not come."""

from __future__ import annotations

from tests.transcripts.command_errors import errors
from tests.transcripts.handset import Handset
from tests.transcripts.stage import SUPERVISOR, Stage, stage

KATRIN = 100_002
AWAY_S = 120.0
"""Longer than a Dashboard user's link lingers."""


async def lifecycle() -> str:
    """Return the conversations."""
    return "\n\n".join([await errors(), await _in_flight(), await _lost(), await _away(), await _over()])


async def _in_flight() -> str:
    async with stage("Commands in flight: OSCC-E takes its time.", first_key=101) as at:
        supervisor = await _supervisor(at)
        await _joined(at, supervisor)
        await _timed_out(at, supervisor)
        await _overloaded(at, supervisor)
        return at.transcript.text()


async def _lost() -> str:
    async with stage("Connections that break: the phone's, and the link.", first_key=201) as at:
        supervisor = await _supervisor(at)
        await _phone_is_lost(at, supervisor)
        await _link_is_lost(at, supervisor)
        return at.transcript.text()


async def _away() -> str:
    title = "A phone that was away: its user's link was given up, and opened again in another epoch."
    async with stage(title, first_key=301) as at:
        supervisor = await _supervisor(at)
        at.note("The phone is gone before the outcome is known, and OSCC-E executes the command.")
        at.is_slow = True
        await _asks(supervisor, "available")
        supervisor.lose()
        await at.answers()
        with at.hidden():
            await at.passes(AWAY_S)
        at.note("Two minutes later it comes back: what it sees is reset.")
        with at.hidden(phones=False):
            await _connects(at, supervisor)
        at.note("retry: what became of it is remembered for ten minutes.")
        await supervisor.repeats(retry=True)
        at.note("other_epoch: another that this node never heard of; somebody else may have executed it.")
        await supervisor.repeats(retry=True, key=f"00000000-0000-4000-8000-{at.next_key():012}")
        at.note("The person has looked, and asks anew with another key.")
        await _asks(supervisor, "available")
        return at.transcript.text()


async def _over() -> str:
    async with stage("Connections that end before the result.", first_key=401) as at:
        supervisor = await _supervisor(at)
        tablet = await at.comes(SUPERVISOR, "tablet", topics=["agents"])
        await _replaced(at, supervisor)
        await _expired(at, supervisor, tablet)
        await _logged_off(at, tablet)
        return at.transcript.text()


async def _supervisor(at: Stage) -> Handset:
    at.server.center.log_on(at.agent)
    return await at.comes(SUPERVISOR, topics=["agents"])


async def _asks(supervisor: Handset, state: str, *, then_s: float = 1.0) -> None:
    await supervisor.asks("agent.routing_state.set", then_s=then_s, agent_id="10001", state=state, when="now")


async def _connects(at: Stage, supervisor: Handset) -> None:
    await at.connects(supervisor, position=supervisor.position, topics=["agents"])
    await at.passes(1)


async def _joined(at: Stage, supervisor: Handset) -> None:
    tablet = await at.comes(SUPERVISOR, "tablet", topics=["agents"])
    at.note("Sent again under way, by this phone and by the same person's other one: one request.")
    at.is_slow = True
    await _asks(supervisor, "available")
    await supervisor.repeats()
    tablet.last = supervisor.last
    await tablet.repeats(retry=True)
    await at.answers()
    at.note("And again when it is done.")
    await tablet.repeats(retry=True)
    at.note("key_reused: the same key for something else.")
    await supervisor.repeats(command={**supervisor.last["command"], "state": "unavailable"})


async def _timed_out(at: Stage, supervisor: Handset) -> None:
    at.note("upstream_timeout: no answer by the deadline. What OSCC-E reads later than that is not executed.")
    at.is_slow = True
    await _asks(supervisor, "unavailable")
    await at.passes(10)
    await supervisor.repeats(retry=True)
    await at.answers()
    await at.passes(1)
    await supervisor.repeats(retry=True)


async def _overloaded(at: Stage, supervisor: Handset) -> None:
    at.note("overloaded: the ninth command while eight wait for their results.")
    at.is_slow = True
    with at.hidden():
        for _ in range(8):
            await _asks(supervisor, "unavailable", then_s=0)
    await _asks(supervisor, "unavailable")
    with at.hidden():
        await at.answers()
    at.note("It was not begun, so its key may be used again.")
    await supervisor.sends_again()


async def _phone_is_lost(at: Stage, supervisor: Handset) -> None:
    at.note("The phone loses its connection before the result. The command goes on.")
    at.is_slow = True
    await _asks(supervisor, "available")
    supervisor.lose()
    await at.answers()
    await at.passes(1)
    at.note("It comes back, is told what changed, and asks with retry what became of its command.")
    await _connects(at, supervisor)
    await supervisor.repeats(retry=True)
    at.note("Also after its deadline: that it was in time is remembered.")
    await at.passes(10)
    await supervisor.repeats()


async def _link_is_lost(at: Stage, supervisor: Handset) -> None:
    at.note("unknown: the link is lost before the answer.")
    at.is_slow = True
    await _asks(supervisor, "unavailable")
    at.write("OSCC-E", "loses the supervisor's link")
    at.doors.cut(KATRIN)
    at.drops()
    await at.passes(1)
    await supervisor.repeats()
    at.note("upstream_unavailable: there is no link, so nothing is executed.")
    await _asks(supervisor, "unavailable")
    at.note("The link is back. A key keeps its outcome; a new one is executed.")
    with at.hidden(phones=False):
        at.doors.unreachable.clear()
        await at.passes(5)
    await supervisor.repeats(retry=True)
    await _asks(supervisor, "unavailable")


async def _replaced(at: Stage, supervisor: Handset) -> None:
    at.note("The session is served on its next connection, and asks there: the old one is told no result.")
    at.is_slow = True
    await _asks(supervisor, "available")
    with at.hidden(phones=False):
        await _connects(at, supervisor)
    await supervisor.repeats(retry=True)
    await at.answers()


async def _expired(at: Stage, supervisor: Handset, tablet: Handset) -> None:
    at.note("owner_lost: OSCC-E ends the session before it answers. The result comes before the end.")
    at.is_slow = True
    await _asks(supervisor, "unavailable")
    (session,) = [each for each in at.server.sessions if each.public_id == supervisor.ticket.session]
    sessions, board = at.server.sessions, at.server.board
    await at.happens("ends the session", lambda: sessions.end(session, "Expired"), board.flush_ended)
    at.note("The person's other phone asks what became of it: OSCC-E knows, and has not done it.")
    tablet.last = supervisor.last
    await tablet.repeats(retry=True)
    await at.answers()


async def _logged_off(at: Stage, tablet: Handset) -> None:
    at.note("owner_lost: the person logs off while a command is under way.")
    at.is_slow = True
    await _asks(tablet, "unavailable")
    at.write("tablet →", "DELETE /v1/session")
    await at.node.account.log_off(tablet.ticket)
    await at.settle()
    await at.answers()
